/* operands.c - where a kernel finds a and b of a block: in the caller's arrays or in packed copies. */
#include "operands.h"

#include <string.h>

enum { ROWS_AHEAD = 4 };

/* ---- pixels to addresses -------------------------------------------------------------------- */

segment c1x1_segment_at(const shared *s, size_t pixel, size_t want) {
    const c1x1_problem *p = s->problem;
    segment g = {.count = want};
    if (p->dims == 0) return g;
    const c1x1_dim *last = &p->dim[p->dims - 1];
    g.x_stride = last->x_stride;
    g.out_stride = last->out_stride;
    g.residual_stride = last->residual_stride;
    if (!s->plan->is_gathered) {
        g.x = (ptrdiff_t)pixel * last->x_stride;
        g.out = (ptrdiff_t)pixel * last->out_stride;
        g.residual = (ptrdiff_t)pixel * last->residual_stride;
        return g;
    }
    g.count = smaller(want, last->size - pixel % last->size);
    const place at = c1x1_place_of(p, p->dims, pixel);
    g.x = at.x;
    g.out = at.out;
    g.residual = at.residual;
    return g;
}

/* ---- load stage ----------------------------------------------------------------------------- */

/* Shorter rows cost less without a call each. */
enum { SHORTEST_CONVERTED = 8 };

void c1x1_load(const c1x1_loader *l, c1x1_way way, void *to, const char *from,
               const c1x1_copy *copy) {
    const int is_dense = copy->col_stride == (ptrdiff_t)l->size;
    if (!l->convert || !is_dense || copy->cols < SHORTEST_CONVERTED ||
        (l->makes_pairs && way == C1X1_ACROSS)) {
        l->load[way](to, from, copy);
        return;
    }
    const ptrdiff_t row_bytes = copy->ld * (ptrdiff_t)l->packed_size;
    char *row = to;
    for (size_t r = 0; r < copy->rows; r++, row += row_bytes, from += copy->row_stride) {
        l->convert(row, from, copy->cols);
        if (l->makes_pairs && copy->cols % 2) memset(row + copy->cols * 2, 0, 2);
    }
}

/* The same through the table, whose entries for `channel` belong to the first row (column). */
static void look_up(const shared *s, char *to, const char *from, const c1x1_copy *copy,
                    size_t channel, int channels_are_columns) {
    const c1x1_problem *p = s->problem;
    const char *table = p->table + (ptrdiff_t)channel * p->table_channel;
    const ptrdiff_t row = channels_are_columns ? 0 : p->table_channel;
    const ptrdiff_t column = channels_are_columns ? p->table_channel : 0;
    c1x1_look_up(p->x_dtype, s->plan->compute, to, from, copy, &(c1x1_table){table, row, column});
}

/* Pixels first .. first + count, elements k0 .. k0 + k. As rows, or as columns of one panel. */
void c1x1_load_pixels(const shared *s, const c1x1_loader *load, const block *t, size_t first,
                      size_t count, size_t k0, size_t k, char *to, ptrdiff_t ld, int as_rows) {
    const c1x1_problem *p = s->problem;
    const size_t channels = c1x1_channels(s, k0, k);
    for (size_t done = 0; done < count;) {
        const segment g = c1x1_segment_at(s, first + done, count - done);
        const char *from = t->x + g.x + c1x1_channel_at(s, k0, p->x_channel);
        const c1x1_copy rows = {g.count, channels, g.x_stride, p->x_channel, ld};
        const c1x1_copy columns = {channels, g.count, p->x_channel, g.x_stride, ld};
        const ptrdiff_t at = (ptrdiff_t)done * (as_rows ? ld : 1) * (ptrdiff_t)load->packed_size;
        if (p->table)
            look_up(s, to + at, from, as_rows ? &rows : &columns, t->group * p->c_in + k0, as_rows);
        else
            c1x1_load(load, as_rows ? C1X1_ALONG : C1X1_ACROSS, to + at, from,
                      as_rows ? &rows : &columns);
        done += g.count;
    }
}

/* Whether the buffer holds these pixels already; from now on it does. The group is asked too: with a
 * stride of zero all begin at one address, but each channel has its own row of the table. */
int c1x1_holds_pixels(worker *w, const block *t, size_t first, size_t k0) {
    if (w->held_x == t->x && w->held_group == t->group && w->held_first == first &&
        w->held_k0 == k0)
        return 1;
    w->held_x = t->x;
    w->held_group = t->group;
    w->held_first = first;
    w->held_k0 = k0;
    return 0;
}

