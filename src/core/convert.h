/* convert.h - one element from any dtype to a compute dtype and back; the words of pack.c, store.c. */
#ifndef C1X1_CONVERT_H
#define C1X1_CONVERT_H

#include "c1x1.h"

#include <math.h>
#include <string.h>

/* ---- float16, by its bits ------------------------------------------------------------------ */

static inline float c1x1_half_to_float(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff;
    uint32_t bits;
    float value;
    if (magnitude >= 0x7c00) { /* Inf, NaN */
        bits = 0x7f800000 | (magnitude & 0x3ff) << 13;
        if (magnitude > 0x7c00) bits |= 0x00400000; /* a quiet one, as the instructions make it */
    } else if (magnitude >= 0x400) {                /* normal: rebias the exponent */
        bits = (magnitude << 13) + ((127 - 15) << 23);
    } else { /* zero, subnormal: an integer times 2^-24, exact */
        value = (float)magnitude * 0x1p-24f;
        memcpy(&bits, &value, sizeof bits);
    }
    bits |= sign;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Round to nearest, ties to even; past the largest becomes Inf, NaN stays a quiet NaN. Takes a
 * double so that float64 results round once. */
static inline uint16_t c1x1_double_to_half(double value) {
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    const double magnitude = fabs(value);
    if (isnan(value)) { /* what fits of the payload stays, as the instructions have it */
        uint64_t payload;
        memcpy(&payload, &value, sizeof payload);
        return (uint16_t)(sign | 0x7e00 | (payload >> 42 & 0x3ff));
    }
    if (magnitude >= 65520.0) return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x1p-14) return (uint16_t)(sign | (uint16_t)llrint(magnitude * 0x1p24));
    uint64_t bits;
    memcpy(&bits, &magnitude, sizeof bits);
    const int exponent = (int)(bits >> 52) - 1023;
    /* 10 of 52 fraction bits stay; a carry runs into the exponent as it should. */
    const uint64_t fraction = bits & 0xfffffffffffffu;
    const uint64_t odd = fraction >> 42 & 1;
    const uint64_t rounded = (fraction + ((uint64_t)1 << 41) - 1 + odd) >> 42;
    return (uint16_t)(sign | (uint16_t)(((uint64_t)(exponent + 15) << 10) + rounded));
}

/* ---- bfloat16: the upper half of a float -------------------------------------------------------- */

