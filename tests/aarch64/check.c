/* check.c - every kernel of every ISA beside the scalar one, and whole problems on every ISA, in C
 * alone: what an emulator runs where Python and NumPy for that machine are missing.
 *
 * Random real numbers, whose bits are pairs of int16 too, compared by their bits. Operands lie
 * against pages that cannot be read, and what lies between their rows is poison, so that an element
 * too many is either a fault, a NaN or a changed byte. Ends with a hash of the whole problems'
 * results, which depends on no machine.
 *
 * Exits with 0, with 1 after a difference, or with 77 where the CPU has no fused multiply-add. */
#define _GNU_SOURCE
#include "../core/bytes.h"
#include "kernels/kernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int c1x1_machine_init(void);

/* ---- random elements ------------------------------------------------------------------------ */

static uint64_t state;

static uint64_t next_random(void) { /* splitmix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Full mantissas, so that every order of summation rounds differently; now and then a zero of either
 * sign or a subnormal. */
static void put_random(void *p, size_t size) {
    const uint64_t r = next_random();
    const int bits = size == 4 ? 24 : 53;
    double v = ldexp((double)(r >> (64 - bits)), -bits - (int)(r & 7));
    if ((r >> 3 & 63) == 0) v = 0;
    if ((r >> 3 & 63) == 1) v = size == 4 ? ldexp(v, -130) : ldexp(v, -1030);
    if (r >> 9 & 1) v = -v;
    const float narrow = (float)v;
    if (size == 4)
        memcpy(p, &narrow, sizeof narrow);
    else
        memcpy(p, &v, sizeof v);
}

/* ---- guarded memory ------------------------------------------------------------------------- */

enum { ROOM = 1 << 20, PLACES = 5 };
typedef struct {
    char *begin, *end; /* pages before and after fault */
} place;
static place places[PLACES];
static char copy[ROOM];

static void make_places(void) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < PLACES; i++) {
        char *p = mmap(NULL, ROOM + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED || mprotect(p + page, ROOM, PROT_READ | PROT_WRITE) != 0) abort();
        places[i] = (place){p + page, p + page + ROOM};
    }
}

static int at_begin; /* else operands end where the memory does */

/* rows x cols elements, ld apart, in place i: random where `is_filled`, NaN everywhere else. */
static char *operand(int i, size_t rows, size_t cols, size_t ld, size_t size, int is_filled) {
    const size_t bytes = rows && cols ? ((rows - 1) * ld + cols) * size : 0;
    if (bytes > ROOM) abort();
    char *p = at_begin ? places[i].begin : places[i].end - bytes;
    memset(p, 0xff, bytes);
    if (is_filled)
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < cols; c++) put_random(p + (r * ld + c) * size, size);
    return p;
}

/* ---- kernels -------------------------------------------------------------------------------- */

static unsigned long cases, failures;

static void judge(const void *got, const void *want, size_t bytes, const char *what) {
    cases++;
    if (memcmp(got, want, bytes) == 0) return;
    if (failures++ < 20) printf("DIFFERENT %s\n", what);
}

typedef struct {
    const char *isa;
    const c1x1_kernels *kernels, *scalar;
    size_t size;
} subject;

typedef struct {
    size_t m, nv, n, k, piece, more;
    c1x1_start start;
    int bias; /* 0 none, 1 bias_m, 2 bias_n */
    int fetches;
} tile_case;

