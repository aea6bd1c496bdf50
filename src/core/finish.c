/* finish.c - from sums to results in `out`: the epilogue where the sums lie, the store stage, and
 * pixels without data. */
#include "finish.h"

#include <math.h>
#include <string.h>

/* ---- epilogue ------------------------------------------------------------------------------- */

/* The bounds that relu and relu6 are. */
static const void *bounds_of(const c1x1_problem *p) {
    static const float narrow[2][2] = {{0, INFINITY}, {0, 6}};
    static const double wide[2][2] = {{0, (double)INFINITY}, {0, 6}};
    const int is_wide = p->compute == C1X1_COMPUTE_FLOAT64;
    const int which = p->epilogue.activation == C1X1_RELU6;
    return is_wide ? (const void *)wide[which] : (const void *)narrow[which];
}

void c1x1_choose_finish(shared *s) {
    const c1x1_problem *p = s->problem;
    const c1x1_plan *plan = s->plan;
    const c1x1_epilogue *e = &p->epilogue;
    if (plan->finisher == C1X1_FINISH_NONE) return;
    if (plan->finisher == C1X1_FINISH_TILE) {
        s->bounds = e->activation == C1X1_IDENTITY ? NULL : bounds_of(p);
        return;
    }
    const c1x1_compute finish = c1x1_finish_dtype(p);
    s->finish = c1x1_find_kernels(plan->isa, finish, NULL)->finish[e->activation];
    if (e->residual) s->load_residual = c1x1_find_load_sums(e->residual_dtype, finish);
}

/* The epilogue's vectors from output channel `channel` of the block's group on. */
static c1x1_finish finish_from(const shared *s, const block *t, size_t channel) {
    const c1x1_problem *p = s->problem;
    const size_t at = (t->group * p->c_out + channel) * s->finish_size;
    const char *const *parameter = p->epilogue.parameter;
    return (c1x1_finish){.is_by_row = c1x1_pixels_are_n(s->plan->role),
                         .scale = p->epilogue.scale ? p->epilogue.scale + at : NULL,
                         .bias = p->bias ? p->bias + at : NULL,
                         .parameter = {parameter[0] ? parameter[0] + at : NULL,
                                       parameter[1] ? parameter[1] + at : NULL}};
}

/* Few channels side by side, `pixels` of them: rows of as many pixels as a vector has elements, since
 * a row of one pixel would be a masked vector. */
static void finish_interleaved(const shared *s, const block *t, char *c, const char *residual,
                               size_t pixels) {
    const size_t channels = s->problem->c_out, vl = s->kernels->vl, row = channels * vl;
    double terms[4][C1X1_MAX_SMALL * C1X1_MAX_VL]; /* or floats */
    c1x1_finish f = finish_from(s, t, 0);
    const void **const given[4] = {&f.scale, &f.bias, &f.parameter[0], &f.parameter[1]};
    for (int i = 0; i < 4; i++) {
        if (!*given[i]) continue;
        for (size_t copy = 0; copy < vl; copy++)
            memcpy((char *)terms[i] + copy * channels * s->finish_size, *given[i],
                   channels * s->finish_size);
        *given[i] = terms[i];
    }
    f.is_by_row = 0;
    f.m = pixels / vl;
    f.n = row;
    f.ldc = f.ldr = (ptrdiff_t)row;
    f.c = c;
    f.residual = residual;
    s->finish(&f);
    const size_t done = f.m * row * s->finish_size;
    f.m = 1;
    f.n = pixels % vl * channels;
    f.c = c + done;
    f.residual = residual ? residual + done : NULL;
    s->finish(&f);
}

