/* multiply.h - between the driver and the blocks that it has multiplied. */
#ifndef C1X1_MULTIPLY_H
#define C1X1_MULTIPLY_H

#include "operands.h"

/* The sums of a block to `out`, finished, or to the tile buffer. */
void c1x1_multiply_block(worker *w, const block *t);

/* The sums of a part of a block, at most C1X1_MATRIX_EDGE rows and columns, by the tiles of the plan's
 * ISA: what a matrix unit cannot do. */
void c1x1_multiply_again(worker *w, const block *t, char *c, ptrdiff_t ldc);

#endif
