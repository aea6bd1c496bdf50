/* vec_arm_neon.h - the words of tile_real.inc, small_real.inc, act_real.inc in NEON.
 *
 * Define VEC_FLOAT64 for double, else float. May be included once for each. NEON has no masked
 * loads or stores: a part of a vector goes in pieces of two lanes and one. */
#include <arm_neon.h>

#undef real
#undef vec
#undef VL
#undef WORD
#undef LANES
#undef ELEMENT
#undef VEC_LANES
#undef vec_mask
#undef vec_mask_make
#undef vec_load_n
#undef vec_store_n
#undef vec_select
#undef vec_fold
#undef vec_deinterleave
#undef vec_deinterleave4
#undef vec_interleave
#undef vec_copysign
#undef vec_to_exponent
#ifdef VEC_FLOAT64
#define real double
#define vec float64x2_t
#define VL 2
#define WORD(word) word##_f64
#define LANES "2d"
#define ELEMENT "d"
#define VEC_LANES(X) X(0) X(1)
#define vec_mask uint64x2_t
#define vec_mask_make(n) vld1q_u64(arm_neon_mask64 + VL - (n))
#define vec_load_n(p, n, mask) ((void)(mask), arm_neon_load_f64(p, n))
#define vec_store_n(p, v, n, mask) ((void)(n), (void)(mask), vst1q_lane_f64(p, v, 0))
#define vec_select(mask, yes, no) vbslq_f64(mask, yes, no)
#define vec_fold(sums) arm_neon_fold_f64(sums)
#define vec_copysign(magnitude, v) vbslq_f64(vdupq_n_u64((uint64_t)1 << 63), v, magnitude)
#define vec_to_exponent(v) vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(v), 52))
#define vec_deinterleave(x, p, K) arm_neon_deinterleave_f64(x, p, K)
#define vec_deinterleave4(x, p, step) arm_neon_deinterleave4_f64(x, p, step)
#define vec_interleave(p, y, N) arm_neon_interleave_f64(p, y, N)
#else
#define real float
#define vec float32x4_t
#define VL 4
#define WORD(word) word##_f32
#define LANES "4s"
#define ELEMENT "s"
#define VEC_LANES(X) X(0) X(1) X(2) X(3)
#define vec_mask uint32x4_t
#define vec_mask_make(n) vld1q_u32(arm_neon_mask32 + VL - (n))
#define vec_load_n(p, n, mask) ((void)(mask), arm_neon_load_f32(p, n))
#define vec_store_n(p, v, n, mask) ((void)(mask), arm_neon_store_f32(p, v, n))
#define vec_select(mask, yes, no) vbslq_f32(mask, yes, no)
#define vec_fold(sums) arm_neon_fold_f32(sums)
#define vec_copysign(magnitude, v) vbslq_f32(vdupq_n_u32(1u << 31), v, magnitude)
#define vec_to_exponent(v) vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(v), 23))
#define vec_deinterleave(x, p, K) arm_neon_deinterleave_f32(x, p, K)
#define vec_deinterleave4(x, p, step) arm_neon_deinterleave4_f32(x, p, step)
#define vec_interleave(p, y, N) arm_neon_interleave_f32(p, y, N)
#endif

#ifndef C1X1_VEC_ARM_NEON_H
#define C1X1_VEC_ARM_NEON_H
#define vec_zero() WORD(vdupq_n)(0)
#define vec_set1(p) WORD(vld1q_dup)(p)
#define vec_load(p) WORD(vld1q)(p)
#define vec_store(p, v) WORD(vst1q)(p, v)
#define vec_fma(a, b, c) WORD(vfmaq)(c, a, b)
#define vec_fma_to(acc, a, b) \
    __asm__("fmla %0." LANES ", %1." LANES ", %2." LANES : "+w"(acc) : "w"(a), "w"(b))
