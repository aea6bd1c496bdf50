/* x86_amx.c - the matrix units of AMX: float32 in pieces of bfloat16, and bytes.
 *
 *              j = 0..15    16..31
 *   i = 0..15   [tmm0]      [tmm1]      per product of pieces: a in tmm4 and tmm5, b in tmm6 and
 *   i = 16..31  [tmm2]      [tmm3]      tmm7, four TDPs of 16 cycles; pieces are loaded again only
 *                                       where they changed: 14 loads for 24 TDPs of three by three;
 *                                       bytes are one piece, of which a may lie in the caller's array
 *
 * A block of at most 16 rows (columns) leaves out the lower (right) tiles. Tiles are configured for the
 * block's rows and columns when it is entered, so that exactly those of c are read and written, and
 * released when it is left: nothing remains in the caller's state. Everything else is plain C in
 * matrix_split.inc and matrix_bytes.inc; the other kernels are those of x86_avx512. */
#include "kernel.h"

#include <immintrin.h>

#ifdef __AVX512F__ /* a test builds this file without, to run it where AVX-512 is missing */
#define matrix_max(a, b) ((c1x1_words)_mm512_max_epu32((__m512i)(a), (__m512i)(b)))
#define matrix_min(a, b) ((c1x1_words)_mm512_min_epu32((__m512i)(a), (__m512i)(b)))
#define halves_max(a, b) ((c1x1_halves)_mm512_max_epu16((__m512i)(a), (__m512i)(b)))
#define halves_min(a, b) ((c1x1_halves)_mm512_min_epu16((__m512i)(a), (__m512i)(b)))
#endif
#include "matrix_bytes.inc"
#include "matrix_split.inc"

#include "matrix_halves.inc"

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} __attribute__((aligned(64))) amx_config;

static void amx_configure(size_t m, size_t n) {
    const size_t above = m < TILE_ROWS ? m : TILE_ROWS, below = m - above;
    const size_t left = n < LANES ? n : LANES, right = n - left;
    const struct {
        size_t rows, columns;
    } tiles[8] = {{above, left},  {above, right}, {below, left},     {below, right},
                  {above, LANES}, {below, LANES}, {TILE_ROWS, left}, {TILE_ROWS, right}};
    amx_config config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        if (tiles[i].rows == 0 || tiles[i].columns == 0) continue;
        config.rows[i] = (uint8_t)tiles[i].rows;
        config.row_bytes[i] = (uint16_t)(tiles[i].columns * sizeof(float));
    }
    _tile_loadconfig(&config);
}

/* One product of pieces of C1X1_MATRIX_HALVES of k. All conditions are known when it is compiled. */
#define AMX_PRODUCT(x, y)                                                   \
    if (held_a != (x)) {                                                    \
        const char *from = a + (x) * 2 * C1X1_MATRIX_TILE;                  \
        _tile_loadd(4, from, row);                                           \
        if (has_below) _tile_loadd(5, from + TILE_ROWS * row, row);         \
        held_a = (x);                                                       \
    }                                                                       \
    if (held_b != (y)) {                                                    \
        const char *from = b + (y) * 2 * C1X1_MATRIX_TILE;                  \
        _tile_loadd(6, from, 64);                                           \
        if (has_right) _tile_loadd(7, from + C1X1_MATRIX_TILE, 64);         \
        held_b = (y);                                                       \
    }                                                                       \
    _tile_dpbf16ps(0, 4, 6);                                                \
    if (has_right) _tile_dpbf16ps(1, 4, 7);                                 \
    if (has_below) _tile_dpbf16ps(2, 5, 6);                                 \
    if (has_below && has_right) _tile_dpbf16ps(3, 5, 7);

/* Sums of a block of k to those before them. */
static void amx_add(const c1x1_matrix_block *t, size_t n, const float *sums, float *c) {
    for (size_t i = 0; i < t->m; i++, sums += C1X1_MATRIX_EDGE, c += t->ldc) {
        if (n == C1X1_MATRIX_EDGE) {
            for (size_t j = 0; j < C1X1_MATRIX_EDGE; j++) c[j] += sums[j];
        } else {
            for (size_t j = 0; j < n; j++) c[j] += sums[j];
        }
    }
}

/* The four tiles of c, as the block has them. */
#define AMX_EACH(what)                                                      \
    what(0, c);                                                             \
    if (has_right) what(1, c + LANES);                                      \
    if (has_below) what(2, c + TILE_ROWS * ldc);                            \
    if (has_below && has_right) what(3, c + TILE_ROWS * ldc + LANES);