/* The residual of a block, as its sums lie, to a buffer of its own. */
static void load_residual(const worker *w, const block *t, ptrdiff_t ld) {
    const shared *s = w->s;
    const c1x1_plan *plan = s->plan;
    const c1x1_epilogue *e = &s->problem->epilogue;
    const int pixels_are_rows = c1x1_pixels_are_rows(plan->role);
    const size_t first = c1x1_pixels_are_n(plan->role) ? t->n0 : t->m0;
    const size_t channel = c1x1_pixels_are_n(plan->role) ? t->m0 : t->n0;
    const size_t pixels = c1x1_pixels_are_n(plan->role) ? t->n : t->m;
    const size_t channels = c1x1_pixels_are_n(plan->role) ? t->m : t->n;
    const ptrdiff_t step = (pixels_are_rows ? ld : 1) * (ptrdiff_t)s->finish_size;
    const char *from = t->residual + (ptrdiff_t)channel * e->residual_channel;
    for (size_t done = 0; done < pixels;) {
        const segment g = c1x1_segment_at(s, first + done, pixels - done);
        const c1x1_copy rows = {g.count, channels, g.residual_stride, e->residual_channel, ld};
        const c1x1_copy columns = {channels, g.count, e->residual_channel, g.residual_stride, ld};
        s->load_residual(w->residual + (ptrdiff_t)done * step, from + g.residual,
                         pixels_are_rows ? &rows : &columns);
        done += g.count;
    }
}

/* The epilogue of a block whose sums wait at `sums`, in the dtype that it is done in. */
static void finish_sums(const worker *w, const block *t, char *sums, ptrdiff_t ld) {
    const shared *s = w->s;
    const int is_small = s->plan->role == C1X1_SMALL;
    const size_t rows = is_small ? t->n : t->m, columns = is_small ? t->m : t->n;
    const char *residual = s->problem->epilogue.residual ? w->residual : NULL;
    if (residual) load_residual(w, t, ld);
    if (is_small) {
        finish_interleaved(s, t, sums, residual, rows);
        return;
    }
    c1x1_finish f = finish_from(s, t, c1x1_pixels_are_n(s->plan->role) ? t->m0 : t->n0);
    f.m = rows;
    f.n = columns;
    f.c = sums;
    f.residual = residual;
    f.ldc = f.ldr = ld;
    s->finish(&f);
}

const char *c1x1_residual_at(const shared *s, const block *t, size_t i, size_t j, ptrdiff_t *ldr) {
    const c1x1_epilogue *e = &s->problem->epilogue;
    if (!e->residual) return NULL;
    const int pixels_are_n = c1x1_pixels_are_n(s->plan->role);
    const size_t pixel = pixels_are_n ? t->n0 + j : t->m0 + i;
    const size_t channel = pixels_are_n ? t->m0 + i : t->n0 + j;
    const segment g = c1x1_segment_at(s, pixel, 1);
    *ldr = (pixels_are_n ? e->residual_channel : g.residual_stride) / (ptrdiff_t)s->size;
    return t->residual + g.residual + (ptrdiff_t)channel * e->residual_channel;
}

/* The epilogue of rows i .. i + m, columns j .. j + n, which lie at c in `out`. */
void c1x1_finish_rows(const shared *s, const block *t, size_t i, size_t m, size_t j, size_t n,
                      char *c, ptrdiff_t ldc) {
    c1x1_finish f = finish_from(s, t, c1x1_pixels_are_n(s->plan->role) ? t->m0 + i : t->n0 + j);
    f.m = m;
    f.n = n;
    f.c = c;
    f.ldc = ldc;
    f.residual = c1x1_residual_at(s, t, i, j, &f.ldr);
    s->finish(&f);
}

/* The same for few channels per pixel, a block at once. */
void c1x1_finish_pixels(const shared *s, const block *t, char *c, ptrdiff_t ldc) {
    const int pixels_are_n = c1x1_pixels_are_n(s->plan->role);
    const size_t pixels = pixels_are_n ? t->n : t->m;
    const ptrdiff_t channels = (ptrdiff_t)s->problem->c_out;
    ptrdiff_t ldr = channels;
    const char *residual = c1x1_residual_at(s, t, 0, 0, &ldr);
    if (s->plan->role == C1X1_SMALL)
        finish_interleaved(s, t, c, residual, pixels);
    else if (ldc == channels && ldr == channels)
        finish_interleaved(s, t, c, residual, pixels);
    else
        c1x1_finish_rows(s, t, 0, t->m, 0, t->n, c, ldc);
}

