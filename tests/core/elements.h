/* elements.h - for drive.c: what becomes of single numbers, at the ends of their dtypes and halfway between
 * neighbours. Expected bits are written down from IEEE 754 and from bfloat16's definition. */
#ifndef ELEMENTS_H
#define ELEMENTS_H

#include "arrays.h"

typedef struct {
    c1x1_compute compute;
    c1x1_dtype x_dtype, out_dtype;
    uint64_t x, want; /* bits */
} element_case;

typedef struct {
    c1x1_dtype dtype;
    uint64_t x, nodata; /* bits */
    int is_found;
} nodata_case;

enum { F32 = C1X1_COMPUTE_FLOAT32, F64 = C1X1_COMPUTE_FLOAT64, I64 = C1X1_COMPUTE_INT64 };

static const element_case element_cases[] = {
    /* float16 rounds half to even: among normal numbers, into and among subnormal ones, to infinity. */
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0x3ff0020000000000, 0x3c00}, /* 1 + 2^-11 */
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0x3ff0020000000001, 0x3c01},
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0x3ff0060000000000, 0x3c02}, /* 1 + 3 * 2^-11 */
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0x3ff005ffffffffff, 0x3c01},
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0x3ffffe0000000000, 0x4000}, /* 2 - 2^-11 carries */
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0x40effdffffffffff, 0x7bff}, /* below 65520 */
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0xc0effe0000000000, 0xfc00}, /* -65520 */
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0x3f10000000000000, 0x0400}, /* 2^-14 */
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0x3f0ff80000000000, 0x03ff}, /* 1023 * 2^-24 */
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0x3f0ffc0000000000, 0x0400}, /* 1023.5 * 2^-24 */
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0x3e60000000000000, 0x0000}, /* 2^-25 */
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0xbe60000000000001, 0x8001},
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0x3e78000000000000, 0x0002}, /* 1.5 * 2^-24 */
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0x7ff8040000000000, 0x7e01}, /* a NaN keeps what fits */
    {F64, C1X1_FLOAT64, C1X1_FLOAT16, 0xfff0000000000000, 0xfc00},
    /* bfloat16 too, and once: float64 not by way of float32, whole numbers not by way of float64. */
    {F64, C1X1_FLOAT64, C1X1_BFLOAT16, 0x3ff0100000000000, 0x3f80}, /* 1 + 2^-8 */
    {F64, C1X1_FLOAT64, C1X1_BFLOAT16, 0x3ff0100000000001, 0x3f81},
    {F64, C1X1_FLOAT64, C1X1_BFLOAT16, 0x3ff0300000000000, 0x3f82}, /* 1 + 3 * 2^-8 */
    {F64, C1X1_FLOAT64, C1X1_BFLOAT16, 0x3ff02fffffffffff, 0x3f81},
    {F64, C1X1_FLOAT64, C1X1_BFLOAT16, 0x7e37e43c8800759c, 0x7f80}, /* 1e300 */
    {F64, C1X1_FLOAT64, C1X1_BFLOAT16, 0xfff0000000000000, 0xff80},
    {F64, C1X1_FLOAT64, C1X1_BFLOAT16, 0x7ff8000000000000, 0x7fc0},
    {I64, C1X1_INT64, C1X1_BFLOAT16, 0x1010000000000000, 0x5d80}, /* 2^60 + 2^52 */
    {I64, C1X1_INT64, C1X1_BFLOAT16, 0x1010000000000001, 0x5d81},
    {I64, C1X1_INT64, C1X1_BFLOAT16, 0xefeffffffffff000, 0xdd81}, /* -(2^60 + 2^52 + 2^12) */
    {I64, C1X1_INT64, C1X1_BFLOAT16, 0xeff0000000000000, 0xdd80},
    {I64, C1X1_INT64, C1X1_BFLOAT16, 0x0010000000000000, 0x5980}, /* 2^52 */
    {I64, C1X1_INT64, C1X1_BFLOAT16, 0, 0},
    {I64, C1X1_INT64, C1X1_FLOAT16, 65519, 0x7bff},
    {I64, C1X1_INT64, C1X1_FLOAT16, 65520, 0x7c00},
    /* Real numbers to integers: half to even, to the nearest that there is, NaN to 0. */
    {F64, C1X1_FLOAT64, C1X1_INT8, 0x405fa00000000000, 126},  /* 126.5 */
    {F64, C1X1_FLOAT64, C1X1_INT8, 0x405fe00000000000, 127},  /* 127.5 */
    {F64, C1X1_FLOAT64, C1X1_INT8, 0xc060300000000000, 0x80}, /* -129.5 */
    {F64, C1X1_FLOAT64, C1X1_INT8, 0x7ff8000000000000, 0},
    {F64, C1X1_FLOAT64, C1X1_UINT8, 0xbff0000000000000, 0},         /* -1 */
    {F64, C1X1_FLOAT64, C1X1_UINT8, 0x4072c00000000000, 255},       /* 300 */
    {F64, C1X1_FLOAT64, C1X1_INT64, 0x43e0000000000000, INT64_MAX}, /* 2^63 */
    {F64, C1X1_FLOAT64, C1X1_INT64, 0xc3e0000000000000, 0x8000000000000000},
    {F64, C1X1_FLOAT64, C1X1_UINT64, 0x43e0000000000001, 0x8000000000000800}, /* 2^63 + 2048 */
    {F64, C1X1_FLOAT64, C1X1_UINT64, 0x43dfffffffffffff, 0x7ffffffffffffc00},
    {F64, C1X1_FLOAT64, C1X1_UINT64, 0x43f0000000000000, UINT64_MAX}, /* 2^64 */
    {F64, C1X1_FLOAT64, C1X1_UINT64, 0x4004000000000000, 2},          /* 2.5 */
    {F64, C1X1_FLOAT64, C1X1_UINT64, 0x3fe8000000000000, 1},          /* 0.75 */
    {F64, C1X1_FLOAT64, C1X1_UINT64, 0xbff0000000000000, 0},
    {F64, C1X1_FLOAT64, C1X1_UINT64, 0x7ff8000000000000, 0},
    {I64, C1X1_INT64, C1X1_INT8, (uint64_t)-129, 0x80},
    {I64, C1X1_INT64, C1X1_UINT32, (uint64_t)1 << 32, UINT32_MAX},
    {I64, C1X1_INT64, C1X1_UINT64, UINT64_MAX, 0},
    {I64, C1X1_UINT64, C1X1_UINT64, UINT64_MAX, 0}, /* the weight is signed */
    /* And back. */
    {F32, C1X1_FLOAT16, C1X1_FLOAT32, 0x0001, 0x33800000},
    {F32, C1X1_FLOAT16, C1X1_FLOAT32, 0x83ff, 0xb87fc000},
    {F32, C1X1_FLOAT16, C1X1_FLOAT32, 0x0400, 0x38800000},
    {F32, C1X1_FLOAT16, C1X1_FLOAT32, 0x7bff, 0x477fe000},
    {F32, C1X1_FLOAT16, C1X1_FLOAT32, 0xfc00, 0xff800000},
    {F32, C1X1_FLOAT16, C1X1_FLOAT32, 0x7c01, 0x7fc02000},
    {F32, C1X1_BFLOAT16, C1X1_FLOAT32, 0x3f81, 0x3f810000},
};

