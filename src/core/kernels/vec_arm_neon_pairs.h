/* vec_arm_neon_pairs.h - the words of tile_real.inc and small_real.inc for pairs of int16 in NEON.
 *
 * An element of an operand is two int16, of a result one int32. Masks and parts of vectors are those of
 * float: include after vec_arm_neon.h. SMLAL multiplies four int16 by one lane, so that the halves of
 * the pairs of b are taken apart once for all rows of a. */
#undef real
#undef vec
#undef VEC_LANES
#undef vec_zero
#undef vec_set1
#undef vec_load
#undef vec_store
#undef vec_load_n
#undef vec_store_n
#undef vec_select
#undef vec_fma
#undef vec_fma_to
#undef vec_fma_lane_to
#undef vec_add
#undef vec_max
#undef vec_min
#undef vec_fold
#undef vec_deinterleave
#undef vec_deinterleave4
#undef vec_interleave
#define real uint32_t
#define vec int32x4_t
#define VEC_LANES(X) X(0) X(1) X(2) X(3)
#define vec_zero() vdupq_n_s32(0)
#define vec_set1(p) vreinterpretq_s32_u32(vld1q_dup_u32(p))
#define vec_load(p) vreinterpretq_s32_u32(vld1q_u32(p))
#define vec_store(p, v) vst1q_u32(p, vreinterpretq_u32_s32(v))
#define vec_load_n(p, n, mask) \
    ((void)(mask), vreinterpretq_s32_f32(arm_neon_load_f32((const float *)(const void *)(p), n)))
#define vec_store_n(p, v, n, mask) \
    ((void)(mask), arm_neon_store_f32((float *)(void *)(p), vreinterpretq_f32_s32(v), n))
#define vec_select(mask, yes, no) vbslq_s32(mask, yes, no)
#define vec_fma(a, b, c) vaddq_s32(c, arm_neon_multiply_pairs(a, b))
#define vec_fma_to(acc, a, b) ((acc) = vec_fma(a, b, acc))
#define vec_fma_lane_to(acc, b, a, LANE)                                                          \
    ((acc) = vmlal_laneq_s16(                                                                     \
         vmlal_laneq_s16(acc, vmovn_s32(b), vreinterpretq_s16_s32(a), 2 * LANE),                  \
         vshrn_n_s32(b, 16), vreinterpretq_s16_s32(a), 2 * LANE + 1))
#define vec_add(a, b) vaddq_s32(a, b)
#define vec_max(a, b) vmaxq_s32(a, b)
#define vec_min(a, b) vminq_s32(a, b)
#define vec_fold(s) \
    ((uint32_t)vaddvq_s32(vaddq_s32(vaddq_s32((s)[0], (s)[1]), vaddq_s32((s)[2], (s)[3]))))
#define vec_deinterleave(x, p, K) \
    arm_neon_deinterleave_s32(x, (const int32_t *)(const void *)(p), K)
#define vec_deinterleave4(x, p, step) \
    arm_neon_deinterleave4_s32(x, (const int32_t *)(const void *)(p), step)
#define vec_interleave(p, y, N) arm_neon_interleave_s32((int32_t *)(void *)(p), y, N)

TILE_INLINE int32x4_t arm_neon_multiply_pairs(int32x4_t a, int32x4_t b) {
    const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    return vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
}

TILE_INLINE void arm_neon_deinterleave4_s32(int32x4_t *x, const int32_t *p, const int step) {
    const int32x4_t r0 = vld1q_s32(p), r1 = vld1q_s32(p + step);
    const int32x4_t r2 = vld1q_s32(p + 2 * step), r3 = vld1q_s32(p + 3 * step);
    const int64x2_t xz01 = vreinterpretq_s64_s32(vtrn1q_s32(r0, r1));
    const int64x2_t yw01 = vreinterpretq_s64_s32(vtrn2q_s32(r0, r1));
    const int64x2_t xz23 = vreinterpretq_s64_s32(vtrn1q_s32(r2, r3));
    const int64x2_t yw23 = vreinterpretq_s64_s32(vtrn2q_s32(r2, r3));
    x[0] = vreinterpretq_s32_s64(vtrn1q_s64(xz01, xz23));
    x[1] = vreinterpretq_s32_s64(vtrn1q_s64(yw01, yw23));
    x[2] = vreinterpretq_s32_s64(vtrn2q_s64(xz01, xz23));
    x[3] = vreinterpretq_s32_s64(vtrn2q_s64(yw01, yw23));
}
DEFINE_INTERLEAVE(s32, int32_t, int32x4)
