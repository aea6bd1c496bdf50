/* plan.c - chooses who is the vector side, which tile, which copies, which blocks, how many threads.
 *
 * Candidates are compared by estimated cycles of one thread: what the tiles take at the machine's
 * FMA and load rates, plus what packing and the store stage take per element. The estimate needs to
 * rank, not to predict. docs/architecture.md tells the choices in words. */
#include "kernels/kernel.h"

#include <math.h>
#include <string.h>

/* Cycles, measured (decision 0005). */
static const double TILE_CALL = 12;        /* entering and leaving a kernel */
static const double TILE_STORE = 1;        /* per vector of results */
static const double PANEL_VECTOR = 1.4;    /* per vector of b fetched from beyond L1 */
static const double PLANE_ROW = 4;         /* per row of a tile that starts on a page of its own */
static const double COPY_DENSE = 0.3;      /* per element copied along memory */
static const double COPY_STRIDED = 2.2;    /* per element converted, transposed or scattered */
static const double MACS_PER_THREAD = 5e5; /* below this another thread costs more than it gives */
static const double BYTES_PER_THREAD = 1.28e5;
static const double MACS_PER_TASK = 2e6; /* small enough to share out evenly, and to stop soon */
static const size_t LONGEST_CHAIN = 160; /* multiply-adds in a row (decision 0002) */
static const double TINY_MACS = 20000;
static const size_t PANEL_K = 64;  /* from here on planes are packed a panel at a time */
static const size_t LONG_K = 1024; /* of sixteen chains: k is blocked above this */
static const size_t SPLIT_K = 512; /* into blocks of at most this */
static const size_t PACKED_WEIGHTS = 768 << 10; /* bytes that each thread may pack for one call */
static const size_t LONGEST_PACKED_ROW = 8192;  /* elements; a dot cannot split k */
static const size_t TILE_BUFFER = 160 << 10;    /* bytes of sums that wait for the store stage */

typedef struct {
    const c1x1_problem *problem;
    const c1x1_kernels *kernels, *small;
    size_t size;        /* of an element of the compute dtype */
    size_t pixels, run; /* all of them; those along the last axis */
    unsigned chains;
    int x_is_native; /* dtype, alignment and axis strides suit a kernel */
    int out_is_native;
} view;

typedef struct {
    c1x1_role role;
    unsigned mr, nv;
    int is_gathered, x_in_place, is_direct;
    double cost;
} candidate;

/* ---- what the kernels can use as it lies ---------------------------------------------------- */

static int suits(const void *pointer, ptrdiff_t stride, size_t size) {
    return (uintptr_t)pointer % size == 0 && stride % (ptrdiff_t)size == 0;
}

static view look_at(const c1x1_problem *p, const c1x1_kernels *kernels) {
    const c1x1_dtype native = c1x1_compute_dtype(p->compute);
    view v = {.problem = p, .kernels = kernels, .size = c1x1_dtype_size(native)};
    v.pixels = c1x1_problem_pixels(p);
    v.run = p->dims ? p->dim[p->dims - 1].size : 1;
    v.chains = p->compute != C1X1_COMPUTE_INT64 && p->c_out <= 4 && p->c_in >= C1X1_CHAINS
                   ? C1X1_CHAINS
                   : 1;
    v.x_is_native = p->x_dtype == native && suits(p->x, p->x_channel, v.size) &&
                    suits(p->x, p->x_group, v.size);
    v.out_is_native = p->out_dtype == native && suits(p->out, p->out_channel, v.size) &&
                      suits(p->out, p->out_group, v.size);
    for (int d = 0; d < p->dims; d++) {
        v.x_is_native = v.x_is_native && suits(p->x, p->dim[d].x_stride, v.size);
        v.out_is_native = v.out_is_native && suits(p->out, p->dim[d].out_stride, v.size);
    }
    return v;
}

static int is_unit(ptrdiff_t stride, size_t size) { return stride == (ptrdiff_t)size; }

