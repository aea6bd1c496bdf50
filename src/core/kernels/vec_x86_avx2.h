/* vec_x86_avx2.h - the words of tile_real.inc in AVX2 and FMA.
 *
 * Define VEC_FLOAT64 for double, else float. May be included once for each. */
#include <immintrin.h>

#undef real
#undef vec_mask_make
#undef vec_store_n
#undef vec_sum
#undef vec_select
#undef vec
#undef VL
#undef WORD
#ifdef VEC_FLOAT64
#define real double
#define vec __m256d
#define VL 4
#define WORD(word) _mm256_##word##_pd
#define vec_mask_make(n) _mm256_loadu_si256((const __m256i *)(x86_avx2_mask64 + VL - (n)))
#define vec_store_n(p, v, n, mask) x86_avx2_store_f64(p, v, n)
#define vec_sum(v) x86_avx2_sum_f64(v)
#define vec_select(mask, yes, no) _mm256_blendv_pd(no, yes, _mm256_castsi256_pd(mask))
#else
#define real float
#define vec __m256
#define VL 8
#define WORD(word) _mm256_##word##_ps
#define vec_mask_make(n) _mm256_loadu_si256((const __m256i *)(x86_avx2_mask32 + VL - (n)))
#define vec_store_n(p, v, n, mask) x86_avx2_store_f32(p, v, n)
#define vec_sum(v) x86_avx2_sum_f32(v)
#define vec_select(mask, yes, no) _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(mask))
#endif

#ifndef C1X1_VEC_X86_AVX2_H
#define C1X1_VEC_X86_AVX2_H
#define vec_mask __m256i
#define vec_zero WORD(setzero)
#define vec_set1(p) WORD(set1)(*(p))
#define vec_load WORD(loadu)
#define vec_store WORD(storeu)
#define vec_load_n(p, n, mask) WORD(maskload)(p, mask)
#define vec_fma WORD(fmadd)
#define vec_add WORD(add)

static const int32_t x86_avx2_mask32[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
static const int64_t x86_avx2_mask64[8] = {-1, -1, -1, -1};

/* Stores in pieces: a masked store takes tens of cycles on AMD cores. */
static inline void x86_avx2_store_f32(float *p, __m256 v, size_t n) {
    __m128 x = _mm256_castps256_ps128(v);
    if (n & 4) {
        _mm_storeu_ps(p, x);
        x = _mm256_extractf128_ps(v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, x);
        x = _mm_movehl_ps(x, x);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, x);
}

static inline void x86_avx2_store_f64(double *p, __m256d v, size_t n) {
    __m128d x = _mm256_castpd256_pd128(v);
    if (n & 2) {
        _mm_storeu_pd(p, x);
        x = _mm256_extractf128_pd(v, 1);
        p += 2;
    }
    if (n & 1) _mm_store_sd(p, x);
}

/* Lanes folded 4+4, 2+2, 1+1. */
static inline float x86_avx2_sum_f32(__m256 v) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

static inline double x86_avx2_sum_f64(__m256d v) {
    const __m128d x = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
}
#endif
