/* turn.h - transposes in registers: columns of one array to rows of another, in vectors that every CPU
 * has. Strides in bytes, any alignment. */
#ifndef C1X1_TURN_H
#define C1X1_TURN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint32_t c1x1_four __attribute__((vector_size(16)));

enum { C1X1_TURNED = 4 }; /* rows and columns of a block of elements of four bytes */

/* Whether `type` becomes T without a change of bits, and, being of four bytes, by such copies alone. */
#define C1X1_IS_SAME(type, T) _Generic((type)0, T: 1, default: 0)
#define C1X1_IS_TURNED(type, T) (sizeof(T) == 4 && C1X1_IS_SAME(type, T))

/* to[r, c] = from[c, r]; rows of each are dense. */
static inline void c1x1_turn_block(char *to, ptrdiff_t to_row, const char *from,
                                   ptrdiff_t from_row) {
    c1x1_four a, b, c, d;
    memcpy(&a, from, sizeof a);
    memcpy(&b, from + from_row, sizeof b);
    memcpy(&c, from + 2 * from_row, sizeof c);
    memcpy(&d, from + 3 * from_row, sizeof d);
    const c1x1_four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const c1x1_four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const c1x1_four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const c1x1_four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    a = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    b = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
    memcpy(to, &a, sizeof a);
    memcpy(to + to_row, &b, sizeof b);
    memcpy(to + 2 * to_row, &c, sizeof c);
    memcpy(to + 3 * to_row, &d, sizeof d);
}

/* to[c] = from[2 * c] for c < count, elements of four bytes: one part of complex numbers, say. What follows the last of
 * them in memory is not read. */
static inline void c1x1_every_second(char *restrict to, const char *restrict from, size_t count) {
    enum { SIZE = 4 };
    size_t c = 0;
    for (; c + C1X1_TURNED < count; c += C1X1_TURNED) {
        c1x1_four low, high;
        memcpy(&low, from + 2 * c * SIZE, sizeof low);
        memcpy(&high, from + 2 * c * SIZE + sizeof low, sizeof high);
        low = __builtin_shufflevector(low, high, 0, 2, 4, 6);
        memcpy(to + c * SIZE, &low, sizeof low);
    }
    for (; c < count; c++) memcpy(to + c * SIZE, from + 2 * c * SIZE, SIZE);
}

/* to[r, c] = from[c, r] for r < rows, c < cols, elements of four bytes. A few columns at a time, whose
 * lines stay in L1 until all of their elements are read. */
static inline void c1x1_turn(char *restrict to, ptrdiff_t to_row, const char *restrict from,
                             ptrdiff_t from_row, size_t rows, size_t cols) {
    enum { TOGETHER = 2 * C1X1_TURNED, SIZE = 4 };
    for (size_t c = 0, n; c < cols; c += n, from += (ptrdiff_t)n * from_row, to += n * SIZE) {
        n = cols - c < TOGETHER ? cols - c : TOGETHER;
        const size_t whole = n - n % C1X1_TURNED;
        size_t r = 0;
        for (; r + C1X1_TURNED <= rows; r += C1X1_TURNED) {
            for (size_t q = 0; q < whole; q += C1X1_TURNED)
                c1x1_turn_block(to + (ptrdiff_t)r * to_row + q * SIZE, to_row,
                                from + (ptrdiff_t)q * from_row + r * SIZE, from_row);
        }
        for (size_t q = 0; q < n; q++) {
            for (size_t left = q < whole ? r : 0; left < rows; left++)
                memcpy(to + (ptrdiff_t)left * to_row + q * SIZE,
                       from + (ptrdiff_t)q * from_row + left * SIZE, SIZE);
        }
    }
}

#endif
