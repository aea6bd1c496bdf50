/* vec_scalar.h - the words of tile_real.inc with one element per vector, in plain C.
 *
 * Define VEC_FLOAT64, VEC_INT64 or neither (float). VEC_UNFUSED takes a multiply and an add instead
 * of a fused multiply-add, for CPUs that have none. May be included once for each. */
#include <math.h>

#undef real
#undef vec_fma
#undef vec_fma_to
#define vec_fma_to(acc, a, b) ((acc) = vec_fma(a, b, acc))
#if defined(VEC_INT64)
#define real uint64_t /* wraps as NumPy's int64 does, without undefined behaviour */
#define vec_fma(a, b, c) ((a) * (b) + (c))
#elif defined(VEC_FLOAT64)
#define real double
#ifdef VEC_UNFUSED
#define vec_fma(a, b, c) ((a) * (b) + (c))
#else
#define vec_fma(a, b, c) fma(a, b, c)
#endif
#else
#define real float
#ifdef VEC_UNFUSED
#define vec_fma(a, b, c) ((a) * (b) + (c))
#else
#define vec_fma(a, b, c) fmaf(a, b, c)
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
#define vec_sum(v) (v)
#define vec_deinterleave(x, p, K) \
    for (int i_ = 0; i_ < (K); i_++) (x)[i_] = (p)[i_]
#define vec_deinterleave4(x, p, step) vec_deinterleave(x, p, 4)
#define vec_interleave(p, y, N) \
    for (int o_ = 0; o_ < (N); o_++) (p)[o_] = (y)[o_]
#endif