static void check_tile(const subject *s, const tile_case *q) {
    const size_t size = s->size, lda = q->k + 3, cols = q->n * (q->more + 1);
    const size_t ldb = cols + 5, ldc = cols + 2;
    const char *a = operand(0, q->m, q->k, lda, size, 1);
    const char *b = operand(1, q->k, cols, ldb, size, 1);
    char *c = operand(2, q->m, cols, ldc, size, q->start != C1X1_ZERO);
    const size_t c_bytes = ((q->m - 1) * ldc + cols) * size;
    const char *bias = operand(3, 1, q->bias == 1 ? q->m : cols, 0, size, 1);
    c1x1_tile t = {.k = q->k, .n = q->n, .a = a, .b = b, .c = c};
    t.lda = (ptrdiff_t)lda;
    t.ldb = (ptrdiff_t)ldb;
    t.ldc = (ptrdiff_t)ldc;
    t.bias_m = q->bias == 1 ? bias : NULL;
    t.bias_n = q->bias == 2 ? bias : NULL;
    t.piece = q->piece;
    t.start = q->start;
    if (q->fetches) t.ahead = (c1x1_ahead){places[4].begin, 7, 64, 2};
    t.more = q->more;
    t.next_b = (ptrdiff_t)q->n;
    memcpy(copy, c, c_bytes);
    s->kernels->tile[q->m - 1][q->nv - 1][q->n != q->nv * s->kernels->vl](&t);
    for (size_t i = 0; i < q->m; i++) {
        for (size_t j = 0; j < cols; j++) {
            c1x1_tile one = t;
            one.n = 1;
            one.more = 0;
            one.ahead = (c1x1_ahead){0};
            one.a = a + i * lda * size;
            one.b = b + j * size;
            one.c = copy + (i * ldc + j) * size;
            if (t.bias_m) one.bias_m = bias + i * size;
            if (t.bias_n) one.bias_n = bias + j * size;
            s->scalar->tile[0][0][0](&one);
        }
    }
    char what[200];
    snprintf(what, sizeof what,
             "%s %zu-byte tile %zux%zu n=%zu k=%zu piece=%zu more=%zu start=%d bias=%d", s->isa,
             size, q->m, q->nv, q->n, q->k, q->piece, q->more, (int)q->start, q->bias);
    judge(c, copy, c_bytes, what);
}

static void check_tiles(const subject *s) {
    static const size_t lengths[] = {0, 1, 2, 3, 4, 5, 7, 8, 33, 170};
    const size_t vl = s->kernels->vl;
    for (size_t m = 1; m <= C1X1_MAX_MR; m++)
        for (size_t nv = 1; nv <= C1X1_MAX_NV; nv++) {
            if (!s->kernels->tile[m - 1][nv - 1][0]) continue;
            for (size_t n = (nv - 1) * vl + 1; n <= nv * vl; n++)
                for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
                    for (int option = 0; option < 18; option++) {
                        const size_t k = lengths[l];
                        tile_case q = {.m = m, .nv = nv, .n = n, .k = k};
                        q.start = (c1x1_start)(option % 3);
                        q.bias = option / 3 % 3;
                        q.piece = option < 9 ? (k > 1 ? k : 1) : k > 33 ? 85 : 5;
                        q.fetches = option == 13;
                        if (n == nv * vl && option > 9) q.more = 2;
                        at_begin = option % 4 == 1;
                        check_tile(s, &q);
                    }
        }
}

static void check_dots(const subject *s) {
    const size_t size = s->size;
    for (size_t m = 1; m <= C1X1_MAX_MR; m++)
        for (size_t n = 1; n <= C1X1_MAX_DOT; n++)
            for (size_t k = 0; k < 100 && s->kernels->dot[m - 1][n - 1]; k++)
                for (int has_bias = 0; has_bias < 2; has_bias++) {
                    /* Several dots in a call, and rows of results without a gap. */
                    const size_t more = k % 5 ? 0 : 2, rows = (more + 1) * m;
                    const size_t lda = k + 1, ldb = k + 3, ldc = k % 3 ? n + 2 : n;
                    at_begin = k % 4 == 1;
                    const char *a = operand(0, rows, k, lda, size, 1);
                    const char *b = operand(1, n, k, ldb, size, 1);
                    char *c = operand(2, rows, n, ldc, size, 0);
                    const char *bias = operand(3, 1, n, 0, size, 1);
                    const size_t c_bytes = ((rows - 1) * ldc + n) * size;
                    c1x1_tile t = {.k = k, .n = n, .a = a, .b = b, .c = c, .piece = 1};
                    t.lda = (ptrdiff_t)lda;
                    t.ldb = (ptrdiff_t)ldb;
                    t.ldc = (ptrdiff_t)ldc;
                    t.bias_n = has_bias ? bias : NULL;
                    t.more = more;
                    memcpy(copy, c, c_bytes);
                    s->kernels->dot[m - 1][n - 1](&t);
                    for (size_t e = 0; e < rows * n; e++) {
                        c1x1_tile one = t;
                        one.n = 1;
                        one.more = 0;
                        one.a = a + e / n * lda * size;
                        one.b = b + e % n * ldb * size;
                        one.c = copy + (e / n * ldc + e % n) * size;
                        if (has_bias) one.bias_n = bias + e % n * size;
                        s->scalar->dot[0][0](&one);
                    }
                    char what[120];
                    snprintf(what, sizeof what, "%s %zu-byte dot %zux%zu k=%zu", s->isa, size, m, n,
                             k);
                    judge(c, copy, c_bytes, what);
                }
}