static inline float c1x1_bfloat_to_float(uint16_t b) {
    const uint32_t bits = (uint32_t)b << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Round to nearest, ties to even; a NaN stays one, and quiet. */
static inline uint16_t c1x1_float_to_bfloat(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    return (uint16_t)((isnan(value) ? bits | 0x400000 : rounded) >> 16);
}

/* A float64 must not be rounded twice: the float below (towards zero), its last bit set where anything
 * was cut off, rounds as the float64 would. */
static inline uint16_t c1x1_double_to_bfloat(double value) {
    float narrow = (float)value;
    if (isnan(value) || (double)narrow == value || isinf(narrow))
        return c1x1_float_to_bfloat(narrow);
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    if (fabs((double)narrow) > fabs(value)) bits--;
    bits |= 1;
    memcpy(&narrow, &bits, sizeof narrow);
    return c1x1_float_to_bfloat(narrow);
}

/* ---- compute dtype to integer: round half to even, saturate, NaN to 0 ------------------------ */

static inline int64_t c1x1_round_to(double value, double low, double high) {
    if (isnan(value)) return 0;
    if (value <= low) value = low;
    if (value >= high) return high >= 0x1p63 ? INT64_MAX : (int64_t)high;
    return (int64_t)llrint(value);
}

static inline int64_t c1x1_clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

static inline uint64_t c1x1_round_to_uint64(double value) {
    if (isnan(value) || value <= 0) return 0;
    if (value >= 0x1p64) return UINT64_MAX;
    value = rint(value);
    return value >= 0x1p63 ? (uint64_t)(value - 0x1p63) + ((uint64_t)1 << 63) : (uint64_t)value;
}

/* Whole numbers beyond 2^53 must not be rounded twice either: what is cut off leaves a bit. */
static inline uint16_t c1x1_whole_to_bfloat(int64_t value) {
    const uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    const uint64_t kept = magnitude >> 12 << 12 | (uint64_t)((magnitude & 0xfff) != 0) << 12;
    const double wide = (double)(magnitude < (uint64_t)1 << 52 ? magnitude : kept);
    return c1x1_double_to_bfloat(value < 0 ? -wide : wide);
}

/* ---- LOAD_<DTYPE>(T, raw): raw storage to compute type T ------------------------------------- */

#define LOAD_BOOL(T, raw) ((T)((raw) != 0))
#define LOAD_INT8(T, raw) ((T)(raw))
#define LOAD_UINT8(T, raw) ((T)(raw))
#define LOAD_INT16(T, raw) ((T)(raw))
#define LOAD_UINT16(T, raw) ((T)(raw))
#define LOAD_INT32(T, raw) ((T)(raw))
#define LOAD_UINT32(T, raw) ((T)(raw))
#define LOAD_INT64(T, raw) ((T)(raw))
#define LOAD_UINT64(T, raw) ((T)(raw))
#define LOAD_FLOAT16(T, raw) ((T)c1x1_half_to_float(raw))
#define LOAD_BFLOAT16(T, raw) ((T)c1x1_bfloat_to_float(raw))
#define LOAD_FLOAT32(T, raw) ((T)(raw))
#define LOAD_FLOAT64(T, raw) ((T)(raw))

/* ---- STORE_REAL_<DTYPE>(v), STORE_INT_<DTYPE>(v): compute value to raw storage --------------- */

#define STORE_REAL_BOOL(v) ((uint8_t)((v) != 0))
#define STORE_REAL_INT8(v) ((int8_t)c1x1_round_to((double)(v), INT8_MIN, INT8_MAX))
#define STORE_REAL_UINT8(v) ((uint8_t)c1x1_round_to((double)(v), 0, UINT8_MAX))
#define STORE_REAL_INT16(v) ((int16_t)c1x1_round_to((double)(v), INT16_MIN, INT16_MAX))
#define STORE_REAL_UINT16(v) ((uint16_t)c1x1_round_to((double)(v), 0, UINT16_MAX))
#define STORE_REAL_INT32(v) ((int32_t)c1x1_round_to((double)(v), INT32_MIN, INT32_MAX))
#define STORE_REAL_UINT32(v) ((uint32_t)c1x1_round_to((double)(v), 0, UINT32_MAX))
#define STORE_REAL_INT64(v) (c1x1_round_to((double)(v), -0x1p63, 0x1p63))
#define STORE_REAL_UINT64(v) (c1x1_round_to_uint64((double)(v)))
#define STORE_REAL_FLOAT16(v) (c1x1_double_to_half((double)(v)))
#define STORE_REAL_BFLOAT16(v) \
    (_Generic((v), float: c1x1_float_to_bfloat, default: c1x1_double_to_bfloat)(v))
#define STORE_REAL_FLOAT32(v) ((float)(v))
#define STORE_REAL_FLOAT64(v) ((double)(v))

#define STORE_INT_BOOL(v) ((uint8_t)((v) != 0))
#define STORE_INT_INT8(v) ((int8_t)c1x1_clamp(v, INT8_MIN, INT8_MAX))
#define STORE_INT_UINT8(v) ((uint8_t)c1x1_clamp(v, 0, UINT8_MAX))
#define STORE_INT_INT16(v) ((int16_t)c1x1_clamp(v, INT16_MIN, INT16_MAX))
#define STORE_INT_UINT16(v) ((uint16_t)c1x1_clamp(v, 0, UINT16_MAX))
#define STORE_INT_INT32(v) ((int32_t)c1x1_clamp(v, INT32_MIN, INT32_MAX))
#define STORE_INT_UINT32(v) ((uint32_t)c1x1_clamp(v, 0, UINT32_MAX))
#define STORE_INT_INT64(v) (v)
#define STORE_INT_UINT64(v) ((uint64_t)((v) < 0 ? 0 : (v)))
#define STORE_INT_FLOAT16(v) (c1x1_double_to_half((double)(v)))
#define STORE_INT_BFLOAT16(v) (c1x1_whole_to_bfloat(v))
#define STORE_INT_FLOAT32(v) ((float)(v))
#define STORE_INT_FLOAT64(v) ((double)(v))

#endif
