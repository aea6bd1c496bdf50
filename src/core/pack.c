/* pack.c - the load stage: elements of any dtype and strides to dense rows of a compute dtype.
 *
 * One function per pair of dtypes, each with three loops: along the rows where they are dense in
 * memory, across them where the columns are (a transpose), and any strides. Two for pairs of int16,
 * whose channels lie along the rows or across them. */
#include "stage.h"

#include "convert.h"
#include "turn.h"

#define FETCH(NAME, type, T, p)                     \
    __extension__({                                 \
        type raw_;                                  \
        memcpy(&raw_, p, sizeof raw_);              \
        LOAD_##NAME(T, raw_);                       \
    })

/* Columns that a transpose writes side by side: a store of a single element to each row would touch
 * another line each time. */
enum { TRANSPOSED = 8 };

/* R rows whose elements alternate in memory: interleaved pixels to planes. R is a constant in every
 * call, which lets the compiler use shuffles. */
#define DEINTERLEAVE(NAME, type, T, R)                                                       \
    for (size_t c = 0; c < cols; c++) {                                                      \
        for (size_t r = 0; r < (R); r++)                                                     \
            packed[(ptrdiff_t)r * ld + (ptrdiff_t)c] =                                       \
                FETCH(NAME, type, T, source + (c * (R) + r) * sizeof(type));                 \
    }

#define DEFINE_LOAD(NAME, name, type, T, SUFFIX)                                                    \
    static void load_##NAME##_##SUFFIX(void *packed_, const char *restrict source,                  \
                                       const c1x1_copy *copy) {                                     \
        T *restrict packed = packed_;                                                               \
        const size_t rows = copy->rows, cols = copy->cols;                                          \
        const ptrdiff_t ld = copy->ld, rs = copy->row_stride, cs = copy->col_stride;                \
        const ptrdiff_t size = (ptrdiff_t)sizeof(type);                                             \
        if (cs == size || cols == 1) {                                                              \
            for (size_t r = 0; r < rows; r++) {                                                     \
                const char *from = source + (ptrdiff_t)r * rs;                                      \
                T *to = packed + (ptrdiff_t)r * ld;                                                 \
                size_t c = 0;                                                                       \
                if (C1X1_IS_SAME(type, T)) { /* nothing to convert */                               \
                    memcpy(to, from, cols * sizeof(T));                                             \
                    continue;                                                                       \
                }                                                                                   \
                for (; c + 8 <= cols; c += 8) {                                                     \
                    for (size_t q = 0; q < 8; q++)                                                  \
                        to[c + q] = FETCH(NAME, type, T, from + (c + q) * sizeof(type));            \
                }                                                                                   \
                for (; c < cols; c++) to[c] = FETCH(NAME, type, T, from + c * sizeof(type));        \
            }                                                                                       \
        } else if (rs == size && cs == (ptrdiff_t)rows * size && rows - 2 <= 2) { /* 2 to 4 */      \
            if (rows == 2) {                                                                        \
                DEINTERLEAVE(NAME, type, T, 2)                                                      \
            } else if (rows == 3) {                                                                 \
                DEINTERLEAVE(NAME, type, T, 3)                                                      \
            } else {                                                                                \
                DEINTERLEAVE(NAME, type, T, 4)                                                      \
            }                                                                                       \
        } else if (rs == size && C1X1_IS_TURNED(type, T)) {                                         \
            c1x1_turn(packed_, ld * size, source, cs, rows, cols);                                  \
        } else if (cs == 2 * size && C1X1_IS_TURNED(type, T)) {                                     \
            for (size_t r = 0; r < rows; r++)                                                       \
                c1x1_every_second((char *)(packed + (ptrdiff_t)r * ld), source + (ptrdiff_t)r * rs, \
                                  cols);                                                            \
        } else if (c1x1_is_nearer(rs, cs)) {                                                        \
            size_t c = 0;                                                                           \
            for (; c + TRANSPOSED <= cols; c += TRANSPOSED) {                                       \
                const char *from = source + (ptrdiff_t)c * cs;                                      \
                for (size_t r = 0; r < rows; r++) {                                                 \
                    T *to = packed + (ptrdiff_t)r * ld + (ptrdiff_t)c;                              \
                    for (size_t q = 0; q < TRANSPOSED; q++)                                         \
                        to[q] = FETCH(NAME, type, T,                                                \
                                      from + (ptrdiff_t)q * cs + (ptrdiff_t)r * rs);                \
                }                                                                                   \
            }                                                                                       \
            for (; c < cols; c++) {                                                                 \
                const char *from = source + (ptrdiff_t)c * cs;                                      \
                for (size_t r = 0; r < rows; r++)                                                   \
                    packed[(ptrdiff_t)r * ld + (ptrdiff_t)c] =                                      \
                        FETCH(NAME, type, T, from + (ptrdiff_t)r * rs);                             \
            }                                                                                       \
        } else {                                                                                    \
            for (size_t r = 0; r < rows; r++) {                                                     \
                for (size_t c = 0; c < cols; c++)                                                   \
                    packed[(ptrdiff_t)r * ld + (ptrdiff_t)c] = FETCH(                               \
                        NAME, type, T, source + (ptrdiff_t)r * rs + (ptrdiff_t)c * cs);             \
            }                                                                                       \
        }                                                                                           \
    }

