/* store.c - the store stage: finished sums to `out` of any dtype and strides, and one value to the
 * pixels without data.
 *
 * One function per pair of dtypes. Integers saturate and round half to even. */
#include "stage.h"

#include "convert.h"
#include "turn.h"

#define PUT(NAME, type, KIND, p, value)                    \
    do {                                                   \
        const type raw_ = STORE_##KIND##_##NAME(value);    \
        memcpy(p, &raw_, sizeof raw_);                     \
    } while (0)

/* R rows to elements that alternate in memory: planes to interleaved pixels. */
#define INTERLEAVE(NAME, type, KIND, R)                                                      \
    for (size_t c = 0; c < cols; c++) {                                                      \
        for (size_t r = 0; r < (R); r++)                                                     \
            PUT(NAME, type, KIND, target + (c * (R) + r) * sizeof(type),                     \
                tile[(ptrdiff_t)r * ld + (ptrdiff_t)c]);                                     \
    }

#define DEFINE_STORE(NAME, name, type, T, KIND, SUFFIX)                                          \
    static void store_##NAME##_##SUFFIX(char *restrict target, const void *tile_,                \
                                        const c1x1_copy *copy) {                                 \
        const T *restrict tile = tile_;                                                          \
        const size_t rows = copy->rows, cols = copy->cols;                                       \
        const ptrdiff_t ld = copy->ld, rs = copy->row_stride, cs = copy->col_stride;             \
        const ptrdiff_t size = (ptrdiff_t)sizeof(type);                                          \
        if (cs == size || cols == 1) {                                                           \
            for (size_t r = 0; r < rows; r++) {                                                  \
                char *to = target + (ptrdiff_t)r * rs;                                           \
                const T *from = tile + (ptrdiff_t)r * ld;                                        \
                if (C1X1_IS_SAME(type, T)) {                                                     \
                    memcpy(to, from, cols * sizeof(type));                                       \
                    continue;                                                                    \
                }                                                                                \
                for (size_t c = 0; c < cols; c++)                                                \
                    PUT(NAME, type, KIND, to + c * sizeof(type), from[c]);                       \
            }                                                                                    \
        } else if (rs == size && cs == (ptrdiff_t)rows * size && rows - 2 <= 2) { /* 2 to 4 */   \
            if (rows == 2) {                                                                     \
                INTERLEAVE(NAME, type, KIND, 2)                                                  \
            } else if (rows == 3) {                                                              \
                INTERLEAVE(NAME, type, KIND, 3)                                                  \
            } else {                                                                             \
                INTERLEAVE(NAME, type, KIND, 4)                                                  \
            }                                                                                    \
        } else if (rs == size && C1X1_IS_TURNED(type, T)) {                                      \
            c1x1_turn(target, cs, tile_, ld * size, cols, rows);                                 \
        } else if (c1x1_is_nearer(cs, rs)) {                                                     \
            for (size_t r = 0; r < rows; r++) {                                                  \
                char *to = target + (ptrdiff_t)r * rs;                                           \
                for (size_t c = 0; c < cols; c++)                                                \
                    PUT(NAME, type, KIND, to + (ptrdiff_t)c * cs,                                \
                        tile[(ptrdiff_t)r * ld + (ptrdiff_t)c]);                                 \
            }                                                                                    \
        } else {                                                                                 \
            for (size_t c = 0; c < cols; c++) {                                                  \
                char *to = target + (ptrdiff_t)c * cs;                                           \
                for (size_t r = 0; r < rows; r++)                                                \
                    PUT(NAME, type, KIND, to + (ptrdiff_t)r * rs,                                \
                        tile[(ptrdiff_t)r * ld + (ptrdiff_t)c]);                                 \
            }                                                                                    \
        }                                                                                        \
    }

#define FROM_FLOAT32(NAME, name, type) DEFINE_STORE(NAME, name, type, float, REAL, f32)
#define FROM_FLOAT64(NAME, name, type) DEFINE_STORE(NAME, name, type, double, REAL, f64)
#define FROM_INT64(NAME, name, type) DEFINE_STORE(NAME, name, type, int64_t, INT, i64)
#define FROM_INT32(NAME, name, type) DEFINE_STORE(NAME, name, type, int32_t, INT, i32)
C1X1_FOR_EACH_DTYPE(FROM_FLOAT32)
C1X1_FOR_EACH_DTYPE(FROM_FLOAT64)
C1X1_FOR_EACH_DTYPE(FROM_INT64)
C1X1_FOR_EACH_DTYPE(FROM_INT32)

c1x1_store_fn c1x1_find_store(c1x1_compute from, c1x1_dtype to) {
#define ROW(NAME, name, type) {store_##NAME##_f32, store_##NAME##_f64, store_##NAME##_i64, store_##NAME##_i32},
    static const c1x1_store_fn table[C1X1_DTYPE_COUNT][C1X1_COMPUTE_COUNT] = {
        C1X1_FOR_EACH_DTYPE(ROW)};
#undef ROW
    return table[to][from];
}

void c1x1_fill(c1x1_dtype dtype, const unsigned char *flags, char *target, const c1x1_copy *copy,
               const char *value) {
    const size_t bytes = c1x1_dtype_size(dtype);
    for (size_t r = 0; r < copy->rows; r++) {
        char *to = target + (ptrdiff_t)r * copy->row_stride;
        for (size_t c = 0; flags[r] && c < copy->cols; c++, to += copy->col_stride)
            memcpy(to, value, bytes);
    }
}
