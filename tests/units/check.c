/* check.c - the kernels of x86_amx and x86_avx_vnni beside emulated ones: the same bits, for every size of a
 * block, every number of pieces, bytes of every sign, and nothing touched beside. dots.c stands for
 * x86_avx512_vnni.
 *
 * On a CPU with these instructions they run; elsewhere trap.c emulates them, if the first argument is
 * "emulate". Exit status 77: neither. */
#define _GNU_SOURCE
#include "bytes.h"
#include "kernels/kernel.h"
#include "trap.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern const c1x1_isa c1x1_isa_x86_amx, c1x1_isa_emulated_amx;
extern const c1x1_isa c1x1_isa_x86_avx_vnni, c1x1_isa_emulated_vnni;
extern const c1x1_matrix_kernels *const dots_in_plain_c;
/* The emulated rows hold plain C's kernels too, which nothing here calls. */
const c1x1_kernels c1x1_scalar_float32, c1x1_scalar_float64, c1x1_scalar_int64, c1x1_scalar_pairs;

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
static float number(void) {
    state = state * 1664525u + 1013904223u;
    const float v = (float)(int32_t)state / 65536.0f;
    return state >> 24 & 1 ? v : v * 1e-9f;
}

/* The units of a kind: of the ISA, and emulated. */
#define UNITS(kind) {c1x1_isa_x86_amx.matrix[kind], c1x1_isa_emulated_amx.matrix[kind]}

static void check_split(size_t count, size_t k, unsigned pieces, int is_rows, c1x1_unit kind) {
    const c1x1_matrix_kernels *unit[2] = UNITS(kind);
    const ptrdiff_t ld = (ptrdiff_t)(is_rows ? k : count);
    char *source = guarded(count * k * unit[1]->size);
    for (size_t i = 0; i < count * k; i++) {
        const float v = i % 7 ? number() : 0; /* its upper half is bfloat16 */
        memcpy(source + i * unit[1]->size, (const char *)&v + 4 - unit[1]->size, unit[1]->size);
    }
    const size_t bytes = c1x1_matrix_bytes(unit[1], k, pieces);
    char *to[2] = {guarded(bytes), guarded(bytes)};
    c1x1_range range[2] = {{UINT32_MAX, 0}, {UINT32_MAX, 0}};
    for (int i = 0; i < 2; i++) {
        const c1x1_split split = {.count = count,
                                  .k = k,
                                  .source = source,
                                  .ld = ld,
                                  .to = to[i],
                                  .pieces = pieces,
                                  .range = &range[i]};
        (is_rows ? unit[i]->split_rows : unit[i]->split_columns)(&split);
    }
    cases++;
    if (memcmp(to[0], to[1], bytes) || memcmp(&range[0], &range[1], sizeof range[0]))
        fail(is_rows ? "split_rows" : "split_columns", count, count, k, pieces, pieces);
}

