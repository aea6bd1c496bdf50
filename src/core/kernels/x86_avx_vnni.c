/* x86_avx_vnni.c - bytes by VPDPBUSD in 256 bits, which CPUs without AVX-512 may have.
 *
 *           j = 0..7   8..15
 *   i = 0   [acc00]   [acc01]     per four channels: 2 loads of b, 6 broadcasts of a, 12 VPDPBUSD
 *     ..      ..        ..        registers: 12 acc + 2 b + 1 a = 15 of 16
 *   i = 5   [acc50]   [acc51]
 *
 * The other kernels are those of x86_avx2. */
#include "kernel.h"

#include <immintrin.h>
#include <string.h>

typedef __m256i dot_vec;
enum { DOT_VL = 8, DOT_ROWS = 6, DOT_NV = 2 };
#define DOT_SIGNS C1X1_SIGNS_DIFFER
#define DOT_CYCLES 320 /* 256 at two VPDPBUSD a cycle */

static inline dot_vec dot_four(const char *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
}
#define dot_zero() _mm256_setzero_si256()
#define dot_load(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define dot_store(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define dot_add(u, v) _mm256_add_epi32(u, v)
#define dot_negate(v) _mm256_sub_epi32(_mm256_setzero_si256(), v)
#define dot_times_128(v) _mm256_slli_epi32(v, 7)
#define dot_unsigned(acc, a, b) _mm256_dpbusd_avx_epi32(acc, a, b)
#define dot_signed(acc, a, b) _mm256_dpbusd_avx_epi32(acc, b, a)
#include "matrix_dots.inc"

extern const c1x1_isa c1x1_isa_x86_avx_vnni;
const c1x1_isa c1x1_isa_x86_avx_vnni = {
    .name = "x86_avx_vnni",
    .description = "x86-64 with AVX2, FMA, F16C and AVX-VNNI",
    .needs = C1X1_HAS_FMA | C1X1_HAS_AVX2 | C1X1_HAS_F16C | C1X1_HAS_AVX_VNNI,
    .matrix = {[C1X1_UNIT_BYTES] = &dots_of_bytes},
};