#define AMX_ZERO(tile, at) _tile_zero(tile)
#define AMX_LOAD(tile, at) _tile_loadd(tile, at, ldc * (ptrdiff_t)sizeof(float))
#define AMX_STORE(tile, at) _tile_stored(tile, at, ldc * (ptrdiff_t)sizeof(float))

#define AMX_BLOCK(A, B)                                                                           \
    SPLIT_INLINE void amx_block_##A##_##B(const c1x1_matrix_block *t, size_t n, const char *b, float *c, \
                                          const int has_below, const int has_right) {             \
        const char *a = t->a;                                                                     \
        const ptrdiff_t row = t->a_row; \
        float sums[C1X1_MATRIX_EDGE * C1X1_MATRIX_EDGE] __attribute__((aligned(64)));             \
        float *const to = c;                                                                      \
        const int adds = t->start == C1X1_ADD;                                                    \
        const ptrdiff_t ldc = adds ? C1X1_MATRIX_EDGE : t->ldc;                                   \
        if (adds) c = sums;                                                                       \
        if (t->start == C1X1_CONTINUE) {                                                                            \
            AMX_EACH(AMX_LOAD)                                                                    \
        } else {                                                                                  \
            AMX_EACH(AMX_ZERO)                                                                    \
        }                                                                                         \
        for (size_t p = 0; p < t->k; p += C1X1_MATRIX_HALVES) {                                        \
            int held_a = -1, held_b = -1;                                                         \
            C1X1_PRODUCTS_##A##_##B(AMX_PRODUCT) a += t->a_step;                   \
            b += B * 2 * C1X1_MATRIX_TILE;                                                        \
        }                                                                                         \
        AMX_EACH(AMX_STORE)                                                                       \
        if (adds) amx_add(t, n, sums, to);                                                        \
    }                                                                                             \
    static void amx_block_of_##A##_##B(const c1x1_matrix_block *t, size_t n, const char *b,       \
                                       void *c) {                                                \
        if (t->m > TILE_ROWS && n > LANES)                                                        \
            amx_block_##A##_##B(t, n, b, c, 1, 1);                                                   \
        else if (t->m > TILE_ROWS)                                                                \
            amx_block_##A##_##B(t, n, b, c, 1, 0);                                                   \
        else if (n > LANES)                                                                       \
            amx_block_##A##_##B(t, n, b, c, 0, 1);                                                   \
        else                                                                                      \
            amx_block_##A##_##B(t, n, b, c, 0, 0);                                                   \
    }
C1X1_FOR_EACH_PIECES(AMX_BLOCK)

typedef void (*amx_block_fn)(const c1x1_matrix_block *t, size_t n, const char *b, void *c);
#define AMX_ENTRY(A, B) [A - 1][B - 1] = amx_block_of_##A##_##B,
static const amx_block_fn amx_blocks[C1X1_MATRIX_PIECES][C1X1_MATRIX_PIECES] = {
    C1X1_FOR_EACH_PIECES(AMX_ENTRY)};

/* All blocks of a row of them. */
static void amx_multiply_by(const c1x1_matrix_block *t, amx_block_fn block) {
    const char *b = t->b;
    char *c = t->c;
    size_t configured = 0;
    for (size_t i = 0; i <= t->more; i++, b += t->next_b, c += t->n * sizeof(float)) {
        const size_t n = i < t->more ? t->n : t->last_n;
        if (n != configured) amx_configure(t->m, n);
        configured = n;
        block(t, n, b, c);
    }
    _tile_release();
}

static void amx_multiply(const c1x1_matrix_block *t) {
    amx_multiply_by(t, amx_blocks[t->a_pieces - 1][t->b_pieces - 1]);
}

static const c1x1_matrix_kernels amx_matrix = {
    .k = C1X1_MATRIX_HALVES,
    .size = sizeof(float),
    .split_rows = split_rows,
    .split_columns = split_columns,
    .multiply = amx_multiply,
    .cycles_per_product = C1X1_AMX_PRODUCT_CYCLES,
    .cycles_per_split = C1X1_AMX_SPLIT_CYCLES,
};

