/* drive.c - the core without Python: random problems and chains, exact, on every instruction set that
 * this CPU runs; what sanitizers, valgrind and emulators execute.
 *
 *   drive [--seed N] [--problems N] [--isa NAME] [--callers N] [--starve] [--malloc]
 *
 * Problem i of instruction set j has the seed N + i. All data are whole numbers small enough for every
 * sum to be exact, so that a result is right or wrong. Caches are as small as the planner may meet and
 * threads more than the work deserves, so that few pixels go through all blocks and joins.
 *
 * --callers  so many threads compute at once
 * --starve   every allocation of every call fails once: nothing is written, and the next call is right
 * --malloc   operands from malloc, for tools that watch it, in place of inaccessible pages
 *
 * Exits with 0, or with 1 after a difference, whose seed is printed. */
#define _GNU_SOURCE
#include "kernels/kernel.h"
#include "elements.h"
#include "stages.h"
#include "trial.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* ---- allocations that fail ------------------------------------------------------------------ */

int __real_posix_memalign(void **to, size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **to, size_t alignment, size_t bytes);

static _Thread_local long allocations, failing = -1;

int __wrap_posix_memalign(void **to, size_t alignment, size_t bytes) {
    if (allocations++ == failing) return 12; /* ENOMEM */
    return __real_posix_memalign(to, alignment, bytes);
}

/* ---- options -------------------------------------------------------------------------------- */

static struct {
    uint64_t seed;
    size_t problems, callers;
    const char *isa;
    int starves, uses_malloc;
} options = {.seed = 1, .problems = 1000, .callers = 1};

static void read_options(int count, char **words) {
    for (int i = 1; i < count; i++) {
        const char *word = words[i], *next = i + 1 < count ? words[i + 1] : "";
        if (strcmp(word, "--starve") == 0) {
            options.starves = 1;
            continue;
        }
        if (strcmp(word, "--malloc") == 0) {
            options.uses_malloc = 1;
            continue;
        }
        if (strcmp(word, "--seed") == 0)
            options.seed = strtoull(next, NULL, 0);
        else if (strcmp(word, "--problems") == 0)
            options.problems = strtoull(next, NULL, 0);
        else if (strcmp(word, "--callers") == 0)
            options.callers = strtoull(next, NULL, 0);
        else if (strcmp(word, "--isa") == 0)
            options.isa = next;
        else {
            fprintf(stderr, "unknown option %s\n", word);
            exit(2);
        }
        i++;
    }
}

static void make_rooms(trial *t) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < ROOMS && !options.uses_malloc; i++) {
        char *p = mmap(NULL, ROOM_BYTES + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED || mprotect(p + page, ROOM_BYTES, PROT_READ | PROT_WRITE) != 0) abort();
        t->rooms[i] = (room){p + page, p + page + ROOM_BYTES};
    }
}

/* ---- from a trial to the core's structs ------------------------------------------------------- */

static void describe_terms(const trial *t, const layer *l, c1x1_problem *p) {
    memset(p, 0, sizeof *p);
    p->compute = l->compute;
    p->x_dtype = l->x_dtype;
    p->w_dtype = l->w.dtype;
    p->out_dtype = l->out_dtype;
    p->groups = l->groups;
    p->c_in = l->c_in;
    p->c_out = l->c_out;
    p->w = l->w.first;
    p->w_out = l->w.stride[0];
    p->w_in = l->w.stride[1];
    if (l->has_bias) p->bias = l->bias.memory;
    if (l->has_scale) p->epilogue.scale = l->scale.memory;
    for (int i = 0; i < l->parameters; i++) p->epilogue.parameter[i] = l->parameter[i].memory;
    p->epilogue.activation = l->activation;
    if (l->has_table) {
        p->table = entry_of(l, 0, 0);
        p->table_channel = l->table.stride[0];
    }
    (void)t;
}

static void describe_pixels(const trial *t, c1x1_problem *p) {
    const layer *last = &t->layers[t->count - 1];
    p->x = t->x.first;
    p->x_channel = t->x.stride[t->x.axes];
    p->out = t->out.first;
    p->out_channel = t->out.stride[t->out.axes];
    p->dims = t->x.axes;
    for (int d = 0; d < p->dims; d++)
        p->dim[d] = (c1x1_dim){t->x.size[d], t->x.stride[d], t->out.stride[d],
                               t->has_residual ? t->residual.stride[d] : 0};
    if (t->has_residual) {
        p->epilogue.residual = t->residual.first;
        p->epilogue.residual_dtype = t->residual.dtype;
        p->epilogue.residual_channel = t->residual.stride[t->residual.axes];
        p->epilogue.residual_is_out = t->residual_is_out;
        p->epilogue.activation = last->activation;
    }
    if (t->has_nodata) {
        p->nodata.is_given = 1;
        if (t->nodata_is_nan) { /* another NaN than x's */
            memset(p->nodata.value, 0xff, sizeof p->nodata.value);
            p->nodata.value[c1x1_dtype_size(t->x.dtype) - 1] = 0x7f;
        } else
            put(p->nodata.value, t->x.dtype, t->nodata);
        put(p->nodata.fill, t->out.dtype, t->fill);
    }
}

/* A machine that plans small blocks, and how many threads each plan shall have. */
typedef struct {
    c1x1_machine machine;
    int threads, is_forced;
} setting;