/* ---- store stage ---------------------------------------------------------------------------- */

/* Shorter rows cost less without a call each. Those below the longest step of a converter are gathered. */
enum { SHORTEST_CONVERTED = 8, LONGEST_GATHERED = 32, GATHERED_BYTES = 4096 };

/* Short rows that follow each other in `out`: moved together first, then converted many at a time. */
static void store_short_rows(const c1x1_storer *s, char *to, const char *from,
                             const c1x1_copy *copy) {
    char gathered[GATHERED_BYTES];
    const size_t row = copy->cols * s->from_size, most = GATHERED_BYTES / row;
    const ptrdiff_t step = copy->ld * (ptrdiff_t)s->from_size;
    for (size_t r = 0, rows; r < copy->rows; r += rows) {
        rows = smaller(most, copy->rows - r);
        for (size_t i = 0; i < rows; i++, from += step) memcpy(gathered + i * row, from, row);
        s->convert(to, gathered, rows * copy->cols);
        to += rows * copy->cols * s->size;
    }
}

static void store(const c1x1_storer *s, char *to, const char *from, const c1x1_copy *copy) {
    if (!s->convert || copy->col_stride != (ptrdiff_t)s->size) {
        s->store(to, from, copy);
        return;
    }
    const int is_dense = copy->row_stride == (ptrdiff_t)(copy->cols * s->size);
    if (is_dense && copy->ld == (ptrdiff_t)copy->cols) {
        s->convert(to, from, copy->rows * copy->cols);
        return;
    }
    if (is_dense && copy->rows > 1 && copy->cols < LONGEST_GATHERED) {
        store_short_rows(s, to, from, copy);
        return;
    }
    if (copy->cols < SHORTEST_CONVERTED) {
        s->store(to, from, copy);
        return;
    }
    const ptrdiff_t row_bytes = copy->ld * (ptrdiff_t)s->from_size;
    for (size_t r = 0; r < copy->rows; r++, to += copy->row_stride, from += row_bytes)
        s->convert(to, from, copy->cols);
}

/* Finished results at `from`, `ld` elements from row to row, to `out`, pixel run by pixel run. */
static void store_results(const shared *s, const block *t, const char *from, ptrdiff_t ld) {
    const c1x1_problem *p = s->problem;
    const int pixels_are_n = c1x1_pixels_are_n(s->plan->role);
    const int pixels_are_rows = c1x1_pixels_are_rows(s->plan->role);
    const size_t first = pixels_are_n ? t->n0 : t->m0;
    const size_t channel = pixels_are_n ? t->m0 : t->n0;
    const size_t count = pixels_are_n ? t->n : t->m, channels = pixels_are_n ? t->m : t->n;
    const ptrdiff_t pixel_step = (pixels_are_rows ? ld : 1) * (ptrdiff_t)s->finish_size;
    const size_t out_size = c1x1_dtype_size(p->out_dtype);
    char *out = t->out + (ptrdiff_t)channel * p->out_channel;
    for (size_t done = 0; done < count;) {
        const segment g = c1x1_segment_at(s, first + done, count - done);
        const c1x1_copy as_rows = {g.count, channels, g.out_stride, p->out_channel, ld};
        const c1x1_copy as_columns = {channels, g.count, p->out_channel, g.out_stride, ld};
        const c1x1_copy dense = {1, g.count * channels, 0, (ptrdiff_t)out_size, 0};
        store(&s->store, out + g.out, from + (ptrdiff_t)done * pixel_step,
              s->plan->role == C1X1_SMALL ? &dense
              : pixels_are_rows           ? &as_rows
                                          : &as_columns);
        done += g.count;
    }
}

