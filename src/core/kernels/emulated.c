/* emulated.c - matrix units in plain C: of bfloat16 as AMX has them, bit by bit, and of bytes.
 *
 * For machines without such a unit, so that what is built on it is tested everywhere: these rows of the
 * registry run only where they are named; their other kernels are those of scalar.c.
 *
 * As Intel's manual has TDPBF16PS: the products of even and of odd elements of k are added up apart, from
 * zero, in order, then to each other, then to what the tile holds; each addition is rounded to nearest,
 * and what is subnormal counts as zero, before and after. A product of two bfloat16 is exact in float32,
 * where it is normal. */
#include "matrix_bytes.inc"
#include "matrix_split.inc"

#include "matrix_halves.inc"

SPLIT_INLINE c1x1_floats emulated_flush(c1x1_floats v) {
    const c1x1_words size = (c1x1_words)v & 0x7fffffffu;
    return (c1x1_floats)((c1x1_words)v & ((c1x1_words)(size >= 0x00800000u) | 0x80000000u));
}

/* *c += a row of a tile of a by a tile of b, in vectors of sixteen columns. One copy of it is enough. */
static __attribute__((noinline)) void emulated_row(c1x1_floats *c, const char *a, const char *b) {
    c1x1_floats even = {0}, odd = {0};
    for (int q = 0; q < TILE_ROWS; q++) {
        uint16_t pair[2];
        c1x1_words columns;
        memcpy(pair, a + q * 4, sizeof pair);
        memcpy(&columns, b + q * 64, sizeof columns);
        const c1x1_words first = (c1x1_words){0} + ((uint32_t)pair[0] << 16);
        const c1x1_words second = (c1x1_words){0} + ((uint32_t)pair[1] << 16);
        even = emulated_flush(even + emulated_flush((c1x1_floats)first) *
                                         emulated_flush((c1x1_floats)(columns << 16)));
        odd = emulated_flush(odd + emulated_flush((c1x1_floats)second) *
                                       emulated_flush((c1x1_floats)(columns & 0xffff0000u)));
    }
    *c = emulated_flush(emulated_flush(*c) + emulated_flush(even + odd));
}

/* All products that count, of C1X1_MATRIX_HALVES of k. */
#define EMULATED_PRODUCT(x, y) \
    emulated_row(c, a + (x) * 2 * C1X1_MATRIX_TILE, b + (y) * 2 * C1X1_MATRIX_TILE);
#define EMULATED_STEP(A, B)                                                             \
    static void emulated_step_##A##_##B(c1x1_floats *c, const char *a, const char *b) { \
        C1X1_PRODUCTS_##A##_##B(EMULATED_PRODUCT)                                       \
    }
C1X1_FOR_EACH_PIECES(EMULATED_STEP)

typedef void (*emulated_step)(c1x1_floats *c, const char *a, const char *b);
#define EMULATED_ENTRY(A, B) [A - 1][B - 1] = emulated_step_##A##_##B,
static const emulated_step emulated_steps[C1X1_MATRIX_PIECES][C1X1_MATRIX_PIECES] = {
    C1X1_FOR_EACH_PIECES(EMULATED_ENTRY)};

static void emulated_block(const c1x1_matrix_block *t, size_t n, const char *b, float *c) {
    const emulated_step multiply = emulated_steps[t->a_pieces - 1][t->b_pieces - 1];
    const size_t b_step = t->b_pieces * 2 * C1X1_MATRIX_TILE;
    for (size_t i = 0; i < t->m; i++) {
        for (size_t j = 0; j < n; j += LANES) {
            const size_t columns = n - j < LANES ? n - j : LANES;
            const char *rows = (const char *)t->a + (ptrdiff_t)i * t->a_row;
            const char *tiles = b + j / LANES * C1X1_MATRIX_TILE;
            float *at = c + (ptrdiff_t)i * t->ldc + j;
            c1x1_floats sum = {0};
            if (t->start == C1X1_CONTINUE) memcpy(&sum, at, columns * sizeof *at);
            for (size_t p = 0; p < t->k;
                 p += C1X1_MATRIX_HALVES, rows += t->a_step, tiles += b_step)
                multiply(&sum, rows, tiles);
            if (t->start == C1X1_ADD) {
                c1x1_floats before = {0};
                memcpy(&before, at, columns * sizeof *at);
                sum = before + sum;
            }
            memcpy(at, &sum, columns * sizeof *at);
        }
    }
}

static void emulated_multiply(const c1x1_matrix_block *t) {
    const char *b = t->b;
    float *c = t->c;
    for (size_t i = 0; i <= t->more; i++, b += t->next_b, c += t->n)
        emulated_block(t, i < t->more ? t->n : t->last_n, b, c);
}

static int emulated_byte(const char *at, int is_signed) {
    return is_signed ? (signed char)*at : (unsigned char)*at;
}