static setting draw_setting(rng *r, const c1x1_isa *isa) {
    setting s = {.machine = *c1x1_this_machine()};
    s.machine.isa = isa;
    if (chance(r, 70)) {
        s.machine.l1_bytes = PICK(r, 1 << 10, 4 << 10, 16 << 10, 48 << 10);
        s.machine.l2_bytes = PICK(r, 4 << 10, 32 << 10, 256 << 10, 2 << 20);
    }
    s.threads = chance(r, 50) ? 1 : 2 + (int)below(r, 5);
    s.is_forced = chance(r, 60);
    return s;
}

static void force_threads(const setting *s, c1x1_plan *plan) {
    if (!s->is_forced) return;
    const size_t blocks = c1x1_plan_blocks(plan);
    plan->grain = 1;
    plan->threads = blocks < (size_t)s->threads ? (int)blocks : s->threads;
}

static c1x1_status run_plan(const c1x1_problem *p, const c1x1_plan *plan) {
    c1x1_run_state run;
    c1x1_status status = c1x1_run_begin(&run, p, plan);
    if (status != C1X1_OK) return status;
    do status = c1x1_run(&run);
    while (status == C1X1_PAUSED);
    c1x1_run_end(&run);
    return status;
}

static c1x1_status compute_on(const c1x1_machine *machine, c1x1_problem *p) {
    c1x1_plan plan;
    c1x1_status status = c1x1_problem_normalise(p);
    if (status != C1X1_OK) return status;
    c1x1_make_plan(p, machine, 1, &plan);
    return run_plan(p, &plan);
}

static c1x1_status run_problem(const trial *t, const setting *s, int is_packed) {
    c1x1_problem p;
    c1x1_weights weights = {0};
    c1x1_plan plan;
    describe_terms(t, &t->layers[0], &p);
    describe_pixels(t, &p);
    c1x1_problem_find_overlap(&p);
    if (p.overlap != (t->is_in_place ? C1X1_SAME_PIXELS : C1X1_APART)) abort();
    c1x1_status status = c1x1_problem_normalise(&p);
    if (status == C1X1_OK && is_packed) {
        status = c1x1_pack_weights(&p, &s->machine, t->is_planar, &weights);
        p.packed = &weights;
        const size_t panels = weights.group_bytes * weights.groups;
        if (status == C1X1_OK &&
            (weights.bytes < panels || weights.bytes > 8 * panels + ROOM_BYTES))
            abort();
    }
    if (status == C1X1_OK) {
        c1x1_make_plan(&p, &s->machine, s->threads, &plan);
        force_threads(s, &plan);
        status = run_plan(&p, &plan);
    }
    c1x1_free_weights(&weights);
    return status;
}

static c1x1_status run_chain(const trial *t, const setting *s) {
    c1x1_problem layers[MOST_LAYERS];
    c1x1_plan plans[2 * MOST_LAYERS];
    c1x1_chain chain = {.count = t->count, .is_planar = t->is_planar};
    const layer *first = &t->layers[0], *last = &t->layers[t->count - 1];
    for (int i = 0; i < t->count; i++) describe_terms(t, &t->layers[i], &layers[i]);
    describe_pixels(t, &chain.whole);
    c1x1_problem *whole = &chain.whole;
    whole->x_dtype = first->x_dtype;
    whole->out_dtype = last->out_dtype;
    whole->compute = last->compute;
    whole->groups = 1;
    whole->c_in = first->groups * first->c_in;
    whole->c_out = last->groups * last->c_out;
    whole->w_in = whole->w_out = 8;
    chain.layer = layers;
    chain.plan = plans;
    c1x1_status status = c1x1_chain_plan(&chain, &s->machine, s->threads);
    if (status == C1X1_OK) {
        const size_t blocks = chain.outer * chain.blocks_per_run;
        if (s->is_forced) chain.threads = blocks < (size_t)s->threads ? (int)blocks : s->threads;
        status = c1x1_chain_begin(&chain);
    }
    if (status != C1X1_OK) return status;
    do status = c1x1_chain_run(&chain);
    while (status == C1X1_PAUSED);
    c1x1_chain_end(&chain);
    return status;
}

static c1x1_status run_trial(trial *t, const setting *s, int is_packed) {
    memcpy(t->out.memory, t->before, t->out.bytes); /* in place it is x too */
    allocations = 0;
    return t->is_chain ? run_chain(t, s) : run_problem(t, s, is_packed);
}

/* ---- judging -------------------------------------------------------------------------------- */

/* The pixel and channel of the first result that is not as it should be, or NULL. */
static const char *find_fault(const trial *t, const array *out, const char *other) {
    static _Thread_local char text[160];
    const layer *l = &t->layers[t->count - 1];
    const size_t channels = out->size[out->axes], size = c1x1_dtype_size(out->dtype);
    const int is_modular = l->finish == C1X1_COMPUTE_INT64 && !l->has_table &&
                           is_unsigned(l->x_dtype) && is_unsigned(l->w.dtype);
    for (size_t p = 0; p < pixels_of(out); p++)
        for (size_t c = 0; c < channels; c++) {
            const char *at = element(out, p, c);
            const long double got = get(at, out->dtype);
            long double want = stored(t->values[0][p * channels + c], out->dtype, is_modular);
            if (t->is_empty[p]) want = t->fill;
            want = t->power[p] == INFINITE ? sum_of_infinite(t, p, c) : ldexpl(want, t->power[p]);
            if (other && memcmp(at, other + (at - out->memory), size) == 0) continue;
            if (!other && (got == want || (got != got && want != want))) continue;
            snprintf(text, sizeof text, "pixel %zu channel %zu is %Lg, not %Lg", p, c, got,
                     other ? get(other + (at - out->memory), out->dtype) : want);
            return text;
        }
    return NULL;
}

static int are_all_exact(const trial *t) {
    int all = 1;
    for (int i = 0; i < t->count; i++) all &= is_exact(t->layers[i].activation);
    return all;
}

