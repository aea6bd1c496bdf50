/* matrix.c - a block on a matrix unit: operands are cut into pieces, multiplied, and checked.
 *
 * Bytes are exact. The unit of bfloat16 knows no NaN, no infinity that is right, and no subnormal number.
 * So the range of every 32 rows and of every 32 columns is noted while they are cut, or read where they
 * lie; results of a pair that does not fit are computed again by the tiles of the plan's ISA. Rows and
 * columns are counted from the first of an outer step, whatever the blocks, so that threads change
 * nothing. */
#include "matrix.h"

#include "finish.h"
#include "multiply.h"

enum { EDGE = C1X1_MATRIX_EDGE };

/* One side of the product from k0 on: panels of EDGE rows or columns, so many bytes apart. */
typedef struct {
    const char *base;
    ptrdiff_t panel_bytes;
} pieces;

static size_t panels_of(size_t count) { return divide_up(count, EDGE); }

static const c1x1_matrix_kernels *unit_of(const c1x1_plan *plan) {
    return plan->unit->matrix[plan->unit_kind];
}

/* Where one side comes from: count rows (columns) from `first` of the outer step on. */
typedef struct {
    size_t first, count;
    unsigned count_of_pieces;
    int are_pixels, are_rows; /* rows: the a side */
    int is_flipped;           /* signed bytes become unsigned, or the other way round */
    c1x1_source source;
    char *to;
    c1x1_range *ranges;
} side;

static side side_a(const worker *w, const block *t) {
    const c1x1_plan *plan = w->s->plan;
    return (side){.first = t->m0,
                  .count = t->m,
                  .count_of_pieces = plan->a_pieces,
                  .are_pixels = !c1x1_pixels_are_n(plan->role),
                  .are_rows = 1,
                  .is_flipped = plan->a_offset != 0,
                  .source = plan->a,
                  .to = w->a,
                  .ranges = w->ranges};
}

static side side_b(const worker *w, const block *t) {
    const c1x1_plan *plan = w->s->plan;
    return (side){.first = t->n0,
                  .count = t->n,
                  .count_of_pieces = plan->b_pieces,
                  .are_pixels = c1x1_pixels_are_n(plan->role),
                  .source = plan->b,
                  .to = w->b,
                  .ranges = w->ranges + panels_of(plan->mc)};
}

/* Rows (columns) `first` .. of a panel as the kernel reads them: in the caller's array, or loaded. */
static void find_source(const worker *w, const block *t, const side *q, size_t first, size_t k0,
                        char *stage, c1x1_split *split) {
    const shared *s = w->s;
    const c1x1_problem *p = s->problem;
    const int is_copied = s->plan->unit_kind != C1X1_UNIT_FLOAT32;
    const char *from;
    ptrdiff_t along, across; /* bytes from one of k, one row (column), to the next */
    if (q->are_pixels) {
        const segment g = c1x1_segment_at(s, first, split->count);
        from = t->x + g.x + (ptrdiff_t)k0 * p->x_channel;
        along = p->x_channel;
        across = g.x_stride;
    } else {
        from = t->w + (ptrdiff_t)first * p->w_out + (ptrdiff_t)k0 * p->w_in;
        along = p->w_in;
        across = p->w_out;
    }
    if (q->source == C1X1_IN_PLACE) {
        split->source = from;
        split->ld = (q->are_rows ? across : along) / (ptrdiff_t)unit_of(s->plan)->size;
        return;
    }
    split->source = stage;
    split->ld = q->are_rows ? (ptrdiff_t)(w->s->plan->matrix_kc + EDGE / 2) : EDGE;
    if (q->are_pixels) {
        c1x1_load_pixels(s, is_copied ? &s->copy : &s->load_x, t, first, split->count, k0, split->k,
                         stage, split->ld, q->are_rows);
        return;
    }
    const c1x1_copy rows = {split->count, split->k, across, along, split->ld};
    const c1x1_copy columns = {split->k, split->count, along, across, split->ld};
    c1x1_load(is_copied ? &s->copy : &s->load_w, q->are_rows ? C1X1_ALONG : C1X1_ACROSS, stage,
              from, q->are_rows ? &rows : &columns);
}