/* The same for `count` output channels of w. Their number is asked too: with a stride of zero all
 * blocks begin at one address. */
int c1x1_holds_weights(worker *w, const char *from, size_t count) {
    if (w->held_w == from && w->held_w_count == count) return 1;
    w->held_w = from;
    w->held_w_count = count;
    return 0;
}

operand c1x1_pack_a(worker *w, const block *t, size_t k0, size_t k) {
    const shared *s = w->s;
    const c1x1_problem *p = s->problem;
    const operand packed = {w->a, s->a_ld, 0, 0};
    if (!c1x1_pixels_are_n(s->plan->role)) {
        if (!c1x1_holds_pixels(w, t, t->m0, k0))
            c1x1_load_pixels(s, &s->load_x, t, t->m0, t->m, k0, k, w->a, s->a_ld, 1);
        return packed;
    }
    const char *from = t->w + (ptrdiff_t)t->m0 * p->w_out + c1x1_channel_at(s, k0, p->w_in);
    if (c1x1_holds_weights(w, from, t->m)) return packed;
    if (!s->plan->sums_wait) {
        const size_t channels = c1x1_channels(s, k0, k);
        c1x1_load(&s->load_w, C1X1_ALONG, w->a, from,
                  &(c1x1_copy){t->m, channels, p->w_out, p->w_in, s->a_ld});
        return packed;
    }
    /* Every sixteenth channel together, so that each chain reads along memory. */
    for (size_t chain = 0; chain < C1X1_CHAINS; chain++) {
        const c1x1_copy copy = {t->m, c1x1_chain_length(k, chain), p->w_out, C1X1_CHAINS * p->w_in,
                                s->a_ld};
        c1x1_load(&s->load_w, C1X1_ALONG,
                  w->a + (ptrdiff_t)chain * s->chain_ld * (ptrdiff_t)s->size,
                  from + (ptrdiff_t)chain * p->w_in, &copy);
    }
    return packed;
}

/* The panel at column j, whatever the strides. */
static void pack_panel(worker *w, const block *t, size_t j, size_t cols, size_t k0, size_t k,
                       char *to) {
    const shared *s = w->s;
    const c1x1_problem *p = s->problem;
    const size_t first = t->n0 + j;
    const ptrdiff_t length = (ptrdiff_t)c1x1_row_length(s, cols);
    if (c1x1_pixels_are_n(s->plan->role)) {
        c1x1_load_pixels(s, &s->load_x, t, first, cols, k0, k, to, length, 0);
        return;
    }
    const char *from = t->w + (ptrdiff_t)first * p->w_out + c1x1_channel_at(s, k0, p->w_in);
    const size_t channels = c1x1_channels(s, k0, k);
    c1x1_load(&s->load_w, C1X1_ACROSS, to, from,
              &(c1x1_copy){channels, cols, p->w_in, p->w_out, length});
}

/* Elements at `from`, `unit` bytes apart, to panels of `length` columns, `panel` elements apart: the rows of k
 * channels, `step` bytes apart. Those `fetched` bytes further on, unless it is 0, are fetched meanwhile. */
static void pack_along(const shared *s, const c1x1_loader *load, char *to, const char *from,
                       size_t k, size_t n, ptrdiff_t step, ptrdiff_t unit, size_t length,
                       size_t panel, ptrdiff_t fetched) {
    const int is_aligned = (((uintptr_t)from | (uintptr_t)step) & (s->size - 1)) == 0;
    const int is_dense = unit == (ptrdiff_t)load->size;
    if (load->is_plain && is_dense && is_aligned) {
        const c1x1_tile rows = {.k = k,
                                .n = n,
                                .b = from,
                                .ldb = step / (ptrdiff_t)s->size,
                                .c = to,
                                .ldc = (ptrdiff_t)panel,
                                .fetched = fetched / (ptrdiff_t)s->size};
        s->kernels->pack[(length >> s->vl_log2) - 1](&rows);
        return;
    }
    const size_t span = (size_t)(unit < 0 ? -unit : unit);
    const ptrdiff_t each = (ptrdiff_t)divide_up(C1X1_LINE, span);
    for (size_t r = 0; r < k && fetched != 0; r++)
        for (ptrdiff_t at = 0; at < (ptrdiff_t)n; at += each)
            __builtin_prefetch(from + (ptrdiff_t)r * step + fetched + at * unit);
    for (size_t j = 0; j < n; j += length, to += panel * s->size) {
        const c1x1_copy copy = {k, smaller(length, n - j), step, unit, (ptrdiff_t)length};
        c1x1_load(load, C1X1_ACROSS, to, from + (ptrdiff_t)j * unit, &copy);
    }
}