/* Every result against one dot of the scalar kernels, whose rows are the columns here. */
static void check_chains(const subject *s) {
    const size_t size = s->size, vl = s->kernels->vl;
    for (size_t m = 1; m <= C1X1_MAX_DOT; m++)
        for (size_t k = 16; k < 50; k++)
            for (size_t n = 1; n <= 4 * vl + 3; n++) {
                const size_t lda = k + 1, ldb = n + 3, ldc = n + 2;
                at_begin = k % 4 == 1;
                const char *a = operand(0, m, k, lda, size, 1);
                const char *b = operand(1, k, n, ldb, size, 1);
                char *c = operand(2, m, n, ldc, size, 0);
                const char *bias = operand(3, 1, m, 0, size, 1);
                const size_t c_bytes = ((m - 1) * ldc + n) * size;
                const int has_bias = n % 2 == 0;
                c1x1_tile t = {.k = k, .n = n, .a = a, .b = b, .c = c, .piece = 1};
                t.lda = (ptrdiff_t)lda;
                t.ldb = (ptrdiff_t)ldb;
                t.ldc = (ptrdiff_t)ldc;
                t.bias_m = has_bias ? bias : NULL;
                memcpy(copy, c, c_bytes);
                s->kernels->chains[m - 1](&t);
                for (size_t e = 0; e < m * n; e++) {
                    char column[64 * sizeof(double)];
                    for (size_t p = 0; p < k; p++)
                        memcpy(column + p * size, b + (p * ldb + e % n) * size, size);
                    c1x1_tile one = {.k = k, .n = 1, .a = a + e / n * lda * size, .piece = 1};
                    one.b = column;
                    one.c = copy + (e / n * ldc + e % n) * size;
                    one.lda = one.ldb = one.ldc = 1;
                    one.bias_n = has_bias ? bias + e / n * size : NULL;
                    s->scalar->dot[0][0](&one);
                }
                char what[120];
                snprintf(what, sizeof what, "%s %zu-byte chains %zux%zu k=%zu", s->isa, size, m, n,
                         k);
                judge(c, copy, c_bytes, what);
            }
}

static void check_folds(const subject *s) {
    const size_t size = s->size;
    for (size_t n = 1; n <= 4 * s->kernels->vl + 1; n++)
        for (int option = 0; option < 4; option++) {
            at_begin = option == 3;
            const char *a = operand(0, C1X1_CHAINS, n, n + 2, size, 1);
            char *c = operand(2, 1, n, 0, size, 0);
            const char *bias = operand(3, 1, 1, 0, size, 1);
            c1x1_tile t = {.n = n, .a = a, .lda = (ptrdiff_t)n + 2, .c = c, .piece = 1};
            t.bias_m = option % 2 ? bias : NULL;
            s->kernels->fold(&t);
            t.c = copy;
            s->scalar->fold(&t);
            char what[80];
            snprintf(what, sizeof what, "%s %zu-byte fold n=%zu", s->isa, size, n);
            judge(c, copy, n * size, what);
        }
}