static int w_is_native(const view *v) {
    const c1x1_problem *p = v->problem;
    return p->w_dtype == c1x1_compute_dtype(p->compute) && suits(p->w, p->w_in, v->size) &&
           suits(p->w, p->w_out, v->size) && suits(p->w, p->w_group, v->size);
}

/* ---- cost ----------------------------------------------------------------------------------- */

static double greater(double a, double b) { return a > b ? a : b; }

/* One step along k of an m x nv tile. */
static double step_cost(const c1x1_kernels *s, double m, double nv) {
    const double in_registers =
        greater(m * nv / s->fma_per_cycle, greater((m + nv) / s->loads_per_cycle, s->fma_latency));
    return greater(in_registers, nv * PANEL_VECTOR);
}

/* All panels of an m x n result with tiles of mr x nv vectors, rows shared out evenly. */
static double grid_cost(const view *v, size_t m, size_t n, double steps, unsigned mr, unsigned nv,
                        double row_cost) {
    const c1x1_kernels *s = v->kernels;
    const size_t nr = (size_t)nv * s->vl;
    size_t last = n % nr; /* columns of a panel that is not nr wide */
    if (last > 0 && n > nr && c1x1_panel_columns(s, nr, nr + last) > nr) last += nr;
    double cost = 0;
    const struct {
        double panels;
        unsigned nv;
    } parts[] = {{(double)((n - last) / nr), nv},
                 {last > 0, (unsigned)((last + s->vl - 1) / s->vl)}};
    for (int i = 0; i < 2; i++) {
        if (parts[i].panels == 0) continue;
        const unsigned rows = i == 0 ? mr : s->mr[parts[i].nv];
        const double tiles = (double)((m + rows - 1) / rows), height = (double)m / tiles;
        cost += parts[i].panels * tiles *
                (steps * step_cost(s, height, parts[i].nv) + TILE_CALL +
                 height * (parts[i].nv * TILE_STORE + row_cost));
    }
    return cost;
}

/* What a candidate pays to bring x in and results out through buffers. */
static double copy_cost(const view *v, const candidate *c) {
    const c1x1_problem *p = v->problem;
    double cost = 0, weights = 0;
    if (!c->x_in_place) {
        const ptrdiff_t along =
            c->role == C1X1_PIXELS_N && p->dims ? p->dim[p->dims - 1].x_stride : p->x_channel;
        const int is_dense = v->x_is_native && is_unit(along, v->size);
        cost += (double)p->c_in * (is_dense ? COPY_DENSE : COPY_STRIDED);
    }
    if (!c->is_direct) cost += (double)p->c_out * COPY_STRIDED;
    if (c->role == C1X1_PIXELS_M && !p->packed) {
        const int is_dense = w_is_native(v) && is_unit(p->w_out, v->size);
        weights = (double)p->c_in * (double)p->c_out * (is_dense ? COPY_DENSE : COPY_STRIDED);
    }
    if (v->chains > 1 && c->role == C1X1_PIXELS_N)
        cost += (double)p->c_out * C1X1_CHAINS * COPY_DENSE;
    return cost * (double)v->pixels + weights;
}

/* The panel width for w as the vector side: a function of the channels alone, since weights are
 * packed before any image is seen. */
static unsigned best_nv(const view *v, size_t n, double steps, size_t rows, double row_cost) {
    const c1x1_kernels *s = v->kernels;
    unsigned best = s->preferred[0];
    double lowest = -1;
    for (const unsigned *nv = s->preferred; *nv; nv++) {
        if (*nv > 1 && (*nv - 1) * (size_t)s->vl >= n) continue; /* as the narrower ones */
        const double cost = grid_cost(v, rows, n, steps, s->mr[*nv], *nv, row_cost);
        if (lowest < 0 || cost < lowest * 0.99) {
            lowest = cost;
            best = *nv;
        }
    }
    return best;
}

enum { MANY_ROWS = 1 << 12 };

unsigned c1x1_panel_width(const c1x1_machine *machine, c1x1_compute compute, size_t c_in,
                          size_t c_out) {
    const c1x1_kernels *kernels = c1x1_find_kernels(machine->isa, compute, NULL);
    const view v = {.kernels = kernels};
    return kernels->vl * best_nv(&v, c_out, (double)c_in, MANY_ROWS, 0);
}