/* Both zeros are one value, all NaN are, and nothing else is. */
static const nodata_case nodata_cases[] = {
    {C1X1_FLOAT16, 0x8000, 0x0000, 1},
    {C1X1_FLOAT16, 0x0001, 0x0000, 0},
    {C1X1_FLOAT16, 0x7e01, 0xfe00, 1},
    {C1X1_FLOAT16, 0x7c00, 0x7e00, 0},
    {C1X1_FLOAT16, 0xfc00, 0x7c00, 0},
    {C1X1_BFLOAT16, 0x8000, 0x0000, 1},
    {C1X1_BFLOAT16, 0x0001, 0x0000, 0},
    {C1X1_BFLOAT16, 0x7fc1, 0xffc0, 1},
    {C1X1_BFLOAT16, 0x7f80, 0x7fc0, 0},
    {C1X1_FLOAT32, 0x80000000, 0, 1},
    {C1X1_FLOAT32, 0x00000001, 0, 0},
    {C1X1_FLOAT32, 0x7fc00001, 0xffc00000, 1},
    {C1X1_FLOAT32, 0x7f800000, 0x7fc00000, 0},
    {C1X1_FLOAT64, 0x8000000000000000, 0, 1},
    {C1X1_FLOAT64, 0x0000000000000001, 0, 0},
    {C1X1_FLOAT64, 0x7ff8000000000001, 0xfff8000000000000, 1},
    {C1X1_FLOAT64, 0x7ff0000000000000, 0x7ff8000000000000, 0},
    {C1X1_INT16, 0x8000, 0x0000, 0},
    {C1X1_INT64, 7, 7, 1},
};

#endif
