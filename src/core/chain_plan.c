/* chain_plan.c - the blocks of a chain of layers: how many pixels go through all of them at once, where
 * each layer finds them, and the plan of each. */
#include "c1x1.h"
#include "sizes.h"

static const double MACS_PER_THREAD = 5e5;
static const size_t BLOCK_BYTES = 256 << 10; /* into a layer and out of it */
enum { FEWEST_PIXELS = 16, MOST_PIXELS = 4096, PIXELS_UNIT = 48 };
static char *const SOMEWHERE = (char *)(uintptr_t)4096; /* as aligned as the buffers will be */

static size_t lines(size_t bytes) { return round_up(bytes, C1X1_LINE); }

static size_t in_bytes(const c1x1_problem *l) {
    return l->groups * l->c_in * c1x1_dtype_size(l->x_dtype);
}

static size_t out_bytes(const c1x1_problem *l) {
    return l->groups * l->c_out * c1x1_dtype_size(l->out_dtype);
}

/* As many pixels as keep what goes into a layer and what comes out of it in half of L2, and within what
 * a thread may take. */
static size_t choose_pixels(const c1x1_chain *chain, const c1x1_machine *machine, size_t run,
                            int threads) {
    size_t widest = 1;
    for (int i = 0; i < chain->count; i++)
        widest = larger(widest, in_bytes(&chain->layer[i]) + out_bytes(&chain->layer[i]));
    size_t pixels = smaller(smaller(machine->l2_bytes / 2, BLOCK_BYTES) / widest, MOST_PIXELS);
    const size_t share = run * chain->outer / (4 * (size_t)threads);
    if (threads > 1) pixels = smaller(pixels, share);
    pixels = larger(pixels, FEWEST_PIXELS);
    if (pixels > PIXELS_UNIT) pixels -= pixels % PIXELS_UNIT;
    return smaller(pixels, run);
}

static int choose_threads(const c1x1_chain *chain, size_t pixels, int limit) {
    double macs = 0;
    for (int i = 0; i < chain->count; i++) {
        const c1x1_problem *l = &chain->layer[i];
        macs += (double)l->groups * (double)l->c_in * (double)l->c_out * (double)pixels;
    }
    const double useful = macs / MACS_PER_THREAD;
    return useful < limit ? (int)useful + (useful < 1) : limit;
}

/* What outer axes step by, in bits below the widest alignment. */
typedef struct {
    uintptr_t x, out, residual;
} odd_steps;

static odd_steps odd_steps_of(const c1x1_problem *whole) {
    odd_steps odd = {0, 0, 0};
    for (int d = 0; d + 1 < whole->dims; d++) {
        odd.x |= (uintptr_t)whole->dim[d].x_stride & 7;
        odd.out |= (uintptr_t)whole->dim[d].out_stride & 7;
        odd.residual |= (uintptr_t)whole->dim[d].residual_stride & 7;
    }
    return odd;
}

/* An address no better aligned than that of any block: a layer plans for them all. */
static char *least_aligned(const char *first, uintptr_t odd) {
    return (char *)((uintptr_t)first | odd);
}

/* Where layer i finds its pixels and leaves its results: the caller's arrays at the ends, dense
 * buffers of a block in between. */
static void connect(c1x1_chain *chain, int i) {
    const c1x1_problem *whole = &chain->whole;
    c1x1_problem *l = &chain->layer[i];
    const c1x1_dim *last = whole->dims ? &whole->dim[whole->dims - 1] : NULL;
    const ptrdiff_t x_size = (ptrdiff_t)c1x1_dtype_size(l->x_dtype);
    const ptrdiff_t out_size = (ptrdiff_t)c1x1_dtype_size(l->out_dtype);
    const ptrdiff_t pixels = (ptrdiff_t)chain->pixels;
    const odd_steps odd = odd_steps_of(whole);
    l->x = l->out = SOMEWHERE;
    l->overlap = C1X1_APART;
    l->is_reproducible =
        1; /* threads choose the blocks, on which a matrix unit's bits would depend */
    l->dims = 1;
    l->dim[0].size = chain->pixels;
    l->dim[0].x_stride = chain->is_planar ? x_size : (ptrdiff_t)in_bytes(l);
    l->dim[0].out_stride = chain->is_planar ? out_size : (ptrdiff_t)out_bytes(l);
    l->dim[0].residual_stride = 0;
    l->x_channel = x_size * (chain->is_planar ? pixels : 1);
    l->out_channel = out_size * (chain->is_planar ? pixels : 1);
    if (i == 0) {
        l->x = least_aligned(whole->x, odd.x);
        l->x_channel = whole->x_channel;
        l->dim[0].x_stride = last ? last->x_stride : 0;
    }
    if (i == chain->count - 1) {
        l->out = least_aligned(whole->out, odd.out);
        l->out_channel = whole->out_channel;
        l->dim[0].out_stride = last ? last->out_stride : 0;
        if (whole->epilogue.residual)
            l->epilogue.residual = least_aligned(whole->epilogue.residual, odd.residual);
        l->epilogue.residual_dtype = whole->epilogue.residual_dtype;
        l->epilogue.residual_channel = whole->epilogue.residual_channel;
        l->epilogue.residual_is_out = whole->epilogue.residual_is_out;
        l->dim[0].residual_stride = last ? last->residual_stride : 0;
    }
}

c1x1_status c1x1_chain_plan(c1x1_chain *chain, const c1x1_machine *machine, int thread_limit) {
    c1x1_problem *whole = &chain->whole;
    c1x1_status status = c1x1_problem_normalise(whole);
    if (status != C1X1_OK) return status;
    const size_t all = c1x1_problem_pixels(whole);
    const size_t run = whole->dims ? whole->dim[whole->dims - 1].size : 1;
    chain->outer = all / run;
    chain->threads = choose_threads(chain, all, thread_limit);
    chain->pixels = choose_pixels(chain, machine, run, chain->threads);
    chain->blocks_per_run = (run + chain->pixels - 1) / chain->pixels;
    const size_t rest = run % chain->pixels, blocks = chain->outer * chain->blocks_per_run;
    chain->threads = (int)smaller((size_t)chain->threads, blocks);
    chain->buffer_bytes = chain->layer_bytes = 0;
    chain->flag_bytes = whole->nodata.is_given ? lines(chain->pixels) : 0;
    for (int i = 0; i < chain->count; i++) {
        c1x1_problem *l = &chain->layer[i];
        c1x1_plan *plan = &chain->plan[2 * i];
        connect(chain, i);
        status = c1x1_problem_normalise_block(l);
        if (status != C1X1_OK) return status;
        c1x1_make_plan(l, machine, 1, &plan[0]);
        plan[1] = plan[0];
        if (rest > 0) {
            c1x1_problem tail = *l;
            tail.dim[0].size = rest;
            c1x1_make_plan(&tail, machine, 1, &plan[1]);
        }
        const size_t needs =
            larger(c1x1_plan_thread_bytes(&plan[0]), c1x1_plan_thread_bytes(&plan[1]));
        chain->layer_bytes = larger(chain->layer_bytes, lines(needs));
        if (i > 0)
            chain->buffer_bytes = larger(chain->buffer_bytes, lines(chain->pixels * in_bytes(l)));
    }
    return C1X1_OK;
}