#define TO_FLOAT32(NAME, name, type) DEFINE_LOAD(NAME, name, type, float, f32)
#define TO_FLOAT64(NAME, name, type) DEFINE_LOAD(NAME, name, type, double, f64)
#define TO_INT64(NAME, name, type) DEFINE_LOAD(NAME, name, type, int64_t, i64)
C1X1_FOR_EACH_DTYPE(TO_FLOAT32)
C1X1_FOR_EACH_DTYPE(TO_FLOAT64)
C1X1_FOR_EACH_INTEGER(TO_INT64)

/* What may be added to sums of int32 (c1x1_find_load_sums). */
DEFINE_LOAD(BOOL, "bool", uint8_t, int32_t, i32)
DEFINE_LOAD(INT8, "int8", int8_t, int32_t, i32)
DEFINE_LOAD(UINT8, "uint8", uint8_t, int32_t, i32)
DEFINE_LOAD(INT16, "int16", int16_t, int32_t, i32)
DEFINE_LOAD(UINT16, "uint16", uint16_t, int32_t, i32)

/* For units that take operands as they are (c1x1_find_copy). */
DEFINE_LOAD(UINT8, "uint8", uint8_t, uint8_t, u8)
DEFINE_LOAD(UINT16, "uint16", uint16_t, uint16_t, u16)

#define STORE16(p, value)                        \
    do {                                         \
        const int16_t value_ = (int16_t)(value); \
        memcpy(p, &value_, sizeof value_);       \
    } while (0)

/* Two values to one element: the first in the lower half, which little-endian memory has first. */
#define STORE_PAIR(p, first, second)                                                          \
    do {                                                                                      \
        const uint32_t pair_ =                                                                \
            (uint32_t)(uint16_t)(int16_t)(first) | (uint32_t)(uint16_t)(int16_t)(second) << 16; \
        memcpy(p, &pair_, sizeof pair_);                                                      \
    } while (0)

