/* pack.c - the load stage: elements of any dtype and strides to dense rows of a compute dtype.
 *
 * One function per pair of dtypes, each with three loops: along the rows where they are dense in
 * memory, across them where the columns are (a transpose), and any strides. */
#include "stage.h"

#include "convert.h"

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

#define DEFINE_LOAD(NAME, name, type, T, SUFFIX)                                             \
    static void load_##NAME##_##SUFFIX(void *packed_, const char *restrict source,           \
                                       const c1x1_copy *copy) {                              \
        T *restrict packed = packed_;                                                        \
        const size_t rows = copy->rows, cols = copy->cols;                                   \
        const ptrdiff_t ld = copy->ld, rs = copy->row_stride, cs = copy->col_stride;         \
        const ptrdiff_t size = (ptrdiff_t)sizeof(type);                                      \
        if (cs == size || cols == 1) {                                                       \
            for (size_t r = 0; r < rows; r++) {                                              \
                const char *from = source + (ptrdiff_t)r * rs;                               \
                T *to = packed + (ptrdiff_t)r * ld;                                          \
                size_t c = 0;                                                                \
                if (_Generic((type)0, T: 1, default: 0)) { /* nothing to convert */          \
                    memcpy(to, from, cols * sizeof(T));                                      \
                    continue;                                                                \
                }                                                                            \
                for (; c + 8 <= cols; c += 8) {                                              \
                    for (size_t q = 0; q < 8; q++)                                           \
                        to[c + q] = FETCH(NAME, type, T, from + (c + q) * sizeof(type));     \
                }                                                                            \
                for (; c < cols; c++) to[c] = FETCH(NAME, type, T, from + c * sizeof(type)); \
            }                                                                                \
        } else if (rs == size && cs == (ptrdiff_t)rows * size && rows >= 2 && rows <= 4) {              \
            if (rows == 2) {                                                                 \
                DEINTERLEAVE(NAME, type, T, 2)                                               \
            } else if (rows == 3) {                                                          \
                DEINTERLEAVE(NAME, type, T, 3)                                               \
            } else {                                                                         \
                DEINTERLEAVE(NAME, type, T, 4)                                               \
            }                                                                                \
        } else if (rs == size) {                                                             \
            size_t c = 0;                                                                    \
            for (; c + TRANSPOSED <= cols; c += TRANSPOSED) {                                \
                const char *from = source + (ptrdiff_t)c * cs;                               \
                for (size_t r = 0; r < rows; r++) {                                          \
                    T *to = packed + (ptrdiff_t)r * ld + (ptrdiff_t)c;                       \
                    for (size_t q = 0; q < TRANSPOSED; q++)                                  \
                        to[q] = FETCH(NAME, type, T,                                         \
                                      from + (ptrdiff_t)q * cs + (ptrdiff_t)r * size);       \
                }                                                                            \
            }                                                                                \
            for (; c < cols; c++) {                                                          \
                const char *from = source + (ptrdiff_t)c * cs;                               \
                for (size_t r = 0; r < rows; r++)                                            \
                    packed[(ptrdiff_t)r * ld + (ptrdiff_t)c] =                               \
                        FETCH(NAME, type, T, from + r * sizeof(type));                       \
            }                                                                                \
        } else {                                                                             \
            for (size_t r = 0; r < rows; r++) {                                              \
                for (size_t c = 0; c < cols; c++)                                            \
                    packed[(ptrdiff_t)r * ld + (ptrdiff_t)c] = FETCH(                        \
                        NAME, type, T, source + (ptrdiff_t)r * rs + (ptrdiff_t)c * cs);      \
            }                                                                                \
        }                                                                                    \
    }

#define TO_FLOAT32(NAME, name, type) DEFINE_LOAD(NAME, name, type, float, f32)
#define TO_FLOAT64(NAME, name, type) DEFINE_LOAD(NAME, name, type, double, f64)
#define TO_INT64(NAME, name, type) DEFINE_LOAD(NAME, name, type, int64_t, i64)
C1X1_FOR_EACH_DTYPE(TO_FLOAT32)
C1X1_FOR_EACH_DTYPE(TO_FLOAT64)
C1X1_FOR_EACH_INTEGER(TO_INT64)

c1x1_load_fn c1x1_find_load(c1x1_dtype from, c1x1_compute to) {
#define INTEGER(NAME, name, type) {load_##NAME##_f32, load_##NAME##_f64, load_##NAME##_i64},
#define FLOAT(NAME, name, type) {load_##NAME##_f32, load_##NAME##_f64, NULL},
    static const c1x1_load_fn table[C1X1_DTYPE_COUNT][C1X1_COMPUTE_COUNT] = {
        C1X1_FOR_EACH_INTEGER(INTEGER) C1X1_FOR_EACH_FLOAT(FLOAT)};
#undef INTEGER
#undef FLOAT
    return table[from][to];
}