/* Sums of integers to float64, densely. */
static void widen(const shared *s, double *to, const char *sums, size_t rows, size_t columns,
                  ptrdiff_t ld) {
    const size_t row_bytes = (size_t)ld * s->size;
    for (size_t r = 0; r < rows; r++, to += columns, sums += row_bytes) {
        if (s->widen)
            s->widen(to, sums, columns);
        else if (s->plan->compute == C1X1_COMPUTE_INT32)
            for (size_t c = 0; c < columns; c++) to[c] = ((const int32_t *)(const void *)sums)[c];
        else
            for (size_t c = 0; c < columns; c++)
                to[c] = (double)((const int64_t *)(const void *)sums)[c];
    }
}

/* The epilogue of integer sums that is done in float64: as many at a time as stay in L1 until they
 * are stored. */
static void store_widened(const worker *w, const block *t) {
    const shared *s = w->s;
    const int is_small = s->plan->role == C1X1_SMALL;
    const size_t rows = is_small ? t->n : t->m, columns = is_small ? t->m : t->n;
    const size_t most = s->plan->wide_bytes / sizeof(double);
    const size_t width = smaller(columns, most), height = most / width;
    for (size_t i = 0; i < rows; i += height) {
        for (size_t j = 0; j < columns; j += width) {
            const size_t m = smaller(height, rows - i), n = smaller(width, columns - j);
            block part = *t;
            if (is_small) {
                part.n0 += i;
                part.n = m;
            } else {
                part.m0 += i;
                part.m = m;
                part.n0 += j;
                part.n = n;
            }
            const char *sums =
                w->tile + ((ptrdiff_t)i * s->tile_ld + (ptrdiff_t)j) * (ptrdiff_t)s->size;
            widen(s, (double *)(void *)w->wide, sums, m, n, s->tile_ld);
            finish_sums(w, &part, w->wide, (ptrdiff_t)n);
            store_results(s, &part, w->wide, (ptrdiff_t)n);
        }
    }
}

void c1x1_store_block(const worker *w, const block *t) {
    const shared *s = w->s;
    if (s->finish && c1x1_finish_dtype(s->problem) != s->plan->compute) {
        store_widened(w, t);
        return;
    }
    if (s->finish) finish_sums(w, t, w->tile, s->tile_ld);
    store_results(s, t, w->tile, s->tile_ld);
}

/* ---- pixels without data -------------------------------------------------------------------- */

int c1x1_note_nodata(const worker *w, const block *t) {
    const shared *s = w->s;
    const c1x1_problem *p = s->problem;
    const int pixels_are_n = c1x1_pixels_are_n(s->plan->role);
    const size_t first = pixels_are_n ? t->n0 : t->m0, pixels = pixels_are_n ? t->n : t->m;
    const ptrdiff_t step = p->c_in > 1 ? p->x_channel : p->x_group; /* of all channels */
    int is_any = 0;
    for (size_t done = 0; done < pixels;) {
        const segment g = c1x1_segment_at(s, first + done, pixels - done);
        const c1x1_copy all = {g.count, p->groups * p->c_in, g.x_stride, step, 0};
        is_any |= c1x1_scan(p->x_dtype, w->flags + done, t->pixels + g.x, &all, p->nodata.value);
        done += g.count;
    }
    return is_any;
}

void c1x1_fill_nodata(const worker *w, const block *t) {
    const shared *s = w->s;
    const c1x1_problem *p = s->problem;
    const int pixels_are_n = c1x1_pixels_are_n(s->plan->role);
    const size_t first = pixels_are_n ? t->n0 : t->m0, pixels = pixels_are_n ? t->n : t->m;
    const size_t channel = pixels_are_n ? t->m0 : t->n0, channels = pixels_are_n ? t->m : t->n;
    char *out = t->out + (ptrdiff_t)channel * p->out_channel;
    for (size_t done = 0; done < pixels;) {
        const segment g = c1x1_segment_at(s, first + done, pixels - done);
        const c1x1_copy results = {g.count, channels, g.out_stride, p->out_channel, 0};
        c1x1_fill(p->out_dtype, w->flags + done, out + g.out, &results, p->nodata.fill);
        done += g.count;
    }
}
