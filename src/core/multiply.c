/* multiply.c - the multiply stage of a block: for each block of k, panel by panel, tile by tile.
 *
 * Layouts and ISAs are unknown here: there are a, b and c with strides, and the kernels of the plan. */
#include "multiply.h"

#include "finish.h"
#include "matrix.h"

/* Several tiles' rows get their epilogue at once, which costs its constants only once; few enough that
 * rows a multiple of a page apart are still in L1. */
enum { FINISHED_ROWS = 12, PAGE = 4096, DOT_BYTES = 16 << 10 };

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
static size_t rows_of(const shared *s, size_t columns) {
    return s->kernels->mr[(columns + s->kernels->vl - 1) >> s->vl_log2];
}

/* The tile at row i, column j, for rows below the first to be reached by stepping a, c and bias_m. */
static c1x1_tile tile_at(const worker *w, const block *t, const k_block *q, size_t i, size_t j,
                         const char *panel) {
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
    if (q->b.rows_apart) tile.ldb = (ptrdiff_t)(q->b.rows_apart * c1x1_row_length(s, tile.n));
    if (bias && c1x1_pixels_are_n(plan->role))
        tile.bias_m = bias + (ptrdiff_t)(t->m0 + i) * size;
    else if (bias)
        tile.bias_n = bias + (ptrdiff_t)(t->n0 + j) * size;
    /* Lines on pages of their own arrive while this tile is multiplied, others with the tile above. */
    if (q->ldc * size >= PAGE) {
        tile.fetches_c = 1;
    } else if (plan->fetches_c) {
        tile.fetches_c = 1;
        tile.fetched_c = (ptrdiff_t)rows_of(s, tile.n) * q->ldc;
    }
    if (plan->finisher == C1X1_FINISH_TILE && q->is_last) {
        tile.residual = c1x1_residual_at(s, t, i, j, &tile.ldr);
        tile.bounds = s->bounds;
    }
    return tile;
}

/* Panels after the one at j that are nr wide as it is: where one tile covers all rows, the kernel goes
 * along them by itself. */
static size_t panels_alike(const shared *s, const block *t, size_t j, size_t columns) {
    const size_t nr = s->plan->nr;
    size_t more = 0;
    if (columns != nr) return 0;
    while (j + columns < t->n && c1x1_columns_at(s, t, j + columns) == nr) {
        columns += nr;
        more++;
    }
    return more;
}

/* Tiles of at most `mr` rows from row i to row `end` of one panel; of even height, since a tile of one
 * or two rows takes as long as one of four. */
static void multiply_rows(const worker *w, const block *t, const k_block *q, size_t i, size_t end,
                          size_t mr, size_t j, const char *panel) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    const ptrdiff_t a_step = (ptrdiff_t)s->size * q->a.ld, c_step = (ptrdiff_t)s->size * q->ldc;
    const size_t tiles = end - i <= mr ? 1 : divide_up(end - i, mr);
    const size_t low = tiles == 1 ? end - i : (end - i) / tiles;
    size_t taller = end - i - low * tiles;
    c1x1_tile tile = tile_at(w, t, q, i, j, panel);
    const ptrdiff_t r_step = (ptrdiff_t)s->size * tile.ldr;
    const size_t nv = (tile.n + s->kernels->vl - 1) >> s->vl_log2;
    const int is_masked = tile.n != nv << s->vl_log2;
    const int is_finished = s->finish && q->is_last && plan->is_direct;
    size_t unfinished = 0;          /* rows of sums right above row i */
    size_t wanted = q->ahead.count; /* shared out among the tiles */
    const size_t share = wanted ? (wanted + tiles - 1) / tiles : 0;
    tile.ahead = q->ahead;
    for (size_t rows; i < end; i += rows) {
        if (share > 0) {
            tile.ahead.count = smaller(share, wanted);
            wanted -= tile.ahead.count;
        }
        rows = low + (taller > 0);
        taller -= taller > 0;
        s->kernels->tile[rows - 1][nv - 1][is_masked](&tile);
        unfinished += rows;
        if (is_finished && (unfinished >= FINISHED_ROWS || i + rows == end)) {
            const size_t above = unfinished - rows;
            c1x1_finish_rows(s, t, i - above, unfinished, j, tile.n * (1 + tile.more),
                             (char *)tile.c - (ptrdiff_t)above * c_step, tile.ldc);
            unfinished = 0;
        }
        if (tile.residual) tile.residual = (const char *)tile.residual + (ptrdiff_t)rows * r_step;
        if (share > 0) tile.ahead.at += (ptrdiff_t)share * tile.ahead.step;
        tile.a = (const char *)tile.a + (ptrdiff_t)rows * a_step;
        tile.c = (char *)tile.c + (ptrdiff_t)rows * c_step;
        if (tile.bias_m) tile.bias_m = (const char *)tile.bias_m + rows * s->size;
    }
}

