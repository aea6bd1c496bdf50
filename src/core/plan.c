/* plan.c - the blocks of a choice, its threads and its workspace. */
#include "plan.h"

#include <string.h>

static const double MACS_PER_THREAD = 5e5; /* below this another thread costs more than it gives */
static const double BYTES_PER_THREAD = 1.28e5;
static const double MACS_PER_TASK = 2e6; /* small enough to share out evenly, and to stop soon */
static const size_t LONGEST_CHAIN = 160; /* multiply-adds in a row (decision 0002) */
static const size_t FEW_PIXELS = 256;    /* packing weights takes longest (decision 0008) */
static const size_t PANEL_K = 64;        /* from here on planes are packed a panel at a time */
static const size_t LONG_K = 1024;       /* of sixteen chains: k is blocked above this */
static const size_t SPLIT_K = 512;       /* into blocks of at most this */
static const size_t PACKED_WEIGHTS = 768 << 10; /* bytes that each thread may pack for one call */
static const size_t FLAGGED_PIXELS = 16 << 10;  /* of a block, a byte each */
static const size_t WIDE_BUFFER = 16 << 10;     /* bytes of them that become float64 at a time */
static const size_t FETCHED_ROW = 160;          /* bytes; shorter ones the hardware foresees */
static const size_t WORKSPACE = 1 << 20;        /* bytes of a thread, beside its packed weights */

static double greater(double a, double b) { return a > b ? a : b; }

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
static void choose_k(const c1x1_view *v, const c1x1_machine *machine, int x_in_place,
                     c1x1_plan *plan) {
    const size_t fits = machine->l1_bytes / 3 * 2 / (plan->nr * v->size);
    plan->kc = plan->k;
    plan->piece = v->chains > 1 ? plan->k : c1x1_sum_piece(plan->k);
    if (plan->role == C1X1_DOT || plan->role == C1X1_SMALL) return;
    if (plan->piece == plan->k && v->chains == 1) return;
    if (v->chains > 1) {
        if (plan->k > LONG_K && !x_in_place) plan->kc = even_block(plan->k, SPLIT_K, C1X1_CHAINS);
        plan->sums_wait = plan->kc < plan->k;
    } else if (plan->k > fits) {
        plan->kc = larger(fits / plan->piece, 1) * plan->piece;
    }
    /* Pixels that are overwritten must all have been read: sums wait in the tile buffer. */
    if (plan->kc < plan->k && v->problem->overlap == C1X1_SAME_PIXELS) plan->is_direct = 0;
}

/* w as the vector side. A block of pixels stays in L2 while panels of w pass through L1. */
static void plan_pixels_m(const c1x1_view *v, const c1x1_machine *machine, size_t per_task,
                          int x_in_place, c1x1_plan *plan) {
    const c1x1_problem *p = v->problem;
    const size_t w_bytes = plan->k * plan->n * v->size;
    const size_t l2_rows = pixels_within(machine->l2_bytes / 2, plan->kc * v->size);
    const int is_apart = p->overlap == C1X1_APART;
    const int w_in_l1 = w_bytes <= machine->l1_bytes / 2;
    const c1x1_weights *packed = p->packed;
    plan->a = x_in_place ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    plan->order = w_in_l1 ? C1X1_ROWS_OUTSIDE : C1X1_PANELS_OUTSIDE;
    if (packed && packed->isa == plan->isa && packed->compute == plan->compute &&
        packed->nr == plan->nr && packed->c_in == p->c_in && packed->c_out == p->c_out)
        plan->b = C1X1_PREPACKED;
    else if (c1x1_w_is_native(v) && c1x1_is_unit(p->w_out, v->size) &&
             (w_in_l1 || c1x1_w_stays(p, plan->m, plan->mr)))
        plan->b = C1X1_IN_PLACE;
    else
        plan->b = C1X1_PACK_BLOCK;
    /* With few pixels weights take longest, packed or read: threads share out them, not the pixels. */
    const int takes_weights = plan->b == C1X1_PACK_BLOCK || (plan->b == C1X1_IN_PLACE && !w_in_l1);
    const int shares_weights = takes_weights && plan->m < FEW_PIXELS && is_apart &&
                               plan->n >= 2 * (size_t)plan->threads * plan->nr;
    const size_t share = shares_weights ? plan->m : divide_up(plan->m, (size_t)plan->threads);
    plan->nc = plan->n;
    plan->mc = w_in_l1 && x_in_place ? per_task : smaller(l2_rows, share);
    if (!plan->is_direct) {
        if (is_apart) plan->nc = even_block(plan->n, 1024, plan->nr);
        plan->mc = smaller(plan->mc, pixels_within(C1X1_TILE_BUFFER, plan->nc * v->size));
    }
    plan->mc = even_block(plan->m, plan->mc, plan->mr);
    const size_t row = plan->n * v->size;
    plan->fetches_c =
        plan->is_direct && row >= FETCHED_ROW && plan->m * row * plan->outer > machine->l2_bytes;
    /* m counts fastest, so that what is packed here serves all pixels of this thread. */
    if (plan->b == C1X1_PACK_BLOCK && is_apart)
        plan->nc = even_block(plan->nc, PACKED_WEIGHTS / (plan->kc * v->size + 1), plan->nr);
}

