/* operands.h - what the driver and the operands share: a call, a worker, a block. */
#ifndef C1X1_OPERANDS_H
#define C1X1_OPERANDS_H

#include "kernels/kernel.h"
#include "sizes.h"
#include "stage.h"

#include <stdatomic.h>

/* How elements of one dtype become an operand. */
typedef struct {
    c1x1_load_fn load[2];     /* [c1x1_way] */
    c1x1_convert_fn convert;  /* where rows are dense, or NULL */
    size_t size, packed_size; /* of an element, before and after */
    int makes_pairs;
    int is_plain; /* nothing to convert: `pack` is faster */
} c1x1_loader;

/* Likewise from results to `out`. */
typedef struct {
    c1x1_store_fn store;
    c1x1_convert_fn convert;
    size_t size, from_size;
} c1x1_storer;

/* What all threads of one call share. */
typedef struct {
    const c1x1_problem *problem;
    const c1x1_plan *plan;
    const c1x1_kernels *kernels;
    c1x1_tile_fn small;
    const c1x1_kernels *columns; /* whose kernel takes tiles of one column, or NULL */
    c1x1_loader load_x, load_w;
    c1x1_loader copy; /* for a matrix unit that takes operands as they are */
    c1x1_storer store;
    c1x1_convert_fn widen; /* integer sums to float64, or NULL */
    c1x1_finish_fn finish; /* NULL: what the tiles write are the results */
    const void *bounds;    /* that the tiles keep to */
    c1x1_load_fn load_residual;
    size_t size, blocks, tasks;
    size_t factor;      /* channels in an element of an operand */
    size_t finish_size; /* of an element while it gets its epilogue */
    int vl_log2;
    ptrdiff_t a_ld, chain_ld, tile_ld, tile_plane; /* elements */
    char *workspace;
    size_t thread_bytes;
    double deadline;
    atomic_size_t next;
    atomic_int is_late;
} shared;

/* One thread's buffers, and which part of w they hold, so that nothing is packed twice in a row. */
typedef struct {
    const shared *s;
    char *a, *b, *tile, *wide, *residual;
    unsigned char *flags; /* of the block's pixels: whether they hold the nodata value */
    c1x1_range *ranges;   /* of the block's rows, then columns, C1X1_MATRIX_EDGE each */
    const char *held_w;
    size_t held_w_count;
    const char *held_x; /* and which pixels and channels */
    size_t held_group, held_first, held_k0;
} worker;

/* Rows m0 .. m0 + m, columns n0 .. n0 + n of one outer step. */
typedef struct {
    size_t m0, m, n0, n;
    const char *x, *w, *bias;
    char *out;
    const char *pixels, *residual; /* x from its first group on */
    size_t group;
} block;

/* Where a kernel finds an operand: rows are ld elements apart, panels panel_bytes. */
typedef struct {
    const char *base;
    ptrdiff_t ld, panel_bytes;
    size_t rows_apart; /* of a b packed here: how many of its own rows, each as long as its panel is
                          wide; then ld is not used */
} operand;

/* Whether the tiles read panels of c1x1_weights. */
static inline int c1x1_is_prepacked(const shared *s) {
    return s->plan->b == C1X1_PREPACKED && !s->plan->unit;
}

/* Columns of the panel at j, and elements from row to row of it where it is packed here. */
static inline size_t c1x1_columns_at(const shared *s, const block *t, size_t j) {
    const size_t nr = s->plan->nr, left = t->n - j;
    const int is_cut = c1x1_is_prepacked(s) && t->n0 + t->n < s->plan->n;
    if (is_cut || s->plan->role == C1X1_DOT) return smaller(nr, left);
    return c1x1_panel_columns(s->kernels, nr, left);
}

static inline size_t c1x1_row_length(const shared *s, size_t columns) {
    const size_t vl = s->kernels->vl;
    return columns <= s->plan->nr ? s->plan->nr : (columns + vl - 1) / vl * vl;
}

/* The load stage of a part of x or w. */
void c1x1_load(const c1x1_loader *l, c1x1_way way, void *to, const char *from,
               const c1x1_copy *copy);

/* Where a pixel lies, in bytes from the first one, and how often its index goes round all axes. */
typedef struct {
    ptrdiff_t x, out, residual;
    size_t rounds;
} place;

/* Pixel `index` of the first `dims` axes, of which the last counts fastest. */
static inline place c1x1_place_of(const c1x1_problem *p, int dims, size_t index) {
    place to = {0, 0, 0, 0};
    for (int d = dims - 1; d >= 0; d--) {
        const ptrdiff_t at = (ptrdiff_t)(index % p->dim[d].size);
        index /= p->dim[d].size;
        to.x += at * p->dim[d].x_stride;
        to.out += at * p->dim[d].out_stride;
        to.residual += at * p->dim[d].residual_stride;
    }
    to.rounds = index;
    return to;
}

/* A run of pixels along the last axis. */
typedef struct {
    size_t count;
    ptrdiff_t x, out, residual; /* bytes from the outer step's origin */
    ptrdiff_t x_stride, out_stride, residual_stride;
} segment;

/* The longest run that starts at `pixel` of the outer step, at most `want` pixels. */
segment c1x1_segment_at(const shared *s, size_t pixel, size_t want);

/* The channels of elements k0 .. k0 + k, of which the last may be half empty. */
static inline size_t c1x1_channels(const shared *s, size_t k0, size_t k) {
    return smaller(k * s->factor, s->problem->c_in - k0 * s->factor);
}

/* Where element k0 of an axis of channels begins. */
static inline ptrdiff_t c1x1_channel_at(const shared *s, size_t k0, ptrdiff_t stride) {
    return (ptrdiff_t)(k0 * s->factor) * stride;
}

/* Elements k0 .. k0 + k of the block's rows (columns), packed if the plan says so. */
operand c1x1_find_a(worker *w, const block *t, size_t k0, size_t k);
operand c1x1_find_b(worker *w, const block *t, size_t k0, size_t k);
/* The last panel of c1x1_weights where it is wider than the others. */
operand c1x1_find_wide(const shared *s, const block *t, size_t k0);

/* Their packed copies, whatever the plan says. */
operand c1x1_pack_a(worker *w, const block *t, size_t k0, size_t k);
operand c1x1_pack_b(worker *w, const block *t, size_t k0, size_t k);

/* Pixels first .. first + count, elements k0 .. k0 + k, as `load` has it: as rows, or as columns. */
void c1x1_load_pixels(const shared *s, const c1x1_loader *load, const block *t, size_t first,
                      size_t count, size_t k0, size_t k, char *to, ptrdiff_t ld, int as_rows);

/* Whether the buffer holds these pixels (`count` output channels of w) already; from now on it does. */
int c1x1_holds_pixels(worker *w, const block *t, size_t first, size_t k0);
int c1x1_holds_weights(worker *w, const char *from, size_t count);

/* That many channels of n pixels, dense in memory, to the one panel that w->b holds. */
void c1x1_pack_panel(worker *w, const char *from, size_t channels, size_t n);

/* Memory that begins at a cache line. */
void *c1x1_allocate(size_t bytes);
void c1x1_release(void *memory);

#endif