static candidate evaluate(const view *v, c1x1_role role, int is_gathered) {
    const c1x1_problem *p = v->problem;
    const c1x1_kernels *s = v->kernels;
    const size_t run = is_gathered ? v->pixels : v->run;
    const c1x1_dim *last = p->dims ? &p->dim[p->dims - 1] : NULL;
    const double runs = (double)v->pixels / (double)run;
    candidate c = {.role = role, .is_gathered = is_gathered};
    if (role == C1X1_PIXELS_N) {
        c.x_in_place =
            !is_gathered && v->x_is_native && (!last || is_unit(last->x_stride, v->size));
        c.is_direct =
            !is_gathered && v->out_is_native && (!last || is_unit(last->out_stride, v->size));
        const double steps = (double)p->c_in / v->chains;
        c.nv = best_nv(v, run, steps, p->c_out, PLANE_ROW);
        c.mr = s->mr[c.nv];
        c.cost = v->chains * grid_cost(v, p->c_out, run, steps, c.mr, c.nv, PLANE_ROW);
    } else {
        c.x_in_place = !is_gathered && v->x_is_native && is_unit(p->x_channel, v->size);
        c.is_direct = !is_gathered && v->out_is_native && is_unit(p->out_channel, v->size);
        if (role == C1X1_DOT) {
            unsigned n = (unsigned)p->c_out;
            while (s->dot_mr[n] == 0) n--;
            c.mr = s->dot_mr[n];
            c.nv = n;
            const double vecs = (double)C1X1_CHAINS / s->vl;
            /* A row to pack must not outgrow a thread's share of memory: that leaves pixels_n,
             * which splits k. */
            if (!c.x_in_place && p->c_in > LONGEST_PACKED_ROW)
                c.cost = HUGE_VAL;
            else
                c.cost = (double)run * (double)((p->c_out + n - 1) / n) *
                         ((double)p->c_in / C1X1_CHAINS * vecs * step_cost(s, c.mr, n) / c.mr +
                          4.0 * n + TILE_CALL / c.mr);
        } else {
            c.nv = best_nv(v, p->c_out, (double)p->c_in, MANY_ROWS, 0);
            c.mr = s->mr[c.nv];
            c.cost = grid_cost(v, run, p->c_out, (double)p->c_in, c.mr, c.nv, 0);
        }
    }
    if (p->overlap == C1X1_SAME_PIXELS) c.x_in_place = 0;
    c.cost = c.cost * runs + copy_cost(v, &c);
    return c;
}

/* Pixels without a gap, on both sides, of few channels. */
static int is_small(const view *v) {
    const c1x1_problem *p = v->problem;
    const ptrdiff_t size = (ptrdiff_t)v->size;
    if (p->c_in < 1 || p->c_in > C1X1_MAX_SMALL_IN || p->c_out > C1X1_MAX_SMALL) return 0;
    if (!v->small || !v->x_is_native || !v->out_is_native) return 0;
    if (!is_unit(p->x_channel, v->size) || !is_unit(p->out_channel, v->size)) return 0;
    if (p->dims == 0) return 1;
    const c1x1_dim *last = &p->dim[p->dims - 1];
    return last->x_stride == (ptrdiff_t)p->c_in * size &&
           last->out_stride == (ptrdiff_t)p->c_out * size;
}

/* Less work than weighing the alternatives. */
static int is_tiny(const view *v) {
    return (double)v->pixels * (double)v->problem->c_in * (double)v->problem->c_out <= TINY_MACS;
}

