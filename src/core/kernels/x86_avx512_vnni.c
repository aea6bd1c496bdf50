/* x86_avx512_vnni.c - bytes by VPDPBUSD in AVX-512: unsigned by signed, four products and their sum.
 *
 *           j = 0..15  16..31
 *   i = 0   [acc00]   [acc01]     per four channels: 2 loads of b, 8 broadcasts of a, 16 VPDPBUSD
 *     ..      ..        ..        registers: 16 acc + 2 b + 1 a = 19 of 32; five cycles of latency by two
 *   i = 7   [acc70]   [acc71]     ports want ten in flight
 *
 * The other kernels are those of x86_avx512. */
#include "kernel.h"

#include <immintrin.h>
#include <string.h>

typedef __m512i dot_vec;
enum { DOT_VL = 16, DOT_ROWS = 8, DOT_NV = 2 };
#define DOT_SIGNS C1X1_SIGNS_DIFFER
#define DOT_CYCLES 170 /* 128 at two VPDPBUSD a cycle */

static inline dot_vec dot_four(const char *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}
#define dot_zero() _mm512_setzero_si512()
#define dot_load(p) _mm512_loadu_si512((const void *)(p))
#define dot_store(p, v) _mm512_storeu_si512((void *)(p), v)
#define dot_add(u, v) _mm512_add_epi32(u, v)
#define dot_negate(v) _mm512_sub_epi32(_mm512_setzero_si512(), v)
#define dot_times_128(v) _mm512_slli_epi32(v, 7)
#define dot_unsigned(acc, a, b) _mm512_dpbusd_epi32(acc, a, b)
#define dot_signed(acc, a, b) _mm512_dpbusd_epi32(acc, b, a)
#include "matrix_dots.inc"

extern const c1x1_isa c1x1_isa_x86_avx512_vnni;
const c1x1_isa c1x1_isa_x86_avx512_vnni = {
    .name = "x86_avx512_vnni",
    .description = "x86-64 with AVX-512 F, BW, DQ, VL and VNNI",
    .needs = C1X1_HAS_FMA | C1X1_HAS_AVX2 | C1X1_HAS_F16C | C1X1_HAS_AVX512 | C1X1_HAS_AVX512_VNNI,
    .matrix = {[C1X1_UNIT_BYTES] = &dots_of_bytes},
};
