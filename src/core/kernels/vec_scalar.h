/* vec_scalar.h - the words of tile_real.inc and act_real.inc, one element to a vector, in plain C.
 *
 * Define VEC_FLOAT64, VEC_INT64 or neither (float). VEC_UNFUSED takes a multiply and an add instead
 * of a fused multiply-add, for CPUs that have none. May be included once for each. */
#include <math.h>
#include <string.h>

#undef real
#undef vec_fma
#undef vec_fnma
#undef vec_fma_to
#undef vec_abs
#undef vec_copysign
#undef vec_to_exponent
#define vec_fma_to(acc, a, b) ((acc) = vec_fma(a, b, acc))
#if defined(VEC_INT64)
#define real uint64_t /* wraps as NumPy's int64 does, without undefined behaviour */
#define vec_fma(a, b, c) ((a) * (b) + (c))
#elif defined(VEC_FLOAT64)
#define real double
#define vec_abs(v) fabs(v)
#define vec_copysign(magnitude, v) copysign(magnitude, v)
#define vec_to_exponent(v) scalar_to_exponent_f64(v)
#ifdef VEC_UNFUSED
#define vec_fma(a, b, c) ((a) * (b) + (c))
#define vec_fnma(a, b, c) ((c) - (a) * (b))
#else
#define vec_fma(a, b, c) fma(a, b, c)
#define vec_fnma(a, b, c) fma(-(a), b, c)
#endif
#else
#define real float
#define vec_abs(v) fabsf(v)
#define vec_copysign(magnitude, v) copysignf(magnitude, v)
#define vec_to_exponent(v) scalar_to_exponent_f32(v)
#ifdef VEC_UNFUSED
#define vec_fma(a, b, c) ((a) * (b) + (c))
#define vec_fnma(a, b, c) ((c) - (a) * (b))
#else
#define vec_fma(a, b, c) fmaf(a, b, c)
#define vec_fnma(a, b, c) fmaf(-(a), b, c)
#endif
#endif

#ifndef C1X1_VEC_SCALAR_H
#define C1X1_VEC_SCALAR_H
#define vec real
#define VL 1
#define vec_mask size_t
#define vec_mask_make(n) (n)
#define vec_zero() ((real)0)
#define vec_set1(p) (*(p))
#define vec_load(p) (*(p))
#define vec_store(p, v) (*(p) = (v))
/* n is 1 wherever the kernels get here: VL elements are never fewer than one. */
#define vec_load_n(p, n, mask) ((void)(mask), *(p))
#define vec_store_n(p, v, n, mask) ((void)(n), (void)(mask), *(p) = (v))
#define vec_select(mask, yes, no) ((void)(mask), (yes))
#define vec_add(a, b) ((a) + (b))
#define vec_of(constant) ((real)(constant))
#define vec_sub(a, b) ((a) - (b))
#define vec_mul(a, b) ((a) * (b))
#define vec_div(a, b) ((a) / (b))
#define vec_max(a, b) ((a) > (b) ? (a) : (b))
#define vec_min(a, b) ((a) < (b) ? (a) : (b))
#define vec_if_greater(a, b, yes, no) ((a) > (b) ? (yes) : (no))
#define vec_sum(v) (v)
#define vec_deinterleave(x, p, K) \
    for (int i_ = 0; i_ < (K); i_++) (x)[i_] = (p)[i_]
#define vec_deinterleave4(x, p, step) vec_deinterleave(x, p, 4)
#define vec_interleave(p, y, N) \
    for (int o_ = 0; o_ < (N); o_++) (p)[o_] = (y)[o_]

TILE_INLINE float scalar_to_exponent_f32(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits <<= 23;
    memcpy(&v, &bits, sizeof v);
    return v;
}

TILE_INLINE double scalar_to_exponent_f64(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits <<= 52;
    memcpy(&v, &bits, sizeof v);
    return v;
}
#endif
