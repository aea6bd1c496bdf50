/* arrays.h - random numbers and operands for drive.c: whole numbers of any dtype, in any strides, in
 * memory that ends where they do.
 *
 * Around and between the elements lies poison: a NaN in every float, so that an element too many shows
 * in the results, and bytes that are compared afterwards where the core writes. */
#ifndef ARRAYS_H
#define ARRAYS_H

#include "c1x1.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- random numbers ------------------------------------------------------------------------- */

typedef struct {
    uint64_t state;
} rng;

static inline uint64_t draw(rng *r) { /* splitmix64 */
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline size_t below(rng *r, size_t count) { return (size_t)(draw(r) % count); }
static inline int chance(rng *r, size_t percent) { return below(r, 100) < percent; }
static inline long between(rng *r, long low, long high) {
    return low + (long)below(r, (size_t)(high - low + 1));
}

static inline size_t pick(rng *r, const size_t *from, size_t count) {
    return from[below(r, count)];
}
#define PICK(r, ...)                                                       \
    pick(r, (const size_t[]){__VA_ARGS__}, sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))

/* ---- one element ---------------------------------------------------------------------------- */

static inline int is_float(c1x1_dtype t) {
    return t == C1X1_FLOAT16 || t == C1X1_BFLOAT16 || t == C1X1_FLOAT32 || t == C1X1_FLOAT64;
}
static inline int is_unsigned(c1x1_dtype t) {
    return t == C1X1_BOOL || t == C1X1_UINT8 || t == C1X1_UINT16 || t == C1X1_UINT32 ||
           t == C1X1_UINT64;
}

/* A whole number of the kind that the dtype holds, its magnitude at most `most`. */
static inline long draw_value(rng *r, c1x1_dtype t, long most) {
    if (t == C1X1_BOOL) return between(r, 0, 1);
    return between(r, is_unsigned(t) ? 0 : -most, most);
}

/* Small whole numbers, which each dtype holds. */
static inline void put(void *p, c1x1_dtype t, long value) {
    const size_t bytes = c1x1_dtype_size(t);
    const uint64_t whole = (uint64_t)value;
    const float narrow = (float)value;
    const double wide = (double)value;
    uint16_t half = 0;
    if (t == C1X1_FLOAT16 && value != 0) {
        int exponent;
        const double fraction = frexp(fabs(wide), &exponent); /* in [0.5, 1) */
        half = (uint16_t)((exponent + 14) << 10 | (int)((fraction - 0.5) * 2048));
        if (value < 0) half |= 0x8000;
    }
    memcpy(p,
           t == C1X1_FLOAT16    ? (const void *)&half
           : t == C1X1_BFLOAT16 ? (const void *)((const char *)&narrow + 2) /* its upper half */
           : t == C1X1_FLOAT32  ? (const void *)&narrow
           : t == C1X1_FLOAT64  ? (const void *)&wide
                                : (const void *)&whole, /* little-endian */
           bytes);
}

/* What an element holds, in a long double: exact for all dtypes. */
static inline long double get(const void *p, c1x1_dtype t) {
    uint64_t bits = 0;
    float narrow;
    double wide;
    memcpy(&bits, p, c1x1_dtype_size(t));
    memcpy(&narrow, &bits, sizeof narrow);
    memcpy(&wide, &bits, sizeof wide);
    const int exponent = (int)(bits >> 10 & 31);
    switch (t) {
    case C1X1_INT8:
        return (int8_t)bits;
    case C1X1_INT16:
        return (int16_t)bits;
    case C1X1_INT32:
        return (int32_t)bits;
    case C1X1_INT64:
        return (long double)(int64_t)bits;
    case C1X1_FLOAT16:
        if (exponent == 31)
            return bits & 1023 ? (long double)NAN : bits >> 15 ? -INFINITY : INFINITY;
        wide = exponent ? ldexp((double)(1024 + (bits & 1023)), exponent - 25)
                        : ldexp((double)(bits & 1023), -24);
        return bits >> 15 ? -wide : wide;
    case C1X1_BFLOAT16:
        bits <<= 16;
        memcpy(&narrow, &bits, sizeof narrow);
        return narrow;
    case C1X1_FLOAT32:
        return narrow;
    case C1X1_FLOAT64:
        return wide;
    default:
        return (long double)bits;
    }
}

/* A whole number rounded to so many bits, half to even. */
static inline long double rounded(long value, int bits) {
    const double magnitude = fabs((double)value);
    if (magnitude < (double)(1L << bits)) return (long double)value;
    const double unit = ldexp(1, ilogb(magnitude) - (bits - 1));
    return (long double)(rint((double)value / unit) * unit);
}

/* What becomes of a whole number that is stored: saturated, or rounded where 16 bits are too coarse.
 * Sums in int64 of unsigned numbers go into uint64 modulo 2^64, as NumPy's do. */
static inline long double stored(long value, c1x1_dtype t, int is_modular) {
    const long width = 8 * (long)c1x1_dtype_size(t);
    if (t == C1X1_BOOL) return value != 0;
    if (t == C1X1_FLOAT16) {
        const double magnitude = fabs((double)value);
        if (magnitude >= 65520) return value < 0 ? -INFINITY : INFINITY;
        return rounded(value, 11);
    }
    if (t == C1X1_BFLOAT16) return rounded(value, 8);
    if (is_float(t)) return (long double)value;
    if (is_unsigned(t)) {
        if (width == 64) return is_modular ? (long double)(uint64_t)value : fmaxl(0, value);
        return value < 0 ? 0 : fminl(value, (1L << width) - 1);
    }
    return width == 64 ? (long double)value
                       : fminl(fmaxl(value, -(1L << (width - 1))), (1L << (width - 1)) - 1);
}

