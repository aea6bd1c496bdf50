/* bytes.h - a unit that multiplies bytes beside another one in plain C: the same sums, for every size of a
 * block and all signs, with operands that end where memory does. */
#ifndef BYTES_H
#define BYTES_H

#include "kernels/kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned long bytes_cases, bytes_failures;
static uint32_t bytes_state = 7;

static uint32_t bytes_next(void) { return bytes_state = bytes_state * 1664525u + 1013904223u; }

enum { BYTES_ROOM = 1 << 17 };

/* `bytes` that end where a page begins that must not be touched; room 0 to 3, each used anew. */
static void *bytes_guarded(int room, size_t bytes) {
    static char *rooms[4];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!rooms[room]) {
        char *at = mmap(NULL, BYTES_ROOM + page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED || mprotect(at + BYTES_ROOM, page, PROT_NONE) != 0) abort();
        rooms[room] = at;
    }
    if (bytes > BYTES_ROOM) abort();
    return rooms[room] + BYTES_ROOM - bytes;
}

/* Whether a unit of such signs multiplies these. */
static int bytes_suit(c1x1_signs signs, int a_is_signed, int b_is_signed) {
    return signs == C1X1_SIGNS_ANY || (a_is_signed == b_is_signed) == (signs == C1X1_SIGNS_AGREE);
}

/* Rows of a in tiles, or as an image has them, `pixel` bytes apart: then k fills whole tiles. */
static void bytes_multiply(const char *name, const c1x1_matrix_kernels *unit,
                           const c1x1_matrix_kernels *plain, size_t m, size_t n, size_t k,
                           size_t pixel, size_t more, int a_is_signed, int b_is_signed) {
    const size_t columns = more * C1X1_MATRIX_EDGE + n, ldc = columns + 3;
    const size_t b_bytes = c1x1_matrix_bytes(plain, k, 1);
    const size_t a_bytes = pixel ? (m - 1) * pixel + k : b_bytes;
    const size_t c_count = (m - 1) * ldc + columns;
    unsigned char *a = bytes_guarded(0, a_bytes), *b = bytes_guarded(1, b_bytes * (more + 1));
    int32_t *c[2];
    for (int i = 0; i < 2; i++) c[i] = bytes_guarded(2 + i, c_count * sizeof(int32_t));
    for (size_t i = 0; i < a_bytes; i++) a[i] = (unsigned char)(bytes_next() >> 23);
    for (size_t i = 0; i < b_bytes * (more + 1); i++) b[i] = (unsigned char)(bytes_next() >> 23);
    for (size_t i = 0; i < c_count; i++) c[0][i] = c[1][i] = (int32_t)(bytes_next() >> 8);
    /* Nobody reads a beyond k, so what b has there must be zero. */
    for (size_t j = 0; j <= more; j++)
        for (size_t p = k; p % C1X1_MATRIX_BYTES != 0; p++)
            for (size_t column = 0; column < C1X1_MATRIX_EDGE; column++)
                b[j * b_bytes + p / C1X1_MATRIX_BYTES * 2 * C1X1_MATRIX_TILE +
                  column / 16 * C1X1_MATRIX_TILE + p % C1X1_MATRIX_BYTES / 4 * C1X1_MATRIX_ROW +
                  column % 16 * 4 + p % 4] = 0;
    c1x1_matrix_block block = {.m = m,
                               .n = C1X1_MATRIX_EDGE,
                               .k = k,
                               .a = a,
                               .b = b,
                               .a_row = pixel ? (ptrdiff_t)pixel : C1X1_MATRIX_ROW,
                               .a_step = pixel ? C1X1_MATRIX_BYTES : 2 * C1X1_MATRIX_TILE,
                               .ldc = (ptrdiff_t)ldc,
                               .a_pieces = 1,
                               .b_pieces = 1,
                               .a_is_signed = a_is_signed,
                               .b_is_signed = b_is_signed,
                               .a_offset = n % 2         ? 0
                                           : a_is_signed ? -128
                                                         : 128,
                               .start = m % 2 ? C1X1_ZERO : C1X1_CONTINUE,
                               .more = more,
                               .last_n = n,
                               .next_b = b_bytes};
    if (unit->signs == C1X1_SIGNS_ANY) block.a_offset = 0;
    for (int i = 0; i < 2; i++) {
        block.c = c[i];
        (i == 0 ? unit : plain)->multiply(&block);
    }
    bytes_cases++;
    if (memcmp(c[0], c[1], c_count * sizeof(int32_t)) == 0) return;
    bytes_failures++;
    printf("%s differs: m %zu n %zu k %zu more %zu signs %d %d offset %d\n", name, m, n, k, more,
           a_is_signed, b_is_signed, block.a_offset);
}

