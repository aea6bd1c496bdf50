/* plan_blocks.c - the blocks of each role, and what is fetched or read in runs on the way. */
#include "plan.h"

static const size_t LONGEST_CHAIN = 160; /* multiply-adds in a row (decision 0002) */
static const size_t FEW_PIXELS = 256;    /* packing weights takes longest (decision 0008) */
static const size_t PAGE = 4096;
static const size_t REREAD = 8; /* times L2: planes that several rows of tiles may read in place */
static const size_t REREAD_ROWS = 4;        /* so many rows (decision 0010), */
static const size_t REREAD_ROWS_IN_L2 = 8;  /* where all planes stay in L2, */
static const size_t REREAD_MORE = 2;        /* times as many rows, for as many times more planes */
static const size_t REREAD_SHARE = 4;       /* times as many planes as filters, from memory, */
static const size_t PASSING = 8;            /* times half of L2: weights beside one pixel */
static const size_t STRIP_PLANES = 128;     /* that all strips read together */
static const size_t WAYS = 4;               /* of a set of L1, beside results */
static const size_t STREAMS = 16;           /* planes from memory that the hardware foresees */
static const size_t COLUMN_PLANES = 32;     /* that few filters read all at once (decision 0016) */
static const size_t FAR_COLUMN_PLANES = 20; /* the same, from memory */
static const size_t RUN_PLANES = 64;  /* that few filters read a few at a time (decision 0010) */
static const size_t RUN_PIXELS = 256; /* of one filter (decision 0016) */
static const size_t HEADED = 9;       /* times L1: planes in place that a block lines up */
static const size_t PANEL_K = 192;    /* from here on planes are packed a panel at a time */
static const size_t LONG_K = 1024;    /* of sixteen chains: k is blocked above this */
static const size_t SPLIT_K = 512;    /* into blocks of at most this */
static const size_t PACKED_WEIGHTS =
    768 << 10;                         /* bytes of them in a block, packed for one call or before */
static const size_t PACKED_FOR = 1024; /* pixels that a part of weights is packed for, at least */
static const size_t FETCHED_ROW = 160; /* bytes; shorter ones the hardware foresees */
static const size_t FETCHED_PIXEL = 256; /* bytes of one that tiles fetch ahead, */
static const size_t FETCHED_DOT = 512;   /* and dots (decision 0014) */
static const size_t PANELS_IN_L1 = 4;    /* times L1: a panel of b beside rows of pixels in place */
static const size_t ROWS_IN_L2 = 32;     /* of pixels at least, for all panels of b to pass by */

size_t c1x1_sum_piece(size_t c_in) {
    if (c_in <= LONGEST_CHAIN) return larger(c_in, 1);
    return divide_up(c_in, divide_up(c_in, LONGEST_CHAIN));
}

/* Whether there is one pixel, whose channels lie side by side and meet rows of weights as they lie (decision
 * 0017): a vector, which stays where it is, as long as it may be. */
static int is_column(const c1x1_view *v, int x_in_place, const c1x1_plan *plan) {
    const c1x1_problem *p = v->problem;
    return plan->role == C1X1_PIXELS_N && plan->n == 1 && v->chains == 1 && x_in_place &&
           c1x1_is_unit(p->x_channel, v->size) && c1x1_w_is_native(v) &&
           c1x1_is_unit(p->w_in, v->size);
}

/* Bytes that a panel of b may take. It stays in L1 beside the rows of a and c that pass by; where pixels
 * are read in place it may come from L2, which costs less than reading them and c in parts, as long as
 * L2 holds enough rows of them. Weights that are packed for this call should be so only once, as wide as
 * they are. */
static size_t panel_within(const c1x1_view *v, const c1x1_machine *machine, int x_in_place,
                           const c1x1_plan *plan) {
    const size_t in_l1 = machine->l1_bytes / 3 * 2;
    const size_t beyond = larger(in_l1, smaller(PANELS_IN_L1 * machine->l1_bytes,
                                                machine->l2_bytes / 2 / ROWS_IN_L2 * plan->nr));
    if (plan->role != C1X1_PIXELS_M || !x_in_place) return in_l1;
    if (v->problem->packed) return beyond;
    return larger(in_l1, smaller(beyond, PACKED_WEIGHTS / plan->n * plan->nr));
}

