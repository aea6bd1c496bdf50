/* matrix.h - between multiply.c and the blocks that a matrix unit multiplies. */
#ifndef C1X1_MATRIX_H
#define C1X1_MATRIX_H

#include "operands.h"

/* The sums of a block to c, rows ldc elements apart; where they lie in `out`, the results. */
void c1x1_multiply_matrix(worker *w, const block *t, char *c, ptrdiff_t ldc);

#endif
