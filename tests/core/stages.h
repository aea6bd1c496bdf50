/* stages.h - for drive.c: every function of the load and store stages, on blocks of every shape that they
 * treat apart, beside one element at a time. */
#ifndef STAGES_H
#define STAGES_H

#include "arrays.h"
#include "stage.h"

typedef enum {
    DENSE_ROWS,
    DENSE_COLUMNS,
    ROWS_TOUCH,   /* columns are dense and follow each other */
    EVERY_SECOND, /* of the columns; rows apart */
    NEAR_COLUMNS, /* nothing is dense; columns are closer together, */
    NEAR_ROWS,    /* or rows are */
    BACKWARDS,    /* dense rows, from their ends */
    NEITHER_ALIGNED,
    BLOCK_KINDS
} block_kind;

/* The strides of a block of elements of `size` bytes, where its first element lies, and its bytes. */
typedef struct {
    c1x1_copy copy;
    size_t first, bytes;
} block;

static inline block lay_out_block(block_kind kind, size_t rows, size_t cols, size_t size) {
    const ptrdiff_t s = (ptrdiff_t)size, r = (ptrdiff_t)rows, c = (ptrdiff_t)cols;
    const ptrdiff_t strides[BLOCK_KINDS][2] = {
        [DENSE_ROWS] = {(c + 1) * s, s},
        [DENSE_COLUMNS] = {s, (r + 1) * s},
        [ROWS_TOUCH] = {s, r * s},
        [EVERY_SECOND] = {(2 * c + 1) * s, 2 * s},
        [NEAR_COLUMNS] = {(3 * c + 1) * s, 3 * s},
        [NEAR_ROWS] = {3 * s, (3 * r + 1) * s},
        [BACKWARDS] = {-c * s, -s},
        [NEITHER_ALIGNED] = {2 * s + 1, r * (2 * s + 1) + 1},
    };
    block b = {.copy = {.rows = rows,
                        .cols = cols,
                        .row_stride = strides[kind][0],
                        .col_stride = strides[kind][1],
                        .ld = c + 3}};
    const ptrdiff_t last = (r - 1) * b.copy.row_stride + (c - 1) * b.copy.col_stride;
    b.first = last < 0 ? (size_t)-last : 0;
    b.bytes = (size_t)(last < 0 ? -last : last) + size;
    return b;
}

static inline char *in_block(const block *b, char *first, size_t row, size_t col) {
    return first + (ptrdiff_t)row * b->copy.row_stride + (ptrdiff_t)col * b->copy.col_stride;
}

/* Memory of exactly so many bytes, all 0xff. */
static inline char *poisoned(size_t bytes) {
    char *memory = malloc(bytes);
    if (!memory) abort();
    memset(memory, 0xff, bytes);
    return memory;
}

/* `along` columns, or `across` rows, of the source make one element of the packed block. */
static unsigned long faults_of_load(rng *r, c1x1_load_fn load, c1x1_dtype from, c1x1_dtype to,
                                    const block *b, size_t along, size_t across) {
    const size_t rows = (b->copy.rows + across - 1) / across;
    const size_t size = c1x1_dtype_size(to), wide = size * along * across;
    const size_t cols = (b->copy.cols + along - 1) / along;
    const size_t bytes = ((rows - 1) * (size_t)b->copy.ld + cols) * wide;
    char *source = poisoned(b->bytes), *packed = poisoned(bytes), *want = poisoned(bytes);
    for (size_t i = 0; i < b->copy.rows; i++)
        for (size_t j = 0; j < b->copy.cols; j++) {
            const long value = draw_value(r, from, 100);
            const size_t at = i / across * (size_t)b->copy.ld + j / along;
            put(in_block(b, source + b->first, i, j), from, value);
            put(want + at * wide + (i % across + j % along) * size, to, value);
            /* What has no partner is paired with zero. */
            if (across > 1 && i + 1 == b->copy.rows && i % across == 0)
                put(want + at * wide + size, to, 0);
            if (along > 1 && j + 1 == b->copy.cols && j % along == 0)
                put(want + at * wide + size, to, 0);
        }
    load(packed, source + b->first, &b->copy);
    const int is_right = memcmp(packed, want, bytes) == 0;
    free(source);
    free(packed);
    free(want);
    return !is_right;
}

static unsigned long faults_of_store(rng *r, c1x1_compute from, c1x1_dtype to, const block *b) {
    const c1x1_dtype sums = c1x1_compute_dtype(from);
    const size_t size = c1x1_dtype_size(sums);
    const size_t bytes = ((b->copy.rows - 1) * (size_t)b->copy.ld + b->copy.cols) * size;
    char *tile = poisoned(bytes), *target = poisoned(b->bytes);
    unsigned char *is_owned = calloc(b->bytes, 1);
    if (!is_owned) abort();
    for (size_t i = 0; i < b->copy.rows; i++)
        for (size_t j = 0; j < b->copy.cols; j++)
            put(tile + (i * (size_t)b->copy.ld + j) * size, sums, draw_value(r, sums, 400));
    c1x1_find_store(from, to)(target + b->first, tile, &b->copy);
    unsigned long faults = 0;
    for (size_t i = 0; i < b->copy.rows; i++)
        for (size_t j = 0; j < b->copy.cols; j++) {
            const char *at = in_block(b, target + b->first, i, j);
            const long sum = (long)get(tile + (i * (size_t)b->copy.ld + j) * size, sums);
            faults += get(at, to) != stored(sum, to, 0);
            memset(is_owned + (at - target), 1, c1x1_dtype_size(to));
        }
    for (size_t i = 0; i < b->bytes; i++)
        faults += !is_owned[i] && (unsigned char)target[i] != 0xff;
    free(tile);
    free(target);
    free(is_owned);
    return faults > 0;
}