/* kc is for the caches, piece for the accuracy; the one is a multiple of the other. */
void c1x1_choose_k(const c1x1_view *v, const c1x1_machine *machine, int x_in_place,
                   c1x1_plan *plan) {
    const size_t fits = panel_within(v, machine, x_in_place, plan) / (plan->nr * v->size);
    plan->kc = plan->k;
    plan->piece = v->chains > 1 ? plan->k : c1x1_sum_piece(plan->k);
    if (plan->role == C1X1_DOT || plan->role == C1X1_SMALL) return;
    if (plan->piece == plan->k && v->chains == 1) return;
    if (v->chains > 1) {
        if (plan->k > LONG_K && !x_in_place) plan->kc = even_block(plan->k, SPLIT_K, C1X1_CHAINS);
        plan->sums_wait = plan->kc < plan->k;
    } else if (plan->k > fits && !is_column(v, x_in_place, plan)) {
        const size_t pieces = divide_up(plan->k, plan->piece);
        plan->kc = even_block(pieces, fits / plan->piece, 1) * plan->piece;
    }
    /* Pixels that are overwritten must all have been read: sums wait in the tile buffer. So they do for a residual,
     * also where a tile adds up pieces in `out`. */
    if (plan->kc < plan->k && v->problem->overlap == C1X1_SAME_PIXELS) plan->is_direct = 0;
    if (plan->piece < plan->k && v->problem->epilogue.residual_is_out) plan->is_direct = 0;
}

/* w as the vector side. Strips of rows of pixels meet all panels of a block of w in turn, which stay in L1 or
 * L2. Weights of few pixels that are read as they lie are too far apart for it: they pass panel by panel. */
static void plan_pixels_m(const c1x1_view *v, const c1x1_machine *machine, size_t per_task,
                          int x_in_place, c1x1_plan *plan) {
    const c1x1_problem *p = v->problem;
    const size_t w_bytes = plan->k * plan->n * v->size;
    const size_t l2_rows = pixels_within(machine->l2_bytes / 2, plan->kc * v->size);
    const int is_apart = p->overlap == C1X1_APART;
    const int w_in_l1 = w_bytes <= machine->l1_bytes / 2;
    const c1x1_weights *packed = p->packed;
    plan->a = x_in_place ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    if (packed && packed->isa == plan->isa && packed->compute == plan->compute)
        plan->b = C1X1_PREPACKED; /* in panels of nr: c1x1_panel_width */
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
    const int panels_outside = plan->b == C1X1_IN_PLACE && !w_in_l1;
    plan->order = panels_outside ? C1X1_PANELS_OUTSIDE : C1X1_ROWS_OUTSIDE;
    plan->nc = plan->n;
    plan->mc = w_in_l1 && x_in_place ? per_task : smaller(l2_rows, share);
    /* Where k is cut, weights are packed anew for every block of pixels. */
    if (x_in_place && plan->b == C1X1_PACK_BLOCK && plan->kc < plan->k)
        plan->mc = smaller(larger(l2_rows, PACKED_FOR), share);
    if (!plan->is_direct) {
        if (is_apart) plan->nc = even_block(plan->n, 1024, plan->nr);
        plan->mc = smaller(plan->mc, pixels_within(C1X1_TILE_BUFFER, plan->nc * v->size));
    }
    plan->mc = even_block(plan->m, plan->mc, plan->mr);
    const size_t row = plan->n * v->size;
    plan->fetches_c =
        plan->is_direct && row >= FETCHED_ROW && plan->m * row * plan->outer > machine->l2_bytes;
    /* m counts fastest, so that what is packed here serves all pixels of this thread. Pixels that are packed
     * should be so only once. */
    if (is_apart && (plan->b == C1X1_PACK_BLOCK || (plan->b == C1X1_PREPACKED && x_in_place)))
        plan->nc = even_block(plan->nc, PACKED_WEIGHTS / (plan->kc * v->size + 1), plan->nr);
}

/* Whether L3 may be trusted to hold the planes of an image. */
static int are_near(const c1x1_view *v, const c1x1_machine *machine, const c1x1_plan *plan) {
    return plan->k * plan->n * v->size <= REREAD * machine->l2_bytes;
}

/* Whether planes are few enough to be read by one strip of rows after the other, each along all panels. */
static int reads_by_strips(const c1x1_view *v, const c1x1_machine *machine, const c1x1_plan *plan) {
    const size_t strips = divide_up(plan->m, plan->mr);
    return strips > 1 && plan->k * strips <= STRIP_PLANES &&
           (plan->k <= STREAMS || are_near(v, machine, plan));
}

