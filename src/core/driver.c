/* driver.c - walks a plan: task, block (of one outer step: image, group), stage.
 *
 * Threads take tasks from one counter, so that none waits for work another could do. They never
 * split k, so no bit of a result depends on their number. Layouts and ISAs are unknown here: there
 * are a, b and c with strides, and the kernels of the plan. */
#include "finish.h"
#include "multiply.h"
#include "threads.h"

#include <stdlib.h>
#include <string.h>

static void run_block(worker *w, const block *t) {
    const shared *s = w->s;
    /* Before anything is written: out may lie over x. */
    const int has_nodata = s->problem->nodata.is_given && c1x1_note_nodata(w, t);
    c1x1_multiply_block(w, t);
    if (!s->plan->is_direct) c1x1_store_block(w, t);
    if (has_nodata) c1x1_fill_nodata(w, t);
}

/* Blocks that share b follow each other: m counts fastest. */
static block find_block(const shared *s, size_t index) {
    const c1x1_plan *plan = s->plan;
    const c1x1_problem *p = s->problem;
    const size_t m_index = index % plan->m_blocks;
    const size_t n_index = index / plan->m_blocks % plan->n_blocks;
    block t = {.m0 = m_index * plan->mc,
               .pixels = p->x,
               .w = p->w,
               .bias = s->finish ? NULL : p->bias, /* the epilogue adds it */
               .out = p->out,
               .residual = p->epilogue.residual};
    t.m = smaller(plan->mc, plan->m - t.m0);
    const size_t missing = plan->head > 0 ? plan->nc - plan->head : 0; /* of the first block */
    t.n0 = n_index > 0 ? n_index * plan->nc - missing : 0;
    t.n = smaller((n_index + 1) * plan->nc - missing, plan->n) - t.n0;
    const size_t outer = index / (plan->m_blocks * plan->n_blocks);
    const place at = c1x1_place_of(p, plan->is_gathered ? 0 : p->dims - 1, outer);
    const ptrdiff_t group = (ptrdiff_t)at.rounds;
    t.group = at.rounds;
    t.pixels += at.x;
    t.x = t.pixels + group * p->x_group;
    t.w += group * p->w_group;
    t.out += at.out + group * p->out_group;
    if (t.residual) t.residual += at.residual + group * p->epilogue.residual_group;
    if (t.bias) t.bias += group * (ptrdiff_t)(p->c_out * s->size);
    return t;
}

static void work(void *context, int index) {
    shared *s = context;
    const c1x1_plan *plan = s->plan;
    worker w = {.s = s};
    if (s->workspace) {
        w.a = s->workspace + (size_t)index * s->thread_bytes;
        w.b = w.a + plan->a_bytes;
        w.tile = w.b + plan->b_bytes;
        w.wide = w.tile + plan->tile_bytes;
        w.residual = w.wide + plan->wide_bytes;
        w.ranges = (c1x1_range *)(void *)(w.residual + plan->residual_bytes);
        w.flags = (unsigned char *)w.ranges + plan->range_bytes;
    }
    for (;;) {
        if (atomic_load_explicit(&s->is_late, memory_order_relaxed)) return;
        const size_t task = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
        if (task >= s->tasks) return;
        const size_t end = smaller((task + 1) * plan->grain, s->blocks);
        for (size_t i = task * plan->grain; i < end; i++) {
            const block t = find_block(s, i);
            run_block(&w, &t);
        }
        if (s->deadline > 0 && c1x1_seconds() > s->deadline)
            atomic_store_explicit(&s->is_late, 1, memory_order_relaxed);
    }
}

/* ---- the calls ------------------------------------------------------------------------------ */

/* Buffers of two threads never share a line, nor lie a multiple of a page apart. */
static size_t spaced(size_t bytes) { return bytes ? bytes + 3 * C1X1_LINE : 0; }

c1x1_status c1x1_run_begin(c1x1_run_state *run, const c1x1_problem *problem,
                           const c1x1_plan *plan) {
    const size_t bytes = (size_t)plan->threads * spaced(c1x1_plan_thread_bytes(plan));
    *run = (c1x1_run_state){.problem = problem, .plan = plan};
    if (bytes == 0) return C1X1_OK;
    run->workspace = c1x1_allocate(bytes);
    return run->workspace ? C1X1_OK : C1X1_NO_MEMORY;
}