/* Cuts channels k0 .. k0 + k; those of weights lie where all of theirs do. */
static void cut(const worker *w, const block *t, const side *q, size_t k0, size_t k,
                size_t panel_bytes, char *to) {
    const c1x1_plan *plan = w->s->plan;
    const c1x1_matrix_kernels *unit = unit_of(plan);
    char *stage = q->to + panels_of(q->are_rows ? plan->mc : plan->nc) * panel_bytes;
    for (size_t i = 0; i < q->count; i += EDGE, to += panel_bytes) {
        c1x1_split split = {.count = smaller(EDGE, q->count - i),
                            .k = k,
                            .to = to,
                            .pieces = q->count_of_pieces,
                            .is_flipped = q->is_flipped,
                            .range = &q->ranges[i / EDGE]};
        find_source(w, t, q, q->first + i, k0, stage, &split);
        (q->are_rows ? unit->split_rows : unit->split_columns)(&split);
    }
}

static void forget_ranges(const side *q) {
    for (size_t i = 0; i < panels_of(q->count); i++) q->ranges[i] = (c1x1_range){UINT32_MAX, 0};
}

/* Pixels where they lie, k at a time; of bfloat16 it is noted what they are. */
static pieces read_pixels(worker *w, const block *t, const side *q, size_t k0, size_t k) {
    const c1x1_plan *plan = w->s->plan;
    const c1x1_matrix_kernels *unit = unit_of(plan);
    const segment g = c1x1_segment_at(w->s, q->first, q->count);
    const pieces found = {t->x + g.x + k0 * unit->size, EDGE * g.x_stride};
    if (plan->unit_kind == C1X1_UNIT_BYTES) return found;
    if (k0 == 0) forget_ranges(q);
    for (size_t i = 0; i < q->count; i += EDGE) {
        const c1x1_split rows = {.count = smaller(EDGE, q->count - i),
                                 .k = k,
                                 .source = found.base + (ptrdiff_t)i * g.x_stride,
                                 .ld = g.x_stride / (ptrdiff_t)unit->size,
                                 .pieces = 1,
                                 .range = &q->ranges[i / EDGE]};
        unit->split_rows(&rows);
    }
    return found;
}

/* Pixels, k at a time. */
static pieces find_pixels(worker *w, const block *t, const side *q, size_t k0, size_t k) {
    const c1x1_plan *plan = w->s->plan;
    if (plan->reads_x) return read_pixels(w, t, q, k0, k);
    const size_t panel_bytes =
        c1x1_matrix_bytes(unit_of(plan), plan->matrix_kc, q->count_of_pieces);
    const pieces found = {q->to, (ptrdiff_t)panel_bytes};
    if (plan->matrix_kc >= plan->k && c1x1_holds_pixels(w, t, q->first, 0)) return found;
    if (k0 == 0) forget_ranges(q);
    cut(w, t, q, k0, k, panel_bytes, q->to);
    return found;
}

/* Weights, all of k at once. */
static pieces find_weights(worker *w, const block *t, const side *q) {
    const shared *s = w->s;
    const c1x1_problem *p = s->problem;
    const c1x1_matrix_kernels *unit = unit_of(s->plan);
    const size_t panel_bytes = c1x1_matrix_bytes(unit, s->plan->k, q->count_of_pieces);
    if (q->source == C1X1_PREPACKED) {
        const c1x1_pieces *packed = p->packed->pieces;
        const size_t panel = t->group * packed->panels + q->first / EDGE;
        for (size_t i = 0; i < panels_of(q->count); i++) q->ranges[i] = packed->range[panel + i];
        return (pieces){packed->data + panel * panel_bytes, (ptrdiff_t)panel_bytes};
    }
    const char *from = t->w + (ptrdiff_t)q->first * p->w_out;
    const pieces found = {q->to, (ptrdiff_t)panel_bytes};
    if (c1x1_holds_weights(w, from, q->count)) return found;
    forget_ranges(q);
    const size_t kc = s->plan->matrix_kc;
    for (size_t k0 = 0; k0 < s->plan->k; k0 += kc)
        cut(w, t, q, k0, smaller(kc, s->plan->k - k0), panel_bytes,
            q->to + c1x1_matrix_bytes(unit, k0, q->count_of_pieces));
    return found;
}

/* Whether the unit's products of these are as exact as they should be: nothing infinite, no piece and
 * no product so small that it is lost, no sum that may overflow before it must. Exponents have a bias
 * of 127; a product of pieces that is lost is below 2^-30 of that of the values, and a sum has at most
 * 2^27 terms. */
static int fits(const c1x1_range *a, const c1x1_range *b) {
    enum { LEAST = 24, BIASES = 254, MOST = 253, PIECES = 30, TERMS = 27 };
    const uint32_t a_high = a->largest >> 23, b_high = b->largest >> 23;
    if (a_high > MOST || b_high > MOST) return 0;
    const uint32_t a_low = a->smallest >> 23, b_low = b->smallest >> 23;
    if (a_low < LEAST || b_low < LEAST) return 0;
    return a_high + b_high <= BIASES + 126 - TERMS && a_low + b_low >= BIASES - 126 + PIECES;
}

