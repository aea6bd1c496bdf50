/* multiply_few.c - the multiply stage of few filters: sixteen sums of each result, vectors along the channels
 * (dots) or along the pixels (planes; chains where k is cut). */
#include "k_block.h"

enum { DOT_BYTES = 16 << 10 };

/* Dots of few columns, which lie side by side in b. Rows are taken as many at a time as stay in L1 for
 * all panels. */
void c1x1_multiply_dots(const worker *w, const block *t, const k_block *q) {
    const shared *s = w->s;
    const size_t mr = s->plan->mr, row = q->k * s->size;
    const size_t in_l1 = larger(DOT_BYTES / larger(row, 1) / mr, 1) * mr;
    const size_t together = t->n <= s->plan->nr ? t->m : in_l1;
    for (size_t i = 0; i < t->m; i += together) {
        const size_t end = smaller(i + together, t->m), whole = (end - i) / mr;
        const char *panel = q->b.base;
        for (size_t j = 0; j < t->n; j += s->plan->nr, panel += q->b.panel_bytes) {
            c1x1_tile tile = c1x1_tile_at(w, t, q, i, j, panel);
            if (whole > 0) {
                tile.more = whole - 1;
                if (s->plan->fetches_x && mr > 1) tile.fetched = C1X1_FETCHED / (ptrdiff_t)s->size;
                s->kernels->dot[mr - 1][tile.n - 1](&tile);
            }
            if (i + whole * mr == end) continue;
            tile = c1x1_tile_at(w, t, q, i + whole * mr, j, panel);
            s->kernels->dot[end - i - whole * mr - 1][tile.n - 1](&tile);
        }
    }
}

/* Planes of few results: all sums of so many columns at once as a chains kernel takes. */
void c1x1_multiply_planes(const worker *w, const block *t, const k_block *q) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    const size_t longest = c1x1_chain_columns(t->m, s->size, plan->sweep);
    const int is_packed = q->b.rows_apart > 0;
    const char *b = q->b.base;
    for (size_t j = 0, cols; j < t->n; j += cols) {
        cols = is_packed ? c1x1_columns_at(s, t, j) : smaller(longest, t->n - j);
        c1x1_tile tile = c1x1_tile_at(w, t, q, 0, j, b);
        tile.n = cols;
        tile.sweep = plan->sweep;
        if (is_packed) tile.ldb = (ptrdiff_t)c1x1_row_length(s, cols);
        s->kernels->chains[t->m - 1](&tile);
        if (s->finish && plan->is_direct)
            c1x1_finish_rows(s, t, 0, t->m, j, cols, tile.c, tile.ldc);
        b += is_packed ? q->b.panel_bytes : (ptrdiff_t)(cols * s->size);
    }
}

/* One of the sixteen sums of every result of `tile` and its fellows: every sixteenth channel from
 * `chain` on. */
static void multiply_chain(const worker *w, const block *t, const k_block *q, c1x1_tile tile,
                           size_t chain) {
    const shared *s = w->s;
    const ptrdiff_t size = (ptrdiff_t)s->size, skipped = (ptrdiff_t)chain;
    const size_t nv = (tile.n + s->kernels->vl - 1) >> s->vl_log2;
    const size_t mr = c1x1_rows_of(s, tile.n);
    const int is_masked = tile.n != nv << s->vl_log2;
    tile.k = c1x1_chain_length(q->k, chain);
    tile.a = (const char *)tile.a + skipped * s->chain_ld * size;
    tile.b = (const char *)tile.b + skipped * tile.ldb * size;
    tile.c = (char *)tile.c + skipped * s->tile_plane * size;
    tile.ldb *= C1X1_CHAINS;
    for (size_t i = 0, rows; i < t->m; i += rows) {
        rows = smaller(mr, t->m - i);
        s->kernels->tile[rows - 1][nv - 1][is_masked](&tile);
        tile.a = (const char *)tile.a + (ptrdiff_t)rows * tile.lda * size;
        tile.c = (char *)tile.c + (ptrdiff_t)rows * tile.ldc * size;
    }
}

/* Sixteen running sums per result, each in a plane of the tile buffer, folded at the end. Chain by
 * chain over many panels, so that planes are read in long runs. */
void c1x1_multiply_chains(const worker *w, const block *t, const k_block *q) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    const ptrdiff_t size = (ptrdiff_t)s->size;
    k_block sums = *q;
    sums.c = w->tile;
    sums.ldc = s->tile_ld;
    sums.is_last = 0; /* the bias comes after the folding */
    const char *panel = q->b.base;
    for (size_t j = 0, cols; j < t->n; j += cols, panel += q->b.panel_bytes) {
        cols = c1x1_columns_at(s, t, j);
        sums.more = c1x1_panels_alike(s, t, j, cols);
        const c1x1_tile tile = c1x1_tile_at(w, t, &sums, 0, j, panel);
        for (size_t chain = 0; chain < C1X1_CHAINS; chain++) multiply_chain(w, t, q, tile, chain);
        cols += sums.more * plan->nr;
        panel += (ptrdiff_t)sums.more * q->b.panel_bytes;
    }
    for (size_t i = 0; q->is_last && i < t->m; i++) {
        const char *bias = t->bias ? t->bias + (ptrdiff_t)(t->m0 + i) * size : NULL;
        const c1x1_tile fold = {.n = t->n,
                                .a = w->tile + (ptrdiff_t)i * s->tile_ld * size,
                                .lda = s->tile_plane,
                                .c = q->c + (ptrdiff_t)i * q->ldc * size,
                                .bias_m = bias};
        s->kernels->fold(&fold);
        if (s->finish && plan->is_direct) c1x1_finish_rows(s, t, i, 1, 0, t->n, fold.c, q->ldc);
    }
}
