/* x86_avx2_convert.c - dense elements to a compute dtype and back in AVX2 and F16C.
 *
 * A step takes as many elements as fill one or two vectors; what is left at the end is taken together
 * with elements that have been converted before, fewer than a step with zeros.
 *
 * Integers round half to even, saturate, and are 0 for NaN: packs saturate by themselves, but a float
 * beyond int32 becomes the lowest int32, so that only the upper bound is compared. */
#include "kernel.h"

#include <immintrin.h>
#include <string.h>

#define DEFINE(NAME, FROM, TO, STEP, VECTOR)                       \
    static void NAME(void *to_, const void *from_, size_t count) { \
        const char *from = from_;                                  \
        char *to = to_;                                            \
        size_t i = 0;                                              \
        for (; i + (STEP) <= count; i += (STEP))                   \
            VECTOR(to + i * sizeof(TO), from + i * sizeof(FROM));  \
        if (i == count) return;                                    \
        if (count >= (STEP)) {                                     \
            i = count - (STEP);                                    \
            VECTOR(to + i * sizeof(TO), from + i * sizeof(FROM));  \
            return;                                                \
        }                                                          \
        FROM given[STEP] = {0};                                    \
        TO made[STEP];                                             \
        memcpy(given, from, count * sizeof(FROM));                 \
        VECTOR((char *)made, (const char *)given);                 \
        memcpy(to, made, count * sizeof(TO));                      \
    }

TILE_INLINE __m128i load4(const char *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm_cvtsi32_si128(four);
}
TILE_INLINE __m128i load8(const char *p) { return _mm_loadl_epi64((const void *)p); }
TILE_INLINE __m128i load16(const char *p) { return _mm_loadu_si128((const void *)p); }
TILE_INLINE __m256i load32(const char *p) { return _mm256_loadu_si256((const void *)p); }
TILE_INLINE __m128i is_set(__m128i bytes) { return _mm_min_epu8(bytes, _mm_set1_epi8(1)); }

/* ---- to float32: eight at a time -------------------------------------------------------------- */

#define PUT_F32(to, v) _mm256_storeu_ps((float *)(void *)(to), v)
#define PUT_WHOLE_F32(to, v) PUT_F32(to, _mm256_cvtepi32_ps(v))
#define BOOL_F32(to, p) PUT_WHOLE_F32(to, _mm256_cvtepu8_epi32(is_set(load8(p))))
#define INT8_F32(to, p) PUT_WHOLE_F32(to, _mm256_cvtepi8_epi32(load8(p)))
#define UINT8_F32(to, p) PUT_WHOLE_F32(to, _mm256_cvtepu8_epi32(load8(p)))
#define INT16_F32(to, p) PUT_WHOLE_F32(to, _mm256_cvtepi16_epi32(load16(p)))
#define UINT16_F32(to, p) PUT_WHOLE_F32(to, _mm256_cvtepu16_epi32(load16(p)))
#define INT32_F32(to, p) PUT_WHOLE_F32(to, load32(p))
#define FLOAT16_F32(to, p) PUT_F32(to, _mm256_cvtph_ps(load16(p)))
#define BFLOAT16_F32(to, p) PUT_F32(to, bfloats(load16(p)))

TILE_INLINE __m256 bfloats(__m128i v) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}

DEFINE(bool_f32, uint8_t, float, 8, BOOL_F32)
DEFINE(int8_f32, int8_t, float, 8, INT8_F32)
DEFINE(uint8_f32, uint8_t, float, 8, UINT8_F32)
DEFINE(int16_f32, int16_t, float, 8, INT16_F32)
DEFINE(uint16_f32, uint16_t, float, 8, UINT16_F32)
DEFINE(int32_f32, int32_t, float, 8, INT32_F32)
DEFINE(float16_f32, uint16_t, float, 8, FLOAT16_F32)
DEFINE(bfloat16_f32, uint16_t, float, 8, BFLOAT16_F32)

/* ---- to float64: four at a time --------------------------------------------------------------- */

