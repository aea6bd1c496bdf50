/* vec_x86_avx2.h - the words of tile_real.inc and act_real.inc in AVX2 and FMA.
 *
 * Define VEC_FLOAT64 for double, else float. May be included once for each. */
#include <immintrin.h>

#undef real
#undef vec_mask_make
#undef vec_store_n
#undef vec_sum
#undef vec_fold
#undef vec_fold_four
#undef vec_select
#undef vec_deinterleave
#undef vec_deinterleave4
#undef vec_interleave
#undef vec_to_exponent
#undef vec
#undef VL
#undef WORD
#undef FMA231
#ifdef VEC_FLOAT64
#define real double
#define vec __m256d
#define VL 4
#define WORD(word) _mm256_##word##_pd
#define FMA231 "vfmadd231pd"
#define vec_mask_make(n) _mm256_loadu_si256((const __m256i *)(x86_avx2_mask64 + VL - (n)))
#define vec_store_n(p, v, n, mask) x86_avx2_store_f64(p, v, n)
#define vec_sum(v) x86_avx2_sum_f64(v)
#define vec_fold(s) \
    vec_sum(vec_add(vec_add((s)[0], (s)[2]), vec_add((s)[1], (s)[3])))
#define vec_to_exponent(v) _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(v), 52))
#define vec_deinterleave(x, p, K) x86_avx2_deinterleave_f64(x, p, K)
#define vec_deinterleave4(x, p, step) x86_avx2_deinterleave4_f64(x, p, step)
#define vec_interleave(p, y, N) x86_avx2_interleave_f64(p, y, N)
#define vec_select(mask, yes, no) _mm256_blendv_pd(no, yes, _mm256_castsi256_pd(mask))
#else
#define real float
#define vec __m256
#define VL 8
#define WORD(word) _mm256_##word##_ps
#define FMA231 "vfmadd231ps"
#define vec_mask_make(n) _mm256_loadu_si256((const __m256i *)(x86_avx2_mask32 + VL - (n)))
#define vec_store_n(p, v, n, mask) x86_avx2_store_f32(p, v, n)
#define vec_sum(v) x86_avx2_sum_f32(v)
#define vec_fold(s) vec_sum(vec_add((s)[0], (s)[1]))
#define vec_fold_four(c, sums, bias) x86_avx2_fold_four_f32(c, sums, bias)
#define vec_to_exponent(v) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(v), 23))
#define vec_deinterleave(x, p, K) x86_avx2_deinterleave_f32(x, p, K)
#define vec_deinterleave4(x, p, step) x86_avx2_deinterleave4_f32(x, p, step)
#define vec_interleave(p, y, N) x86_avx2_interleave_f32(p, y, N)
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
#define vec_fma_to(acc, a, b) __asm__(FMA231 " %2, %1, %0" : "+x"(acc) : "x"(a), "x"(b))
#define vec_fnma WORD(fnmadd)
#define vec_add WORD(add)
#define vec_of(constant) WORD(set1)(constant)
#define vec_sub WORD(sub)
#define vec_mul WORD(mul)
#define vec_div WORD(div)
#define vec_max WORD(max)
#define vec_min WORD(min)
#define vec_if_greater(a, b, yes, no) WORD(blendv)(no, yes, WORD(cmp)(a, b, _CMP_GT_OQ))
#define vec_abs(v) WORD(andnot)(vec_of(-0.0f), v)
#define vec_copysign(magnitude, v) WORD(or)(vec_abs(magnitude), WORD(and)(vec_of(-0.0f), v))

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

/* Eight pixels of K channels to K vectors. Two groups of four pixels go side by side, one in each
 * half, so that all shuffles stay within halves. */
static inline __attribute__((always_inline)) __m256 x86_avx2_halves(const float *low,
                                                                    const float *high) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
}

static inline __attribute__((always_inline)) void x86_avx2_store_halves(float *low, float *high,
                                                                        __m256 v) {
    _mm_storeu_ps(low, _mm256_castps256_ps128(v));
    _mm_storeu_ps(high, _mm256_extractf128_ps(v, 1));
}

static inline __attribute__((always_inline)) void x86_avx2_transpose4(__m256 *x) {
    const __m256 a = _mm256_unpacklo_ps(x[0], x[1]), b = _mm256_unpackhi_ps(x[0], x[1]);
    const __m256 c = _mm256_unpacklo_ps(x[2], x[3]), d = _mm256_unpackhi_ps(x[2], x[3]);
    x[0] = _mm256_shuffle_ps(a, c, _MM_SHUFFLE(1, 0, 1, 0));
    x[1] = _mm256_shuffle_ps(a, c, _MM_SHUFFLE(3, 2, 3, 2));
    x[2] = _mm256_shuffle_ps(b, d, _MM_SHUFFLE(1, 0, 1, 0));
    x[3] = _mm256_shuffle_ps(b, d, _MM_SHUFFLE(3, 2, 3, 2));
}