/* All panels of b along memory: a few rows go to every panel before the next ones are touched. Those of
 * k channels begin at `from`, `step` bytes apart, and hold elements `unit` bytes apart. Each row lies on pages of its
 * own, beyond what the hardware fetches ahead; the last ones fetch the first of the next block. */
static void pack_rows(worker *w, const block *t, size_t k, const c1x1_loader *load,
                      const char *from, ptrdiff_t step, ptrdiff_t unit) {
    const shared *s = w->s;
    const size_t nr = s->plan->nr, panel = s->plan->kc * nr;
    const size_t last = c1x1_last_columns(s->kernels, nr, t->n);
    const size_t before = t->n - last, length = c1x1_row_length(s, last);
    const ptrdiff_t next_block = t->n0 + t->n < s->plan->n ? (ptrdiff_t)t->n * unit : 0;
    char *to_last = w->b + before / nr * panel * s->size;
    for (size_t row = 0, rows; row < k; row += rows, from += (ptrdiff_t)rows * step) {
        rows = smaller(ROWS_AHEAD, k - row);
        const size_t below = smaller(ROWS_AHEAD, k - row - rows);
        const ptrdiff_t fetched = below > 0         ? (ptrdiff_t)below * step
                                  : next_block != 0 ? next_block - (ptrdiff_t)row * step
                                                    : 0;
        if (before > 0)
            pack_along(s, load, w->b + row / s->factor * nr * s->size, from, rows, before, step,
                       unit, nr, panel, fetched);
        pack_along(s, load, to_last + row / s->factor * length * s->size,
                   from + (ptrdiff_t)before * unit, rows, last, step, unit, length, panel, fetched);
    }
}

void c1x1_pack_panel(worker *w, const char *from, size_t channels, size_t n) {
    const shared *s = w->s;
    pack_along(s, &s->load_x, w->b, from, channels, n, s->problem->x_channel,
               (ptrdiff_t)s->load_x.size, c1x1_row_length(s, n), 0, 0);
}

/* The step from pixel to pixel of a block, where it is shorter than that between channels and values are converted
 * one by one; else 0. */
static ptrdiff_t planar_step(const shared *s) {
    const c1x1_problem *p = s->problem;
    if (s->plan->is_gathered || p->dims == 0 || p->table) return 0;
    const ptrdiff_t step = p->dim[p->dims - 1].x_stride;
    return c1x1_is_nearer(step, p->x_channel) ? step : 0;
}

/* All channels of the block's pixels side by side, as small kernels read them and pixels for them lie. */
static void pack_interleaved(worker *w, const block *t) {
    const shared *s = w->s;
    const c1x1_problem *p = s->problem;
    const size_t k = s->plan->k;
    if ((p->table && p->table_channel != 0) || k * s->factor != p->c_in) {
        c1x1_load_pixels(s, &s->load_x, t, t->n0, t->n, 0, k, w->b, (ptrdiff_t)k, 1);
        return;
    }
    const c1x1_copy dense = {1, t->n * p->c_in, 0, (ptrdiff_t)s->load_x.size, 0};
    const char *from = t->x + c1x1_segment_at(s, t->n0, t->n).x;
    if (p->table)
        look_up(s, w->b, from, &dense, 0, 1);
    else
        c1x1_load(&s->load_x, C1X1_ALONG, w->b, from, &dense);
}