/* Dots of few columns, which lie side by side in b. Rows are taken as many at a time as stay in L1 for
 * all panels. */
static void multiply_dots(const worker *w, const block *t, const k_block *q) {
    const shared *s = w->s;
    const size_t mr = s->plan->mr, row = q->k * s->size;
    const size_t in_l1 = larger(DOT_BYTES / larger(row, 1) / mr, 1) * mr;
    const size_t together = t->n <= s->plan->nr ? t->m : in_l1;
    for (size_t i = 0; i < t->m; i += together) {
        const size_t end = smaller(i + together, t->m), whole = (end - i) / mr;
        const char *panel = q->b.base;
        for (size_t j = 0; j < t->n; j += s->plan->nr, panel += q->b.panel_bytes) {
            c1x1_tile tile = tile_at(w, t, q, i, j, panel);
            if (whole > 0) {
                tile.more = whole - 1;
                s->kernels->dot[mr - 1][tile.n - 1](&tile);
            }
            if (i + whole * mr == end) continue;
            tile = tile_at(w, t, q, i + whole * mr, j, panel);
            s->kernels->dot[end - i - whole * mr - 1][tile.n - 1](&tile);
        }
    }
}

/* Planes of few results: all sums of so many columns at once as a chains kernel takes. */
static void multiply_planes(const worker *w, const block *t, const k_block *q) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    const size_t longest = c1x1_chain_columns(t->m, s->size);
    const int is_packed = q->b.rows_apart > 0;
    const char *b = q->b.base;
    for (size_t j = 0, cols; j < t->n; j += cols) {
        cols = is_packed ? c1x1_columns_at(s, t, j) : smaller(longest, t->n - j);
        c1x1_tile tile = tile_at(w, t, q, 0, j, b);
        tile.n = cols;
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
    const size_t mr = rows_of(s, tile.n);
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
static void multiply_chains(const worker *w, const block *t, const k_block *q) {
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
        sums.more = panels_alike(s, t, j, cols);
        const c1x1_tile tile = tile_at(w, t, &sums, 0, j, panel);
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

/* Each panel of pixels is packed into L1, multiplied by all rows, and forgotten. Meanwhile what comes
 * next is fetched. */
static void multiply_panels(worker *w, const block *t, k_block *q) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    const ptrdiff_t step = s->problem->x_channel;
    for (size_t j = 0, cols; j < t->n; j += cols) {
        cols = c1x1_columns_at(s, t, j);
        const char *x = t->x + c1x1_segment_at(s, t->n0 + j, cols).x;
        const int is_end = t->n0 + j + cols == plan->n;
        q->k0 = 0;
        do {
            const size_t left = plan->k - q->k0;
            const char *from = x + c1x1_channel_at(s, q->k0, step);
            q->k = smaller(plan->kc, left);
            q->is_last = q->k == left;
            const size_t channels = c1x1_channels(s, q->k0, q->k);
            q->a = c1x1_find_a(w, t, q->k0, q->k);
            q->b = c1x1_find_b(w, t, q->k0, q->k);
            if (!q->is_last)
                q->ahead = (c1x1_ahead){
                    from + c1x1_channel_at(s, q->k, step),
                    c1x1_channels(s, q->k0 + q->k, smaller(plan->kc, left - q->k)), step};
            else
                q->ahead = (c1x1_ahead){
                    x + cols * s->load_x.size,
                    is_end ? 0 : c1x1_channels(s, 0, smaller(plan->kc, plan->k)), step};
            c1x1_pack_panel(w, from, channels, cols);
            multiply_rows(w, t, q, 0, t->m, rows_of(s, cols), j, w->b);
            q->k0 += q->k;
        } while (q->k0 < plan->k);
    }
}

/* For each row of tiles, all panels. */
static void multiply_rows_outside(const worker *w, const block *t, k_block *q) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    const size_t alike = panels_alike(s, t, 0, c1x1_columns_at(s, t, 0));
    for (size_t i = 0; i < t->m; i += plan->mr) {
        const char *panel = q->b.base;
        q->more = alike;
        for (size_t j = 0, cols; j < t->n; j += cols, panel += q->b.panel_bytes) {
            cols = c1x1_columns_at(s, t, j);
            const size_t mr = smaller(rows_of(s, cols), plan->mr);
            multiply_rows(w, t, q, i, smaller(i + plan->mr, t->m), mr, j, panel);
            cols += q->more * plan->nr;
            panel += (ptrdiff_t)q->more * q->b.panel_bytes;
            q->more = 0;
        }
    }
}

