/* lookup.c - what the load stage does value by value: tables in place of arithmetic, and the search
 * for pixels without data. */
#include "sizes.h"
#include "stage.h"

#include <string.h>

#define FETCH(type, p)              \
    __extension__({                 \
        type raw_;                  \
        memcpy(&raw_, p, sizeof raw_); \
        raw_;                       \
    })

/* Values side by side that share a table. */
#define DEFINE_LOOK_UP_DENSE(INDEX, ENTRY)                                                     \
    static void look_up_dense_##INDEX##_##ENTRY(ENTRY *restrict to, const char *restrict from, \
                                                const ENTRY *entries, size_t count) {          \
        _Pragma("GCC unroll 8") /* fewer branches: 1.1 times as fast */                        \
        for (size_t i = 0; i < count; i++)                                                     \
            to[i] = entries[FETCH(INDEX, from + i * sizeof(INDEX))];                           \
    }

/* Down the columns where these are longer and lie along memory. */
static int goes_down(const c1x1_copy *copy) {
    if (copy->cols >= copy->rows) return 0;
    return copy->cols == 1 || c1x1_is_nearer(copy->row_stride, copy->col_stride);
}

#define DEFINE_LOOK_UP(INDEX, ENTRY)                                                            \
    static void look_up_##INDEX##_##ENTRY(void *packed, const char *restrict source,            \
                                          const c1x1_copy *copy, const c1x1_table *table) {     \
        if (goes_down(copy)) {                                                                  \
            for (size_t c = 0; c < copy->cols; c++) {                                           \
                ENTRY *to = (ENTRY *)packed + c;                                                \
                const char *from = source + (ptrdiff_t)c * copy->col_stride;                    \
                const char *entries = table->at + (ptrdiff_t)c * table->column;                 \
                for (size_t r = 0; r < copy->rows; r++, to += copy->ld) {                       \
                    *to = ((const ENTRY *)(const void *)entries)[FETCH(INDEX, from)];           \
                    from += copy->row_stride;                                                   \
                    entries += table->row;                                                      \
                }                                                                               \
            }                                                                                   \
            return;                                                                             \
        }                                                                                       \
        const int is_dense = copy->col_stride == sizeof(INDEX) && table->column == 0;           \
        for (size_t r = 0; r < copy->rows; r++) {                                               \
            ENTRY *restrict to = (ENTRY *)packed + (ptrdiff_t)r * copy->ld;                     \
            const char *from = source + (ptrdiff_t)r * copy->row_stride;                        \
            const char *entries = table->at + (ptrdiff_t)r * table->row;                        \
            if (is_dense) {                                                                     \
                look_up_dense_##INDEX##_##ENTRY(to, from, (const ENTRY *)(const void *)entries, \
                                                copy->cols);                                    \
                continue;                                                                       \
            }                                                                                   \
            for (size_t c = 0; c < copy->cols; c++) {                                           \
                to[c] = ((const ENTRY *)(const void *)entries)[FETCH(INDEX, from)];             \
                from += copy->col_stride;                                                       \
                entries += table->column;                                                       \
            }                                                                                   \
        }                                                                                       \
    }
#define FOR_EACH_INDEX(X, ENTRY) X(int8_t, ENTRY) X(uint8_t, ENTRY) X(int16_t, ENTRY) X(uint16_t, ENTRY)
FOR_EACH_INDEX(DEFINE_LOOK_UP_DENSE, uint32_t)
FOR_EACH_INDEX(DEFINE_LOOK_UP_DENSE, uint64_t)
FOR_EACH_INDEX(DEFINE_LOOK_UP, uint32_t)
FOR_EACH_INDEX(DEFINE_LOOK_UP, uint64_t)

void c1x1_look_up(c1x1_dtype from, c1x1_compute to, void *packed, const char *source,
                  const c1x1_copy *copy, const c1x1_table *table) {
    const int is_wide = c1x1_dtype_size(c1x1_compute_dtype(to)) == 8;
#define LOOK_UP(INDEX)                                                                        \
    (is_wide ? look_up_##INDEX##_uint64_t : look_up_##INDEX##_uint32_t)(packed, source, copy, \
                                                                        table)
    switch (from) {
    case C1X1_INT8:
        LOOK_UP(int8_t);
        break;
    case C1X1_UINT8:
        LOOK_UP(uint8_t);
        break;
    case C1X1_INT16:
        LOOK_UP(int16_t);
        break;
    default:
        LOOK_UP(uint16_t);
        break;
    }
}

enum { SEARCHED = 128 }; /* values at once */

/* A value counts if its bits under `mask` are at most `span` above `low`: one value, both zeros, or all NaN. */
typedef struct {
    uint64_t mask, low, span;
} wanted;

