/* plan.c - the threads of a choice, how they share out its blocks, and their workspace. */
#include "plan.h"

#include <string.h>

static const double MACS_PER_THREAD = 5e5; /* below this another thread costs more than it gives */
static const double BYTES_PER_THREAD = 1.28e5;
static const double MACS_PER_TASK = 2e6; /* small enough to share out evenly, and to stop soon */
static const size_t FLAGGED_PIXELS = 16 << 10; /* of a block, a byte each */
static const size_t WIDE_BUFFER = 16 << 10;    /* bytes of them that become float64 at a time */
static const size_t WORKSPACE = 1 << 20;       /* bytes of a thread, beside its packed weights */

static double greater(double a, double b) { return a > b ? a : b; }

/* A block of `total`, at most `most`, such that `outer` times its blocks keep all threads busy to the end: the
 * share of the busiest counts. Among (nearly) equals the smallest, which leaves most to take over, or the largest,
 * since a block reads or packs the other operand anew. */
static size_t balanced_block(size_t total, size_t most, size_t unit, size_t outer, size_t threads,
                             int prefers_large) {
    enum { SLACK = 32 };
    size_t best = most, least = SIZE_MAX;
    const size_t fewest = divide_up(total, most);
    for (size_t parts = fewest; parts < fewest + 4 * threads; parts++) {
        const size_t block = smaller(round_up(divide_up(total, parts), unit), most);
        const size_t share = divide_up(outer * divide_up(total, block), threads) * block;
        if (share + share / SLACK < least || (share <= least && !prefers_large)) {
            least = share;
            best = block;
        }
    }
    return best;
}

static void count_blocks(c1x1_plan *plan) {
    plan->m_blocks = divide_up(plan->m, plan->mc);
    plan->n_blocks = (plan->head > 0) + divide_up(plan->n - plan->head, plan->nc);
}

/* Blocks of pixels, where they are few, of which each thread gets as many. Planes that are read in runs want
 * long ones. */
static void share_pixels(const c1x1_view *v, c1x1_plan *plan) {
    enum { FEW = 8 };
    const size_t threads = (size_t)plan->threads, blocks = c1x1_plan_blocks(plan);
    const int pixels_are_n = c1x1_pixels_are_n(plan->role);
    size_t *pixels = pixels_are_n ? &plan->nc : &plan->mc;
    const size_t total = pixels_are_n ? plan->n : plan->m,
                 tile = pixels_are_n ? plan->nr : plan->mr;
    const size_t others = plan->outer * (pixels_are_n ? plan->m_blocks : plan->n_blocks);
    if (threads < 2 || v->problem->overlap != C1X1_APART || blocks >= FEW * threads) return;
    if ((pixels_are_n ? plan->n_blocks : plan->m_blocks) < 2 || plan->chains > 1) return;
    *pixels =
        balanced_block(total, *pixels, plan->unit ? C1X1_MATRIX_EDGE : tile, others, threads, 1);
    count_blocks(plan);
}

/* More, narrower tasks where the pixels alone do not keep every thread busy. */
static void split_channels(const c1x1_view *v, c1x1_plan *plan) {
    const size_t threads = (size_t)plan->threads, blocks = c1x1_plan_blocks(plan);
    const size_t n_unit = plan->unit ? C1X1_MATRIX_EDGE : plan->nr;
    const size_t m_unit = plan->unit ? C1X1_MATRIX_EDGE : plan->mr;
    if (threads < 2 || v->problem->overlap != C1X1_APART || blocks >= 3 * threads) return;
    if (plan->role == C1X1_PIXELS_M) {
        const size_t outer = plan->outer * plan->m_blocks;
        plan->nc = balanced_block(plan->n, plan->nc, n_unit, outer, threads, 1);
    } else if (plan->role == C1X1_PIXELS_N) {
        const size_t outer = plan->outer * plan->n_blocks;
        const int packs_anew = plan->b == C1X1_PACK_PANEL || plan->kc < plan->k;
        plan->mc = balanced_block(plan->m, plan->mc, m_unit, outer, threads, packs_anew);
    }
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

/* Whether one tile sums all of each of its results. */
static int has_tiles(c1x1_role role, unsigned chains) {
    return chains == 1 && role != C1X1_SMALL && role != C1X1_DOT;
}

static c1x1_finisher choose_finisher(const c1x1_problem *p, const c1x1_plan *plan) {
    const int is_bias_left = plan->unit && p->bias; /* which a matrix unit does not add */
    if (!c1x1_has_epilogue(p) && !is_bias_left) return C1X1_FINISH_NONE;
    if (!plan->is_direct) return C1X1_FINISH_BUFFER;
    if (plan->unit) return C1X1_FINISH_OUT;
    return has_tiles(plan->role, plan->chains) && c1x1_tiles_finish(p) ? C1X1_FINISH_TILE
                                                                       : C1X1_FINISH_OUT;
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
    while (c->nv * kernels->vl > C1X1_MATRIX_EDGE || kernels->mr[c->nv] == 0) c->nv--;
    c->mr = kernels->mr[c->nv];
}

void c1x1_make_plan(const c1x1_problem *p, const c1x1_machine *machine, int thread_limit,
                    c1x1_plan *plan) {
    memset(plan, 0, sizeof *plan); /* so that plans compare as bytes */
    const c1x1_kernels *kernels = c1x1_find_kernels(machine->isa, p->compute, &plan->isa);
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
        v.chains == 1 && c.role != C1X1_SMALL && c1x1_choose_matrix(&v, machine, &c);
    if (is_matrix) choose_rest(kernels, &c);
    /* A residual that sums would be written over is read by the tile that writes them, or apart from `out`. */
    const int is_read_in_time = !is_matrix && has_tiles(c.role, v.chains) && c1x1_tiles_finish(p);
    if (p->epilogue.residual_is_out && !is_read_in_time) c.is_direct = 0;
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
    c1x1_choose_k(&v, machine, c.x_in_place, plan);
    /* Even shares for the threads, then small enough to balance. */
    const double macs_per_pixel = (double)larger(p->c_in, 1) * (double)p->c_out;
    const size_t shares = plan->threads > 1 ? 4 * (size_t)plan->threads : 1;
    size_t per_task =
        smaller(divide_up(run, shares), larger((size_t)(MACS_PER_TASK / macs_per_pixel), 1));
    if (p->nodata.is_given) per_task = smaller(per_task, FLAGGED_PIXELS);
    if (is_matrix)
        c1x1_plan_matrix(&v, &c, machine, plan);
    else
        c1x1_choose_blocks(&v, machine, per_task, c.x_in_place, plan);
    count_blocks(plan);
    share_pixels(&v, plan);
    split_channels(&v, plan);
    fit_workspace(&v, plan);
    count_blocks(plan);
    choose_grain(plan);
    plan->fetches_x = c1x1_fetches_pixels(&v, machine, plan);
    plan->finisher = choose_finisher(p, plan);
    plan->threads = (int)smaller((size_t)plan->threads, c1x1_plan_tasks(plan));
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

const char *c1x1_sweep_name(c1x1_sweep sweep) {
    static const char *const names[] = {"columns", "quarters", "runs"};
    return names[sweep];
}

const char *c1x1_finisher_name(c1x1_finisher finisher) {
    static const char *const names[] = {"none", "tile", "out", "buffer"};
    return names[finisher];
}