operand c1x1_pack_b(worker *w, const block *t, size_t k0, size_t k) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    const c1x1_problem *p = s->problem;
    const ptrdiff_t size = (ptrdiff_t)s->size;
    const char *from = t->w + (ptrdiff_t)t->n0 * p->w_out + c1x1_channel_at(s, k0, p->w_in);
    const size_t channels = c1x1_channels(s, k0, k);
    if (plan->role == C1X1_DOT) {
        const operand rows = {w->b, s->a_ld, (ptrdiff_t)plan->nr * s->a_ld * size, 0};
        if (!c1x1_holds_weights(w, from, t->n))
            c1x1_load(&s->load_w, C1X1_ALONG, w->b, from,
                      &(c1x1_copy){t->n, channels, p->w_out, p->w_in, s->a_ld});
        return rows;
    }
    if (plan->role == C1X1_SMALL) {
        pack_interleaved(w, t);
        return (operand){w->b, 0, 0, 0};
    }
    const operand panels = {w->b, 0, (ptrdiff_t)(plan->kc * plan->nr) * size, 1};
    if (plan->role == C1X1_PIXELS_M) {
        if (c1x1_holds_weights(w, from, t->n)) return panels;
    } else if (c1x1_holds_pixels(w, t, t->n0, k0)) {
        return panels;
    }
    const ptrdiff_t pixel = c1x1_pixels_are_n(plan->role) ? planar_step(s) : 0;
    if (pixel != 0) {
        from = t->x + c1x1_segment_at(s, t->n0, t->n).x + c1x1_channel_at(s, k0, p->x_channel);
        pack_rows(w, t, channels, &s->load_x, from, p->x_channel, pixel);
    } else if (plan->role == C1X1_PIXELS_M && p->w_out == (ptrdiff_t)c1x1_dtype_size(p->w_dtype)) {
        pack_rows(w, t, channels, &s->load_w, from, p->w_in, p->w_out);
    } else {
        char *to = w->b;
        for (size_t j = 0, cols; j < t->n; j += cols, to += panels.panel_bytes) {
            cols = c1x1_columns_at(s, t, j);
            pack_panel(w, t, j, cols, k0, k, to);
        }
    }
    return panels;
}

/* ---- operands ------------------------------------------------------------------------------- */

operand c1x1_find_a(worker *w, const block *t, size_t k0, size_t k) {
    const shared *s = w->s;
    const c1x1_problem *p = s->problem;
    const ptrdiff_t size = (ptrdiff_t)s->size;
    if (s->plan->a == C1X1_PACK_BLOCK) return c1x1_pack_a(w, t, k0, k);
    if (c1x1_pixels_are_n(s->plan->role))
        return (operand){t->w + (ptrdiff_t)t->m0 * p->w_out + (ptrdiff_t)k0 * p->w_in,
                         p->w_out / size, 0, 0};
    const segment g = c1x1_segment_at(s, t->m0, t->m);
    return (operand){t->x + g.x + (ptrdiff_t)k0 * p->x_channel, g.x_stride / size, 0, 0};
}

static const char *prepacked_group(const shared *s, const block *t) {
    const c1x1_problem *p = s->problem;
    return (const char *)p->packed->panels + t->group * p->packed->group_bytes;
}

operand c1x1_find_wide(const shared *s, const block *t, size_t k0) {
    const c1x1_weights *packed = s->problem->packed;
    const char *panel = prepacked_group(s, t) + packed->wide_at;
    return (operand){panel + k0 * packed->wide * s->size, (ptrdiff_t)packed->wide, 0, 0};
}

operand c1x1_find_b(worker *w, const block *t, size_t k0, size_t k) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    const c1x1_problem *p = s->problem;
    const ptrdiff_t size = (ptrdiff_t)s->size, nr = (ptrdiff_t)plan->nr;
    switch (plan->b) {
    case C1X1_PACK_BLOCK:
        return c1x1_pack_b(w, t, k0, k);
    case C1X1_PREPACKED: {
        const char *panels = prepacked_group(s, t);
        const ptrdiff_t panel_bytes = (ptrdiff_t)plan->k * nr * size;
        return (operand){panels + (ptrdiff_t)t->n0 / nr * panel_bytes + (ptrdiff_t)k0 * nr * size,
                         nr, panel_bytes, 0};
    }
    case C1X1_PACK_PANEL: /* the driver fills it */
        return (operand){w->b, 0, 0, 1};
    default: /* C1X1_IN_PLACE */
        break;
    }
    if (c1x1_pixels_are_n(plan->role)) {
        const segment g = c1x1_segment_at(s, t->n0, t->n);
        return (operand){t->x + g.x + (ptrdiff_t)k0 * p->x_channel, p->x_channel / size, nr * size,
                         0};
    }
    const char *from = t->w + (ptrdiff_t)t->n0 * p->w_out + (ptrdiff_t)k0 * p->w_in;
    if (plan->role == C1X1_DOT) return (operand){from, p->w_out / size, nr * p->w_out, 0};
    return (operand){from, p->w_in / size, nr * size, 0};
}