#define DEFINE_SCAN(name, type)                                                                 \
    static inline int counts_##name(const wanted *w, const char *p) {                           \
        return (type)((FETCH(type, p) & (type)w->mask) - (type)w->low) <= (type)w->span;        \
    }                                                                                           \
    static int holds_##name(const wanted *given, const char *from, size_t count) {              \
        enum { TOGETHER = 16 }; /* as many as compilers make vectors of */                      \
        const wanted w = *given;                                                                \
        type found = 0;                                                                         \
        size_t i = 0;                                                                           \
        for (; i + TOGETHER <= count; i += TOGETHER) {                                          \
            for (size_t q = 0; q < TOGETHER; q++)                                               \
                found |= (type)counts_##name(&w, from + (i + q) * sizeof(type));                \
        }                                                                                       \
        for (; i < count; i++) found |= (type)counts_##name(&w, from + i * sizeof(type));       \
        return found != 0;                                                                      \
    }                                                                                           \
    /* Most pixels hold no such value: those side by side are searched some at a time first. */ \
    static void scan_##name(unsigned char *flags, const char *source, const c1x1_copy *copy,    \
                            const wanted *w) {                                                  \
        const ptrdiff_t rs = copy->row_stride, cs = copy->col_stride, size = sizeof(type);      \
        const size_t cols = copy->cols;                                                         \
        memset(flags, 0, copy->rows);                                                           \
        if (cs == size) {                                                                       \
            const int is_dense = rs == (ptrdiff_t)cols * size;                                  \
            const size_t most = is_dense ? divide_up(SEARCHED, larger(cols, 1)) : 1;            \
            for (size_t r = 0, rows; r < copy->rows; r += rows) {                               \
                rows = smaller(most, copy->rows - r);                                           \
                const char *from = source + (ptrdiff_t)r * rs;                                  \
                if (!holds_##name(w, from, rows * cols)) continue;                              \
                for (size_t i = 0; i < rows; i++, from += rs)                                   \
                    flags[r + i] = (unsigned char)(rows == 1 || holds_##name(w, from, cols));   \
            }                                                                                   \
            return;                                                                             \
        }                                                                                       \
        const size_t most = rs == size ? SEARCHED : copy->rows;                                 \
        for (size_t c = 0; c < cols; c++) {                                                     \
            const char *from = source + (ptrdiff_t)c * cs;                                      \
            for (size_t r = 0, rows; r < copy->rows; r += rows, from += (ptrdiff_t)rows * rs) { \
                rows = smaller(most, copy->rows - r);                                           \
                if (rs == size && !holds_##name(w, from, rows)) continue;                       \
                for (size_t i = 0; i < rows; i++)                                               \
                    flags[r + i] |= (unsigned char)counts_##name(w, from + (ptrdiff_t)i * rs);  \
            }                                                                                   \
        }                                                                                       \
    }
DEFINE_SCAN(8, uint8_t)
DEFINE_SCAN(16, uint16_t)
DEFINE_SCAN(32, uint32_t)
DEFINE_SCAN(64, uint64_t)

static uint64_t bits_of(const char *value, size_t bytes) {
    switch (bytes) {
    case 1:
        return FETCH(uint8_t, value);
    case 2:
        return FETCH(uint16_t, value);
    case 4:
        return FETCH(uint32_t, value);
    default:
        return FETCH(uint64_t, value);
    }
}

static wanted find_wanted(c1x1_dtype dtype, const char *value) {
    const size_t bytes = c1x1_dtype_size(dtype);
    const uint64_t all = UINT64_MAX >> (64 - 8 * bytes), magnitude = all >> 1;
    const uint64_t infinity = dtype == C1X1_FLOAT16    ? 0x7c00
                              : dtype == C1X1_BFLOAT16 ? 0x7f80
                              : dtype == C1X1_FLOAT32  ? 0x7f800000
                              : dtype == C1X1_FLOAT64  ? 0x7ff0000000000000
                                                       : 0;
    const uint64_t bits = bits_of(value, bytes);
    if (infinity == 0) return (wanted){all, bits, 0};
    if ((bits & magnitude) == 0) return (wanted){magnitude, 0, 0};
    if ((bits & magnitude) > infinity)
        return (wanted){magnitude, infinity + 1, magnitude - infinity - 1};
    return (wanted){all, bits, 0};
}

int c1x1_scan(c1x1_dtype dtype, unsigned char *flags, const char *source, const c1x1_copy *copy,
              const char *value) {
    const wanted w = find_wanted(dtype, value);
    switch (c1x1_dtype_size(dtype)) {
    case 1:
        scan_8(flags, source, copy, &w);
        break;
    case 2:
        scan_16(flags, source, copy, &w);
        break;
    case 4:
        scan_32(flags, source, copy, &w);
        break;
    default:
        scan_64(flags, source, copy, &w);
        break;
    }
    return memchr(flags, 1, copy->rows) != NULL;
}