static const c1x1_matrix_kernels amx_halves = {
    .k = C1X1_MATRIX_HALVES,
    .size = sizeof(uint16_t),
    .split_rows = halves_rows,
    .split_columns = halves_columns,
    .multiply = amx_multiply,
    .cycles_per_product = C1X1_AMX_PRODUCT_CYCLES,
    .cycles_per_split = C1X1_MOVE_CYCLES,
};

/* Bytes: A and B say which side is signed; TDPBSSD and its like keep sums in int32, which wrap. */
#define AMX_BYTES_SIDE(NAME, DP)                                                                    \
    SPLIT_INLINE void amx_bytes_##NAME(const c1x1_matrix_block *t, const char *b, int32_t *c,       \
                                       const int has_below, const int has_right) {                  \
        const char *a = t->a;                                                                       \
        const ptrdiff_t ldc = t->ldc, row = t->a_row;                                               \
        if (t->start == C1X1_ZERO) {                                                                \
            AMX_EACH(AMX_ZERO)                                                                      \
        } else {                                                                                    \
            AMX_EACH(AMX_LOAD)                                                                      \
        }                                                                                           \
        for (size_t p = 0; p < t->k; p += C1X1_MATRIX_BYTES) {                                      \
            _tile_loadd(4, a, row);                                                                 \
            _tile_loadd(6, b, C1X1_MATRIX_ROW);                                                     \
            DP(0, 4, 6);                                                                            \
            if (has_right) _tile_loadd(7, b + C1X1_MATRIX_TILE, C1X1_MATRIX_ROW);                   \
            if (has_right) DP(1, 4, 7);                                                             \
            if (has_below) _tile_loadd(5, a + TILE_ROWS * row, row);                                \
            if (has_below) DP(2, 5, 6);                                                             \
            if (has_below && has_right) DP(3, 5, 7);                                                \
            a += t->a_step;                                                                         \
            b += 2 * C1X1_MATRIX_TILE;                                                              \
        }                                                                                           \
        AMX_EACH(AMX_STORE)                                                                         \
    }                                                                                               \
    static void amx_bytes_block_##NAME(const c1x1_matrix_block *t, size_t n, const char *b,         \
                                       void *c) {                                                   \
        if (t->m > TILE_ROWS && n > LANES)                                                          \
            amx_bytes_##NAME(t, b, c, 1, 1);                                                        \
        else if (t->m > TILE_ROWS)                                                                  \
            amx_bytes_##NAME(t, b, c, 1, 0);                                                        \
        else if (n > LANES)                                                                         \
            amx_bytes_##NAME(t, b, c, 0, 1);                                                        \
        else                                                                                        \
            amx_bytes_##NAME(t, b, c, 0, 0);                                                        \
    }
AMX_BYTES_SIDE(uu, _tile_dpbuud)
AMX_BYTES_SIDE(us, _tile_dpbusd)
AMX_BYTES_SIDE(su, _tile_dpbsud)
AMX_BYTES_SIDE(ss, _tile_dpbssd)

static void amx_multiply_bytes(const c1x1_matrix_block *t) {
    static const amx_block_fn blocks[2][2] = {{amx_bytes_block_uu, amx_bytes_block_us},
                                              {amx_bytes_block_su, amx_bytes_block_ss}};
    amx_multiply_by(t, blocks[t->a_is_signed][t->b_is_signed]);
}

static const c1x1_matrix_kernels amx_bytes = {
    .k = C1X1_MATRIX_BYTES,
    .size = 1,
    .signs = C1X1_SIGNS_ANY,
    .split_rows = bytes_rows,
    .split_columns = bytes_columns,
    .multiply = amx_multiply_bytes,
    .cycles_per_product = C1X1_AMX_PRODUCT_CYCLES,
    .cycles_per_split = C1X1_MOVE_CYCLES,
};

extern const c1x1_isa c1x1_isa_x86_amx;
const c1x1_isa c1x1_isa_x86_amx = {
    .name = "x86_amx",
    .description = "x86-64 with AVX-512 and the tiles of AMX: bfloat16 and bytes",
    .needs = C1X1_HAS_FMA | C1X1_HAS_AVX2 | C1X1_HAS_AVX512 | C1X1_HAS_AMX,
    .kernels = {NULL, NULL, NULL, NULL},
    .matrix = {[C1X1_UNIT_FLOAT32] = &amx_matrix,
               [C1X1_UNIT_BFLOAT16] = &amx_halves,
               [C1X1_UNIT_BYTES] = &amx_bytes},
};