static inline __attribute__((always_inline)) void
x86_avx2_deinterleave4_f32(__m256 *x, const float *p, const ptrdiff_t step) {
    for (int i = 0; i < 4; i++) x[i] = x86_avx2_halves(p + i * step, p + (4 + i) * step);
    x86_avx2_transpose4(x);
}

static inline __attribute__((always_inline)) void
x86_avx2_deinterleave_f32(__m256 *x, const float *p, const int K) {
    if (K == 1) {
        x[0] = _mm256_loadu_ps(p);
    } else if (K == 2) {
        const __m256 a = x86_avx2_halves(p, p + 8), b = x86_avx2_halves(p + 4, p + 12);
        x[0] = _mm256_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0));
        x[1] = _mm256_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1));
    } else if (K == 3) {
        /* in each half: a = x0 y0 z0 x1, b = y1 z1 x2 y2, c = z2 x3 y3 z3 */
        const __m256 a = x86_avx2_halves(p, p + 12), b = x86_avx2_halves(p + 4, p + 16);
        const __m256 c = x86_avx2_halves(p + 8, p + 20);
        const __m256 xy = _mm256_shuffle_ps(b, c, _MM_SHUFFLE(2, 1, 3, 2)); /* x2 y2 x3 y3 */
        const __m256 yz = _mm256_shuffle_ps(a, b, _MM_SHUFFLE(1, 0, 2, 1)); /* y0 z0 y1 z1 */
        x[0] = _mm256_shuffle_ps(a, xy, _MM_SHUFFLE(2, 0, 3, 0));
        x[1] = _mm256_shuffle_ps(yz, xy, _MM_SHUFFLE(3, 1, 2, 0));
        x[2] = _mm256_shuffle_ps(yz, c, _MM_SHUFFLE(3, 0, 3, 1));
    } else {
        x86_avx2_deinterleave4_f32(x, p, 4);
    }
}

static inline __attribute__((always_inline)) void x86_avx2_interleave_f32(float *p, __m256 *y,
                                                                          const int N) {
    if (N == 1) {
        _mm256_storeu_ps(p, y[0]);
    } else if (N == 2) {
        x86_avx2_store_halves(p, p + 8, _mm256_unpacklo_ps(y[0], y[1]));
        x86_avx2_store_halves(p + 4, p + 12, _mm256_unpackhi_ps(y[0], y[1]));
    } else if (N == 3) {
        const __m256 xy = _mm256_shuffle_ps(y[0], y[1], _MM_SHUFFLE(2, 0, 2, 0)); /* x0 x2 y0 y2 */
        const __m256 yz = _mm256_shuffle_ps(y[1], y[2], _MM_SHUFFLE(3, 1, 3, 1)); /* y1 y3 z1 z3 */
        const __m256 zx = _mm256_shuffle_ps(y[2], y[0], _MM_SHUFFLE(3, 1, 2, 0)); /* z0 z2 x1 x3 */
        x86_avx2_store_halves(p, p + 12, _mm256_shuffle_ps(xy, zx, _MM_SHUFFLE(2, 0, 2, 0)));
        x86_avx2_store_halves(p + 4, p + 16, _mm256_shuffle_ps(yz, xy, _MM_SHUFFLE(3, 1, 2, 0)));
        x86_avx2_store_halves(p + 8, p + 20, _mm256_shuffle_ps(zx, yz, _MM_SHUFFLE(3, 1, 3, 1)));
    } else {
        x86_avx2_transpose4(y);
        for (int o = 0; o < 4; o++) x86_avx2_store_halves(p + 4 * o, p + 16 + 4 * o, y[o]);
    }
}

static inline __attribute__((always_inline)) __m256d x86_avx2_halves_f64(const double *low,
                                                                         const double *high) {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(low)), _mm_loadu_pd(high), 1);
}

static inline __attribute__((always_inline)) void
x86_avx2_store_halves_f64(double *low, double *high, __m256d v) {
    _mm_storeu_pd(low, _mm256_castpd256_pd128(v));
    _mm_storeu_pd(high, _mm256_extractf128_pd(v, 1));
}

