/* sizes.h - whole numbers of blocks and of cache lines; open to every file, as c1x1.h is. */
#ifndef C1X1_SIZES_H
#define C1X1_SIZES_H

#include <stddef.h>

enum { C1X1_LINE = 64 }; /* bytes of a cache line */

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t larger(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t divide_up(size_t a, size_t b) { return a / b + (a % b != 0); }
static inline size_t round_up(size_t a, size_t unit) { return divide_up(a, unit) * unit; }

#endif