static void check_packs(const subject *s) {
    const size_t size = s->size, vl = s->kernels->vl;
    for (size_t nv = 1; nv <= C1X1_MAX_NV; nv++)
        for (size_t k = 0; k < 4; k++)
            for (size_t n = 1; n <= 3 * nv * vl; n++) {
                const size_t nr = nv * vl, panels = (n + nr - 1) / nr, ldc = k * nr + 1;
                const size_t last = (n - (panels - 1) * nr + vl - 1) / vl * vl;
                at_begin = n % 4 == 1;
                const char *b = operand(1, k, n, n + 3, size, 1);
                /* The last row of the last panel ends with its last vector. */
                const size_t elements = k ? (panels - 1) * ldc + (k - 1) * nr + last : 0;
                char *c = operand(2, 1, elements, 0, size, 0);
                memset(copy, 0xff, elements * size);
                for (size_t p = 0; p < k; p++)
                    for (size_t j = 0; j < (panels - 1) * nr + last; j++) {
                        char *to = copy + (j / nr * ldc + p * nr + j % nr) * size;
                        if (j < n)
                            memcpy(to, b + (p * (n + 3) + j) * size, size);
                        else
                            memset(to, 0, size);
                    }
                c1x1_tile t = {.k = k, .n = n, .b = b, .c = c, .piece = 1};
                t.ldb = (ptrdiff_t)n + 3;
                t.ldc = (ptrdiff_t)ldc;
                s->kernels->pack[nv - 1](&t);
                char what[80];
                snprintf(what, sizeof what, "%s %zu-byte pack nv=%zu k=%zu n=%zu", s->isa, size, nv,
                         k, n);
                judge(c, copy, elements * size, what);
            }
}

/* Every result against one tile of the scalar kernels, not all of which are built with small ones. */
static void check_smalls(const subject *s) {
    const size_t size = s->size;
    for (size_t k = 1; k <= C1X1_MAX_SMALL_IN; k++)
        for (size_t n = 1; n <= C1X1_MAX_SMALL; n++)
            for (size_t pixels = 1; pixels <= 3 * s->kernels->vl + 1; pixels++)
                for (int option = 0; option < 4 && s->kernels->small[k - 1][n - 1]; option++) {
                    at_begin = option == 1;
                    const char *a = operand(0, n, k, k + 2, size, 1);
                    const char *b = operand(1, 1, pixels * k, 0, size, 1);
                    const char *bias = operand(3, 1, n, 0, size, 1);
                    char *c = operand(2, 1, pixels * n, 0, size, 0);
                    c1x1_tile t = {.n = pixels, .a = a, .lda = (ptrdiff_t)k + 2, .piece = 1};
                    t.bias_m = option >= 2 ? bias : NULL;
                    t.b = b;
                    t.c = c;
                    for (size_t e = 0; e < pixels * n; e++) {
                        c1x1_tile one = t;
                        one.k = k;
                        one.piece = k;
                        one.n = 1;
                        one.ldb = 1;
                        one.a = a + e % n * (k + 2) * size;
                        one.b = b + e / n * k * size;
                        one.c = copy + e * size;
                        if (t.bias_m) one.bias_m = bias + e % n * size;
                        s->scalar->tile[0][0][0](&one);
                    }
                    if (k == n && option % 2) { /* in place */
                        memcpy(c, b, pixels * n * size);
                        t.b = c;
                    }
                    s->kernels->small[k - 1][n - 1](&t);
                    char what[80];
                    snprintf(what, sizeof what, "%s %zu-byte small %zux%zu pixels=%zu", s->isa,
                             size, k, n, pixels);
                    judge(c, copy, pixels * n * size, what);
                }
}

/* ---- whole problems ------------------------------------------------------------------------- */

typedef struct {
    size_t batch, height, width, c_in, c_out, groups;
} shape;

static const shape shapes[] = {
    {1, 1, 1, 1, 1, 1},     {1, 5, 7, 3, 3, 1},    {1, 9, 13, 4, 2, 1},    {2, 6, 5, 1, 4, 1},
    {1, 8, 9, 12, 4, 1},    {1, 8, 9, 15, 3, 1},   {1, 11, 7, 16, 4, 1},   {1, 11, 7, 37, 2, 1},
    {1, 12, 12, 64, 1, 1},  {2, 7, 7, 17, 19, 1},  {1, 14, 14, 64, 48, 1}, {1, 7, 7, 200, 33, 1},
    {1, 14, 14, 161, 8, 1}, {1, 3, 3, 500, 70, 1}, {1, 28, 28, 24, 13, 1}, {1, 10, 10, 8, 5, 3},
    {3, 5, 5, 20, 6, 2},    {1, 1, 9, 1100, 3, 1}, {1, 1, 1, 300, 100, 1}, {1, 31, 33, 6, 16, 1},
};

