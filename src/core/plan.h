/* plan.h - what choose.c, which picks role and tile, plan_blocks.c, which picks the blocks, plan_matrix.c, which
 * picks those of a matrix unit, and plan.c, which calls them, share. */
#ifndef C1X1_PLAN_H
#define C1X1_PLAN_H

#include "kernels/kernel.h"
#include "sizes.h"

/* Bytes of sums that wait for the store stage, and cycles per element that is converted or moved across
 * memory, neither dense nor in order. */
static const size_t C1X1_TILE_BUFFER = 160 << 10;
static const double C1X1_COPY_STRIDED = 2.2;

/* A problem as the choice sees it. */
typedef struct {
    const c1x1_problem *problem;
    const c1x1_kernels *kernels, *small;
    const c1x1_bytes *bytes;
    size_t size;        /* of an element of the compute dtype */
    size_t pixels, run; /* all of them; those along the last axis */
    size_t k;           /* elements that a pixel's channels take */
    unsigned chains;
    int x_is_native; /* dtype, alignment and axis strides suit a kernel */
    int out_is_native;
    int x_is_converted, out_is_converted; /* there is a converter for dense rows */
} c1x1_view;

/* Who is the vector side, in which tile, and what is copied. */
typedef struct {
    c1x1_role role;
    unsigned mr, nv;
    int is_gathered, x_in_place, is_direct, takes_bytes;
    double cost;
} c1x1_choice;

c1x1_view c1x1_look_at(const c1x1_problem *p, const c1x1_kernels *kernels);
c1x1_choice c1x1_choose(const c1x1_view *v);
/* The least cost of the tiles in one role. */
c1x1_choice c1x1_choose_in_role(const c1x1_view *v, c1x1_role role);

/* Blocks of k, then of pixels and filters: about `per_task` pixels each. */
void c1x1_choose_k(const c1x1_view *v, const c1x1_machine *machine, int x_in_place,
                   c1x1_plan *plan);
void c1x1_choose_blocks(const c1x1_view *v, const c1x1_machine *machine, size_t per_task,
                        int x_in_place, c1x1_plan *plan);
int c1x1_fetches_pixels(const c1x1_view *v, const c1x1_machine *machine, const c1x1_plan *plan);

/* Whether the machine has a matrix unit that is faster than the tiles of a choice, which is then made anew for it; its
 * blocks and workspace. */
int c1x1_choose_matrix(const c1x1_view *v, const c1x1_machine *machine, c1x1_choice *c);
void c1x1_plan_matrix(const c1x1_view *v, const c1x1_choice *c, const c1x1_machine *machine,
                      c1x1_plan *plan);
void c1x1_size_matrix(c1x1_plan *plan);

/* A block of about `want` out of `total`, all blocks alike in size, a multiple of unit. */
static inline size_t even_block(size_t total, size_t want, size_t unit) {
    want = larger(want, unit);
    if (want >= total) return total;
    return round_up(divide_up(total, divide_up(total, want)), unit);
}

/* The largest block of pixels that the limits allow; 0 is no limit. */
static inline size_t pixels_within(size_t bytes, size_t bytes_per_pixel) {
    return bytes_per_pixel ? larger(bytes / bytes_per_pixel, 1) : SIZE_MAX;
}

static inline int c1x1_is_unit(ptrdiff_t stride, size_t size) { return stride == (ptrdiff_t)size; }

/* Whether `rows` of results, in tiles of at most mr, are so few that weights are read as they lie, not
 * packed (decision 0013). Rows of weights that share sets of L1 are not found there again. */
int c1x1_w_stays(const c1x1_problem *p, size_t rows, size_t mr);

/* Whether dtype, alignment and strides of w suit a kernel. */
int c1x1_w_is_native(const c1x1_view *v);

#endif