/* Whether planes are read where they lie by every row of tiles: copying them costs more than a few such
 * rows do, of planes that outweigh the results a few more, unless their lines share sets of the cache, or come
 * from memory each time. There they are fetched (c1x1_fetches_pixels), which pays where they are many beside the
 * results; few planes the hardware foresees. Rows are counted as if of the tallest tiles that load less than they
 * multiply: lower ones are wider, and read each plane as often along more of it. */
static int planes_stay(const c1x1_view *v, const c1x1_machine *machine, const c1x1_plan *plan) {
    const size_t rows = divide_up(plan->m, v->kernels->mr[2]);
    const int is_near = are_near(v, machine, plan);
    const int is_aliased = v->problem->x_channel % (ptrdiff_t)(PAGE / 2) == 0;
    if (plan->m <= plan->mr) return is_near || plan->k <= STREAMS || !is_aliased;
    if (is_aliased && plan->k > WAYS) return 0;
    if (plan->k <= STREAMS && reads_by_strips(v, machine, plan)) return 1;
    if (!is_near) return rows <= REREAD_ROWS && plan->k >= REREAD_SHARE * plan->m;
    const int are_in_l2 = plan->k * plan->n * v->size <= machine->l2_bytes;
    const size_t most = are_in_l2 ? REREAD_ROWS_IN_L2 : REREAD_ROWS;
    return rows <= (plan->k >= REREAD_MORE * plan->m ? REREAD_MORE * most : most);
}

/* Whether the planes of few filters are read in runs: the lines that all of them have at one pixel would push each
 * other out of the cache, or come from memory in more streams than the hardware foresees. Four filters
 * leave too few registers for anything else. One filter alone reads planes twice as fast in runs, once they are
 * more than stays in L2; where its sixteen sums are as long, and short, from a few pixels on. */
static int reads_runs(const c1x1_view *v, const c1x1_machine *machine, const c1x1_plan *plan) {
    const size_t bytes = plan->k * plan->n * v->size;
    if (plan->m == 1 && plan->k <= RUN_PLANES && plan->k % C1X1_CHAINS == 0)
        return plan->n >= RUN_PIXELS;
    if (plan->k < RUN_PLANES) return 0;
    const size_t stays = plan->k < 2 * RUN_PLANES ? machine->l2_bytes : machine->l2_bytes / 2;
    if (plan->m == 1 && bytes > stays) return 1;
    return v->problem->x_channel % (ptrdiff_t)PAGE == 0 || plan->m == C1X1_MAX_DOT ||
           (plan->k >= 2 * RUN_PLANES && bytes > machine->l2_bytes);
}

static c1x1_sweep choose_sweep(const c1x1_view *v, const c1x1_machine *machine,
                               const c1x1_plan *plan) {
    if (v->kernels->vl == 1)
        return C1X1_COLUMNS; /* a line of them, however many planes there are */
    if (reads_runs(v, machine, plan)) return C1X1_RUNS;
    const size_t most = are_near(v, machine, plan) ? COLUMN_PLANES : FAR_COLUMN_PLANES;
    return plan->k <= most ? C1X1_COLUMNS : C1X1_QUARTERS;
}

/* Pixels before the first that begins a line in each plane in place: vectors of those that follow never
 * straddle two. */
static size_t choose_head(const c1x1_view *v, const c1x1_machine *machine, const c1x1_plan *plan) {
    const c1x1_problem *p = v->problem;
    if (plan->b != C1X1_IN_PLACE || v->kernels->vl == 1) return 0;
    if (plan->k * plan->n * v->size < HEADED * machine->l1_bytes) return 0;
    ptrdiff_t strides = p->x_channel | (p->groups > 1 ? p->x_group : 0);
    for (int d = 0; d < p->dims - 1; d++) strides |= p->dim[d].x_stride;
    const size_t beyond = (uintptr_t)p->x % C1X1_LINE;
    if (strides % C1X1_LINE != 0 || beyond == 0) return 0;
    return (C1X1_LINE - beyond) / v->size;
}