/* ---- memory --------------------------------------------------------------------------------- */

/* Room whose ends cannot be crossed: inaccessible pages, or a sanitizer's own. */
typedef struct {
    char *begin, *end; /* of the pages; NULL: malloc */
} room;
enum { ROOM_BYTES = 2 << 20 };

/* ---- arrays --------------------------------------------------------------------------------- */

enum { MOST_AXES = 5 };

/* Pixels along `axes` axes, the last fastest, and channels. */
typedef struct {
    c1x1_dtype dtype;
    int axes;
    size_t size[MOST_AXES + 1];      /* the last is the channels */
    ptrdiff_t stride[MOST_AXES + 1]; /* bytes */
    char *first;                     /* the element whose indices are zero, */
    size_t offset;                   /* so many bytes from where its memory begins */
    char *memory;
    size_t bytes;
} array;

static inline size_t pixels_of(const array *a) {
    size_t pixels = 1;
    for (int d = 0; d < a->axes; d++) pixels *= a->size[d];
    return pixels;
}

static inline char *element(const array *a, size_t pixel, size_t channel) {
    char *p = a->first + (ptrdiff_t)channel * a->stride[a->axes];
    for (int d = a->axes - 1; d >= 0; d--) {
        p += (ptrdiff_t)(pixel % a->size[d]) * a->stride[d];
        pixel /= a->size[d];
    }
    return p;
}

typedef enum { CHANNELS_LAST, CHANNELS_FIRST, ANY_ORDER, ANY_STRIDES, ANY_LAYOUT } layout;

/* Strides for the sizes: dense with the channels last or first, or any order with gaps, backwards, and
 * with ANY_STRIDES unaligned too, and of zero where `may_repeat`. Returns the bytes from the lowest to
 * the highest. */
static inline size_t lay_out(rng *r, array *a, layout wanted, int may_repeat) {
    const size_t size = c1x1_dtype_size(a->dtype);
    const int count = a->axes + 1;
    int order[MOST_AXES + 1];
    const layout kind = wanted == ANY_LAYOUT ? (layout)below(r, ANY_LAYOUT) : wanted;
    for (int i = 0; i < count; i++) order[i] = kind == CHANNELS_FIRST ? (i + a->axes) % count : i;
    for (int i = count - 1; kind >= ANY_ORDER && i > 0; i--) {
        const int j = (int)below(r, (size_t)i + 1), swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
    size_t extent = size;
    a->offset = 0;
    for (int i = count - 1; i >= 0; i--) {
        const int d = order[i];
        size_t step = extent;
        if (kind >= ANY_ORDER && chance(r, 30)) step += size * below(r, 4);
        if (kind == ANY_STRIDES && chance(r, 10)) step += below(r, 9); /* unaligned */
        const int is_backward = kind >= ANY_ORDER && chance(r, 15);
        if (may_repeat && kind == ANY_STRIDES && chance(r, 10)) step = 0;
        a->stride[d] = is_backward ? -(ptrdiff_t)step : (ptrdiff_t)step;
        if (a->size[d] > 0 && is_backward) a->offset += (a->size[d] - 1) * step;
        if (a->size[d] > 0) extent += (a->size[d] - 1) * step;
    }
    /* What one element makes of a stride means nothing. */
    for (int d = 0; d < count; d++)
        if (a->size[d] <= 1 && chance(r, 20)) a->stride[d] = (ptrdiff_t)draw(r) >> 2;
    return extent;
}

/* Dense, with the channels last. */
static inline size_t lay_out_dense(array *a) {
    size_t extent = c1x1_dtype_size(a->dtype);
    a->offset = 0;
    for (int d = a->axes; d >= 0; d--) {
        a->stride[d] = (ptrdiff_t)extent;
        extent *= a->size[d];
    }
    return extent;
}

/* Memory of exactly so many bytes, full of poison, at either end of the room or beyond its first line. */
static inline void place_array(rng *r, array *a, room *where, size_t bytes) {
    if (!where->begin) {
        a->memory = malloc(bytes ? bytes : 1);
        if (!a->memory) abort();
    } else {
        const size_t size = c1x1_dtype_size(a->dtype);
        if (bytes > ROOM_BYTES) abort();
        a->memory = chance(r, 50) ? where->begin : where->end - bytes;
        if (chance(r, 20) && bytes + C1X1_LINE <= ROOM_BYTES)
            a->memory = where->begin + size * below(r, C1X1_LINE / size);
    }
    a->bytes = bytes;
    a->first = a->memory + a->offset;
    memset(a->memory, 0xff, bytes);
}

static inline void release_array(array *a, const room *where) {
    if (!where->begin) free(a->memory);
}

/* Whether the bytes of `a` that belong to no element are still poison. */
static inline int is_undisturbed(const array *a) {
    const size_t size = c1x1_dtype_size(a->dtype), channels = a->size[a->axes];
    unsigned char *is_owned = calloc(a->bytes + 1, 1);
    if (!is_owned) abort();
    for (size_t p = 0; p < pixels_of(a); p++)
        for (size_t c = 0; c < channels; c++)
            memset(is_owned + (element(a, p, c) - a->memory), 1, size);
    int is_same = 1;
    for (size_t i = 0; i < a->bytes; i++)
        is_same &= is_owned[i] || (unsigned char)a->memory[i] == 0xff;
    free(is_owned);
    return is_same;
}

#endif