static const char *judge(trial *t, const setting *s, int is_packed) {
    const char *fault = NULL;
    if (run_trial(t, s, is_packed) != C1X1_OK) return "refused";
    if (are_all_exact(t)) return find_fault(t, &t->out, NULL);
    char *got = reserve(t->out.bytes);
    memcpy(got, t->out.memory, t->out.bytes);
    setting plain = {.machine = *c1x1_this_machine(), .threads = 1};
    plain.machine.isa = c1x1_find_isa("scalar");
    if (run_trial(t, &plain, 0) != C1X1_OK) fault = "refused by the scalar kernels";
    if (!fault) fault = find_fault(t, &t->out, got);
    free(got);
    return fault;
}

/* Each allocation of the call fails in its turn, then none. */
static const char *starve(trial *t, const setting *s, int is_packed) {
    const char *fault = NULL;
    int is_done = 0;
    for (failing = 0; !is_done && !fault; failing++) {
        const c1x1_status status = run_trial(t, s, is_packed);
        is_done = allocations <= failing;
        if (!is_done && status != C1X1_NO_MEMORY) fault = "an allocation failed unnoticed";
        if (!is_done && memcmp(t->out.memory, t->before, t->out.bytes) != 0)
            fault = "written to although an allocation failed";
        if (is_done && status != C1X1_OK) fault = "refused with memory enough";
    }
    failing = -1;
    return fault;
}

static atomic_size_t next_trial;
static atomic_ulong failures;

static void *work(void *isa_) {
    const c1x1_isa *isa = isa_;
    trial *t = reserve(sizeof *t);
    make_rooms(t);
    for (;;) {
        const size_t i = atomic_fetch_add(&next_trial, 1);
        if (i >= options.problems) break;
        const uint64_t seed = options.seed + i;
        room rooms[ROOMS];
        memcpy(rooms, t->rooms, sizeof rooms);
        memset(t, 0, sizeof *t);
        memcpy(t->rooms, rooms, sizeof rooms);
        make_trial(t, seed);
        compute_wanted(t);
        const setting s = draw_setting(&t->r, isa);
        const int is_packed = chance(&t->r, 40) && t->layers[0].compute != C1X1_COMPUTE_INT64;
        const char *fault = options.starves ? starve(t, &s, is_packed) : NULL;
        if (!fault) fault = judge(t, &s, is_packed);
        if (!fault && !is_undisturbed(&t->out)) fault = "wrote between or beside its results";
        if (fault && atomic_fetch_add(&failures, 1) < 20)
            printf("FAILED seed %llu, %s (%s): %s\n", (unsigned long long)seed, isa->name,
                   isa->description, fault);
        release_trial(t);
    }
    for (int i = 0; i < ROOMS && !options.uses_malloc; i++)
        munmap(t->rooms[i].begin, ROOM_BYTES); /* the two pages stay, and guard nothing */
    free(t);
    return NULL;
}

