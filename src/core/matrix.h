/* matrix.h - between the driver and the blocks that a matrix unit multiplies. */
#ifndef C1X1_MATRIX_H
#define C1X1_MATRIX_H

#include "operands.h"

/* The sums of a block to c, rows ldc elements apart; where they lie in `out`, the results. */
void c1x1_multiply_matrix(worker *w, const block *t, char *c, ptrdiff_t ldc);

/* driver.c: the sums of at most C1X1_MATRIX_EDGE rows and columns by the tiles of the plan's ISA. */
void c1x1_multiply_again(worker *w, const block *t, char *c, ptrdiff_t ldc);

/* The weights of a problem, cut for its a side or b side; NULL: no memory. One c1x1_release frees it. */
c1x1_pieces *c1x1_cut_weights(const c1x1_problem *p, const c1x1_matrix_kernels *unit, int are_rows,
                              unsigned count);

#endif