/* For each panel, all rows of tiles. */
static void multiply_panels_outside(const worker *w, const block *t, k_block *q) {
    const shared *s = w->s;
    const char *panel = q->b.base;
    for (size_t j = 0, cols; j < t->n; j += cols, panel += q->b.panel_bytes) {
        cols = c1x1_columns_at(s, t, j);
        const size_t mr = rows_of(s, cols);
        q->more = t->m <= mr ? panels_alike(s, t, j, cols) : 0;
        multiply_rows(w, t, q, 0, t->m, mr, j, panel);
        cols += q->more * s->plan->nr;
        panel += (ptrdiff_t)q->more * q->b.panel_bytes;
    }
}

void c1x1_multiply_again(worker *w, const block *t, char *c, ptrdiff_t ldc) {
    const shared *s = w->s;
    k_block q = {.c = c, .ldc = ldc}; /* never the last: the epilogue is the matrix unit's */
    do {
        q.k = smaller(s->plan->kc, s->plan->k - q.k0);
        w->held_w = w->held_x = NULL; /* the buffers are shared with the pieces */
        q.a = c1x1_pack_a(w, t, q.k0, q.k);
        q.b = c1x1_pack_b(w, t, q.k0, q.k);
        multiply_panels_outside(w, t, &q);
        q.k0 += q.k;
    } while (q.k0 < s->plan->k);
    w->held_w = w->held_x = NULL;
}

void c1x1_multiply_block(worker *w, const block *t) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    const c1x1_problem *p = s->problem;
    const ptrdiff_t size = (ptrdiff_t)s->size;
    k_block q = {.c = w->tile, .ldc = s->tile_ld};
    if (plan->is_direct && plan->role == C1X1_SMALL) {
        q.c = t->out + c1x1_segment_at(s, t->n0, t->n).out;
    } else if (plan->is_direct && c1x1_pixels_are_n(plan->role)) {
        q.c = t->out + c1x1_segment_at(s, t->n0, t->n).out + (ptrdiff_t)t->m0 * p->out_channel;
        q.ldc = p->out_channel / size;
    } else if (plan->is_direct) {
        const segment g = c1x1_segment_at(s, t->m0, t->m);
        q.c = t->out + g.out + (ptrdiff_t)t->n0 * p->out_channel;
        q.ldc = g.out_stride / size;
    }
    if (plan->unit) {
        c1x1_multiply_matrix(w, t, q.c, q.ldc);
        return;
    }
    if (plan->role == C1X1_SMALL) {
        const operand a = c1x1_find_a(w, t, 0, plan->k);
        const c1x1_tile tile = {.k = plan->k,
                                .n = t->n,
                                .a = a.base,
                                .lda = a.ld,
                                .b = c1x1_find_b(w, t, 0, plan->k).base,
                                .c = q.c,
                                .bias_m = t->bias};
        s->small(&tile);
        if (s->finish && plan->is_direct) c1x1_finish_pixels(s, t, q.c, 0);
        return;
    }
    if (plan->b == C1X1_PACK_PANEL) {
        multiply_panels(w, t, &q);
        return;
    }
    do { /* once even when there are no channels: the results are the bias */
        q.k = smaller(plan->kc, plan->k - q.k0);
        q.is_last = q.k0 + q.k == plan->k;
        q.a = c1x1_find_a(w, t, q.k0, q.k);
        q.b = c1x1_find_b(w, t, q.k0, q.k);
        if (plan->sums_wait) {
            multiply_chains(w, t, &q);
        } else if (plan->chains > 1 && plan->role == C1X1_PIXELS_N) {
            multiply_planes(w, t, &q);
        } else if (plan->role == C1X1_DOT) {
            multiply_dots(w, t, &q);
        } else if (plan->order == C1X1_ROWS_OUTSIDE && c1x1_columns_at(s, t, 0) < t->n) {
            multiply_rows_outside(w, t, &q);
        } else {
            multiply_panels_outside(w, t, &q);
        }
        q.k0 += q.k;
    } while (q.k0 < plan->k);
    if (s->finish && plan->is_direct && plan->role == C1X1_DOT)
        c1x1_finish_pixels(s, t, q.c, q.ldc);
}