static void run_all(const c1x1_isa *isa) {
    pthread_t threads[64];
    size_t started = 0;
    atomic_store(&next_trial, 0);
    while (started + 1 < options.callers && started < 64 &&
           pthread_create(&threads[started], NULL, work, (void *)(uintptr_t)isa) == 0)
        started++;
    work((void *)(uintptr_t)isa);
    for (size_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
    printf("%s (%s): %zu problems from seed %llu\n", isa->name, isa->description, options.problems,
           (unsigned long long)options.seed);
    fflush(stdout);
}

/* ---- single numbers: an image of one pixel and one channel ------------------------------------- */

/* `p` has x and out; the weight is 1, of the dtype of the sums. */
static c1x1_status compute_element(c1x1_problem *p, const c1x1_machine *machine) {
    char w[8];
    put(w, c1x1_compute_dtype(p->compute), 1);
    p->w = w;
    p->w_dtype = c1x1_compute_dtype(p->compute);
    p->groups = p->c_in = p->c_out = 1;
    return compute_on(machine, p);
}

static unsigned long faults_of_elements(const c1x1_isa *isa) {
    unsigned long faults = 0;
    c1x1_machine machine = *c1x1_this_machine();
    machine.isa = isa;
    for (size_t i = 0; i < COUNT_OF(element_cases); i++) {
        const element_case *e = &element_cases[i];
        uint64_t out = 0;
        c1x1_problem p = {.x = (const char *)&e->x, .out = (char *)&out, .compute = e->compute};
        p.x_dtype = e->x_dtype;
        p.out_dtype = e->out_dtype;
        if (compute_element(&p, &machine) == C1X1_OK && out == e->want) continue;
        printf("FAILED element %zu, %s: %llx, not %llx\n", i, isa->name, (unsigned long long)out,
               (unsigned long long)e->want);
        faults++;
    }
    for (size_t i = 0; i < COUNT_OF(nodata_cases); i++) {
        const nodata_case *e = &nodata_cases[i];
        const int is_real = is_float(e->dtype);
        unsigned char out = 0;
        c1x1_problem p = {.x = (const char *)&e->x, .out = (char *)&out};
        p.compute = !is_real ? I64 : e->dtype == C1X1_FLOAT64 ? F64 : F32;
        p.x_dtype = e->dtype;
        p.out_dtype = C1X1_UINT8;
        p.nodata.is_given = 1;
        memcpy(p.nodata.value, &e->nodata, sizeof p.nodata.value);
        p.nodata.fill[0] = 99;
        if (compute_element(&p, &machine) == C1X1_OK && (out == 99) == e->is_found) continue;
        printf("FAILED nodata %zu, %s\n", i, isa->name);
        faults++;
    }
    return faults;
}

/* ---- products of any size: a diagonal image by a diagonal matrix -------------------------------- */

/* Numbers of 24 bits times a power of two: exact, however small or large, unless products of their pieces are
 * lost on the way. */
static unsigned long faults_of_products(const c1x1_isa *isa) {
    enum { EDGE = 64 };
    static const int exponents[] = {-126, -115, -104, -103, -60, 0, 60, 126};
    static const int sums[] = {-126, -115, -105, -97, -96, -50, 0, 50, 99, 100, 120, 126};
    static float x[EDGE][EDGE], w[EDGE][EDGE], out[EDGE][EDGE];
    unsigned long faults = 0;
    c1x1_machine machine = *c1x1_this_machine();
    machine.isa = isa;
    for (size_t i = 0; i < COUNT_OF(exponents) * COUNT_OF(sums); i++) {
        const int e = exponents[i % COUNT_OF(exponents)], f = sums[i / COUNT_OF(exponents)] - e;
        if (f < -126 || f > 126) continue;
        for (size_t d = 0; d < EDGE; d++) {
            x[d][d] = ldexpf(1 + (float)(d * 131071 + 1) / 8388608, e);
            w[d][d] = ldexpf(d % 2 ? 1 : -1, f);
        }
        c1x1_problem p = {
            .x = (const char *)x, .w = (const char *)w, .out = (char *)out, .dims = 1};
        p.compute = C1X1_COMPUTE_FLOAT32;
        p.x_dtype = p.w_dtype = p.out_dtype = C1X1_FLOAT32;
        p.groups = 1;
        p.c_in = p.c_out = EDGE;
        p.x_channel = p.out_channel = p.w_out = sizeof(float);
        p.w_in = sizeof *w;
        p.dim[0] = (c1x1_dim){EDGE, sizeof *x, sizeof *out, 0};
        int is_wrong = compute_on(&machine, &p) != C1X1_OK;
        for (size_t r = 0; r < EDGE; r++)
            for (size_t c = 0; c < EDGE; c++)
                is_wrong |= out[r][c] != (r == c ? x[r][r] * w[r][r] : 0);
        if (is_wrong) printf("FAILED products of 2^%d and 2^%d, %s\n", e, f, isa->name);
        faults += (unsigned long)is_wrong;
    }
    return faults;
}

/* A pixel, or a filter, of infinities whose products would all be small, of NaNs, or of subnormal numbers; also
 * beyond the first rows and columns that a matrix unit takes at once, and where it reads bfloat16 as it lies. */
static unsigned long faults_of_specials(const c1x1_isa *isa) {
    enum { PIXELS = 64, FIRST = 5, SECOND = 13, THIRD = 39, MOST = PIXELS * 1024 };
    static const float values[] = {INFINITY, -INFINITY, NAN, 0x1p-130f};
    static const size_t sizes[][2] = {{64, 64}, {1024, 16}}, places[] = {FIRST, SECOND, THIRD};
    static float x[MOST], w[MOST], out[MOST];
    static uint16_t halves[2][MOST];
    unsigned long faults = 0;
    c1x1_machine machine = *c1x1_this_machine();
    machine.isa = isa;
    for (size_t i = 0; i < 8 * COUNT_OF(values) * COUNT_OF(places); i++) {
        const float value = values[i / 8 % COUNT_OF(values)];
        const float factor = value == 0x1p-130f ? 0x1p20f : 0x1p-40f;
        const int is_in_x = i % 2 == 0, is_half = i / 2 % 2 == 0;
        const size_t c_in = sizes[i / 4 % 2][0], c_out = sizes[i / 4 % 2][1];
        const size_t place = places[i / 8 / COUNT_OF(values)], size = is_half ? 2 : sizeof(float);
        if (!is_in_x && place >= c_out) continue;
        machine.l2_bytes = c_in > 64 ? 64 << 10 : c1x1_this_machine()->l2_bytes; /* longer blocks */
        for (size_t e = 0; e < PIXELS * c_in; e++) x[e] = is_in_x ? 1 : factor;
        for (size_t e = 0; e < c_in * c_out; e++) w[e] = is_in_x ? factor : 1;
        for (size_t c = 0; c < c_in; c++)
            *(is_in_x ? &x[place * c_in + c] : &w[c * c_out + place]) = value;
        for (size_t e = 0; e < MOST; e++) {
            uint32_t bits[2];
            memcpy(&bits[0], &x[e], sizeof bits[0]);
            memcpy(&bits[1], &w[e], sizeof bits[1]);
            for (int q = 0; q < 2; q++) halves[q][e] = (uint16_t)(bits[q] >> 16);
        }
        c1x1_problem p = {.x = is_half ? (const char *)halves[0] : (const char *)x,
                          .w = is_half ? (const char *)halves[1] : (const char *)w,
                          .out = (char *)out,
                          .dims = 1};
        p.compute = C1X1_COMPUTE_FLOAT32;
        p.x_dtype = p.w_dtype = is_half ? C1X1_BFLOAT16 : C1X1_FLOAT32;
        p.out_dtype = C1X1_FLOAT32;
        p.groups = 1;
        p.c_in = c_in;
        p.c_out = c_out;
        p.x_channel = p.w_out = (ptrdiff_t)size;
        p.out_channel = sizeof(float);
        p.w_in = (ptrdiff_t)(c_out * size);
        p.dim[0] =
            (c1x1_dim){PIXELS, (ptrdiff_t)(c_in * size), (ptrdiff_t)(c_out * sizeof(float)), 0};
        int is_wrong = compute_on(&machine, &p) != C1X1_OK;
        for (size_t e = 0; e < PIXELS * c_out; e++) {
            const int meets_it = (is_in_x ? e / c_out : e % c_out) == place;
            const float want = (float)c_in * factor * (meets_it ? value : 1);
            is_wrong |= out[e] != want && (want == want || out[e] == out[e]);
        }
        if (is_wrong)
            printf("FAILED %g at %zu in %s%s, %zu channels, %s\n", (double)value, place,
                   is_half ? "half " : "", is_in_x ? "x" : "w", c_in, isa->name);
        faults += (unsigned long)is_wrong;
    }
    return faults;
}

/* ---- weights of few pixels, which threads share out --------------------------------------------- */

static unsigned long faults_of_shared_weights(const c1x1_isa *isa) {
    enum { MOST = 40, CHANNELS = 128, FILTERS = 400, THREADS = 4, REAL = sizeof(float) };
    static float x[MOST * CHANNELS], w[CHANNELS * FILTERS], out[MOST * FILTERS];
    unsigned long faults = 0;
    c1x1_machine machine = *c1x1_this_machine();
    machine.isa = isa;
    for (int i = 0; i < 16; i++) {
        const int is_packed = i % 2, is_turned = i / 2 % 2, is_planar = i / 4 % 2;
        const ptrdiff_t pixels = i < 8 ? MOST : MOST / 2; /* that read weights as they lie */
        c1x1_weights weights = {0};
        c1x1_plan plan;
        c1x1_problem p = {.x = (const char *)x, .w = (const char *)w, .out = (char *)out};
        p.compute = C1X1_COMPUTE_FLOAT32;
        p.x_dtype = p.w_dtype = p.out_dtype = C1X1_FLOAT32;
        p.groups = p.dims = 1;
        p.c_in = CHANNELS;
        p.c_out = FILTERS;
        p.w_in = REAL * (is_turned ? 1 : FILTERS);
        p.w_out = REAL * (is_turned ? CHANNELS : 1);
        p.x_channel = p.out_channel = REAL * (is_planar ? pixels : 1);
        p.dim[0] = (c1x1_dim){(size_t)pixels, REAL * (is_planar ? 1 : CHANNELS),
                              REAL * (is_planar ? 1 : FILTERS), 0};
        const ptrdiff_t x_channel = p.x_channel / REAL, x_pixel = p.dim[0].x_stride / REAL;
        const ptrdiff_t w_in = p.w_in / REAL, w_out = p.w_out / REAL;
        const ptrdiff_t out_channel = x_channel, out_pixel = p.dim[0].out_stride / REAL;
        for (ptrdiff_t c = 0; c < CHANNELS; c++) {
            for (ptrdiff_t j = 0; j < pixels; j++)
                x[c * x_channel + j * x_pixel] = (float)((c * 31 + j * 17) % 251);
            for (ptrdiff_t o = 0; o < FILTERS; o++)
                w[c * w_in + o * w_out] = (float)((c * 5 + o * 3) % 17) - 8;
        }
        int is_wrong = c1x1_problem_normalise(&p) != C1X1_OK;
        if (is_packed) {
            is_wrong |= c1x1_pack_weights(&p, &machine, is_planar, &weights) != C1X1_OK;
            p.packed = &weights;
        }
        c1x1_make_plan(&p, &machine, THREADS, &plan);
        is_wrong |= run_plan(&p, &plan) != C1X1_OK;
        c1x1_free_weights(&weights);
        for (ptrdiff_t j = 0; j < pixels; j++)
            for (ptrdiff_t o = 0; o < FILTERS; o++) {
                float sum = 0;
                for (ptrdiff_t c = 0; c < CHANNELS; c++)
                    sum += x[c * x_channel + j * x_pixel] * w[c * w_in + o * w_out];
                is_wrong |= out[j * out_pixel + o * out_channel] != sum;
            }
        if (is_wrong)
            printf("FAILED %s weights that threads share, %s%s, %s\n",
                   is_packed ? "packed" : "plain", is_planar ? "first" : "last",
                   is_turned ? ", turned" : "", isa->name);
        faults += (unsigned long)is_wrong;
    }
    return faults;
}

/* ---- few filters of planes that are packed, as wide as the last panel may be ------------------- */

/* Of more channels than a block takes too: sixteen sums of each result wait, and are added to tile by tile. */
static unsigned long faults_of_few_filters(const c1x1_isa *isa) {
    enum { CHANNELS = 1100, FEW = 18, PIXELS = 100, FILTERS = 4 };
    static unsigned char x[CHANNELS][PIXELS];
    static float w[FILTERS][CHANNELS], out[FILTERS][PIXELS];
    unsigned long faults = 0;
    c1x1_machine machine = *c1x1_this_machine();
    machine.isa = isa;
    for (size_t c = 0; c < CHANNELS; c++) {
        for (size_t i = 0; i < PIXELS; i++) x[c][i] = (unsigned char)((c * 31 + i * 17) % 251);
        for (size_t o = 0; o < FILTERS; o++) w[o][c] = (float)((c * 5 + o * 3) % 17) - 8;
    }
    for (size_t i = 0; i < 2 * PIXELS * FILTERS; i++) {
        const size_t pixels = i / 2 % PIXELS + 1, filters = i / 2 / PIXELS + 1;
        const size_t channels = i % 2 ? FEW : CHANNELS;
        c1x1_problem p = {
            .x = (const char *)x, .w = (const char *)w, .out = (char *)out, .dims = 1};
        p.compute = C1X1_COMPUTE_FLOAT32;
        p.x_dtype = C1X1_UINT8;
        p.w_dtype = p.out_dtype = C1X1_FLOAT32;
        p.groups = 1;
        p.c_in = channels;
        p.c_out = filters;
        p.x_channel = sizeof *x;
        p.w_in = sizeof(float);
        p.w_out = sizeof *w;
        p.out_channel = sizeof *out;
        p.dim[0] = (c1x1_dim){pixels, 1, sizeof(float), 0};
        memset(out, 0xff, sizeof out);
        int is_wrong = compute_on(&machine, &p) != C1X1_OK;
        for (size_t r = 0; r < filters * pixels; r++) {
            float sum = 0;
            for (size_t c = 0; c < channels; c++) sum += w[r / pixels][c] * (float)x[c][r % pixels];
            is_wrong |= out[r / pixels][r % pixels] != sum;
        }
        if (is_wrong)
            printf("FAILED %zu channels to %zu at %zu pixels, %s\n", channels, filters, pixels,
                   isa->name);
        faults += (unsigned long)is_wrong;
    }
    return faults;
}

/* Of planes that are read where they lie: all at once, a quarter of them, or a few in long runs. */
static unsigned long faults_of_few_filters_in_place(const c1x1_isa *isa) {
    enum { CHANNELS = 130, PIXELS = 2100, FILTERS = 4, REAL = sizeof(float) };
    static const size_t counts[] = {16, 20, 40, 64, CHANNELS};
    static float x[CHANNELS][PIXELS], w[FILTERS][CHANNELS], out[FILTERS][PIXELS];
    unsigned long faults = 0;
    c1x1_machine machine = *c1x1_this_machine();
    machine.isa = isa;
    for (size_t c = 0; c < CHANNELS; c++) {
        for (size_t i = 0; i < PIXELS; i++) x[c][i] = (float)((c * 31 + i * 17) % 251);
        for (size_t o = 0; o < FILTERS; o++) w[o][c] = (float)((c * 5 + o * 3) % 17) - 8;
    }
    for (size_t i = 0; i < COUNT_OF(counts) * FILTERS; i++) {
        const size_t channels = counts[i / FILTERS], filters = i % FILTERS + 1;
        c1x1_problem p = {
            .x = (const char *)x, .w = (const char *)w, .out = (char *)out, .dims = 1};
        p.compute = C1X1_COMPUTE_FLOAT32;
        p.x_dtype = p.w_dtype = p.out_dtype = C1X1_FLOAT32;
        p.groups = 1;
        p.c_in = channels;
        p.c_out = filters;
        p.x_channel = sizeof *x;
        p.w_in = REAL;
        p.w_out = sizeof *w;
        p.out_channel = sizeof *out;
        p.dim[0] = (c1x1_dim){PIXELS, REAL, REAL, 0};
        memset(out, 0xff, sizeof out);
        int is_wrong = compute_on(&machine, &p) != C1X1_OK;
        for (size_t r = 0; r < filters * PIXELS; r++) {
            float sum = 0;
            for (size_t c = 0; c < channels; c++) sum += w[r / PIXELS][c] * x[c][r % PIXELS];
            is_wrong |= out[r / PIXELS][r % PIXELS] != sum;
        }
        if (is_wrong) printf("FAILED %zu planes to %zu, %s\n", channels, filters, isa->name);
        faults += (unsigned long)is_wrong;
    }
    return faults;
}

/* ---- sizes that no memory holds, and forks --------------------------------------------------- */

static unsigned long faults_of_sizes(void) {
    unsigned long faults = 0;
    static char memory[64];
    const ptrdiff_t none[] = {3, 0}, steps[] = {8, 8}, two[] = {2, 3}, back[] = {-8, 2};
    const c1x1_span at = c1x1_span_of(memory + 32, 0, none, steps, 4);
    const c1x1_span empty = c1x1_span_of(memory + 32, 2, none, steps, 4);
    const c1x1_span both = c1x1_span_of(memory + 32, 2, two, back, 4);
    faults += at.end - at.begin != 4 || at.begin != (uintptr_t)(memory + 32);
    faults += c1x1_spans_meet(empty, at) || !c1x1_spans_meet(both, at);
    faults += both.begin != (uintptr_t)(memory + 24) || both.end != (uintptr_t)(memory + 40);
    /* Pixels, channels and strides whose products leave 63 bits. */
    const struct {
        size_t size, groups, c_in, c_out;
        ptrdiff_t x_stride, out_stride;
        c1x1_status want;
    } cases[] = {
        {4, 1, 2, 2, 8, 8, C1X1_OK},
        {(size_t)1 << 60, 1, 0, 0, 0, 0, C1X1_OK},
        {(size_t)1 << 62, 1, 1, 2, 0, 8, C1X1_TOO_LARGE},
        {(size_t)1 << 33, 1, 1, 1, PTRDIFF_MAX / 4, 4, C1X1_TOO_LARGE},
        {(size_t)1 << 33, 1, 1, 1, 0, PTRDIFF_MAX / 4, C1X1_TOO_LARGE},
        {2, 1, 1, 1, PTRDIFF_MAX - 4, 4, C1X1_OK},
        {2, 1, 1, 1, PTRDIFF_MAX - 3, 4, C1X1_TOO_LARGE},
        {2, 1, 1, 1, 4 - PTRDIFF_MAX, 4, C1X1_OK},
        {3, 1, 1, 1, PTRDIFF_MIN, 4, C1X1_TOO_LARGE},
        {3, 1, 1, 1, PTRDIFF_MAX, 4, C1X1_TOO_LARGE},
        {3, 1, (size_t)1 << 62, 1, 0, 4, C1X1_TOO_LARGE},
        {3, 1, 1, (size_t)1 << 61, 4, 4, C1X1_TOO_LARGE},
        {3, 1, 1, (size_t)1 << 62, 4, 4, C1X1_TOO_LARGE},
        {(size_t)1 << 61, 1, 1, 1, 0, 0, C1X1_TOO_LARGE},
        {0, 1, PTRDIFF_MAX, 1, 4, 4, C1X1_OK},
        {0, 1, (size_t)PTRDIFF_MAX + 1, 1, 4, 4, C1X1_TOO_LARGE},
        {PTRDIFF_MAX, 1, 1, 0, 0, 0, C1X1_OK},
        {(size_t)PTRDIFF_MAX + 1, 1, 1, 0, 0, 0, C1X1_TOO_LARGE},
        {0, (size_t)1 << 33, (size_t)1 << 33, 1, 4, 4, C1X1_TOO_LARGE},
        {0, (size_t)1 << 33, 1, (size_t)1 << 33, 4, 4, C1X1_TOO_LARGE},
        {3, 1, 2, 2, 8, 4, C1X1_OUT_REPEATS},
        {3, 1, 2, 2, 8, 6, C1X1_OUT_REPEATS},
        {3, 1, 2, 2, 8, 0, C1X1_OUT_REPEATS},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        c1x1_problem p = {.x = memory, .w = memory, .out = memory, .dims = 1};
        p.groups = cases[i].groups;
        p.compute = C1X1_COMPUTE_FLOAT32;
        p.x_dtype = p.w_dtype = p.out_dtype = C1X1_FLOAT32;
        p.c_in = cases[i].c_in;
        p.c_out = cases[i].c_out;
        p.x_channel = p.w_in = p.w_out = p.out_channel = 4;
        p.dim[0] = (c1x1_dim){cases[i].size, cases[i].x_stride, cases[i].out_stride, 0};
        c1x1_problem_find_overlap(&p); /* of any strides, and nothing overflows */
        faults += c1x1_problem_normalise(&p) != cases[i].want;
    }
    if (faults) printf("FAILED %lu cases of sizes\n", faults);
    return faults;
}

static unsigned long faults_of_overlap(void) {
    unsigned long faults = 0;
    static char memory[128];
    const struct {
        size_t x, out, size, groups, c_in, c_out;
        ptrdiff_t x_stride, out_stride, x_channel, out_channel;
        c1x1_dtype out_dtype;
        c1x1_overlap want;
    } cases[] = {
        {0, 0, 3, 1, 2, 2, 8, 8, 4, 4, C1X1_FLOAT32, C1X1_SAME_PIXELS},
        {0, 0, 3, 1, 1, 1, 8, 8, 4, 16, C1X1_FLOAT32, C1X1_SAME_PIXELS},
        {0, 0, 1, 1, 2, 2, 8, 40, 4, 4, C1X1_FLOAT32, C1X1_SAME_PIXELS},
        {16, 16, 3, 1, 2, 2, -8, -8, 4, 4, C1X1_FLOAT32, C1X1_SAME_PIXELS},
        {0, 24, 3, 1, 2, 2, 8, 8, 4, 4, C1X1_FLOAT32, C1X1_APART},
        {24, 0, 3, 1, 2, 2, 8, 8, 4, 4, C1X1_FLOAT32, C1X1_APART},
        {16, 24, 3, 1, 2, 2, -8, 8, 4, 4, C1X1_FLOAT32, C1X1_APART},
        {0, 20, 3, 1, 2, 2, 8, 8, 4, 4, C1X1_FLOAT32, C1X1_TANGLED},
        {16, 20, 3, 1, 2, 2, -8, 8, 4, 4, C1X1_FLOAT32, C1X1_TANGLED},
        {0, 4, 3, 1, 2, 2, 8, 8, 4, 4, C1X1_FLOAT32, C1X1_TANGLED},
        {0, 0, 3, 2, 1, 1, 8, 8, 4, 4, C1X1_FLOAT32, C1X1_TANGLED},
        {0, 0, 3, 1, 2, 1, 8, 8, 4, 4, C1X1_FLOAT32, C1X1_TANGLED},
        {0, 0, 3, 1, 2, 2, 8, 16, 4, 4, C1X1_FLOAT32, C1X1_TANGLED},
        {0, 0, 2, 1, 2, 2, 8, 16, 4, 4, C1X1_FLOAT32, C1X1_TANGLED},
        {0, 0, 3, 1, 2, 2, 16, 16, 4, 8, C1X1_FLOAT32, C1X1_TANGLED},
        {0, 0, 3, 1, 2, 2, 16, 16, 8, 8, C1X1_FLOAT64, C1X1_TANGLED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        c1x1_problem p = {.x = memory + cases[i].x, .out = memory + cases[i].out, .dims = 1};
        p.x_dtype = C1X1_FLOAT32;
        p.out_dtype = cases[i].out_dtype;
        p.groups = cases[i].groups;
        p.c_in = cases[i].c_in;
        p.c_out = cases[i].c_out;
        p.x_channel = cases[i].x_channel;
        p.out_channel = cases[i].out_channel;
        p.dim[0] = (c1x1_dim){cases[i].size, cases[i].x_stride, cases[i].out_stride, 0};
        c1x1_problem_find_overlap(&p);
        faults += p.overlap != cases[i].want;
    }
    if (faults) printf("FAILED %lu cases of overlap\n", faults);
    return faults;
}

/* Pixels of two axes whose number leaves 63 bits, though each axis alone does not; as many axes as there may
 * be. */
static unsigned long faults_of_axes(void) {
    static char memory[8];
    unsigned long faults = 0;
    for (int first = 0; first < 2; first++) {
        c1x1_problem p = {.x = memory, .w = memory, .out = memory, .groups = 1, .dims = 2};
        p.compute = C1X1_COMPUTE_FLOAT32;
        p.x_dtype = p.w_dtype = p.out_dtype = C1X1_FLOAT32;
        p.w_in = p.w_out = 4;
        p.dim[first] = (c1x1_dim){(size_t)1 << 62, 0, 0, 0};
        p.dim[!first] = (c1x1_dim){8, 0, 0, 0};
        faults += c1x1_problem_normalise(&p) != C1X1_TOO_LARGE;
    }
    c1x1_problem many = {.x = memory, .w = memory, .out = memory + 4, .groups = 1};
    many.compute = C1X1_COMPUTE_FLOAT32;
    many.x_dtype = many.w_dtype = many.out_dtype = C1X1_FLOAT32;
    many.c_in = many.c_out = 1;
    while (many.dims < C1X1_MAX_DIMS) many.dim[many.dims++] = (c1x1_dim){1, 1, 1, 0};
    c1x1_problem_find_overlap(&many);
    faults += many.overlap != C1X1_APART;
    faults += c1x1_problem_normalise(&many) != C1X1_OK || many.dims != 0;
    if (faults) printf("FAILED %lu cases of axes\n", faults);
    return faults;
}

/* A chain whose pixels, and one whose results between two layers, no memory holds. */
static unsigned long faults_of_chains(void) {
    static char memory[8];
    unsigned long faults = 0;
    for (int is_inside = 0; is_inside < 2; is_inside++) {
        const size_t pixels = is_inside ? 3 : SIZE_MAX / 2,
                     between = is_inside ? (size_t)1 << 62 : 1;
        c1x1_plan plans[4];
        c1x1_problem p = {.x = memory, .w = memory, .out = memory, .groups = 1, .dims = 1};
        p.compute = C1X1_COMPUTE_FLOAT32;
        p.x_dtype = p.w_dtype = p.out_dtype = C1X1_FLOAT32;
        p.c_in = p.c_out = 1;
        p.w_in = p.w_out = 4;
        p.dim[0] = (c1x1_dim){pixels, 4, 4, 0};
        c1x1_problem layers[2] = {p, p};
        layers[0].c_out = layers[1].c_in = between;
        c1x1_chain chain = {.whole = p, .layer = layers, .plan = plans, .count = 2};
        faults += c1x1_chain_plan(&chain, c1x1_this_machine(), 1) != C1X1_TOO_LARGE;
    }
    if (faults) printf("FAILED %lu chains beyond memory\n", faults);
    return faults;
}

/* The system is asked for AMX once, when a plan needs it; refused, as on a CPU without it, the row is gone. */
static unsigned long faults_of_permission(void) {
    const c1x1_isa *amx = c1x1_find_isa("x86_amx"), *emulated = c1x1_find_isa("emulated_amx");
    const c1x1_plan none = {0}, with_unit = {.unit = emulated}, with_amx = {.unit = amx};
    unsigned long faults = 0;
    faults += !c1x1_machine_permits(&none);
    if (emulated) faults += !c1x1_machine_permits(&with_unit);
    if (amx) {
        const int is_granted = c1x1_machine_permits(&with_amx);
        const c1x1_machine *machine = c1x1_this_machine();
        faults += c1x1_machine_permits(&with_amx) != is_granted;
        faults += (machine->features & C1X1_HAS_AMX) != 0 && !is_granted;
        faults += (machine->isa->needs & ~(machine->features | C1X1_ON_REQUEST)) != 0;
    }
    if (faults) printf("FAILED %lu cases of permission\n", faults);
    return faults;
}

/* A child computes with helpers of its own, whatever the parent's were doing. */
static unsigned long faults_of_forks(const c1x1_isa *isa) {
    unsigned long faults = 0;
    for (int i = 0; i < 3; i++) {
        const pid_t child = fork();
        if (child == 0) {
            options.problems = 20;
            options.callers = 2;
            run_all(isa);
            _exit(atomic_load(&failures) > 0);
        }
        int status = 1;
        waitpid(child, &status, 0);
        faults += status != 0;
    }
    if (faults) printf("FAILED in %lu children\n", faults);
    return faults;
}

int main(int count, char **words) {
    read_options(count, words);
    /* Twice, as where a module is loaded again. */
    if (c1x1_machine_init() != 0 || c1x1_machine_init() != 0) return 2;
    const unsigned features = c1x1_this_machine()->features | C1X1_ON_REQUEST; /* all rows */
    unsigned long faults = 0;
    for (size_t i = 0; i < c1x1_isa_count; i++) {
        const c1x1_isa *isa = c1x1_isas[i];
        if (options.isa && strcmp(options.isa, isa->name) != 0) continue;
        if (isa->needs & ~features)
            printf("%s (%s): this CPU lacks what it needs\n", isa->name, isa->description);
        else {
            faults += faults_of_elements(isa) + faults_of_products(isa);
            faults += faults_of_specials(isa) + faults_of_few_filters(isa);
            faults += faults_of_few_filters_in_place(isa) + faults_of_shared_weights(isa);
            run_all(isa);
        }
    }
    faults += faults_of_sizes() + faults_of_overlap() + faults_of_axes();
    faults += faults_of_chains() + faults_of_stages() + faults_of_permission();
    if (options.callers > 1) faults += faults_of_forks(c1x1_find_isa("scalar"));
    faults += atomic_load(&failures);
    printf("failures %lu\n", faults);
    return faults > 0;
}