#define PUT_F64(to, v) _mm256_storeu_pd((double *)(void *)(to), v)
#define PUT_WHOLE_F64(to, v) PUT_F64(to, _mm256_cvtepi32_pd(v))
#define BOOL_F64(to, p) PUT_WHOLE_F64(to, _mm_cvtepu8_epi32(is_set(load4(p))))
#define INT8_F64(to, p) PUT_WHOLE_F64(to, _mm_cvtepi8_epi32(load4(p)))
#define UINT8_F64(to, p) PUT_WHOLE_F64(to, _mm_cvtepu8_epi32(load4(p)))
#define INT16_F64(to, p) PUT_WHOLE_F64(to, _mm_cvtepi16_epi32(load8(p)))
#define UINT16_F64(to, p) PUT_WHOLE_F64(to, _mm_cvtepu16_epi32(load8(p)))
#define INT32_F64(to, p) PUT_WHOLE_F64(to, load16(p))
#define FLOAT16_F64(to, p) PUT_F64(to, _mm256_cvtps_pd(_mm_cvtph_ps(load8(p))))
#define BFLOAT16_F64(to, p) \
    PUT_F64(to, _mm256_cvtps_pd(_mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(load8(p)), 16))))
#define FLOAT32_F64(to, p) PUT_F64(to, _mm256_cvtps_pd(_mm_castsi128_ps(load16(p))))

DEFINE(bool_f64, uint8_t, double, 4, BOOL_F64)
DEFINE(int8_f64, int8_t, double, 4, INT8_F64)
DEFINE(uint8_f64, uint8_t, double, 4, UINT8_F64)
DEFINE(int16_f64, int16_t, double, 4, INT16_F64)
DEFINE(uint16_f64, uint16_t, double, 4, UINT16_F64)
DEFINE(int32_f64, int32_t, double, 4, INT32_F64)
DEFINE(float16_f64, uint16_t, double, 4, FLOAT16_F64)
DEFINE(bfloat16_f64, uint16_t, double, 4, BFLOAT16_F64)
DEFINE(float32_f64, float, double, 4, FLOAT32_F64)

/* ---- to halves of pairs: int16, sixteen at a time --------------------------------------------- */

#define PUT_I16(to, v) _mm256_storeu_si256((__m256i *)(void *)(to), v)
#define BOOL_I16(to, p) PUT_I16(to, _mm256_cvtepu8_epi16(is_set(load16(p))))
#define INT8_I16(to, p) PUT_I16(to, _mm256_cvtepi8_epi16(load16(p)))
#define UINT8_I16(to, p) PUT_I16(to, _mm256_cvtepu8_epi16(load16(p)))
#define INT16_I16(to, p) PUT_I16(to, load32(p))

DEFINE(bool_i16, uint8_t, int16_t, 16, BOOL_I16)
DEFINE(int8_i16, int8_t, int16_t, 16, INT8_I16)
DEFINE(uint8_i16, uint8_t, int16_t, 16, UINT8_I16)
DEFINE(int16_i16, int16_t, int16_t, 16, INT16_I16)

/* ---- from float32 ------------------------------------------------------------------------------ */

/* What is NaN stays NaN, which becomes the lowest int32 and saturates to 0 where there is no sign. */
TILE_INLINE __m256i at_most(const char *p, float high) {
    const __m256 v = _mm256_loadu_ps((const float *)(const void *)p);
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(high), v));
}

TILE_INLINE __m256i at_most_or_zero(const char *p, float high) {
    __m256 v = _mm256_loadu_ps((const float *)(const void *)p);
    v = _mm256_and_ps(v, _mm256_cmp_ps(v, v, _CMP_ORD_Q));
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(high), v));
}

/* Packs work in halves of a vector: this puts their results in order. */
TILE_INLINE __m256i in_order32(__m256i v) {
    return _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
TILE_INLINE __m256i in_order64(__m256i v) { return _mm256_permute4x64_epi64(v, 0xd8); }

#define PACK_BYTES(to, pack, a, b, c, d) \
    PUT_I16(to, in_order32(pack(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d))))
#define F32_UINT8(to, p)                                                                   \
    PACK_BYTES(to, _mm256_packus_epi16, at_most(p, 255), at_most((p) + 32, 255),            \
               at_most((p) + 64, 255), at_most((p) + 96, 255))