static candidate choose(const view *v) {
    const c1x1_problem *p = v->problem;
    if (is_small(v))
        return (candidate){
            .role = C1X1_SMALL, .mr = (unsigned)p->c_out, .nv = 1, .x_in_place = 1, .is_direct = 1};
    const c1x1_role last_role = v->chains > 1 ? C1X1_DOT : C1X1_PIXELS_M;
    candidate best = evaluate(v, last_role, 0);
    /* Nothing to gain elsewhere: no copies, full vectors. */
    if (best.x_in_place && best.is_direct && p->dims <= 1 &&
        (best.role == C1X1_DOT || p->c_out >= 2 * v->kernels->vl || is_tiny(v)))
        return best;
    for (int is_gathered = 0; is_gathered <= (p->dims > 1); is_gathered++) {
        const c1x1_role roles[] = {last_role, C1X1_PIXELS_N};
        for (int r = 0; r < 2; r++) {
            const candidate c = evaluate(v, roles[r], is_gathered);
            if (c.cost < best.cost) best = c;
        }
    }
    return best;
}

/* ---- blocks --------------------------------------------------------------------------------- */

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static size_t larger(size_t a, size_t b) { return a > b ? a : b; }
static size_t divide_up(size_t a, size_t b) { return a / b + (a % b != 0); }
static size_t round_up(size_t a, size_t unit) { return divide_up(a, unit) * unit; }

/* A block of about `want` out of `total`, all blocks alike in size, a multiple of unit. */
static size_t even_block(size_t total, size_t want, size_t unit) {
    want = larger(want, unit);
    if (want >= total) return total;
    return round_up(divide_up(total, divide_up(total, want)), unit);
}

/* The largest block of pixels that the limits allow; 0 is no limit. */
static size_t pixels_within(size_t bytes, size_t bytes_per_pixel) {
    return bytes_per_pixel ? larger(bytes / bytes_per_pixel, 1) : SIZE_MAX;
}

size_t c1x1_sum_piece(size_t c_in) {
    if (c_in <= LONGEST_CHAIN) return larger(c_in, 1);
    return divide_up(c_in, divide_up(c_in, LONGEST_CHAIN));
}

/* kc is for the caches, piece for the accuracy; the one is a multiple of the other. A panel of b
 * stays in L1 beside the rows of a and c that pass by. */
static void choose_k(const view *v, const c1x1_machine *machine, c1x1_plan *plan) {
    const size_t fits = machine->l1_bytes / 3 * 2 / (plan->nr * v->size);
    plan->kc = plan->k;
    plan->piece = v->chains > 1 ? plan->k : c1x1_sum_piece(plan->k);
    if (plan->role == C1X1_DOT || plan->role == C1X1_SMALL) return;
    if (plan->piece == plan->k && v->chains == 1) return;
    if (v->chains > 1) {
        if (plan->k > LONG_K) plan->kc = even_block(plan->k, SPLIT_K, C1X1_CHAINS);
    } else if (plan->k > fits) {
        plan->kc = larger(fits / plan->piece, 1) * plan->piece;
    }
    /* Pixels that are overwritten must all have been read: sums wait in the tile buffer. */
    if (plan->kc < plan->k && v->problem->overlap == C1X1_SAME_PIXELS) plan->is_direct = 0;
}

/* w as the vector side. A block of pixels stays in L2 while panels of w pass through L1. */
static void plan_pixels_m(const view *v, const c1x1_machine *machine, size_t per_task,
                          int x_in_place, c1x1_plan *plan) {
    const c1x1_problem *p = v->problem;
    const size_t w_bytes = plan->k * plan->n * v->size;
    const size_t l2_rows = pixels_within(machine->l2_bytes / 2, plan->kc * v->size);
    const int is_apart = p->overlap == C1X1_APART;
    const int w_in_l1 = w_bytes <= machine->l1_bytes / 2;
    const c1x1_weights *packed = p->packed;
    plan->a = x_in_place ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    plan->order = w_in_l1 ? C1X1_ROWS_OUTSIDE : C1X1_PANELS_OUTSIDE;
    plan->nc = plan->n;
    plan->mc = w_in_l1 && x_in_place ? per_task
                                     : smaller(l2_rows, divide_up(plan->m, (size_t)plan->threads));
    if (!plan->is_direct) {
        if (is_apart) plan->nc = even_block(plan->n, 1024, plan->nr);
        plan->mc = smaller(plan->mc, pixels_within(TILE_BUFFER, plan->nc * v->size));
    }
    plan->mc = even_block(plan->m, plan->mc, plan->mr);
    if (packed && packed->isa == plan->isa && packed->compute == plan->compute &&
        packed->nr == plan->nr && packed->c_in == p->c_in && packed->c_out == p->c_out)
        plan->b = C1X1_PREPACKED;
    else if (w_is_native(v) && is_unit(p->w_out, v->size) && (w_in_l1 || plan->m <= plan->mr))
        plan->b = C1X1_IN_PLACE;
    else
        plan->b = C1X1_PACK_BLOCK;
    /* m counts fastest, so that what is packed here serves all pixels of this thread. */
    if (plan->b == C1X1_PACK_BLOCK && is_apart)
        plan->nc = even_block(plan->nc, PACKED_WEIGHTS / (plan->kc * v->size + 1), plan->nr);
}

