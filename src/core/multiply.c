/* multiply.c - the multiply stage of a block: for each block of k, panel by panel, tile by tile.
 *
 * Layouts and ISAs are unknown here: there are a, b and c with strides, and the kernels of the plan. */
#include "multiply.h"

#include "k_block.h"
#include "matrix.h"

/* Several tiles' rows get their epilogue at once, which costs its constants only once; few enough that
 * rows a multiple of a page apart are still in L1. */
enum {
    FINISHED_ROWS = 12,
    MOST_STRIPS = 4,
    FETCHED_EVERY = 4,     /* steps of a tile, at least */
    FETCHED_STEPS = 128,   /* after so many of them memory has answered */
    STRIP_BYTES = 16 << 10 /* of a, which stay in L1 until the last panel needs them */
};

/* As many rows of pixels as a tile has, some tiles further on: memory takes longer than one. */
static c1x1_ahead rows_ahead(const worker *w, const block *t, const k_block *q, size_t i,
                             size_t rows) {
    enum { PAIR = 2 * C1X1_LINE };
    const size_t row = (size_t)q->a.ld * w->s->size, from = i + divide_up(C1X1_FETCHED, row);
    const size_t end = w->s->plan->m - t->m0; /* beyond the block too, where the next one begins */
    if (from >= end) return (c1x1_ahead){0};
    return (c1x1_ahead){q->a.base + from * row, divide_up(smaller(rows, end - from) * row, PAIR),
                        PAIR, 1};
}

/* So many planes of the panel that begins there, but for the first line, which came with the panel before.
 * How many at once, multiply_rows says. */
static c1x1_ahead planes_ahead(const shared *s, const char *panel, size_t channels,
                               ptrdiff_t step) {
    const size_t bytes = s->plan->nr * s->load_x.size;
    const char *last = panel + bytes - 1;
    return (c1x1_ahead){bytes > C1X1_LINE ? last - C1X1_LINE : last, channels, step, 1};
}

/* Rows i .. end of a panel that is a single column, but for the last few; how many. */
static size_t multiply_column(const worker *w, const block *t, const k_block *q, c1x1_tile *tile,
                              size_t i, size_t end, size_t j) {
    const shared *s = w->s;
    const size_t rows = (end - i) / s->columns->vl * s->columns->vl;
    if (rows == 0) return 0;
    tile->more = rows / s->columns->vl - 1;
    s->columns->column(tile);
    tile->more = 0;
    if (s->finish && q->is_last && s->plan->is_direct)
        c1x1_finish_rows(s, t, i, rows, j, 1, tile->c, tile->ldc);
    return rows;
}

/* To the tile as many rows below, and as many columns further on. */
static void move_tile(const shared *s, c1x1_tile *tile, size_t rows, size_t columns) {
    const ptrdiff_t size = (ptrdiff_t)s->size, down = (ptrdiff_t)rows * size,
                    right = (ptrdiff_t)columns * size;
    tile->a = (const char *)tile->a + down * tile->lda;
    tile->b = (const char *)tile->b + right;
    tile->c = (char *)tile->c + down * tile->ldc + right;
    if (tile->residual) tile->residual = (const char *)tile->residual + down * tile->ldr + right;
    if (tile->bias_m) tile->bias_m = (const char *)tile->bias_m + down;
    if (tile->bias_n) tile->bias_n = (const char *)tile->bias_n + right;
}

/* Rows i .. end of the columns at j, from `tile`, which is at row i, downwards: tiles of even height, since one
 * of one or two rows takes as long as one of four. */
static void multiply_tiles(const worker *w, const block *t, const k_block *q, c1x1_tile tile,
                           size_t i, size_t end, size_t j) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    if (tile.n == 1 && s->columns) {
        const size_t rows = multiply_column(w, t, q, &tile, i, end, j);
        if ((i += rows) == end) return;
        move_tile(s, &tile, rows, 0);
    }
    const size_t mr = c1x1_rows_of(s, tile.n);
    const size_t tiles = end - i <= mr ? 1 : divide_up(end - i, mr);
    const size_t low = tiles == 1 ? end - i : (end - i) / tiles;
    size_t taller = end - i - low * tiles;
    const size_t nv = (tile.n + s->kernels->vl - 1) >> s->vl_log2;
    const int is_masked = tile.n != nv << s->vl_log2;
    const int is_finished = s->finish && q->is_last && plan->is_direct;
    size_t unfinished = 0;            /* rows of sums right above row i */
    size_t wanted = tile.ahead.count; /* shared out among the tiles */
    const size_t share = divide_up(wanted, tiles);
    tile.ahead.each = larger(divide_up(FETCHED_EVERY * share, larger(q->k, 1)), 1);
    tile.is_ahead_of_b = wanted > 0 && tile.more > 0;
    for (size_t rows; i < end; i += rows) {
        if (share > 0) {
            tile.ahead.count = smaller(share, wanted);
            wanted -= tile.ahead.count;
        }
        rows = low + (taller > 0);
        taller -= taller > 0;
        /* The first panel brings them: for the others they are there. */
        if (plan->fetches_x && j == 0 && plan->role == C1X1_PIXELS_M)
            tile.ahead = rows_ahead(w, t, q, i, rows);
        s->kernels->tile[rows - 1][nv - 1][is_masked](&tile);
        unfinished += rows;
        if (is_finished && (unfinished >= FINISHED_ROWS || i + rows == end)) {
            const size_t above = unfinished - rows;
            c1x1_finish_rows(s, t, i - above, unfinished, j, tile.n * (1 + tile.more),
                             (char *)tile.c - (ptrdiff_t)(above * s->size) * tile.ldc, tile.ldc);
            unfinished = 0;
        }
        if (share > 0) tile.ahead.at += (ptrdiff_t)share * tile.ahead.step;
        move_tile(s, &tile, rows, 0);
    }
}