#define F32_INT8(to, p)                                                                    \
    PACK_BYTES(to, _mm256_packs_epi16, at_most_or_zero(p, 127), at_most_or_zero((p) + 32, 127), \
               at_most_or_zero((p) + 64, 127), at_most_or_zero((p) + 96, 127))
#define F32_UINT16(to, p) \
    PUT_I16(to, in_order64(_mm256_packus_epi32(at_most(p, 65535), at_most((p) + 32, 65535))))
#define F32_INT16(to, p)                                                       \
    PUT_I16(to, in_order64(_mm256_packs_epi32(at_most_or_zero(p, 32767),        \
                                              at_most_or_zero((p) + 32, 32767))))
#define F32_FLOAT16(to, p)                                                                     \
    _mm_storeu_si128((__m128i *)(void *)(to),                                                  \
                     _mm256_cvtps_ph(_mm256_loadu_ps((const float *)(const void *)(p)), 0))
#define F32_BFLOAT16(to, p) \
    PUT_I16(to, in_order64(_mm256_packus_epi32(to_bfloat(load32(p)), to_bfloat(load32((p) + 32)))))

/* As c1x1_float_to_bfloat. */
TILE_INLINE __m256i to_bfloat(__m256i bits) {
    const __m256 v = _mm256_castsi256_ps(bits);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
}

DEFINE(f32_uint8, float, uint8_t, 32, F32_UINT8)
DEFINE(f32_int8, float, int8_t, 32, F32_INT8)
DEFINE(f32_uint16, float, uint16_t, 16, F32_UINT16)
DEFINE(f32_int16, float, int16_t, 16, F32_INT16)
DEFINE(f32_float16, float, uint16_t, 8, F32_FLOAT16)
DEFINE(f32_bfloat16, float, uint16_t, 16, F32_BFLOAT16)

/* ---- from float64: eight at a time ------------------------------------------------------------- */

TILE_INLINE __m128i at_most_f64(const char *p, double high) {
    __m256d v = _mm256_loadu_pd((const double *)(const void *)p);
    v = _mm256_and_pd(v, _mm256_cmp_pd(v, v, _CMP_ORD_Q));
    return _mm256_cvtpd_epi32(_mm256_min_pd(_mm256_set1_pd(high), v));
}

#define PUT_8(to, v) _mm_storel_epi64((__m128i *)(void *)(to), v)
#define PUT_16(to, v) _mm_storeu_si128((__m128i *)(void *)(to), v)
#define PACK_F64(pack, p, high) pack(at_most_f64(p, high), at_most_f64((p) + 32, high))
#define F64_UINT8(to, p)                                             \
    do {                                                             \
        const __m128i v_ = PACK_F64(_mm_packs_epi32, p, 255);        \
        PUT_8(to, _mm_packus_epi16(v_, v_));                         \
    } while (0)
#define F64_INT8(to, p)                                              \
    do {                                                             \
        const __m128i v_ = PACK_F64(_mm_packs_epi32, p, 127);        \
        PUT_8(to, _mm_packs_epi16(v_, v_));                          \
    } while (0)
#define F64_UINT16(to, p) PUT_16(to, PACK_F64(_mm_packus_epi32, p, 65535))
#define F64_INT16(to, p) PUT_16(to, PACK_F64(_mm_packs_epi32, p, 32767))
#define F64_INT32(to, p) PUT_16(to, at_most_f64(p, 2147483647.0))
#define F64_FLOAT32(to, p)                                  \
    _mm_storeu_ps((float *)(void *)(to),                    \
                  _mm256_cvtpd_ps(_mm256_loadu_pd((const double *)(const void *)(p))))

DEFINE(f64_uint8, double, uint8_t, 8, F64_UINT8)
DEFINE(f64_int8, double, int8_t, 8, F64_INT8)
DEFINE(f64_uint16, double, uint16_t, 8, F64_UINT16)
DEFINE(f64_int16, double, int16_t, 8, F64_INT16)
DEFINE(f64_int32, double, int32_t, 4, F64_INT32)
DEFINE(f64_float32, double, float, 4, F64_FLOAT32)