/* w as the broadcast side. A block of w stays in L2 while panels of pixels pass through L1. */
static void plan_pixels_n(const view *v, const c1x1_machine *machine, size_t per_task,
                          int x_in_place, c1x1_plan *plan) {
    const c1x1_problem *p = v->problem;
    const int w_in_place = w_is_native(v) && is_unit(p->w_in, v->size) && v->chains == 1;
    const int is_apart = p->overlap == C1X1_APART;
    /* Rows a page apart fall into the same few cache sets: a copy is cheaper than the misses, once
     * several panels use it. */
    const int is_aliased = p->w_out % 4096 == 0 && plan->n >= 4 * (size_t)plan->nr;
    const int a_in_place = w_in_place && !is_aliased;
    const size_t l2_rows = pixels_within(machine->l2_bytes / 2, plan->kc * v->size);
    plan->a = a_in_place ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    plan->b =
        x_in_place && (plan->m <= plan->mr || v->chains > 1) ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    plan->order = C1X1_PANELS_OUTSIDE;
    /* b is packed anew for every block of m where k is split: fewer, larger blocks then. */
    const size_t times = plan->kc == plan->k ? 1 : a_in_place ? 4 : 2;
    plan->mc = is_apart ? even_block(plan->m, times * l2_rows, plan->mr) : plan->m;
    const c1x1_dim *last = p->dims ? &p->dim[p->dims - 1] : NULL;
    const int is_planar =
        last && !plan->is_gathered && is_unit(last->x_stride, c1x1_dtype_size(p->x_dtype));
    /* Lines a page apart would push each other out of L2 before they are packed. */
    const int planes_alias = p->x_channel % 4096 == 0;
    if (plan->b == C1X1_PACK_BLOCK && is_planar && plan->k >= PANEL_K && v->chains == 1 &&
        plan->is_direct && is_apart && !planes_alias &&
        plan->m * plan->k * v->size <= machine->l2_bytes / 2 && (a_in_place || plan->kc == plan->k))
        plan->b = C1X1_PACK_PANEL;
    size_t nc = plan->b == C1X1_PACK_BLOCK ? plan->n : larger(per_task, 4 * (size_t)plan->nr);
    /* Few pixels are left together: split_channels shares out the weights instead. */
    const size_t share = divide_up(plan->n * plan->outer, 4 * (size_t)plan->threads);
    if (plan->threads > 1 && share >= 8 * (size_t)plan->nr) nc = smaller(nc, share);
    if (plan->b == C1X1_PACK_BLOCK) {
        /* Pixels that interleave channels are turned within L1; planes are read in long runs. */
        const size_t bytes = is_planar ? machine->l2_bytes / 2 : machine->l1_bytes / 3;
        nc = smaller(nc, pixels_within(bytes, plan->kc * v->size));
    }
    if (!plan->is_direct || v->chains > 1) {
        if (is_apart) plan->mc = smaller(plan->mc, even_block(plan->m, 128, plan->mr));
        nc = smaller(nc, pixels_within(TILE_BUFFER, plan->mc * v->chains * v->size));
        if (v->chains == 1)
            nc = smaller(nc, larger(pixels_within(machine->l1_bytes / 3, plan->mc * v->size), 64));
    }
    plan->nc = even_block(plan->n, nc, plan->nr);
}