/* w as the broadcast side. A block of w stays in L2 while panels of pixels pass through L1. */
static void plan_pixels_n(const c1x1_view *v, const c1x1_machine *machine, size_t per_task,
                          int x_in_place, c1x1_plan *plan) {
    const c1x1_problem *p = v->problem;
    const int a_in_place =
        c1x1_w_is_native(v) && c1x1_is_unit(p->w_in, v->size) && !plan->sums_wait;
    const int is_apart = p->overlap == C1X1_APART;
    const size_t l2_rows = pixels_within(machine->l2_bytes / 2, plan->kc * v->size);
    plan->a = a_in_place ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    const int is_one = is_column(v, x_in_place, plan);
    const int x_stays = is_one || (x_in_place && (v->chains > 1 || planes_stay(v, machine, plan)));
    plan->b = x_stays ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    if (v->chains > 1 && plan->b == C1X1_IN_PLACE) plan->sweep = choose_sweep(v, machine, plan);
    const c1x1_dim *last = p->dims ? &p->dim[p->dims - 1] : NULL;
    const int is_planar = last && !plan->is_gathered && !p->table &&
                          c1x1_is_unit(last->x_stride, c1x1_dtype_size(p->x_dtype));
    /* Lines a page apart would push each other out of L2 before they are packed. */
    const int planes_alias = p->x_channel % (ptrdiff_t)PAGE == 0;
    if (plan->b == C1X1_PACK_BLOCK && is_planar && plan->k >= PANEL_K && plan->m <= plan->kc / 2 &&
        v->chains == 1 && plan->is_direct && !planes_alias &&
        plan->m * plan->k * v->size <= machine->l2_bytes / 2 && (a_in_place || plan->kc == plan->k))
        plan->b = C1X1_PACK_PANEL;
    /* Each strip of rows of w meets all panels of a block, so that results are written along memory, and one call
     * goes along them. Planes that are read where they lie must be few to be read so often. */
    const int strips_outside =
        v->chains == 1 && (plan->b == C1X1_PACK_BLOCK || reads_by_strips(v, machine, plan));
    plan->order = strips_outside ? C1X1_ROWS_OUTSIDE : C1X1_PANELS_OUTSIDE;
    /* b is packed anew for every block of m where k is split: fewer, larger blocks then. Strips need none,
     * unless they are packed as well. */
    const size_t times = plan->kc == plan->k ? 1 : a_in_place ? 4 : 2;
    const size_t rows = is_one ? larger(PASSING * l2_rows, 4 * plan->mr) : times * l2_rows;
    plan->mc =
        is_apart && !(strips_outside && a_in_place) ? even_block(plan->m, rows, plan->mr) : plan->m;
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
    plan->head = choose_head(v, machine, plan);
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

/* Whether rows of pixels in place, one after the other in memory, come from beyond L2 and are long enough
 * for a kernel to fetch the next ones while it multiplies. */
static int fetches_rows(const c1x1_view *v, const c1x1_machine *machine, const c1x1_plan *plan) {
    const c1x1_problem *p = v->problem;
    const size_t row = plan->k * v->size;
    if (plan->a != C1X1_IN_PLACE || plan->kc < plan->k || p->dims == 0) return 0;
    if (row < (plan->role == C1X1_DOT ? FETCHED_DOT : FETCHED_PIXEL)) return 0;
    const ptrdiff_t stride = p->dim[p->dims - 1].x_stride;
    const int is_dense = stride >= (ptrdiff_t)row && stride <= (ptrdiff_t)(row + row / 4);
    return is_dense && row * plan->m * plan->outer > machine->l2_bytes;
}

/* Likewise planes in place, from memory, that all rows of tiles meet panel by panel. */
static int fetches_planes(const c1x1_view *v, const c1x1_machine *machine, const c1x1_plan *plan) {
    return plan->b == C1X1_IN_PLACE && plan->chains == 1 && plan->order == C1X1_PANELS_OUTSIDE &&
           plan->k * v->size * plan->n * plan->outer > REREAD * machine->l2_bytes;
}

int c1x1_fetches_pixels(const c1x1_view *v, const c1x1_machine *machine, const c1x1_plan *plan) {
    if (plan->unit || plan->role == C1X1_SMALL) return 0;
    return plan->role == C1X1_PIXELS_N ? fetches_planes(v, machine, plan)
                                       : fetches_rows(v, machine, plan);
}

void c1x1_choose_blocks(const c1x1_view *v, const c1x1_machine *machine, size_t per_task,
                        int x_in_place, c1x1_plan *plan) {
    if (plan->role == C1X1_SMALL)
        plan_small(v, machine, per_task, x_in_place, plan);
    else if (plan->role == C1X1_DOT)
        plan_dot(v, per_task, x_in_place, plan);
    else if (plan->role == C1X1_PIXELS_M)
        plan_pixels_m(v, machine, per_task, x_in_place, plan);
    else
        plan_pixels_n(v, machine, per_task, x_in_place, plan);
}