/* Rows i .. of the block: what does not fit once more, then the epilogue. */
static void settle(worker *w, const block *t, const side *a, const side *b, char *c, ptrdiff_t ldc,
                   size_t i) {
    const shared *s = w->s;
    const ptrdiff_t size = (ptrdiff_t)s->size;
    const size_t rows = smaller(EDGE, t->m - i);
    char *at = c + (ptrdiff_t)i * ldc * size;
    const int is_checked = s->plan->unit_kind != C1X1_UNIT_BYTES;
    for (size_t j = 0; is_checked && j < t->n; j += EDGE) {
        if (fits(&a->ranges[i / EDGE], &b->ranges[j / EDGE])) continue;
        block part = *t;
        part.m0 += i;
        part.m = rows;
        part.n0 += j;
        part.n = smaller(EDGE, t->n - j);
        c1x1_multiply_again(w, &part, at + (ptrdiff_t)j * size, ldc);
    }
    if (s->finish && s->plan->is_direct) c1x1_finish_rows(s, t, i, rows, 0, t->n, at, ldc);
}

void c1x1_multiply_matrix(worker *w, const block *t, char *c, ptrdiff_t ldc) {
    const c1x1_plan *plan = w->s->plan;
    const c1x1_matrix_kernels *unit = unit_of(plan);
    const ptrdiff_t row = ldc * (ptrdiff_t)w->s->size;
    const side a = side_a(w, t), b = side_b(w, t);
    const int pixels_are_n = c1x1_pixels_are_n(plan->role);
    const pieces weights = find_weights(w, t, pixels_are_n ? &a : &b);
    const size_t m_panels = panels_of(t->m), n_panels = panels_of(t->n);
    const size_t last_n = t->n - (n_panels - 1) * EDGE;
    /* Long sums are as exact as those of the tiles only if they are cut as those are (decision 0002). */
    const int is_cut_short =
        plan->unit_kind != C1X1_UNIT_BYTES && w->s->problem->precision == C1X1_HIGHEST;
    const segment run = c1x1_segment_at(w->s, pixels_are_n ? t->n0 : t->m0, 1);
    for (size_t k0 = 0; k0 < plan->k; k0 += plan->matrix_kc) {
        const size_t k = smaller(plan->matrix_kc, plan->k - k0);
        const pieces pixels = find_pixels(w, t, pixels_are_n ? &b : &a, k0, k);
        const pieces left = pixels_are_n ? weights : pixels,
                     right = pixels_are_n ? pixels : weights;
        const char *from_a = left.base, *from_b = right.base;
        if (pixels_are_n)
            from_a += c1x1_matrix_bytes(unit, k0, plan->a_pieces);
        else
            from_b += c1x1_matrix_bytes(unit, k0, plan->b_pieces);
        c1x1_matrix_block q = {.k = k,
                               .ldc = ldc,
                               .a_pieces = plan->a_pieces,
                               .b_pieces = plan->b_pieces,
                               .a_is_signed = plan->a_is_signed,
                               .b_is_signed = plan->b_is_signed,
                               .a_offset = plan->a_offset,
                               .a_row = plan->reads_x ? run.x_stride : C1X1_MATRIX_ROW,
                               .a_step = plan->reads_x ? C1X1_MATRIX_ROW
                                                       : plan->a_pieces * 2 * C1X1_MATRIX_TILE,
                               .start = k0 == 0        ? C1X1_ZERO
                                        : is_cut_short ? C1X1_ADD
                                                       : C1X1_CONTINUE,
                               .next_b = (size_t)right.panel_bytes};
        const int goes_along = plan->order == C1X1_ROWS_OUTSIDE;
        for (size_t j = 0; j < (goes_along ? 1 : n_panels); j++) {
            const int is_last = j + 1 == n_panels;
            q.more = goes_along ? n_panels - 1 : 0;
            q.last_n = goes_along || is_last ? last_n : EDGE;
            q.n = EDGE;
            q.b = from_b + (ptrdiff_t)j * right.panel_bytes;
            for (size_t i = 0; i < m_panels; i++) {
                q.m = smaller(EDGE, t->m - i * EDGE);
                q.a = from_a + (ptrdiff_t)i * left.panel_bytes;
                q.c = c + (ptrdiff_t)(i * EDGE) * row + j * EDGE * w->s->size;
                unit->multiply(&q);
            }
        }
    }
    for (size_t i = 0; i < t->m; i += EDGE) settle(w, t, &a, &b, c, ldc, i);
}
