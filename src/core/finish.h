/* finish.h - what the driver does with sums. */
#ifndef C1X1_FINISH_H
#define C1X1_FINISH_H

#include "operands.h"

/* What the plan's finisher needs: sets finish, bounds, load_residual. */
void c1x1_choose_finish(shared *s);

/* Where the residual of row i, column j of a block lies that is finished in `out`, and how far apart
 * its rows are; NULL if there is none. */
const char *c1x1_residual_at(const shared *s, const block *t, size_t i, size_t j, ptrdiff_t *ldr);

/* The epilogue of rows i .. i + m, columns j .. j + n of a block, which lie at c in `out`. */
void c1x1_finish_rows(const shared *s, const block *t, size_t i, size_t m, size_t j, size_t n,
                      char *c, ptrdiff_t ldc);

/* The epilogue of a block of few channels per pixel, which lies at c in `out`. */
void c1x1_finish_pixels(const shared *s, const block *t, char *c, ptrdiff_t ldc);

/* A block whose sums wait in the tile buffer gets its epilogue, if there is one, and goes to `out`. */
void c1x1_store_block(const worker *w, const block *t);

/* Notes which of the block's pixels hold the nodata value; whether any does. */
int c1x1_note_nodata(const worker *w, const block *t);
/* Writes over the results of those. */
void c1x1_fill_nodata(const worker *w, const block *t);

#endif