static c1x1_loader loader_of(const c1x1_plan *plan, c1x1_dtype from) {
    const c1x1_compute to = plan->compute;
    const int is_plain = from == c1x1_compute_dtype(to);
    return (c1x1_loader){
        .load = {c1x1_find_load(from, to, C1X1_ALONG), c1x1_find_load(from, to, C1X1_ACROSS)},
        .convert = is_plain ? NULL : c1x1_find_load_converter(plan->isa, from, to),
        .size = c1x1_dtype_size(from),
        .packed_size = c1x1_dtype_size(c1x1_compute_dtype(to)),
        .makes_pairs = c1x1_pack_factor(to) > 1,
        .is_plain = is_plain};
}

/* Operands of a matrix unit that takes them as they are. */
static c1x1_loader copier_of(const c1x1_plan *plan) {
    if (!plan->unit || plan->unit_kind == C1X1_UNIT_FLOAT32) return (c1x1_loader){0};
    const size_t size = plan->unit->matrix[plan->unit_kind]->size;
    const c1x1_load_fn copy = c1x1_find_copy(size);
    return (c1x1_loader){.load = {copy, copy}, .size = size, .packed_size = size};
}

static c1x1_storer storer_of(const c1x1_problem *p, const c1x1_plan *plan) {
    const c1x1_compute from = c1x1_finish_dtype(p);
    const c1x1_dtype to = c1x1_stored_dtype(p);
    if (plan->is_direct) return (c1x1_storer){0};
    return (c1x1_storer){.store = c1x1_find_store(from, to),
                         .convert = c1x1_find_store_converter(plan->isa, from, to),
                         .size = c1x1_dtype_size(to),
                         .from_size = c1x1_dtype_size(c1x1_compute_dtype(from))};
}

c1x1_status c1x1_run(c1x1_run_state *run) {
    const c1x1_problem *p = run->problem;
    const c1x1_plan *plan = run->plan;
    const c1x1_kernels *kernels = c1x1_find_kernels(plan->isa, plan->compute, NULL);
    const size_t line = C1X1_CHAINS, kc = round_up(plan->kc, line);
    shared s = {.problem = p,
                .plan = plan,
                .kernels = kernels,
                .load_x = loader_of(plan, p->x_dtype),
                .load_w = loader_of(plan, p->w_dtype),
                .copy = copier_of(plan),
                .store = storer_of(p, plan),
                .size = c1x1_dtype_size(c1x1_compute_dtype(plan->compute)),
                .factor = plan->factor,
                .finish_size = c1x1_dtype_size(c1x1_compute_dtype(c1x1_finish_dtype(p))),
                .blocks = c1x1_plan_blocks(plan),
                .tasks = c1x1_plan_tasks(plan),
                /* a line more than k, so that rows do not all fall into the same cache sets */
                .a_ld = (ptrdiff_t)(kc + line),
                .chain_ld = (ptrdiff_t)(kc / line),
                .tile_ld = (ptrdiff_t)c1x1_plan_tile_row(plan),
                .workspace = run->workspace,
                .thread_bytes = spaced(c1x1_plan_thread_bytes(plan))};
    if (plan->wide_bytes > 0)
        s.widen = c1x1_find_store_converter(plan->isa, plan->compute, C1X1_FLOAT64);
    while (1u << s.vl_log2 < kernels->vl) s.vl_log2++;
    const c1x1_kernels *small = c1x1_find_small(plan->isa, plan->compute);
    if (plan->role == C1X1_SMALL)
        s.small = plan->takes_bytes ? c1x1_find_bytes(plan->isa)->small[plan->k - 1][p->c_out - 1]
                                    : small->small[plan->k - 1][p->c_out - 1];
    if (small && small->column) s.columns = small;
    c1x1_choose_finish(&s);
    if (plan->role == C1X1_SMALL) s.tile_ld = (ptrdiff_t)p->c_out;
    s.tile_plane = (ptrdiff_t)plan->mc * s.tile_ld;
    s.deadline = s.tasks > 1 ? c1x1_seconds() + C1X1_SLICE_SECONDS : 0;
    atomic_init(&s.next, run->next_task);
    atomic_init(&s.is_late, 0);
    c1x1_threads_run(plan->threads, work, &s);
    run->next_task = atomic_load(&s.next);
    return run->next_task < s.tasks ? C1X1_PAUSED : C1X1_OK;
}

void c1x1_run_end(c1x1_run_state *run) {
    c1x1_release(run->workspace);
    run->workspace = NULL;
}
