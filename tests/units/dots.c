/* dots.c - the body of x86_avx512_vnni with words in plain C: its vectors of sixteen and its eight rows, on
 * CPUs that lack AVX-512. */
#include "kernels/kernel.h"

#include <string.h>

typedef int32_t dot_vec __attribute__((vector_size(64)));
enum { DOT_VL = 16, DOT_ROWS = 8, DOT_NV = 2 };
#define DOT_SIGNS C1X1_SIGNS_DIFFER
#define DOT_CYCLES 1

static dot_vec dot_four(const char *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return (dot_vec){0} + four;
}

static dot_vec dot_load(const void *p) {
    dot_vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static dot_vec dot_unsigned(dot_vec acc, dot_vec a, dot_vec b) {
    const unsigned char *u = (const unsigned char *)&a;
    const signed char *s = (const signed char *)&b;
    for (int i = 0; i < 64; i++) acc[i / 4] += u[i] * s[i];
    return acc;
}
#define dot_zero() ((dot_vec){0})
#define dot_store(p, v) memcpy(p, &(v), sizeof(v))
#define dot_add(u, v) ((u) + (v))
#define dot_negate(v) (-(v))
#define dot_times_128(v) ((v) * 128)
#define dot_signed(acc, a, b) dot_unsigned(acc, b, a)
#include "kernels/matrix_dots.inc"

extern const c1x1_matrix_kernels *const dots_in_plain_c;
const c1x1_matrix_kernels *const dots_in_plain_c = &dots_of_bytes;