#define vec_fma_lane_to(acc, b, a, LANE) \
    __asm__("fmla %0." LANES ", %1." LANES ", %2." ELEMENT "[" #LANE "]" : "+w"(acc) : "w"(b), "w"(a))
#define vec_fnma(a, b, c) WORD(vfmsq)(c, a, b)
#define vec_add(a, b) WORD(vaddq)(a, b)
#define vec_of(constant) WORD(vdupq_n)(constant)
#define vec_sub(a, b) WORD(vsubq)(a, b)
#define vec_mul(a, b) WORD(vmulq)(a, b)
#define vec_div(a, b) WORD(vdivq)(a, b)
/* FMAX and FMIN would give a NaN where either is one. */
#define vec_max(a, b) vec_if_greater(a, b, a, b)
#define vec_min(a, b) vec_if_greater(b, a, a, b)
#define vec_if_greater(a, b, yes, no) WORD(vbslq)(WORD(vcgtq)(a, b), yes, no)
#define vec_abs(v) WORD(vabsq)(v)

static const uint32_t arm_neon_mask32[8] = {~0u, ~0u, ~0u, ~0u};
static const uint64_t arm_neon_mask64[4] = {~(uint64_t)0, ~(uint64_t)0};

/* n may be VL: a dot asks for whole vectors too. */
TILE_INLINE float32x4_t arm_neon_load_f32(const float *p, size_t n) {
    float32x4_t v = vdupq_n_f32(0);
    if (n >= 4) return vld1q_f32(p);
    if (n == 1) return vld1q_lane_f32(p, v, 0);
    v = vcombine_f32(vld1_f32(p), vdup_n_f32(0));
    return n == 2 ? v : vld1q_lane_f32(p + 2, v, 2);
}

TILE_INLINE float64x2_t arm_neon_load_f64(const double *p, size_t n) {
    return n >= 2 ? vld1q_f64(p) : vcombine_f64(vld1_f64(p), vdup_n_f64(0));
}

TILE_INLINE void arm_neon_store_f32(float *p, float32x4_t v, size_t n) {
    if (n == 1) {
        vst1q_lane_f32(p, v, 0);
        return;
    }
    vst1_f32(p, vget_low_f32(v));
    if (n == 3) vst1q_lane_f32(p + 2, v, 2);
}

/* Element p of sixteen is lane p % VL of vector p / VL. Written out: as a loop over halves gcc keeps
 * the sums of a dot in memory all along. */
TILE_INLINE float arm_neon_fold_f32(const float32x4_t *sums) {
    const float32x4_t a = vaddq_f32(sums[0], sums[2]), b = vaddq_f32(sums[1], sums[3]);
    const float32x4_t four = vaddq_f32(a, b);
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

TILE_INLINE double arm_neon_fold_f64(const float64x2_t *sums) {
    const float64x2_t a = vaddq_f64(sums[0], sums[4]), b = vaddq_f64(sums[1], sums[5]);
    const float64x2_t c = vaddq_f64(sums[2], sums[6]), d = vaddq_f64(sums[3], sums[7]);
    const float64x2_t two = vaddq_f64(vaddq_f64(a, c), vaddq_f64(b, d));
    return vgetq_lane_f64(two, 0) + vgetq_lane_f64(two, 1);
}

/* VL pixels of K channels to K vectors: the structure loads read VL * K elements. */
TILE_INLINE void arm_neon_deinterleave4_f32(float32x4_t *x, const float *p, const ptrdiff_t step) {
    const float32x4_t r0 = vld1q_f32(p), r1 = vld1q_f32(p + step);
    const float32x4_t r2 = vld1q_f32(p + 2 * step), r3 = vld1q_f32(p + 3 * step);
    /* x0 x1 z0 z1, y0 y1 w0 w1, and the same of pixels 2 and 3 */
    const float64x2_t xz01 = vreinterpretq_f64_f32(vtrn1q_f32(r0, r1));
    const float64x2_t yw01 = vreinterpretq_f64_f32(vtrn2q_f32(r0, r1));
    const float64x2_t xz23 = vreinterpretq_f64_f32(vtrn1q_f32(r2, r3));
    const float64x2_t yw23 = vreinterpretq_f64_f32(vtrn2q_f32(r2, r3));
    x[0] = vreinterpretq_f32_f64(vtrn1q_f64(xz01, xz23));
    x[1] = vreinterpretq_f32_f64(vtrn1q_f64(yw01, yw23));
    x[2] = vreinterpretq_f32_f64(vtrn2q_f64(xz01, xz23));
    x[3] = vreinterpretq_f32_f64(vtrn2q_f64(yw01, yw23));
}

TILE_INLINE void arm_neon_deinterleave4_f64(float64x2_t *x, const double *p, const ptrdiff_t step) {
    const float64x2_t xy0 = vld1q_f64(p), zw0 = vld1q_f64(p + 2);
    const float64x2_t xy1 = vld1q_f64(p + step), zw1 = vld1q_f64(p + step + 2);
    x[0] = vtrn1q_f64(xy0, xy1);
    x[1] = vtrn2q_f64(xy0, xy1);
    x[2] = vtrn1q_f64(zw0, zw1);
    x[3] = vtrn2q_f64(zw0, zw1);
}

#define DEFINE_INTERLEAVE(NAME, REAL, VEC)                                                       \
    TILE_INLINE void arm_neon_deinterleave_##NAME(VEC##_t *x, const REAL *p, const int K) {  \
        if (K == 1) {                                                                            \
            x[0] = vld1q_##NAME(p);                                                              \
        } else if (K == 2) {                                                                     \
            const VEC##x2_t v = vld2q_##NAME(p);                                                 \
            for (int i = 0; i < 2; i++) x[i] = v.val[i];                                         \
        } else if (K == 3) {                                                                     \
            const VEC##x3_t v = vld3q_##NAME(p);                                                 \
            for (int i = 0; i < 3; i++) x[i] = v.val[i];                                         \
        } else {                                                                                 \
            const VEC##x4_t v = vld4q_##NAME(p);                                                 \
            for (int i = 0; i < 4; i++) x[i] = v.val[i];                                         \
        }                                                                                        \
    }                                                                                            \
    TILE_INLINE void arm_neon_interleave_##NAME(REAL *p, const VEC##_t *y, const int N) {    \
        if (N == 1) {                                                                            \
            vst1q_##NAME(p, y[0]);                                                               \
        } else if (N == 2) {                                                                     \
            const VEC##x2_t v = {{y[0], y[1]}};                                                  \
            vst2q_##NAME(p, v);                                                                  \
        } else if (N == 3) {                                                                     \
            const VEC##x3_t v = {{y[0], y[1], y[2]}};                                            \
            vst3q_##NAME(p, v);                                                                  \
        } else {                                                                                 \
            const VEC##x4_t v = {{y[0], y[1], y[2], y[3]}};                                      \
            vst4q_##NAME(p, v);                                                                  \
        }                                                                                        \
    }
DEFINE_INTERLEAVE(f32, float, float32x4)
DEFINE_INTERLEAVE(f64, double, float64x2)
#endif