static void plan_small(const view *v, size_t per_task, c1x1_plan *plan) {
    const int w_in_place = w_is_native(v) && is_unit(v->problem->w_in, v->size);
    plan->a = w_in_place ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    plan->b = C1X1_IN_PLACE;
    plan->nr = v->small->vl;
    plan->mc = plan->m;
    plan->nc = even_block(plan->n, per_task, plan->nr);
}

static void plan_dot(const view *v, size_t per_task, int x_in_place, c1x1_plan *plan) {
    const c1x1_problem *p = v->problem;
    plan->a = x_in_place ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    plan->b = w_is_native(v) && is_unit(p->w_in, v->size) ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    plan->order = C1X1_ROWS_OUTSIDE;
    plan->nc = plan->n;
    size_t mc = per_task;
    if (!x_in_place) mc = smaller(mc, pixels_within(TILE_BUFFER * 2, plan->k * v->size));
    if (!plan->is_direct) mc = smaller(mc, pixels_within(TILE_BUFFER, plan->n * v->size));
    plan->mc = even_block(plan->m, mc, plan->mr);
}

/* More, narrower tasks where the pixels alone do not keep every thread busy. */
static void split_channels(const view *v, c1x1_plan *plan) {
    if (plan->threads < 2 || v->problem->overlap != C1X1_APART) return;
    const size_t enough = 3 * (size_t)plan->threads;
    const size_t blocks = c1x1_plan_blocks(plan);
    if (blocks >= enough) return;
    const size_t parts = divide_up(enough, blocks);
    if (plan->role == C1X1_PIXELS_M)
        plan->nc = even_block(plan->nc, divide_up(plan->nc, parts), plan->nr);
    else if (plan->role == C1X1_PIXELS_N)
        plan->mc = even_block(plan->mc, divide_up(plan->mc, parts), plan->mr);
}

static void count_blocks(c1x1_plan *plan) {
    plan->m_blocks = divide_up(plan->m, plan->mc);
    plan->n_blocks = divide_up(plan->n, plan->nc);
}

/* Small blocks are taken several at a time, as long as every thread gets some tasks. */
static void choose_grain(c1x1_plan *plan) {
    const double macs = (double)plan->mc * (double)plan->nc * (double)larger(plan->k, 1);
    const size_t wanted = larger((size_t)(MACS_PER_TASK / macs), 1);
    const size_t shares = plan->threads > 1 ? 4 * (size_t)plan->threads : 1;
    plan->grain = larger(smaller(wanted, c1x1_plan_blocks(plan) / shares), 1);
}

static void size_workspace(const view *v, c1x1_plan *plan) {
    const size_t line = 64, kc = round_up(plan->kc, C1X1_CHAINS) + 16;
    plan->a_bytes = plan->a == C1X1_PACK_BLOCK ? plan->mc * kc * v->size : 0;
    plan->b_bytes = 0;
    if (plan->b == C1X1_PACK_PANEL)
        plan->b_bytes = (plan->nr + v->kernels->vl) * plan->kc * v->size;
    if (plan->b == C1X1_PACK_BLOCK)
        plan->b_bytes = plan->role == C1X1_DOT ? plan->nc * kc * v->size
                                               : round_up(plan->nc, plan->nr) * plan->kc * v->size;
    const int is_buffered = !plan->is_direct || (plan->chains > 1 && plan->role != C1X1_DOT);
    plan->tile_bytes = is_buffered ? (plan->role == C1X1_DOT ? 1 : plan->chains) * plan->mc *
                                         round_up(plan->nc, plan->nr) * v->size
                                   : 0;
    plan->a_bytes = round_up(plan->a_bytes, line);
    plan->b_bytes = round_up(plan->b_bytes, line);
    plan->tile_bytes = round_up(plan->tile_bytes, line);
}