enum { CHANNELS_LAST = 1, BIASED = 2, PREPACKED = 4, TURNED = 8, BYTES = 16, OPTIONS = 32 };

static size_t dtype_bytes(int option, size_t size) { return option & BYTES ? 1 : size; }

static void fill(char *p, size_t elements, int option, size_t size) {
    for (size_t e = 0; e < elements; e++) {
        if (option & BYTES)
            p[e] = (char)(next_random() & 0xff);
        else
            put_random(p + e * size, size);
    }
}

/* Runs one problem on one ISA; out is the whole of its memory. */
static void run_problem(const shape *q, int option, size_t size, const char *isa, const char *x,
                        const char *w, const char *bias, char *out) {
    const ptrdiff_t xs = (ptrdiff_t)dtype_bytes(option, size), s = (ptrdiff_t)size;
    const size_t pixels = q->height * q->width, in = q->c_in * q->groups;
    const size_t all_out = q->c_out * q->groups;
    const int last = option & CHANNELS_LAST;
    c1x1_problem p = {.x = x, .w = w, .out = out, .bias = option & BIASED ? bias : NULL};
    p.compute = size == 4 ? C1X1_COMPUTE_FLOAT32 : C1X1_COMPUTE_FLOAT64;
    p.w_dtype = p.out_dtype = c1x1_compute_dtype(p.compute);
    p.x_dtype = option & BYTES ? C1X1_UINT8 : p.w_dtype;
    p.dims = 3;
    const ptrdiff_t x_pixel = last ? (ptrdiff_t)in : 1, o_pixel = last ? (ptrdiff_t)all_out : 1;
    p.dim[0] =
        (c1x1_dim){q->batch, (ptrdiff_t)(in * pixels) * xs, (ptrdiff_t)(all_out * pixels) * s, 0};
    p.dim[1] = (c1x1_dim){q->height, (ptrdiff_t)q->width * x_pixel * xs,
                          (ptrdiff_t)q->width * o_pixel * s, 0};
    p.dim[2] = (c1x1_dim){q->width, x_pixel * xs, o_pixel * s, 0};
    p.groups = q->groups;
    p.c_in = q->c_in;
    p.c_out = q->c_out;
    p.x_channel = (last ? 1 : (ptrdiff_t)pixels) * xs;
    p.out_channel = (last ? 1 : (ptrdiff_t)pixels) * s;
    p.w_in = (option & TURNED ? 1 : (ptrdiff_t)all_out) * s;
    p.w_out = (option & TURNED ? (ptrdiff_t)q->c_in : 1) * s;
    c1x1_problem_find_overlap(&p);
    if (c1x1_select_isa(isa) != 0 || c1x1_problem_normalise(&p) != C1X1_OK) abort();
    const c1x1_machine *machine = c1x1_this_machine();
    c1x1_weights weights = {0};
    if (option & PREPACKED) {
        if (c1x1_pack_weights(&p, machine, 0, &weights) != C1X1_OK) abort();
        p.packed = &weights;
    }
    c1x1_plan plan;
    c1x1_run_state run;
    c1x1_make_plan(&p, machine, c1x1_threads_available(machine), &plan);
    if (c1x1_run_begin(&run, &p, &plan) != C1X1_OK) abort();
    while (c1x1_run(&run) == C1X1_PAUSED) continue;
    c1x1_run_end(&run);
    c1x1_free_weights(&weights);
}

static uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */

static void add_to_hash(const char *p, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ (unsigned char)p[i]) * 0x100000001b3u;
}