/* Sums wrap, as the units' do. */
static void emulated_bytes_block(const c1x1_matrix_block *t, size_t n, const char *b, uint32_t *c) {
    for (size_t i = 0; i < t->m; i++) {
        for (size_t j = 0; j < n; j++) {
            const char *row = (const char *)t->a + (ptrdiff_t)i * t->a_row;
            const char *column = b + j / LANES * C1X1_MATRIX_TILE + j % LANES * 4;
            uint32_t *at = c + (ptrdiff_t)i * t->ldc + j;
            uint32_t sum = t->start == C1X1_ZERO ? 0 : *at, b_sum = 0;
            for (size_t p = 0; p < t->k; p += C1X1_MATRIX_BYTES) {
                for (size_t q = 0; q < C1X1_MATRIX_BYTES; q++) {
                    const int value =
                        emulated_byte(column + q / 4 * C1X1_MATRIX_ROW + q % 4, t->b_is_signed);
                    sum += (uint32_t)(emulated_byte(row + q, t->a_is_signed) * value);
                    b_sum += (uint32_t)value;
                }
                row += t->a_step;
                column += 2 * C1X1_MATRIX_TILE;
            }
            *at = sum - (uint32_t)t->a_offset * b_sum;
        }
    }
}

static void emulated_bytes_multiply(const c1x1_matrix_block *t) {
    const char *b = t->b;
    uint32_t *c = t->c;
    for (size_t i = 0; i <= t->more; i++, b += t->next_b, c += t->n)
        emulated_bytes_block(t, i < t->more ? t->n : t->last_n, b, c);
}

/* The costs are AMX's, so that plans are those of a machine that has it. */
static const c1x1_matrix_kernels emulated_matrix = {
    .k = C1X1_MATRIX_HALVES,
    .size = sizeof(float),
    .split_rows = split_rows,
    .split_columns = split_columns,
    .multiply = emulated_multiply,
    .cycles_per_product = C1X1_AMX_PRODUCT_CYCLES,
    .cycles_per_split = C1X1_AMX_SPLIT_CYCLES,
};

static const c1x1_matrix_kernels emulated_halves = {
    .k = C1X1_MATRIX_HALVES,
    .size = sizeof(uint16_t),
    .split_rows = halves_rows,
    .split_columns = halves_columns,
    .multiply = emulated_multiply,
    .cycles_per_product = C1X1_AMX_PRODUCT_CYCLES,
    .cycles_per_split = C1X1_MOVE_CYCLES,
};

#define EMULATED_BYTES(SIGNS)                                                              \
    {                                                                                      \
        .k = C1X1_MATRIX_BYTES, .size = 1, .signs = SIGNS, .split_rows = bytes_rows,       \
        .split_columns = bytes_columns, .multiply = emulated_bytes_multiply,               \
        .cycles_per_product = C1X1_AMX_PRODUCT_CYCLES, .cycles_per_split = C1X1_MOVE_CYCLES, \
    }
static const c1x1_matrix_kernels emulated_bytes = EMULATED_BYTES(C1X1_SIGNS_ANY);
static const c1x1_matrix_kernels emulated_differ = EMULATED_BYTES(C1X1_SIGNS_DIFFER);
static const c1x1_matrix_kernels emulated_agree = EMULATED_BYTES(C1X1_SIGNS_AGREE);

extern const c1x1_kernels c1x1_scalar_float32, c1x1_scalar_float64;
extern const c1x1_kernels c1x1_scalar_int64, c1x1_scalar_pairs;
#define EMULATED_KERNELS \
    {&c1x1_scalar_float32, &c1x1_scalar_float64, &c1x1_scalar_int64, &c1x1_scalar_pairs}

extern const c1x1_isa c1x1_isa_emulated_amx, c1x1_isa_emulated_vnni, c1x1_isa_emulated_dot;
const c1x1_isa c1x1_isa_emulated_amx = {
    .name = "emulated_amx",
    .description = "plain C, with the matrix units of AMX emulated: for tests",
    .needs = C1X1_HAS_FMA | C1X1_ON_REQUEST,
    .kernels = EMULATED_KERNELS,
    .matrix = {[C1X1_UNIT_FLOAT32] = &emulated_matrix,
               [C1X1_UNIT_BFLOAT16] = &emulated_halves,
               [C1X1_UNIT_BYTES] = &emulated_bytes},
};
const c1x1_isa c1x1_isa_emulated_vnni = {
    .name = "emulated_vnni",
    .description = "plain C, with products of unsigned by signed bytes emulated: for tests",
    .needs = C1X1_HAS_FMA | C1X1_ON_REQUEST,
    .kernels = EMULATED_KERNELS,
    .matrix = {[C1X1_UNIT_BYTES] = &emulated_differ},
};
const c1x1_isa c1x1_isa_emulated_dot = {
    .name = "emulated_dot",
    .description = "plain C, with products of bytes of one sign emulated: for tests",
    .needs = C1X1_HAS_FMA | C1X1_ON_REQUEST,
    .kernels = EMULATED_KERNELS,
    .matrix = {[C1X1_UNIT_BYTES] = &emulated_agree},
};