static void check_multiply(size_t m, size_t n, size_t k, unsigned a_pieces, unsigned b_pieces,
                           size_t more, c1x1_start start, size_t pixel) {
    const c1x1_matrix_kernels *unit[2] = UNITS(pixel ? C1X1_UNIT_BFLOAT16 : C1X1_UNIT_FLOAT32);
    const size_t columns = more * EDGE + n, ldc = columns + 5;
    const size_t a_bytes =
        pixel ? (m - 1) * pixel + 2 * k : c1x1_matrix_bytes(unit[1], k, a_pieces);
    const size_t b_bytes = c1x1_matrix_bytes(unit[1], k, b_pieces);
    const size_t c_count = (m - 1) * ldc + columns;
    char *a = guarded(a_bytes), *b = guarded(b_bytes * (more + 1));
    float *c[2] = {guarded(c_count * sizeof(float)), guarded(c_count * sizeof(float))};
    float *rows = guarded(EDGE * k * sizeof *rows), *panel = guarded(EDGE * k * sizeof *panel);
    c1x1_range range = {UINT32_MAX, 0};
    for (size_t i = 0; i < EDGE * k; i++) rows[i] = number();
    const c1x1_split split_a = {.count = m,
                                .k = k,
                                .source = rows,
                                .ld = (ptrdiff_t)k,
                                .to = a,
                                .pieces = a_pieces,
                                .range = &range};
    if (pixel) /* rows as an image has them: the upper halves of float32 */
        for (size_t i = 0; i < a_bytes; i += 2) {
            const float v = number();
            memcpy(a + i, (const char *)&v + 2, 2);
        }
    else
        unit[1]->split_rows(&split_a);
    for (size_t j = 0; j <= more; j++) {
        for (size_t i = 0; i < EDGE * k; i++) {
            const float v = number(); /* its upper half is bfloat16 */
            memcpy((char *)panel + i * unit[1]->size, (const char *)&v + 4 - unit[1]->size,
                   unit[1]->size);
        }
        const c1x1_split split_b = {.count = j < more ? EDGE : n,
                                    .k = k,
                                    .source = panel,
                                    .ld = EDGE,
                                    .to = b + j * b_bytes,
                                    .pieces = b_pieces,
                                    .range = &range};
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
                                         .a_row = pixel ? (ptrdiff_t)pixel : C1X1_MATRIX_ROW,
                                         .a_step = pixel ? C1X1_MATRIX_ROW
                                                         : a_pieces * 2 * C1X1_MATRIX_TILE,
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

static int has_amx(void) {
    unsigned long permitted = 0;
    syscall(SYS_arch_prctl, 0x1023, 18);
    return syscall(SYS_arch_prctl, 0x1022, &permitted) == 0 && permitted >> 18 & 1;
}

static int has_avx_vnni(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "emulate") == 0)
        amx_trap();
    else if (!has_amx())
        return 77;
    for (size_t count = 1; count <= EDGE; count++)
        for (unsigned pieces = 1; pieces <= C1X1_MATRIX_PIECES; pieces++)
            for (size_t k = 1 + count % 6; k <= 67; k += 11) {
                check_split(count, k, pieces, 1, C1X1_UNIT_FLOAT32);
                check_split(count, k, pieces, 0, C1X1_UNIT_FLOAT32);
            }
    for (size_t count = 1; count <= EDGE; count++)
        for (size_t k = 1 + count % 5; k <= 67; k += 5) {
            check_split(count, k, 1, 1, C1X1_UNIT_BFLOAT16);
            check_split(count, k, 1, 0, C1X1_UNIT_BFLOAT16);
        }
    for (size_t m = 1; m <= EDGE; m++)
        for (size_t n = 1; n <= EDGE; n += m % 8 ? 9 : 3)
            check_multiply(m, n, 33, 1 + (unsigned)(m + n) % 3, 1 + (unsigned)n % 3, n % 3,
                           m % 3 == 0   ? C1X1_ADD
                           : m % 3 == 1 ? C1X1_ZERO
                                        : C1X1_CONTINUE,
                           0);
    for (size_t m = 1; m <= EDGE; m++)
        for (size_t n = 1; n <= EDGE; n += m % 8 ? 9 : 5)
            check_multiply(m, n, 64, 1, 1, n % 3, m % 2 ? C1X1_ADD : C1X1_ZERO, 128 + m % 3 * 10);
    for (unsigned a = 1; a <= C1X1_MATRIX_PIECES; a++)
        for (unsigned b = 1; b <= C1X1_MATRIX_PIECES; b++)
            for (c1x1_start start = C1X1_ZERO; start <= C1X1_CONTINUE; start++)
                for (size_t n = 9; n <= 25; n += 16) {
                    check_multiply(11, n, 70, a, b, 1, start, 0);
                    check_multiply(27, n, 70, a, b, 1, start, 0);
                }
    check_bytes("x86_amx", c1x1_isa_x86_amx.matrix[C1X1_UNIT_BYTES],
                c1x1_isa_emulated_amx.matrix[C1X1_UNIT_BYTES], amx_trapped > 0);
    if (amx_trapped && !amx_is_released()) fail("the state of tiles", 0, 0, 0, 1, 1);
    if (amx_trapped || has_avx_vnni())
        check_bytes("x86_avx_vnni", c1x1_isa_x86_avx_vnni.matrix[C1X1_UNIT_BYTES],
                    c1x1_isa_emulated_vnni.matrix[C1X1_UNIT_BYTES], amx_trapped > 0);
    check_bytes("vectors of sixteen", dots_in_plain_c,
                c1x1_isa_emulated_vnni.matrix[C1X1_UNIT_BYTES], 0);
    cases += bytes_cases;
    failures += bytes_failures;
    printf("%lu cases, %lu failures, %lu instructions emulated\n", cases, failures, amx_trapped);
    return failures != 0;
}
