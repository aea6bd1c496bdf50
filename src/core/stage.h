/* stage.h - the load and store stages: two-dimensional copies that convert on the way.
 *
 * load   packed[r * ld + c] = (compute) source[r, c]
 *        Where an element of an operand holds two channels (c1x1_pack_factor) they come from columns
 *        2c and 2c + 1 (C1X1_ALONG) or from rows 2r and 2r + 1 (C1X1_ACROSS); rows and cols count
 *        those of the source.
 * store  target[r, c] = (dtype, saturated) tile[r * ld + c]
 *
 * ld is in elements; the strides of source and target are in bytes, any value, any alignment. */
#ifndef C1X1_STAGE_H
#define C1X1_STAGE_H

#include "c1x1.h"

typedef struct {
    size_t rows, cols;
    ptrdiff_t row_stride, col_stride; /* bytes, of source or target */
    ptrdiff_t ld;                     /* elements, of packed or tile */
} c1x1_copy;

/* Whether steps of `stride` stay closer together than those of `other`: the loop along them belongs inside. */
static inline int c1x1_is_nearer(ptrdiff_t stride, ptrdiff_t other) {
    return (stride < 0 ? -stride : stride) < (other < 0 ? -other : other);
}

typedef void (*c1x1_load_fn)(void *packed, const char *source, const c1x1_copy *copy);
typedef void (*c1x1_store_fn)(char *target, const void *tile, const c1x1_copy *copy);

/* Entries of element (r, c) begin at `at` + r * row + c * column bytes, at that of the value 0. */
typedef struct {
    const char *at;
    ptrdiff_t row, column;
} c1x1_table;

/* load through a table: packed[r * ld + c] = table(r, c)[source[r, c]]; `from` has 8 or 16 bits. */
void c1x1_look_up(c1x1_dtype from, c1x1_compute to, void *packed, const char *source,
                  const c1x1_copy *copy, const c1x1_table *table);

/* flags[r] = whether source[r, c] equals *value for any c, a NaN any NaN. Returns whether any is. */
int c1x1_scan(c1x1_dtype dtype, unsigned char *flags, const char *source, const c1x1_copy *copy,
              const char *value);

/* target[r, c] = *value for all c, where flags[r] is set. */
void c1x1_fill(c1x1_dtype dtype, const unsigned char *flags, char *target, const c1x1_copy *copy,
               const char *value);

/* Which way of a source its channels lie. */
typedef enum { C1X1_ALONG, C1X1_ACROSS } c1x1_way;

/* NULL for a float to an integer, and for what does not fit int16 to pairs of those: no problem asks
 * for that. */
c1x1_load_fn c1x1_find_load(c1x1_dtype from, c1x1_compute to, c1x1_way way);
/* Elements of one byte, or two, as they are. */
c1x1_load_fn c1x1_find_copy(size_t size);
/* To elements of sums, where those of operands differ from them; NULL for integers of 32 bits and more to
 * int32. */
c1x1_load_fn c1x1_find_load_sums(c1x1_dtype from, c1x1_compute to);
c1x1_store_fn c1x1_find_store(c1x1_compute from, c1x1_dtype to);

#endif