static int choose_threads(const view *v, int limit) {
    const c1x1_problem *p = v->problem;
    const double pixels = (double)v->pixels * (double)p->groups;
    const double macs = pixels * (double)p->c_in * (double)p->c_out;
    const double bytes = pixels * ((double)p->c_in * (double)c1x1_dtype_size(p->x_dtype) +
                                   (double)p->c_out * (double)c1x1_dtype_size(p->out_dtype));
    if (macs < MACS_PER_THREAD && bytes < 2 * BYTES_PER_THREAD) return 1;
    const double useful = greater(macs / MACS_PER_THREAD, bytes / BYTES_PER_THREAD);
    return useful < limit ? (int)useful + (useful < 1) : limit;
}

c1x1_status c1x1_make_plan(const c1x1_problem *p, const c1x1_machine *machine, int thread_limit,
                           c1x1_plan *plan) {
    memset(plan, 0, sizeof *plan); /* so that plans compare as bytes */
    const c1x1_kernels *kernels = c1x1_find_kernels(machine->isa, p->compute, &plan->isa);
    if (!kernels) return C1X1_BAD_DTYPE;
    view v = look_at(p, kernels);
    v.small = c1x1_find_small(machine->isa, p->compute);
    const candidate c = choose(&v);
    const size_t run = c.is_gathered ? v.pixels : v.run;
    const int pixels_are_m = !c1x1_pixels_are_n(c.role);
    plan->compute = p->compute;
    plan->role = c.role;
    plan->is_direct = c.is_direct;
    plan->is_gathered = c.is_gathered;
    plan->mr = c.mr;
    plan->nr = c.role == C1X1_DOT ? c.nv : c.nv * kernels->vl;
    plan->chains = v.chains;
    plan->m = pixels_are_m ? run : p->c_out;
    plan->n = pixels_are_m ? p->c_out : run;
    plan->k = p->c_in;
    plan->outer = v.pixels / run * p->groups;
    plan->threads = choose_threads(&v, thread_limit);
    choose_k(&v, machine, plan);
    /* Even shares for the threads, then small enough to balance. */
    const double macs_per_pixel = (double)larger(p->c_in, 1) * (double)p->c_out;
    const size_t shares = plan->threads > 1 ? 4 * (size_t)plan->threads : 1;
    const size_t per_task =
        smaller(divide_up(run, shares), larger((size_t)(MACS_PER_TASK / macs_per_pixel), 1));
    if (c.role == C1X1_SMALL)
        plan_small(&v, per_task, plan);
    else if (c.role == C1X1_DOT)
        plan_dot(&v, per_task, c.x_in_place, plan);
    else if (c.role == C1X1_PIXELS_M)
        plan_pixels_m(&v, machine, per_task, c.x_in_place, plan);
    else
        plan_pixels_n(&v, machine, per_task, c.x_in_place, plan);
    count_blocks(plan);
    split_channels(&v, plan);
    count_blocks(plan);
    choose_grain(plan);
    plan->threads = (int)smaller((size_t)plan->threads, c1x1_plan_tasks(plan));
    size_workspace(&v, plan);
    return C1X1_OK;
}

size_t c1x1_plan_blocks(const c1x1_plan *plan) {
    return plan->outer * plan->m_blocks * plan->n_blocks;
}

size_t c1x1_plan_tasks(const c1x1_plan *plan) {
    return divide_up(c1x1_plan_blocks(plan), plan->grain);
}

size_t c1x1_plan_thread_bytes(const c1x1_plan *plan) {
    return plan->a_bytes + plan->b_bytes + plan->tile_bytes;
}

const char *c1x1_role_name(c1x1_role role) {
    static const char *const names[] = {"pixels_m", "pixels_n", "dot", "small"};
    return names[role];
}

const char *c1x1_source_name(c1x1_source source) {
    static const char *const names[] = {"in_place", "pack_block", "pack_panel", "prepacked"};
    return names[source];
}

const char *c1x1_order_name(c1x1_order order) {
    static const char *const names[] = {"rows_outside", "panels_outside"};
    return names[order];
}
