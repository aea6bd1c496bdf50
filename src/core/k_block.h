/* k_block.h - a block of k, for those who multiply it: where a tile of it finds its operands. */
#ifndef C1X1_K_BLOCK_H
#define C1X1_K_BLOCK_H

#include "finish.h"

/* Bytes; and how far ahead in memory rows of pixels are fetched (decision 0014). */
enum { C1X1_PAGE = 4096, C1X1_FETCHED = 8 << 10 };

typedef struct {
    size_t k0, k;
    operand a, b;
    char *c; /* of the block, in out or in the tile buffer */
    ptrdiff_t ldc;
    int is_last;      /* of the blocks of k */
    c1x1_ahead ahead; /* rows of x that are wanted next */
    size_t more;      /* panels after this one that the kernel takes too */
} k_block;

/* Rows of the full tile of a panel: a narrow one leaves registers for more. */
static inline size_t c1x1_rows_of(const shared *s, size_t columns) {
    return s->kernels->mr[(columns + s->kernels->vl - 1) >> s->vl_log2];
}

/* The tile at row i, column j, for rows below the first to be reached by stepping a, c and bias_m. */
static inline c1x1_tile c1x1_tile_at(const worker *w, const block *t, const k_block *q, size_t i,
                                     size_t j, const char *panel) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    const ptrdiff_t size = (ptrdiff_t)s->size;
    const char *bias = q->is_last ? t->bias : NULL;
    c1x1_tile tile = {.k = q->k,
                      .n = c1x1_columns_at(s, t, j),
                      .a = q->a.base + (ptrdiff_t)i * q->a.ld * size,
                      .b = panel,
                      .c = q->c + ((ptrdiff_t)i * q->ldc + (ptrdiff_t)j) * size,
                      .lda = q->a.ld,
                      .ldb = q->b.ld,
                      .ldc = q->ldc,
                      .piece = plan->piece,
                      .more = q->more,
                      .next_b = q->b.panel_bytes / size,
                      .start = q->k0 == 0         ? C1X1_ZERO
                               : plan->chains > 1 ? C1X1_CONTINUE
                                                  : C1X1_ADD};
    if (tile.n > plan->nr && c1x1_is_prepacked(s)) {
        const operand wide = c1x1_find_wide(s, t, q->k0);
        tile.b = wide.base;
        tile.ldb = wide.ld;
    }
    if (q->b.rows_apart) tile.ldb = (ptrdiff_t)(q->b.rows_apart * c1x1_row_length(s, tile.n));
    if (bias && c1x1_pixels_are_n(plan->role))
        tile.bias_m = bias + (ptrdiff_t)(t->m0 + i) * size;
    else if (bias)
        tile.bias_n = bias + (ptrdiff_t)(t->n0 + j) * size;
    /* Lines on pages of their own arrive while this tile is multiplied, others with the tile above. */
    if (q->ldc * size >= C1X1_PAGE) {
        tile.fetches_c = 1;
    } else if (plan->fetches_c) {
        tile.fetches_c = 1;
        tile.fetched_c = (ptrdiff_t)c1x1_rows_of(s, tile.n) * q->ldc;
    }
    if (plan->finisher == C1X1_FINISH_TILE && q->is_last) {
        tile.residual = c1x1_residual_at(s, t, i, j, &tile.ldr);
        tile.bounds = s->bounds;
    }
    return tile;
}

/* Panels after the one at j that are nr wide as it is: where one tile covers all rows, the kernel goes
 * along them by itself. */
static inline size_t c1x1_panels_alike(const shared *s, const block *t, size_t j, size_t columns) {
    const size_t nr = s->plan->nr;
    size_t more = 0;
    if (columns != nr) return 0;
    while (j + columns < t->n && c1x1_columns_at(s, t, j + columns) == nr) {
        columns += nr;
        more++;
    }
    return more;
}

/* multiply_few.c: few filters, whose order of summation is another. */
void c1x1_multiply_dots(const worker *w, const block *t, const k_block *q);
void c1x1_multiply_planes(const worker *w, const block *t, const k_block *q);
void c1x1_multiply_chains(const worker *w, const block *t, const k_block *q);

#endif
