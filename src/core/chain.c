/* chain.c - layers that follow each other, pixel block by pixel block: what lies between two of them
 * never leaves the cache. Each layer runs as a call of its own on one thread; threads share out the
 * blocks. */
#include "operands.h"
#include "threads.h"

/* Buffers of two threads never share a line, nor lie a multiple of a page apart. */
static size_t thread_bytes(const c1x1_chain *chain) {
    return chain->layer_bytes + 2 * chain->buffer_bytes + chain->flag_bytes + 3 * C1X1_LINE;
}

c1x1_status c1x1_chain_begin(c1x1_chain *chain) {
    chain->next = 0;
    chain->workspace = c1x1_allocate((size_t)chain->threads * thread_bytes(chain));
    return chain->workspace ? C1X1_OK : C1X1_NO_MEMORY;
}

void c1x1_chain_end(c1x1_chain *chain) {
    c1x1_release(chain->workspace);
    chain->workspace = NULL;
}

typedef struct {
    const c1x1_chain *chain;
    atomic_size_t next;
    atomic_int is_late;
    double deadline;
} chain_run;

/* A block of `count` pixels, whose pixels, results and residual begin at x, out and residual. */
static void run_layers(const c1x1_chain *chain, char *memory, size_t count, const char *x,
                       char *out, const char *residual) {
    char *buffer[2] = {memory + chain->layer_bytes,
                       memory + chain->layer_bytes + chain->buffer_bytes};
    const int is_rest = count != chain->pixels;
    for (int i = 0; i < chain->count; i++) {
        const int is_last = i == chain->count - 1;
        c1x1_problem l = chain->layer[i];
        l.x = i == 0 ? x : buffer[(i - 1) & 1];
        l.out = is_last ? out : buffer[i & 1];
        if (is_last) l.epilogue.residual = residual;
        if (l.dims > 0) l.dim[0].size = count;
        c1x1_run_state run = {
            .problem = &l, .plan = &chain->plan[2 * i + is_rest], .workspace = memory};
        while (c1x1_run(&run) == C1X1_PAUSED) continue;
    }
}

static void run_block(const c1x1_chain *chain, char *memory, size_t index) {
    const c1x1_problem *whole = &chain->whole;
    const c1x1_dim last = whole->dims ? whole->dim[whole->dims - 1] : (c1x1_dim){.size = 1};
    const size_t first = index % chain->blocks_per_run * chain->pixels;
    const size_t count = smaller(chain->pixels, last.size - first);
    const place run = c1x1_place_of(whole, whole->dims - 1, index / chain->blocks_per_run);
    const char *x = whole->x + run.x + (ptrdiff_t)first * last.x_stride;
    char *out = whole->out + run.out + (ptrdiff_t)first * last.out_stride;
    const char *residual = whole->epilogue.residual;
    if (residual) residual += run.residual + (ptrdiff_t)first * last.residual_stride;
    unsigned char *flags = (unsigned char *)memory + chain->layer_bytes + 2 * chain->buffer_bytes;
    int has_nodata = 0;
    if (whole->nodata.is_given) {
        const c1x1_copy pixels = {count, whole->c_in, last.x_stride, whole->x_channel, 0};
        has_nodata = c1x1_scan(whole->x_dtype, flags, x, &pixels, whole->nodata.value);
    }
    run_layers(chain, memory, count, x, out, residual);
    if (has_nodata) {
        const c1x1_copy results = {count, whole->c_out, last.out_stride, whole->out_channel, 0};
        c1x1_fill(whole->out_dtype, flags, out, &results, whole->nodata.fill);
    }
}

static void work(void *context, int index) {
    chain_run *r = context;
    const c1x1_chain *chain = r->chain;
    const size_t blocks = chain->outer * chain->blocks_per_run;
    char *memory = chain->workspace + (size_t)index * thread_bytes(chain);
    while (!atomic_load_explicit(&r->is_late, memory_order_relaxed)) {
        const size_t next = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed);
        if (next >= blocks) return;
        run_block(chain, memory, next);
        if (c1x1_seconds() > r->deadline)
            atomic_store_explicit(&r->is_late, 1, memory_order_relaxed);
    }
}

c1x1_status c1x1_chain_run(c1x1_chain *chain) {
    chain_run r = {.chain = chain, .deadline = c1x1_seconds() + C1X1_SLICE_SECONDS};
    atomic_init(&r.next, chain->next);
    atomic_init(&r.is_late, 0);
    c1x1_threads_run(chain->threads, work, &r);
    chain->next = atomic_load(&r.next);
    return chain->next < chain->outer * chain->blocks_per_run ? C1X1_PAUSED : C1X1_OK;
}