static void check_problems(const char *const *isas, size_t count) {
    static char want[ROOM];
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int option = 0; option < OPTIONS; option++)
            for (size_t size = 4; size <= 8; size += 4) {
                const shape *q = &shapes[i];
                const size_t pixels = q->batch * q->height * q->width;
                const size_t xs = dtype_bytes(option, size), outputs = q->groups * q->c_out;
                const size_t ins = pixels * q->groups * q->c_in, bytes = pixels * outputs * size;
                state = i << 32 | (uint64_t)option << 8 | size;
                char *x = places[0].end - ins * xs;
                char *w = places[1].end - q->c_in * outputs * size;
                char *out = places[2].end - bytes, *bias = places[3].end - outputs * size;
                if (ins * xs > ROOM || q->c_in * outputs * size > ROOM || bytes > ROOM) abort();
                fill(x, ins, option, size);
                fill(w, q->c_in * outputs, 0, size);
                fill(bias, outputs, 0, size);
                run_problem(q, option, size, "scalar", x, w, bias, out);
                memcpy(want, out, bytes);
                add_to_hash(want, bytes);
                for (size_t j = 0; j < count; j++) {
                    memset(out, 0xff, bytes);
                    run_problem(q, option, size, isas[j], x, w, bias, out);
                    char what[120];
                    snprintf(what, sizeof what, "%s problem %zu option %d, %zu-byte", isas[j], i,
                             option, size);
                    judge(out, want, bytes, what);
                }
            }
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void report(const char *isa, const char *what) {
    printf("%s: %lu %s\n", isa, cases, what);
    fflush(stdout);
    cases = 0;
}

/* A unit of bytes beside the emulated one of the same signs. */
static void check_units(const c1x1_isa *isa) {
    static const char *const plain[] = {[C1X1_SIGNS_ANY] = "emulated_amx",
                                        [C1X1_SIGNS_DIFFER] = "emulated_vnni",
                                        [C1X1_SIGNS_AGREE] = "emulated_dot"};
    const c1x1_matrix_kernels *unit = isa->matrix[C1X1_UNIT_BYTES];
    if (!unit || (isa->needs & C1X1_HAS_AMX)) return; /* tests/units asks for permission */
    const c1x1_isa *emulated = c1x1_find_isa(plain[unit->signs]);
    check_bytes(isa->name, unit, emulated->matrix[C1X1_UNIT_BYTES], 0);
    cases += bytes_cases;
    failures += bytes_failures;
    report(isa->name, "bytes");
}

int main(void) {
    const char *isas[16];
    size_t count = 0;
    if (c1x1_machine_init() != 0) return 1;
    const unsigned features = c1x1_this_machine()->features;
    if (!(features & C1X1_HAS_FMA)) return 77;
    make_places();
    const c1x1_isa *scalar = c1x1_find_isa("scalar");
    for (size_t i = 0; i < c1x1_isa_count && c1x1_isas[i] != scalar; i++) {
        if (c1x1_isas[i]->needs & ~features) continue;
        isas[count++] = c1x1_isas[i]->name;
        static const c1x1_compute computes[] = {C1X1_COMPUTE_FLOAT32, C1X1_COMPUTE_FLOAT64,
                                                C1X1_COMPUTE_INT32};
        for (int which = 0; which < 3; which++) {
            const c1x1_compute compute = computes[which];
            const subject s = {c1x1_isas[i]->name, c1x1_isas[i]->kernels[compute],
                               scalar->kernels[compute],
                               c1x1_dtype_size(c1x1_compute_dtype(compute))};
            if (!s.kernels) continue;
            void (*const checks[])(const subject *) = {check_tiles, check_dots,  check_chains,
                                                       check_folds, check_packs, check_smalls};
            const char *const names[] = {"tiles", "dots", "chains", "folds", "packs", "smalls"};
            for (int c = 0; c < 6; c++) {
                if (c >= 2 && c < 5 && !s.kernels->fold) continue; /* they keep an order */
                checks[c](&s);
                report(s.isa, names[c]);
            }
        }
        check_units(c1x1_isas[i]);
    }
    check_problems(isas, count);
    report("all", "problems");
    printf("failures %lu\nhash %016llx\n", failures, (unsigned long long)hash);
    return failures > 0;
}