static void bytes_split(const char *name, const c1x1_matrix_kernels *unit,
                        const c1x1_matrix_kernels *plain, size_t count, size_t k, int is_rows,
                        int is_flipped) {
    const c1x1_matrix_kernels *kernels[2] = {unit, plain};
    const size_t bytes = c1x1_matrix_bytes(plain, k, 1);
    unsigned char *source = bytes_guarded(0, count * k);
    for (size_t i = 0; i < count * k; i++) source[i] = (unsigned char)(bytes_next() >> 23);
    char *to[2];
    for (int i = 0; i < 2; i++) {
        const c1x1_split split = {.count = count,
                                  .k = k,
                                  .source = source,
                                  .ld = (ptrdiff_t)(is_rows ? k : count),
                                  .to = to[i] = bytes_guarded(2 + i, bytes),
                                  .pieces = 1,
                                  .is_flipped = is_flipped};
        memset(to[i], 0x55, bytes);
        (is_rows ? kernels[i]->split_rows : kernels[i]->split_columns)(&split);
    }
    bytes_cases++;
    int is_wrong = memcmp(to[0], to[1], bytes) != 0;
    /* One element by the definition: the last of the last row, or column. */
    const size_t p = k - 1, i = count - 1;
    const size_t tile = p / C1X1_MATRIX_BYTES * 2 + i / 16;
    const size_t at = is_rows ? i % 16 * C1X1_MATRIX_ROW + p % C1X1_MATRIX_BYTES
                              : p % C1X1_MATRIX_BYTES / 4 * C1X1_MATRIX_ROW + i % 16 * 4 + p % 4;
    const unsigned char want = source[is_rows ? i * k + p : p * count + i];
    is_wrong |=
        (unsigned char)to[0][tile * C1X1_MATRIX_TILE + at] != (is_flipped ? want ^ 0x80 : want);
    if (!is_wrong) return;
    bytes_failures++;
    printf("%s cuts %zu %s of %zu wrong\n", name, count, is_rows ? "rows" : "columns", k);
}

/* All of it; `plain` is a unit of the same signs in plain C. Where every instruction is slow, not every
 * pair of rows and columns. */
static void check_bytes(const char *name, const c1x1_matrix_kernels *unit,
                        const c1x1_matrix_kernels *plain, int is_slow) {
    const size_t edge = C1X1_MATRIX_EDGE;
    for (size_t count = 1; count <= edge; count++)
        for (size_t k = 1; k <= 131; k += k < 68 ? 3 : 21) {
            bytes_split(name, unit, plain, count, k, 1, 0);
            bytes_split(name, unit, plain, count, k, 1, 1);
            bytes_split(name, unit, plain, count, k, 0, 0);
        }
    for (size_t m = 1; m <= edge; m++) {
        const size_t first = is_slow ? 1 + 7 * m % edge : 1 + m % 3;
        const size_t step = m % 8 == 0 ? is_slow ? 9 : 2 : is_slow ? edge : 13;
        for (size_t n = first; n <= edge; n += step)
            for (int signs = 0; signs < 4; signs++) {
                if (!bytes_suit(unit->signs, signs & 1, signs >> 1)) continue;
                bytes_multiply(name, unit, plain, m, n, 65 + n % 3, 0, n % 3, signs & 1,
                               signs >> 1);
                bytes_multiply(name, unit, plain, m, n, 128, 128 + m % 2 * 9, n % 3, signs & 1,
                               signs >> 1);
            }
    }
}

#endif