/* Tables of 8 or 16 bits, one for all, one for each row, or one for each column. */
static unsigned long faults_of_look_up(rng *r, c1x1_dtype from, c1x1_compute to, const block *b,
                                       int by_row, int by_column) {
    const size_t wide = c1x1_dtype_size(c1x1_compute_dtype(to)), bits = 8 * c1x1_dtype_size(from);
    const size_t entries = (size_t)1 << bits, zero = is_unsigned(from) ? 0 : entries / 2;
    const size_t tables = by_row ? b->copy.rows : by_column ? b->copy.cols : 1;
    const size_t bytes = ((b->copy.rows - 1) * (size_t)b->copy.ld + b->copy.cols) * wide;
    char *table = poisoned(tables * entries * wide), *source = poisoned(b->bytes);
    char *packed = poisoned(bytes), *want = poisoned(bytes);
    for (size_t i = 0; i < tables * entries; i++)
        memcpy(table + i * wide, &(uint64_t){draw(r)}, wide);
    for (size_t i = 0; i < b->copy.rows; i++)
        for (size_t j = 0; j < b->copy.cols; j++) {
            const long value = draw_value(r, from, (long)(entries / 2) - 1);
            const size_t entry = (size_t)((long)zero + value) + (by_row      ? i
                                                                 : by_column ? j
                                                                             : 0) *
                                                                    entries;
            put(in_block(b, source + b->first, i, j), from, value);
            memcpy(want + (i * (size_t)b->copy.ld + j) * wide, table + entry * wide, wide);
        }
    const ptrdiff_t step = (ptrdiff_t)(entries * wide);
    const c1x1_table given = {table + zero * wide, by_row ? step : 0, by_column ? step : 0};
    c1x1_look_up(from, to, packed, source + b->first, &b->copy, &given);
    const int is_right = memcmp(packed, want, bytes) == 0;
    free(table);
    free(source);
    free(packed);
    free(want);
    return !is_right;
}

static unsigned long faults_of_block(rng *r, block_kind kind, size_t rows, size_t cols) {
    static const c1x1_compute computes[] = {C1X1_COMPUTE_FLOAT32, C1X1_COMPUTE_FLOAT64,
                                            C1X1_COMPUTE_INT64, C1X1_COMPUTE_INT32};
    unsigned long faults = 0;
    for (int t = 0; t < C1X1_DTYPE_COUNT; t++) {
        const c1x1_dtype dtype = (c1x1_dtype)t;
        const block b = lay_out_block(kind, rows, cols, c1x1_dtype_size(dtype));
        for (size_t i = 0; i < sizeof computes / sizeof *computes; i++) {
            const c1x1_compute compute = computes[i];
            const int is_paired = compute == C1X1_COMPUTE_INT32;
            const c1x1_dtype element = is_paired ? C1X1_INT16 : c1x1_compute_dtype(compute);
            const size_t along = is_paired ? 2 : 1;
            c1x1_load_fn load = c1x1_find_load(dtype, compute, C1X1_ALONG);
            if (load) faults += faults_of_load(r, load, dtype, element, &b, along, 1);
            load = c1x1_find_load(dtype, compute, C1X1_ACROSS);
            if (load) faults += faults_of_load(r, load, dtype, element, &b, 1, along);
            load = c1x1_find_load_sums(dtype, compute);
            if (load)
                faults += faults_of_load(r, load, dtype, c1x1_compute_dtype(compute), &b, 1, 1);
            faults += faults_of_store(r, compute, dtype, &b);
        }
        if (dtype == C1X1_UINT8 || dtype == C1X1_UINT16)
            faults +=
                faults_of_load(r, c1x1_find_copy(c1x1_dtype_size(dtype)), dtype, dtype, &b, 1, 1);
        if (dtype == C1X1_UINT8 || dtype == C1X1_INT8 ||
            ((dtype == C1X1_UINT16 || dtype == C1X1_INT16) && rows * cols <= 10))
            for (int way = 0; way < 3; way++)
                for (int wide = 0; wide < 2; wide++)
                    faults += faults_of_look_up(r, dtype, computes[wide], &b, way == 1, way == 2);
    }
    return faults;
}

/* A block of `cols` by 1 and of 1 by `rows`, of few interleaved rows, and beyond what is done at once. */
static unsigned long faults_of_stages(void) {
    static const size_t sizes[][2] = {{1, 1}, {1, 19}, {19, 1}, {2, 5}, {2, 11}, {3, 5},  {3, 9},
                                      {4, 5}, {4, 17}, {5, 2},  {9, 3}, {5, 19}, {18, 21}};
    rng r = {.state = 1};
    unsigned long faults = 0;
    for (int kind = 0; kind < BLOCK_KINDS; kind++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            faults += faults_of_block(&r, (block_kind)kind, sizes[i][0], sizes[i][1]);
    if (faults) printf("FAILED %lu blocks that are loaded or stored\n", faults);
    return faults;
}

#endif