#define DEFINE_PAIRS(NAME, type)                                                             \
    static void load_##NAME##_along(void *packed, const char *restrict source,               \
                                    const c1x1_copy *copy) {                                 \
        const size_t rows = copy->rows, cols = copy->cols, odd = cols % 2;                   \
        const ptrdiff_t rs = copy->row_stride, cs = copy->col_stride;                        \
        for (size_t r = 0; r < rows; r++) {                                                  \
            const char *restrict from = source + (ptrdiff_t)r * rs;                          \
            char *restrict to = (char *)packed + (ptrdiff_t)r * copy->ld * 4;                \
            if (cs == (ptrdiff_t)sizeof(type)) {                                             \
                for (size_t c = 0; c < cols; c++)                                            \
                    STORE16(to + 2 * c, FETCH(NAME, type, int16_t, from + c * sizeof(type))); \
            } else {                                                                         \
                for (size_t c = 0; c < cols; c++)                                            \
                    STORE16(to + 2 * c, FETCH(NAME, type, int16_t, from + (ptrdiff_t)c * cs)); \
            }                                                                                \
            if (odd) STORE16(to + 2 * cols, 0);                                              \
        }                                                                                    \
    }                                                                                        \
    /* Rows r and r + 1, of which the second may be missing. */                              \
    static inline void pair_rows_##NAME(char *restrict to, const char *restrict even,        \
                                        const char *restrict odd, size_t cols, ptrdiff_t cs) { \
        if (!odd) {                                                                          \
            for (size_t c = 0; c < cols; c++)                                                \
                STORE_PAIR(to + 4 * c, FETCH(NAME, type, int16_t, even + (ptrdiff_t)c * cs), 0); \
        } else if (cs == (ptrdiff_t)sizeof(type)) {                                          \
            for (size_t c = 0; c < cols; c++)                                                \
                STORE_PAIR(to + 4 * c, FETCH(NAME, type, int16_t, even + c * sizeof(type)),  \
                           FETCH(NAME, type, int16_t, odd + c * sizeof(type)));              \
        } else {                                                                             \
            for (size_t c = 0; c < cols; c++)                                                \
                STORE_PAIR(to + 4 * c, FETCH(NAME, type, int16_t, even + (ptrdiff_t)c * cs), \
                           FETCH(NAME, type, int16_t, odd + (ptrdiff_t)c * cs));             \
        }                                                                                    \
    }                                                                                        \
    static void load_##NAME##_across(void *packed, const char *restrict source,              \
                                     const c1x1_copy *copy) {                                \
        const size_t rows = copy->rows, cols = copy->cols;                                   \
        const ptrdiff_t rs = copy->row_stride, cs = copy->col_stride, ld = copy->ld * 4;     \
        const int is_turned = rs == (ptrdiff_t)sizeof(type) && cs != rs;                     \
        const size_t together = is_turned ? TRANSPOSED : cols;                               \
        for (size_t c = 0, n; c < cols; c += n) {                                            \
            n = cols - c < together ? cols - c : together;                                   \
            const char *from = source + (ptrdiff_t)c * cs;                                   \
            char *to = (char *)packed + 4 * c;                                               \
            for (size_t r = 0; r < rows; r += 2, to += ld, from += 2 * rs)                   \
                pair_rows_##NAME(to, from, r + 1 < rows ? from + rs : NULL, n, cs);          \
        }                                                                                    \
    }
DEFINE_PAIRS(BOOL, uint8_t)
DEFINE_PAIRS(INT8, int8_t)
DEFINE_PAIRS(UINT8, uint8_t)
DEFINE_PAIRS(INT16, int16_t)

static c1x1_load_fn find_pairs(c1x1_dtype from, c1x1_way way) {
#define WAYS(NAME) [C1X1_##NAME] = {load_##NAME##_along, load_##NAME##_across}
    static const c1x1_load_fn table[C1X1_DTYPE_COUNT][2] = {WAYS(BOOL), WAYS(INT8), WAYS(UINT8),
                                                            WAYS(INT16)};
#undef WAYS
    return table[from][way];
}

c1x1_load_fn c1x1_find_load(c1x1_dtype from, c1x1_compute to, c1x1_way way) {
    if (to == C1X1_COMPUTE_INT32) return find_pairs(from, way);
#define INTEGER(NAME, name, type) {load_##NAME##_f32, load_##NAME##_f64, load_##NAME##_i64},
#define FLOAT(NAME, name, type) {load_##NAME##_f32, load_##NAME##_f64, NULL},
    static const c1x1_load_fn table[C1X1_DTYPE_COUNT][C1X1_COMPUTE_COUNT] = {
        C1X1_FOR_EACH_INTEGER(INTEGER) C1X1_FOR_EACH_FLOAT(FLOAT)};
#undef INTEGER
#undef FLOAT
    return table[from][to];
}

c1x1_load_fn c1x1_find_copy(size_t size) { return size == 1 ? load_UINT8_u8 : load_UINT16_u16; }

c1x1_load_fn c1x1_find_load_sums(c1x1_dtype from, c1x1_compute to) {
    static const c1x1_load_fn table[C1X1_DTYPE_COUNT] = {
        [C1X1_BOOL] = load_BOOL_i32,     [C1X1_INT8] = load_INT8_i32,
        [C1X1_UINT8] = load_UINT8_i32,   [C1X1_INT16] = load_INT16_i32,
        [C1X1_UINT16] = load_UINT16_i32,
    };
    return to == C1X1_COMPUTE_INT32 ? table[from] : c1x1_find_load(from, to, C1X1_ALONG);
}