/* ---- from int32 -------------------------------------------------------------------------------- */

#define I32_UINT8(to, p)                                                                  \
    PACK_BYTES(to, _mm256_packus_epi16, load32(p), load32((p) + 32), load32((p) + 64),     \
               load32((p) + 96))
#define I32_INT8(to, p)                                                                   \
    PACK_BYTES(to, _mm256_packs_epi16, load32(p), load32((p) + 32), load32((p) + 64),      \
               load32((p) + 96))
#define I32_UINT16(to, p) \
    PUT_I16(to, in_order64(_mm256_packus_epi32(load32(p), load32((p) + 32))))
#define I32_INT16(to, p) \
    PUT_I16(to, in_order64(_mm256_packs_epi32(load32(p), load32((p) + 32))))
#define I32_INT64(to, p) PUT_I16(to, _mm256_cvtepi32_epi64(load16(p)))

DEFINE(i32_uint8, int32_t, uint8_t, 32, I32_UINT8)
DEFINE(i32_int8, int32_t, int8_t, 32, I32_INT8)
DEFINE(i32_uint16, int32_t, uint16_t, 16, I32_UINT16)
DEFINE(i32_int16, int32_t, int16_t, 16, I32_INT16)
DEFINE(i32_int64, int32_t, int64_t, 4, I32_INT64)

extern const c1x1_converters c1x1_x86_avx2_converters;
const c1x1_converters c1x1_x86_avx2_converters = {
    .load = {[C1X1_COMPUTE_FLOAT32] = {[C1X1_BOOL] = bool_f32,
                                       [C1X1_INT8] = int8_f32,
                                       [C1X1_UINT8] = uint8_f32,
                                       [C1X1_INT16] = int16_f32,
                                       [C1X1_UINT16] = uint16_f32,
                                       [C1X1_INT32] = int32_f32,
                                       [C1X1_FLOAT16] = float16_f32,
                                       [C1X1_BFLOAT16] = bfloat16_f32,
                                       [C1X1_FLOAT64] = f64_float32},
             [C1X1_COMPUTE_FLOAT64] = {[C1X1_BOOL] = bool_f64,
                                       [C1X1_INT8] = int8_f64,
                                       [C1X1_UINT8] = uint8_f64,
                                       [C1X1_INT16] = int16_f64,
                                       [C1X1_UINT16] = uint16_f64,
                                       [C1X1_INT32] = int32_f64,
                                       [C1X1_FLOAT16] = float16_f64,
                                       [C1X1_BFLOAT16] = bfloat16_f64,
                                       [C1X1_FLOAT32] = float32_f64},
             [C1X1_COMPUTE_INT32] = {[C1X1_BOOL] = bool_i16,
                                     [C1X1_INT8] = int8_i16,
                                     [C1X1_UINT8] = uint8_i16,
                                     [C1X1_INT16] = int16_i16}},
    .store = {[C1X1_COMPUTE_FLOAT32] = {[C1X1_INT8] = f32_int8,
                                        [C1X1_UINT8] = f32_uint8,
                                        [C1X1_INT16] = f32_int16,
                                        [C1X1_UINT16] = f32_uint16,
                                        [C1X1_FLOAT16] = f32_float16,
                                        [C1X1_BFLOAT16] = f32_bfloat16},
              [C1X1_COMPUTE_FLOAT64] = {[C1X1_INT8] = f64_int8,
                                        [C1X1_UINT8] = f64_uint8,
                                        [C1X1_INT16] = f64_int16,
                                        [C1X1_UINT16] = f64_uint16,
                                        [C1X1_INT32] = f64_int32,
                                        [C1X1_FLOAT32] = f64_float32},
              [C1X1_COMPUTE_INT32] = {[C1X1_INT8] = i32_int8,
                                      [C1X1_UINT8] = i32_uint8,
                                      [C1X1_INT16] = i32_int16,
                                      [C1X1_UINT16] = i32_uint16,
                                      [C1X1_INT64] = i32_int64,
                                      [C1X1_FLOAT32] = int32_f32,
                                      [C1X1_FLOAT64] = int32_f64}},
};