/* Rows i .. end of one panel. */
static void multiply_rows(const worker *w, const block *t, const k_block *q, size_t i, size_t end,
                          size_t j, const char *panel) {
    const shared *s = w->s;
    c1x1_tile tile = c1x1_tile_at(w, t, q, i, j, panel);
    tile.ahead = q->ahead;
    if (c1x1_is_column_left(s->kernels, s->columns, tile.n)) {
        const size_t whole = --tile.n;
        if (tile.fetched_c) tile.fetched_c = (ptrdiff_t)c1x1_rows_of(s, whole) * tile.ldc;
        multiply_tiles(w, t, q, tile, i, end, j);
        move_tile(s, &tile, 0, whole);
        tile.n = 1;
        tile.ahead = (c1x1_ahead){0};
        j += whole;
    }
    multiply_tiles(w, t, q, tile, i, end, j);
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
                q->ahead = planes_ahead(
                    s, from + c1x1_channel_at(s, q->k, step),
                    c1x1_channels(s, q->k0 + q->k, smaller(plan->kc, left - q->k)), step);
            else
                q->ahead = planes_ahead(
                    s, x + cols * s->load_x.size,
                    is_end ? 0 : c1x1_channels(s, 0, smaller(plan->kc, plan->k)), step);
            c1x1_pack_panel(w, from, channels, cols);
            multiply_rows(w, t, q, 0, t->m, j, w->b);
            q->k0 += q->k;
        } while (q->k0 < plan->k);
    }
}

/* Rows that tiles of either height share out evenly: the last panel may be wider, and its tiles lower; or as many
 * as the kernel for a column takes at a time. As many of them as stay in L1, since each strip costs a few
 * calls. */
static size_t strip_of(const shared *s, const block *t, size_t k) {
    const size_t mr = s->plan->mr, width = c1x1_last_columns(s->kernels, s->plan->nr, t->n);
    const size_t last = c1x1_rows_of(s, width);
    size_t rows = mr;
    if (c1x1_is_column_left(s->kernels, s->columns, width)) {
        rows = 2 * s->columns->vl;
    } else {
        while (rows % last != 0 && rows < MOST_STRIPS * mr) rows += mr;
        if (rows % last != 0) rows = mr;
    }
    return larger(STRIP_BYTES / (k * s->size + 1) / rows, 1) * rows;
}

/* For each strip of rows, one tile high or a few, all panels. */
static void multiply_rows_outside(const worker *w, const block *t, k_block *q) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    const size_t alike = c1x1_panels_alike(s, t, 0, c1x1_columns_at(s, t, 0)),
                 strip = strip_of(s, t, q->k);
    for (size_t i = 0; i < t->m; i += strip) {
        const char *panel = q->b.base;
        q->more = alike;
        for (size_t j = 0, cols; j < t->n; j += cols, panel += q->b.panel_bytes) {
            cols = c1x1_columns_at(s, t, j);
            multiply_rows(w, t, q, i, smaller(i + strip, t->m), j, panel);
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
    const int fetches = s->plan->fetches_x && s->plan->role == C1X1_PIXELS_N;
    const size_t far = (1 + FETCHED_STEPS / larger(q->k, 1)) * s->plan->nr * s->size;
    for (size_t j = 0, cols; j < t->n; j += cols, panel += q->b.panel_bytes) {
        if (fetches) q->ahead = planes_ahead(s, panel + far, q->k, q->b.ld * (ptrdiff_t)s->size);
        cols = c1x1_columns_at(s, t, j);
        const size_t mr = c1x1_rows_of(s, cols);
        q->more = t->m <= mr ? c1x1_panels_alike(s, t, j, cols) : 0;
        multiply_rows(w, t, q, 0, t->m, j, panel);
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
            c1x1_multiply_chains(w, t, &q);
        } else if (plan->chains > 1 && plan->role == C1X1_PIXELS_N) {
            c1x1_multiply_planes(w, t, &q);
        } else if (plan->role == C1X1_DOT) {
            c1x1_multiply_dots(w, t, &q);
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