static inline __attribute__((always_inline)) void
x86_avx2_deinterleave4_f64(__m256d *x, const double *p, const ptrdiff_t step) {
    /* x0 y0 | x2 y2, z0 w0 | z2 w2, x1 y1 | x3 y3, z1 w1 | z3 w3 */
    const __m256d a = x86_avx2_halves_f64(p, p + 2 * step);
    const __m256d b = x86_avx2_halves_f64(p + 2, p + 2 * step + 2);
    const __m256d c = x86_avx2_halves_f64(p + step, p + 3 * step);
    const __m256d d = x86_avx2_halves_f64(p + step + 2, p + 3 * step + 2);
    x[0] = _mm256_unpacklo_pd(a, c);
    x[1] = _mm256_unpackhi_pd(a, c);
    x[2] = _mm256_unpacklo_pd(b, d);
    x[3] = _mm256_unpackhi_pd(b, d);
}

/* Four pixels, two to a half. */
static inline __attribute__((always_inline)) void
x86_avx2_deinterleave_f64(__m256d *x, const double *p, const int K) {
    __m256d h[4];
    if (K == 1) {
        x[0] = _mm256_loadu_pd(p);
        return;
    }
    if (K < 4)
        for (int i = 0; i < K; i++) h[i] = x86_avx2_halves_f64(p + 2 * i, p + 2 * (K + i));
    if (K == 2) {
        x[0] = _mm256_unpacklo_pd(h[0], h[1]);
        x[1] = _mm256_unpackhi_pd(h[0], h[1]);
    } else if (K == 3) { /* x0 y0, z0 x1, y1 z1 */
        x[0] = _mm256_shuffle_pd(h[0], h[1], 0xa);
        x[1] = _mm256_shuffle_pd(h[0], h[2], 0x5);
        x[2] = _mm256_shuffle_pd(h[1], h[2], 0xa);
    } else {
        x86_avx2_deinterleave4_f64(x, p, 4);
    }
}

static inline __attribute__((always_inline)) void
x86_avx2_interleave_f64(double *p, const __m256d *y, const int N) {
    __m256d h[4];
    if (N == 1) {
        _mm256_storeu_pd(p, y[0]);
        return;
    }
    h[0] = _mm256_unpacklo_pd(y[0], y[1]);
    if (N == 2) {
        h[1] = _mm256_unpackhi_pd(y[0], y[1]);
    } else if (N == 3) {
        h[1] = _mm256_shuffle_pd(y[2], y[0], 0xa);
        h[2] = _mm256_unpackhi_pd(y[1], y[2]);
    } else {
        h[1] = _mm256_unpacklo_pd(y[2], y[3]);
        h[2] = _mm256_unpackhi_pd(y[0], y[1]);
        h[3] = _mm256_unpackhi_pd(y[2], y[3]);
    }
    for (int i = 0; i < N; i++) x86_avx2_store_halves_f64(p + 2 * i, p + 2 * (N + i), h[i]);
}

/* Four dots at once: lanes folded 8+8, 4+4, 2+2, 1+1. */
static inline __attribute__((always_inline)) void
x86_avx2_fold_four_f32(float *c, __m256 (*sums)[2], const float *bias) {
    __m256 x[4];
    for (int r = 0; r < 4; r++) x[r] = _mm256_add_ps(sums[r][0], sums[r][1]);
    for (int r = 0; r < 4; r += 2)
        x[r] = _mm256_add_ps(_mm256_permute2f128_ps(x[r], x[r + 1], 0x20),
                             _mm256_permute2f128_ps(x[r], x[r + 1], 0x31));
    const __m256 two = _mm256_add_ps(_mm256_shuffle_ps(x[0], x[2], _MM_SHUFFLE(1, 0, 1, 0)),
                                     _mm256_shuffle_ps(x[0], x[2], _MM_SHUFFLE(3, 2, 3, 2)));
    /* sums 0 and 2 in the lower half, 1 and 3 in the upper one, two lanes each */
    const __m128 low = _mm256_castps256_ps128(two), high = _mm256_extractf128_ps(two, 1);
    const __m128 even = _mm_shuffle_ps(low, high, _MM_SHUFFLE(2, 0, 2, 0));
    const __m128 odd = _mm_shuffle_ps(low, high, _MM_SHUFFLE(3, 1, 3, 1));
    __m128 sum = _mm_add_ps(even, odd);
    sum = _mm_shuffle_ps(sum, sum, _MM_SHUFFLE(3, 1, 2, 0));
    _mm_storeu_ps(c, bias ? _mm_add_ps(sum, _mm_loadu_ps(bias)) : sum);
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