/* w as the broadcast side. A block of w stays in L2 while panels of pixels pass through L1. */
static void plan_pixels_n(const c1x1_view *v, const c1x1_machine *machine, size_t per_task,
                          int x_in_place, c1x1_plan *plan) {
    const c1x1_problem *p = v->problem;
    const int w_in_place =
        c1x1_w_is_native(v) && c1x1_is_unit(p->w_in, v->size) && !plan->sums_wait;
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
    const int is_planar = last && !plan->is_gathered && !p->table &&
                          c1x1_is_unit(last->x_stride, c1x1_dtype_size(p->x_dtype));
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
    if (!plan->is_direct || plan->sums_wait) {
        if (is_apart) plan->mc = smaller(plan->mc, even_block(plan->m, 128, plan->mr));
        const size_t sums = plan->sums_wait ? v->chains : 1;
        nc = smaller(nc, pixels_within(C1X1_TILE_BUFFER, plan->mc * sums * v->size));
        if (v->chains == 1)
            nc = smaller(nc, larger(pixels_within(machine->l1_bytes / 3, plan->mc * v->size), 64));
    }
    plan->nc = even_block(plan->n, nc, plan->nr);
}

static void plan_small(const c1x1_view *v, const c1x1_machine *machine, size_t per_task,
                       int x_in_place, c1x1_plan *plan) {
    const int w_in_place = c1x1_w_is_native(v) && c1x1_is_unit(v->problem->w_in, v->size);
    const int is_staged = !x_in_place || !plan->is_direct || c1x1_has_epilogue(v->problem);
    const size_t in_l1 = pixels_within(machine->l1_bytes / 3, larger(plan->k, plan->m) * v->size);
    plan->a = w_in_place ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    plan->b = x_in_place ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    plan->nr = plan->takes_bytes ? v->bytes->vl : v->small->vl;
    plan->mc = plan->m;
    plan->nc = even_block(plan->n, is_staged ? smaller(per_task, in_l1) : per_task, plan->nr);
}

static void plan_dot(const c1x1_view *v, size_t per_task, int x_in_place, c1x1_plan *plan) {
    const c1x1_problem *p = v->problem;
    plan->a = x_in_place ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    plan->b =
        c1x1_w_is_native(v) && c1x1_is_unit(p->w_in, v->size) ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    plan->order = C1X1_ROWS_OUTSIDE;
    plan->nc = plan->n;
    size_t mc = per_task;
    if (!x_in_place) mc = smaller(mc, pixels_within(C1X1_TILE_BUFFER * 2, plan->k * v->size));
    if (!plan->is_direct) mc = smaller(mc, pixels_within(C1X1_TILE_BUFFER, plan->n * v->size));
    plan->mc = even_block(plan->m, mc, plan->mr);
}

