/* check.c - the kernels of x86_amx beside those of emulated_amx: the same bits, for every size of a block,
 * every number of pieces, bytes of every sign, and nothing touched beside.
 *
 * On a CPU with AMX its instructions run; elsewhere trap.c emulates them, if the first argument is
 * "emulate". Exit status 77: neither. */
#define _GNU_SOURCE
#include "kernels/kernel.h"
#include "trap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern const c1x1_isa c1x1_isa_x86_amx, c1x1_isa_emulated_amx;

enum { PAGE = 4096, EDGE = C1X1_MATRIX_EDGE };
static unsigned long cases, failures;

/* `bytes` that end where a page begins that must not be touched. */
static void *guarded(size_t bytes) {
    const size_t pages = (bytes + PAGE - 1) / PAGE;
    char *at =
        mmap(NULL, (pages + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED || mprotect(at + pages * PAGE, PAGE, PROT_NONE) != 0) exit(2);
    return at + pages * PAGE - bytes;
}

static void fail(const char *what, size_t m, size_t n, size_t k, unsigned a, unsigned b) {
    failures++;
    printf("%s differs: m %zu n %zu k %zu pieces %u %u\n", what, m, n, k, a, b);
}

static uint32_t state = 1;
static uint32_t bits(void) { return state = state * 1664525u + 1013904223u; }
static float number(void) {
    const float v = (float)(int32_t)bits() / 65536.0f;
    return state >> 24 & 1 ? v : v * 1e-9f;
}

/* The units for a compute dtype: of the ISA, and emulated. */
#define UNITS(compute) \
    {c1x1_isa_x86_amx.matrix[compute], c1x1_isa_emulated_amx.matrix[compute]}

static void check_split(size_t count, size_t k, unsigned pieces, int is_rows,
                        c1x1_compute compute) {
    const c1x1_matrix_kernels *unit[2] = UNITS(compute);
    const ptrdiff_t ld = (ptrdiff_t)(is_rows ? k : count);
    char *source = guarded(count * k * unit[1]->size);
    for (size_t i = 0; i < count * k; i++) {
        const float v = i % 7 ? number() : 0;
        memcpy(source + i * unit[1]->size, &v, unit[1]->size);
    }
    const size_t bytes = c1x1_matrix_bytes(unit[1], k, pieces);
    char *to[2] = {guarded(bytes), guarded(bytes)};
    c1x1_range range[2] = {{UINT32_MAX, 0}, {UINT32_MAX, 0}};
    for (int i = 0; i < 2; i++) {
        const c1x1_split split = {count, k, source, ld, to[i], pieces, &range[i]};
        (is_rows ? unit[i]->split_rows : unit[i]->split_columns)(&split);
    }
    cases++;
    if (memcmp(to[0], to[1], bytes) || memcmp(&range[0], &range[1], sizeof range[0]))
        fail(is_rows ? "split_rows" : "split_columns", count, count, k, pieces, pieces);
}

static void check_multiply(size_t m, size_t n, size_t k, unsigned a_pieces, unsigned b_pieces,
                           size_t more, c1x1_start start) {
    const c1x1_matrix_kernels *unit[2] = UNITS(C1X1_COMPUTE_FLOAT32);
    const size_t columns = more * EDGE + n, ldc = columns + 5;
    const size_t a_bytes = c1x1_matrix_bytes(unit[1], k, a_pieces);
    const size_t b_bytes = c1x1_matrix_bytes(unit[1], k, b_pieces);
    const size_t c_count = (m - 1) * ldc + columns;
    char *a = guarded(a_bytes), *b = guarded(b_bytes * (more + 1));
    float *c[2] = {guarded(c_count * sizeof(float)), guarded(c_count * sizeof(float))};
    float *rows = guarded(EDGE * k * sizeof *rows), *panel = guarded(EDGE * k * sizeof *panel);
    c1x1_range range = {UINT32_MAX, 0};
    for (size_t i = 0; i < EDGE * k; i++) rows[i] = number();
    const c1x1_split split_a = {m, k, rows, (ptrdiff_t)k, a, a_pieces, &range};
    unit[1]->split_rows(&split_a);
    for (size_t j = 0; j <= more; j++) {
        for (size_t i = 0; i < EDGE * k; i++) panel[i] = number();
        const c1x1_split split_b = {j < more ? EDGE : n, k,        panel, EDGE,
                                    b + j * b_bytes,     b_pieces, &range};
        unit[1]->split_columns(&split_b);
    }
    for (size_t i = 0; i < c_count; i++) c[0][i] = c[1][i] = number();
    for (int i = 0; i < 2; i++) {
        const c1x1_matrix_block block = {.m = m,
                                         .n = EDGE,
                                         .k = k,
                                         .a = a,
                                         .b = b,
                                         .c = c[i],
                                         .ldc = (ptrdiff_t)ldc,
                                         .a_pieces = a_pieces,
                                         .b_pieces = b_pieces,
                                         .start = start,
                                         .more = more,
                                         .last_n = n,
                                         .next_b = b_bytes};
        unit[i]->multiply(&block);
    }
    cases++;
    if (memcmp(c[0], c[1], c_count * sizeof(float))) fail("multiply", m, n, k, a_pieces, b_pieces);
    if (amx_trapped && !amx_is_released()) fail("the state of tiles", m, n, k, a_pieces, b_pieces);
}

/* Rows of a in tiles, or as an image has them, `pixel` bytes apart: then k fills whole tiles. */
static void check_bytes(size_t m, size_t n, size_t k, size_t pixel, size_t more, int signs) {
    const c1x1_matrix_kernels *unit[2] = UNITS(C1X1_COMPUTE_INT32);
    const size_t columns = more * EDGE + n, ldc = columns + 3;
    const size_t b_bytes = c1x1_matrix_bytes(unit[1], k, 1);
    const size_t a_bytes = pixel ? (m - 1) * pixel + k : b_bytes;
    const size_t c_count = (m - 1) * ldc + columns;
    unsigned char *a = guarded(a_bytes), *b = guarded(b_bytes * (more + 1));
    int32_t *c[2] = {guarded(c_count * sizeof(int32_t)), guarded(c_count * sizeof(int32_t))};
    for (size_t i = 0; i < a_bytes; i++) a[i] = (unsigned char)(bits() >> 23);
    for (size_t i = 0; i < b_bytes * (more + 1); i++) b[i] = (unsigned char)(bits() >> 23);
    for (size_t i = 0; i < c_count; i++) c[0][i] = c[1][i] = (int32_t)(bits() >> 8);
    for (int i = 0; i < 2; i++) {
        const c1x1_matrix_block block = {.m = m,
                                         .n = EDGE,
                                         .k = k,
                                         .a = a,
                                         .b = b,
                                         .a_row = pixel ? (ptrdiff_t)pixel : C1X1_MATRIX_ROW,
                                         .a_step = pixel ? C1X1_MATRIX_BYTES : 2 * C1X1_MATRIX_TILE,
                                         .c = c[i],
                                         .ldc = (ptrdiff_t)ldc,
                                         .a_pieces = 1,
                                         .b_pieces = 1,
                                         .a_is_signed = signs & 1,
                                         .b_is_signed = signs >> 1,
                                         .start = m % 2 ? C1X1_ZERO : C1X1_CONTINUE,
                                         .more = more,
                                         .last_n = n,
                                         .next_b = b_bytes};
        unit[i]->multiply(&block);
    }
    cases++;
    if (memcmp(c[0], c[1], c_count * sizeof(int32_t))) fail("bytes", m, n, k, (unsigned)signs, 1);
    if (amx_trapped && !amx_is_released()) fail("the state of tiles", m, n, k, 1, 1);
}

static int has_amx(void) {
    unsigned long permitted = 0;
    syscall(SYS_arch_prctl, 0x1023, 18);
    return syscall(SYS_arch_prctl, 0x1022, &permitted) == 0 && permitted >> 18 & 1;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "emulate") == 0)
        amx_trap();
    else if (!has_amx())
        return 77;
    for (size_t count = 1; count <= EDGE; count++)
        for (unsigned pieces = 1; pieces <= C1X1_MATRIX_PIECES; pieces++)
            for (size_t k = 1; k <= 67; k += 6) {
                check_split(count, k, pieces, 1, C1X1_COMPUTE_FLOAT32);
                check_split(count, k, pieces, 0, C1X1_COMPUTE_FLOAT32);
            }
    for (size_t count = 1; count <= EDGE; count++)
        for (size_t k = 1; k <= 131; k += k < 68 ? 3 : 21) {
            check_split(count, k, 1, 1, C1X1_COMPUTE_INT32);
            check_split(count, k, 1, 0, C1X1_COMPUTE_INT32);
        }
    for (size_t m = 1; m <= EDGE; m++)
        for (size_t n = 1; n <= EDGE; n += m % 4 ? 5 : 1)
            for (int signs = 0; signs < 4; signs++) {
                check_bytes(m, n, 65, 0, n % 3, signs);
                check_bytes(m, n, 128, 128 + m % 2 * 9, n % 3, signs);
            }
    for (size_t m = 1; m <= EDGE; m++)
        for (size_t n = 1; n <= EDGE; n += m % 4 ? 5 : 1)
            check_multiply(m, n, 33, 1 + (unsigned)(m + n) % 3, 1 + (unsigned)n % 3, n % 3,
                           m % 3 == 0   ? C1X1_ADD
                           : m % 3 == 1 ? C1X1_ZERO
                                        : C1X1_CONTINUE);
    for (unsigned a = 1; a <= C1X1_MATRIX_PIECES; a++)
        for (unsigned b = 1; b <= C1X1_MATRIX_PIECES; b++)
            for (c1x1_start start = C1X1_ZERO; start <= C1X1_CONTINUE; start++)
                for (size_t n = 9; n <= 25; n += 16) {
                    check_multiply(11, n, 70, a, b, 1, start);
                    check_multiply(27, n, 70, a, b, 1, start);
                }
    printf("%lu cases, %lu failures, %lu instructions emulated\n", cases, failures, amx_trapped);
    return failures != 0;
}
