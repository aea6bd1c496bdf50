/* vec_x86_avx512.h - the words of tile_real.inc and act_real.inc in AVX-512.
 *
 * Define VEC_FLOAT64 for double, else float. May be included once for each. */
#include <immintrin.h>

#undef real
#undef vec
#undef VL
#undef WORD
#undef FMA231
#undef vec_mask
#undef vec_sum
#undef vec_to_exponent
#undef vec_if_greater
#ifdef VEC_FLOAT64
#define real double
#define vec __m512d
#define VL 8
#define WORD(word) _mm512_##word##_pd
#define FMA231 "vfmadd231pd"
#define vec_mask __mmask8
#define vec_sum(v) x86_avx512_sum_f64(v)
#define vec_to_exponent(v) _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(v), 52))
#define vec_if_greater(a, b, yes, no) \
    _mm512_mask_mov_pd(no, _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ), yes)
#else
#define real float
#define vec __m512
#define VL 16
#define WORD(word) _mm512_##word##_ps
#define FMA231 "vfmadd231ps"
#define vec_mask __mmask16
#define vec_sum(v) x86_avx512_sum_f32(v)
#define vec_to_exponent(v) _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(v), 23))
#define vec_if_greater(a, b, yes, no) \
    _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), yes)
#endif

#ifndef C1X1_VEC_X86_AVX512_H
#define C1X1_VEC_X86_AVX512_H
#define vec_mask_make(n) ((vec_mask)((1u << (n)) - 1))
#define vec_zero WORD(setzero)
#define vec_set1(p) WORD(set1)(*(p))
#define vec_load WORD(loadu)
#define vec_store WORD(storeu)
#define vec_load_n(p, n, mask) WORD(maskz_loadu)(mask, p)
#define vec_store_n(p, v, n, mask) WORD(mask_storeu)(p, mask, v)
#define vec_select(mask, yes, no) WORD(mask_mov)(no, mask, yes)
#define vec_fma_to(acc, a, b) __asm__(FMA231 " %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b))
#define vec_fma WORD(fmadd)
#define vec_fnma WORD(fnmadd)
#define vec_add WORD(add)
#define vec_of(constant) WORD(set1)(constant)
#define vec_sub WORD(sub)
#define vec_mul WORD(mul)
#define vec_div WORD(div)
#define vec_max WORD(max)
#define vec_min WORD(min)
#define vec_abs(v) WORD(andnot)(vec_of(-0.0f), v)
#define vec_copysign(magnitude, v) WORD(or)(vec_abs(magnitude), WORD(and)(vec_of(-0.0f), v))

/* Lanes folded 8+8, 4+4, 2+2, 1+1. */
static inline float x86_avx512_sum_f32(__m512 v) {
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
    const __m256 w = _mm256_add_ps(_mm512_castps512_ps256(v), high);
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

static inline double x86_avx512_sum_f64(__m512d v) {
    const __m256d w = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
    const __m128d x = _mm_add_pd(_mm256_castpd256_pd128(w), _mm256_extractf128_pd(w, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
}
#endif