/* A block of `total` such that `outer` times its blocks keep all threads busy to the end: the share of
 * the busiest counts. Among equals the smallest, which leaves most to take over, or the largest,
 * since a block reads or packs the other operand anew. */
static size_t balanced_block(size_t total, size_t unit, size_t outer, size_t threads,
                             int prefers_large) {
    size_t best = total, least = SIZE_MAX;
    for (size_t parts = 1; parts <= 4 * threads; parts++) {
        const size_t block = smaller(round_up(divide_up(total, parts), unit), total);
        const size_t share = divide_up(outer * divide_up(total, block), threads) * block;
        if (share < least || (share == least && !prefers_large)) {
            least = share;
            best = block;
        }
    }
    return best;
}

/* More, narrower tasks where the pixels alone do not keep every thread busy. */
static void split_channels(const c1x1_view *v, c1x1_plan *plan) {
    const size_t threads = (size_t)plan->threads, blocks = c1x1_plan_blocks(plan);
    const size_t n_unit = plan->unit ? C1X1_MATRIX_EDGE : plan->nr;
    const size_t m_unit = plan->unit ? C1X1_MATRIX_EDGE : plan->mr;
    if (threads < 2 || v->problem->overlap != C1X1_APART || blocks >= 3 * threads) return;
    if (plan->role == C1X1_PIXELS_M) {
        const size_t outer = plan->outer * plan->m_blocks;
        plan->nc = smaller(plan->nc, balanced_block(plan->n, n_unit, outer, threads, 1));
    } else if (plan->role == C1X1_PIXELS_N) {
        const size_t outer = plan->outer * plan->n_blocks;
        const int packs_anew = plan->b == C1X1_PACK_PANEL || plan->kc < plan->k;
        plan->mc = smaller(plan->mc, balanced_block(plan->m, m_unit, outer, threads, packs_anew));
    }
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

size_t c1x1_plan_tile_row(const c1x1_plan *plan) {
    /* The unit's rows lie a multiple of a page apart less often for the gap between them. */
    return plan->unit ? plan->nc + C1X1_MATRIX_EDGE : round_up(plan->nc, plan->nr);
}

/* What the tiles pack, and sums that wait. */
static void size_tiles(const c1x1_view *v, c1x1_plan *plan) {
    const size_t line = C1X1_LINE, kc = round_up(plan->kc, C1X1_CHAINS) + 16;
    plan->a_bytes = plan->a == C1X1_PACK_BLOCK ? plan->mc * kc * v->size : 0;
    plan->b_bytes = 0;
    if (plan->b == C1X1_PACK_PANEL)
        plan->b_bytes = (plan->nr + v->kernels->vl) * plan->kc * v->size;
    if (plan->b == C1X1_PACK_BLOCK)
        plan->b_bytes = plan->role == C1X1_DOT ? plan->nc * kc * v->size
                                               : round_up(plan->nc, plan->nr) * plan->kc * v->size;
    plan->tile_bytes = 0;
    if (!plan->is_direct || plan->sums_wait)
        plan->tile_bytes =
            (plan->sums_wait ? plan->chains : 1) * plan->mc * c1x1_plan_tile_row(plan) * v->size;
    plan->a_bytes = round_up(plan->a_bytes, line);
    plan->b_bytes = round_up(plan->b_bytes, line);
    plan->tile_bytes = round_up(plan->tile_bytes, line);
}

static void size_workspace(const c1x1_view *v, c1x1_plan *plan) {
    const size_t line = C1X1_LINE;
    if (plan->unit)
        c1x1_size_matrix(plan);
    else
        size_tiles(v, plan);
    const int is_widened = c1x1_finish_dtype(v->problem) != plan->compute;
    plan->wide_bytes = is_widened ? WIDE_BUFFER : 0;
    if (!plan->is_direct && v->problem->epilogue.residual)
        plan->residual_bytes = is_widened
                                   ? WIDE_BUFFER
                                   : round_up(plan->mc * c1x1_plan_tile_row(plan) * v->size, line);
    if (v->problem->nodata.is_given)
        plan->flag_bytes = round_up(c1x1_pixels_are_n(plan->role) ? plan->nc : plan->mc, line);
}

/* Fewer pixels in a block whose buffers outgrow a thread's share: rows of few channels are packed with
 * gaps longer than they are, and a residual waits beside the sums. */
static void fit_workspace(const c1x1_view *v, c1x1_plan *plan) {
    const int pixels_are_n = c1x1_pixels_are_n(plan->role);
    size_t *pixels = pixels_are_n ? &plan->nc : &plan->mc;
    const size_t total = pixels_are_n ? plan->n : plan->m;
    const size_t unit = pixels_are_n ? plan->nr : plan->mr;
    for (;;) {
        size_workspace(v, plan);
        if (plan->unit) return; /* its blocks are small */
        const size_t weights = smaller(pixels_are_n ? plan->a_bytes : plan->b_bytes,
                                       plan->k * v->problem->c_out * v->size);
        if (c1x1_plan_thread_bytes(plan) <= WORKSPACE + weights || *pixels <= 2 * unit) return;
        *pixels = even_block(total, *pixels / 2, unit);
    }
}

/* Tiles take what costs them no constants: a residual, and the bounds of relu. */
static c1x1_finisher choose_finisher(const c1x1_problem *p, const c1x1_plan *plan) {
    const c1x1_epilogue *e = &p->epilogue;
    const int is_bias_left = plan->unit && p->bias; /* which a matrix unit does not add */
    if (!c1x1_has_epilogue(p) && !is_bias_left) return C1X1_FINISH_NONE;
    if (!plan->is_direct) return C1X1_FINISH_BUFFER;
    if (plan->unit) return C1X1_FINISH_OUT;
    const int is_tiled = plan->chains == 1 && plan->role != C1X1_SMALL && plan->role != C1X1_DOT;
    const int is_simple =
        e->activation == C1X1_IDENTITY || e->activation == C1X1_RELU || e->activation == C1X1_RELU6;
    return is_tiled && is_simple && !e->scale ? C1X1_FINISH_TILE : C1X1_FINISH_OUT;
}

static int choose_threads(const c1x1_view *v, int limit) {
    const c1x1_problem *p = v->problem;
    const double pixels = (double)v->pixels * (double)p->groups;
    const double macs = pixels * (double)p->c_in * (double)p->c_out;
    const double bytes = pixels * ((double)p->c_in * (double)c1x1_dtype_size(p->x_dtype) +
                                   (double)p->c_out * (double)c1x1_dtype_size(p->out_dtype));
    if (macs < MACS_PER_THREAD && bytes < 2 * BYTES_PER_THREAD) return 1;
    const double useful = greater(macs / MACS_PER_THREAD, bytes / BYTES_PER_THREAD);
    return useful < limit ? (int)useful + (useful < 1) : limit;
}

/* The tiles for what a matrix unit leaves: as wide as its blocks are, where that can be. */
static void choose_rest(const c1x1_kernels *kernels, c1x1_choice *c) {
    c->nv = C1X1_MAX_NV;
    while (c->nv > 1 && (c->nv * kernels->vl > C1X1_MATRIX_EDGE || kernels->mr[c->nv] == 0))
        c->nv--;
    c->mr = kernels->mr[c->nv];
}

c1x1_status c1x1_make_plan(const c1x1_problem *p, const c1x1_machine *machine, int thread_limit,
                           c1x1_plan *plan) {
    memset(plan, 0, sizeof *plan); /* so that plans compare as bytes */
    const c1x1_kernels *kernels = c1x1_find_kernels(machine->isa, p->compute, &plan->isa);
    if (!kernels) return C1X1_BAD_DTYPE;
    c1x1_view v = c1x1_look_at(p, kernels);
    v.small = c1x1_find_small(machine->isa, p->compute);
    if (p->x_dtype == C1X1_UINT8) v.bytes = c1x1_find_bytes(machine->isa);
    v.x_is_converted = !v.x_is_native && !p->table &&
                       c1x1_find_load_converter(plan->isa, p->x_dtype, p->compute) != NULL;
    v.out_is_converted =
        !v.out_is_native &&
        c1x1_find_store_converter(plan->isa, c1x1_finish_dtype(p), p->out_dtype) != NULL;
    c1x1_choice c = c1x1_choose(&v);
    const int is_matrix =
        v.chains == 1 && c.role != C1X1_SMALL && c1x1_matrix_wins(&v, &c, machine);
    if (is_matrix) choose_rest(kernels, &c);
    const size_t run = c.is_gathered ? v.pixels : v.run;
    const int pixels_are_m = !c1x1_pixels_are_n(c.role);
    plan->compute = p->compute;
    plan->role = c.role;
    plan->is_direct = c.is_direct;
    plan->takes_bytes = c.takes_bytes;
    plan->is_gathered = c.is_gathered;
    plan->mr = c.mr;
    plan->nr = c.role == C1X1_DOT ? c.nv : c.nv * kernels->vl;
    plan->chains = v.chains;
    plan->m = pixels_are_m ? run : p->c_out;
    plan->n = pixels_are_m ? p->c_out : run;
    plan->k = v.k;
    plan->factor = (unsigned)c1x1_pack_factor(p->compute);
    plan->outer = v.pixels / run * p->groups;
    plan->threads = choose_threads(&v, thread_limit);
    choose_k(&v, machine, c.x_in_place, plan);
    /* Even shares for the threads, then small enough to balance. */
    const double macs_per_pixel = (double)larger(p->c_in, 1) * (double)p->c_out;
    const size_t shares = plan->threads > 1 ? 4 * (size_t)plan->threads : 1;
    size_t per_task =
        smaller(divide_up(run, shares), larger((size_t)(MACS_PER_TASK / macs_per_pixel), 1));
    if (p->nodata.is_given) per_task = smaller(per_task, FLAGGED_PIXELS);
    if (is_matrix)
        c1x1_plan_matrix(&v, &c, machine, plan);
    else if (c.role == C1X1_SMALL)
        plan_small(&v, machine, per_task, c.x_in_place, plan);
    else if (c.role == C1X1_DOT)
        plan_dot(&v, per_task, c.x_in_place, plan);
    else if (c.role == C1X1_PIXELS_M)
        plan_pixels_m(&v, machine, per_task, c.x_in_place, plan);
    else
        plan_pixels_n(&v, machine, per_task, c.x_in_place, plan);
    count_blocks(plan);
    split_channels(&v, plan);
    fit_workspace(&v, plan);
    count_blocks(plan);
    choose_grain(plan);
    plan->finisher = choose_finisher(p, plan);
    plan->threads = (int)smaller((size_t)plan->threads, c1x1_plan_tasks(plan));
    return C1X1_OK;
}

size_t c1x1_plan_blocks(const c1x1_plan *plan) {
    return plan->outer * plan->m_blocks * plan->n_blocks;
}

size_t c1x1_plan_tasks(const c1x1_plan *plan) {
    return divide_up(c1x1_plan_blocks(plan), plan->grain);
}

size_t c1x1_plan_thread_bytes(const c1x1_plan *plan) {
    return plan->a_bytes + plan->b_bytes + plan->tile_bytes + plan->wide_bytes +
           plan->residual_bytes + plan->range_bytes + plan->flag_bytes;
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

const char *c1x1_finisher_name(c1x1_finisher finisher) {
    static const char *const names[] = {"none", "tile", "out", "buffer"};
    return names[finisher];
}
