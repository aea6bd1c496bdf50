/* kernel.h - the contract between the driver and every kernel.
 *
 * A kernel computes one register tile. It allocates nothing, starts no thread, does not know what a
 * pixel is, and touches exactly the elements named here.
 *
 * tile   c[i, j] = start + sum over p of a[i, p] * b[p, j]     i < m, j < n, p < k
 *        k is cut into pieces. Each piece is one fused multiply-add after the other, p ascending,
 *        from zero; pieces are added up in order, then bias and residual where given; then come the
 *        bounds, as the activation clip has them. The order is the same on every ISA. A single long chain would lose bits (decision 0002).
 *
 * dot    c[i, j] = sum over p of a[i, p] * b[j, p]
 *        sixteen running sums, element p goes to sum p mod 16, folded 8+8, 4+4, 2+2, 1+1, then
 *        bias_n. b holds n rows of k.
 *
 * chains c[i, j] = sum over p of a[i, p] * b[p, j], then bias_m      k >= 16, few rows of c
 *        as dot, with vectors along j; n is at most c1x1_chain_columns.
 *
 * column as a tile of vl rows, n = 1, with `more` such below it; never CONTINUE
 *
 * small  c[p * N + o] = sum over i < K of b[p * K + i] * a[o, i], then bias_m[o]      p < n
 *        pixels whose few channels lie side by side on both sides; K and N are constants. One chain
 *        from zero. c may be b when K == N.
 *
 * pack   c[j / nr * ldc + p * nr + j % nr] = b[p, j]      p < k, j < n, nr = nv * vl
 *        rows of a b to come, into its panels, which lie ldc apart; the last vector is filled with
 *        zeros
 *
 * finish c[i, j] = activation(scale * c[i, j] + bias + residual[i, j])      i < m, j < n
 *        scale and bias by one fused multiply-add, then residual, then the activation.
 *
 * fold   c[j] = the same folding of sixteen rows a[0..15, j], then bias_m[0].
 *
 * A matrix unit multiplies blocks of bfloat16. A float32 is cut into three of them, which hold all its
 * bits; of the products of pieces those are added up that a float32 sum can tell (decision 0012).
 *
 * split  rows (of a) or columns (of b) to the unit's tiles of pieces: for every C1X1_MATRIX_K of k, for
 *        every piece, the upper tile of sixteen rows (columns), then the lower; zeros where m, n or k
 *        end before.
 *
 * matrix c[i, j] (+)= sum over p of a[i, p] * b[p, j], for all products of pieces that count */
#ifndef C1X1_KERNEL_H
#define C1X1_KERNEL_H

#include "../c1x1.h"
#include "../sizes.h"

enum { C1X1_CHAINS = 16, C1X1_CHAIN_BYTES = 4096, C1X1_RUN_BYTES = 8192 };

/* Of k channels, those of one chain. */
static inline size_t c1x1_chain_length(size_t k, size_t chain) {
    return k > chain ? (k - chain + C1X1_CHAINS - 1) / C1X1_CHAINS : 0;
}

typedef enum {
    C1X1_ZERO,    /* c need not be readable */
    C1X1_ADD,     /* c holds earlier pieces, to which these are added */
    C1X1_CONTINUE /* c holds the running sum, which goes on */
} c1x1_start;

/* Memory that will be read soon and is fetched into L2 meanwhile: `count` pairs of lines, `step` bytes
 * apart, `each` of them every few steps, at least 1. A kernel fetches as many as it finds the time for; none
 * is read. */
typedef struct {
    const char *at;
    size_t count;
    ptrdiff_t step;
    size_t each;
} c1x1_ahead;

/* A call would make a tile put all its sums aside. */
static inline __attribute__((always_inline)) void c1x1_fetch(c1x1_ahead *ahead) {
    if (ahead->count == 0) return;
    size_t left = smaller(ahead->each, ahead->count);
    ahead->count -= left;
    do {
        __builtin_prefetch(ahead->at, 0, 2);
        __builtin_prefetch(ahead->at + C1X1_LINE, 0, 2);
        ahead->at += ahead->step;
    } while (--left > 0);
}

/* Leading strides in elements. Rows have unit stride. No pointer needs an alignment beyond that of
 * its element. k may be 0. */
typedef struct {
    size_t k, n;
    const void *a, *b;
    void *c;
    ptrdiff_t lda, ldb, ldc;
    const void *bias_m, *bias_n; /* m (n) values, or NULL; never both */
    const void *residual;        /* as c, ldr apart, or NULL */
    ptrdiff_t ldr;
    const void *bounds; /* two values, or NULL */
    int fetches_c;      /* whether lines of c are fetched, those fetched_c elements from here */
    ptrdiff_t fetched_c;
    ptrdiff_t fetched; /* elements from rows of a (dot), of b (pack), to those fetched, or 0 */
    c1x1_sweep sweep;  /* chains of vectors: of b */
    size_t piece;      /* of k, at least 1 */
    c1x1_start start;
    c1x1_ahead ahead;
    int is_ahead_of_b; /* what is ahead begins anew for each tile to the right, as far from its b */
    size_t more;       /* tiles of the same size to the right of this one, of dots below it */
    ptrdiff_t next_b;  /* elements from the b of a tile to that of the tile to its right */
} c1x1_tile;

static inline int c1x1_tile_is_short(const c1x1_tile *t) {
    return t->k <= t->piece && t->start == C1X1_ZERO && t->ahead.count == 0 && !t->residual &&
           !t->bounds;
}

typedef void (*c1x1_tile_fn)(const c1x1_tile *tile);

/* m rows of n results, in place. Leading strides in elements. */
typedef struct {
    size_t m, n;
    void *c;
    const void *residual; /* or NULL */
    ptrdiff_t ldc, ldr;
    int is_by_row; /* the vectors below hold a value per row, else one per column */
    const void *scale, *bias,
        *parameter[2]; /* or NULL; parameters as many as the activation takes */
} c1x1_finish;

typedef void (*c1x1_finish_fn)(const c1x1_finish *finish);

enum {
    C1X1_MAX_MR = 8,
    C1X1_MAX_VL = 16,
    C1X1_MAX_NV = 12,
    C1X1_MAX_DOT = 4,
    C1X1_MAX_SMALL = 4,
    C1X1_MAX_SMALL_IN = 15
};

/* All kernels of one ISA for one compute dtype. A NULL entry means that tile does not fit the
 * registers. nv counts vectors of vl elements. */
typedef struct {
    unsigned vl;
    unsigned mr[C1X1_MAX_NV + 1]; /* rows of the full tile with nv vectors; 0: no such tile */
    unsigned preferred[C1X1_MAX_NV + 1]; /* nv values, best first when cost ties; 0-terminated */
    unsigned dot_mr[C1X1_MAX_DOT + 1];   /* rows of the full dot tile with n columns; 0: none */
    double fma_per_cycle, loads_per_cycle, fma_latency; /* vectors; for the plan's cost */
    /* [m - 1][nv - 1][is_masked]: (nv - 1) * vl < n <= nv * vl, unmasked when n == nv * vl */
    c1x1_tile_fn tile[C1X1_MAX_MR][C1X1_MAX_NV][2];
    c1x1_tile_fn dot[C1X1_MAX_MR][C1X1_MAX_DOT];           /* [m - 1][n - 1] */
    c1x1_tile_fn small[C1X1_MAX_SMALL_IN][C1X1_MAX_SMALL]; /* [K - 1][N - 1], or all NULL */
    c1x1_tile_fn chains[C1X1_MAX_DOT];                     /* [m - 1], or all NULL */
    c1x1_tile_fn fold;
    c1x1_tile_fn column;            /* or NULL; only beside small ones */
    c1x1_tile_fn pack[C1X1_MAX_NV]; /* [nv - 1] */
    const c1x1_finish_fn *finish;   /* [activation]; integers have the identity alone */
} c1x1_kernels;

/* `count` dense elements of one dtype to another; they need no alignment, and do not overlap. */
typedef void (*c1x1_convert_fn)(void *to, const void *from, size_t count);

/* Those of one ISA: the load and store stages' own work where rows are dense. NULL: the next ISA below
 * has it, or nobody, and pack.c or store.c convert element by element. */
typedef struct {
    /* [compute][dtype]: to what operands hold, from what results are finished in */
    c1x1_convert_fn load[C1X1_COMPUTE_COUNT][C1X1_DTYPE_COUNT];
    c1x1_convert_fn store[C1X1_COMPUTE_COUNT][C1X1_DTYPE_COUNT];
} c1x1_converters;

/* small kernels whose pixels and results are uint8, while weights, bias and sums are float32: results are
 * rounded half to even and saturated, a NaN is 0. */
typedef struct {
    unsigned vl;
    c1x1_tile_fn small[C1X1_MAX_SMALL][C1X1_MAX_SMALL]; /* [K - 1][N - 1] */
} c1x1_bytes;

/* Columns that a chains kernel takes at most: where its sums wait in L1, b is read in runs this long. */
static inline size_t c1x1_chain_columns(size_t rows, size_t size, c1x1_sweep sweep) {
    if (sweep == C1X1_COLUMNS) return SIZE_MAX;
    const size_t bytes = sweep == C1X1_RUNS ? C1X1_RUN_BYTES : C1X1_CHAIN_BYTES;
    return bytes / size / rows / C1X1_MAX_VL * C1X1_MAX_VL;
}

/* Columns of the next panel when `left` remain: nr, but a last panel of one vector or less is taken
 * together with the one before it, since a tile of one vector loads more than it multiplies. */
static inline size_t c1x1_panel_columns(const c1x1_kernels *kernels, size_t nr, size_t left) {
    if (left <= nr) return left;
    const size_t nv = nr / kernels->vl + 1;
    return left - nr <= kernels->vl && nv <= C1X1_MAX_NV && kernels->mr[nv] > 1 ? left : nr;
}

/* Columns of the last panel. */
static inline size_t c1x1_last_columns(const c1x1_kernels *kernels, size_t nr, size_t left) {
    while (c1x1_panel_columns(kernels, nr, left) < left) left -= nr;
    return left;
}

/* Whether of a panel, beyond its whole vectors, a single column is left, which a kernel of its own takes: in a
 * tile it would take as long as a vector. `columns` has that kernel, or is NULL. */
static inline int c1x1_is_column_left(const c1x1_kernels *kernels, const c1x1_kernels *columns,
                                      size_t width) {
    return columns && columns->column && width > 1 && (width & (kernels->vl - 1)) == 1;
}

/* ---- matrix units ----------------------------------------------------------------------------- */

enum {
    C1X1_MATRIX_EDGE = 32,   /* rows and columns of a block of results, in two tiles each */
    C1X1_MATRIX_HALVES = 32, /* of k, that a tile holds: bfloat16 */
    C1X1_MATRIX_BYTES = 64,  /* int8 or uint8 */
    C1X1_MATRIX_PIECES = 3,
    C1X1_MATRIX_ROW = 64,   /* bytes of a tile's row */
    C1X1_MATRIX_TILE = 1024 /* bytes */
};

/* Absolute values, as the bits of float32: those of zeros do not count. */
typedef struct {
    uint32_t smallest, largest;
} c1x1_range;

typedef struct {
    size_t count, k; /* rows or columns, at most C1X1_MATRIX_EDGE */
    const void *source;
    ptrdiff_t ld; /* elements from row to row of the source */
    void *to;     /* NULL: rows of bfloat16 stay where they are, and only their range is noted */
    unsigned pieces;
    c1x1_range *range; /* is widened; bytes have none */
    int is_flipped;    /* rows of bytes: signed ones become unsigned, or the other way round */
} c1x1_split;

/* Which signs the bytes of both operands may have. */
typedef enum { C1X1_SIGNS_ANY, C1X1_SIGNS_DIFFER, C1X1_SIGNS_AGREE } c1x1_signs;

typedef struct {
    size_t m, n, k; /* m and n of one block, at most C1X1_MATRIX_EDGE */
    const void *a, *b;
    ptrdiff_t a_row, a_step; /* bytes from row to row of a tile, from tile to tile along k: a of
                                one piece may lie in the caller's array */
    void *c;                 /* float32, or int32 of bytes */
    ptrdiff_t ldc;
    unsigned a_pieces, b_pieces;
    int a_is_signed, b_is_signed; /* bytes, as they lie here */
    int a_offset;          /* by which those of a are greater than they should be: 0, 128, -128 */
    c1x1_start start;      /* as of a tile: ADD sums from zero first */
    size_t more;           /* blocks to the right, all full but the last */
    size_t last_n, next_b; /* columns of that, bytes from a b to the next */
} c1x1_matrix_block;

/* What multiplies operands of one c1x1_unit. */
typedef struct {
    size_t k;         /* that a tile holds: C1X1_MATRIX_HALVES or C1X1_MATRIX_BYTES */
    size_t size;      /* bytes of an element before it is cut */
    c1x1_signs signs; /* of bytes, that it multiplies */
    void (*split_rows)(const c1x1_split *split);    /* rows lie along k */
    void (*split_columns)(const c1x1_split *split); /* rows lie across k */
    void (*multiply)(const c1x1_matrix_block *block);
    double cycles_per_product; /* of two tiles; for the plan's cost */
    double cycles_per_split;   /* of one element */
} c1x1_matrix_kernels;

/* Bytes of the pieces of C1X1_MATRIX_EDGE rows or columns. */
static inline size_t c1x1_matrix_bytes(const c1x1_matrix_kernels *unit, size_t k, unsigned pieces) {
    return (k + unit->k - 1) / unit->k * pieces * 2 * C1X1_MATRIX_TILE;
}

/* Weights cut into pieces, panel after panel of C1X1_MATRIX_EDGE output channels, group after group. */
typedef struct c1x1_pieces {
    const c1x1_matrix_kernels *kernels;
    unsigned count;
    int are_rows; /* for the a side */
    int offset;   /* of bytes, as a_offset of a block */
    size_t panel_bytes, panels;
    c1x1_range *range; /* of each panel */
    char *data;
} c1x1_pieces;

/* X(x, y) for the products of piece x of a and piece y of b that count, x + y below the greater number
 * of pieces; the largest last, and a piece used twice in a row where that can be. */
#define C1X1_PRODUCTS_1_1(X) X(0, 0)
#define C1X1_PRODUCTS_1_2(X) X(0, 1) X(0, 0)
#define C1X1_PRODUCTS_2_1(X) X(1, 0) X(0, 0)
#define C1X1_PRODUCTS_2_2(X) X(1, 0) X(0, 1) X(0, 0)
#define C1X1_PRODUCTS_1_3(X) X(0, 2) X(0, 1) X(0, 0)
#define C1X1_PRODUCTS_3_1(X) X(2, 0) X(1, 0) X(0, 0)
#define C1X1_PRODUCTS_2_3(X) X(1, 0) X(1, 1) X(0, 1) X(0, 2) X(0, 0)
#define C1X1_PRODUCTS_3_2(X) X(2, 0) X(1, 0) X(1, 1) X(0, 1) X(0, 0)
#define C1X1_PRODUCTS_3_3(X) X(2, 0) X(1, 0) X(1, 1) X(0, 1) X(0, 2) X(0, 0)
#define C1X1_FOR_EACH_PIECES(X) \
    X(1, 1) X(1, 2) X(2, 1) X(2, 2) X(1, 3) X(3, 1) X(2, 3) X(3, 2) X(3, 3)

/* One row of the registry. */
typedef struct c1x1_isa {
    const char *name; /* also the value of C1X1_ISA */
    const char *description;
    unsigned needs;                                     /* C1X1_HAS_... */
    const c1x1_kernels *kernels[C1X1_COMPUTE_COUNT];    /* NULL: the next ISA below serves it */
    const c1x1_matrix_kernels *matrix[C1X1_UNIT_COUNT]; /* or NULL */
    const c1x1_converters *converters;                  /* or NULL */
    const c1x1_bytes *bytes;                            /* or NULL */
} c1x1_isa;

/* registry.c: best ISA first, ends with the one that every machine runs. */
extern const c1x1_isa *const c1x1_isas[];
extern const size_t c1x1_isa_count;

/* The kernels that serve `compute` on a machine whose best ISA is `isa`; *owner gets their ISA. */
const c1x1_kernels *c1x1_find_kernels(const c1x1_isa *isa, c1x1_compute compute,
                                      const c1x1_isa **owner);
/* As c1x1_find_kernels, for the first that has small kernels. */
const c1x1_kernels *c1x1_find_small(const c1x1_isa *isa, c1x1_compute compute);
/* From `dtype` to operands of `compute`, and from its results; NULL where no ISA has it. */
c1x1_convert_fn c1x1_find_load_converter(const c1x1_isa *isa, c1x1_dtype from, c1x1_compute to);
c1x1_convert_fn c1x1_find_store_converter(const c1x1_isa *isa, c1x1_compute from, c1x1_dtype to);
/* Of the first ISA from `isa` downwards that has them, or NULL. */
const c1x1_bytes *c1x1_find_bytes(const c1x1_isa *isa);
const c1x1_isa *c1x1_find_isa(const char *name);

/* Every nv, for pack. */
#define PACKS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)

/* For bodies with constant sizes: their loops unroll and their arrays live in registers. */
#define TILE_INLINE static inline __attribute__((always_inline))
#define C1X1_OPAQUE(pointer) __asm__("" : "+r"(pointer))
#ifdef __clang__
#define C1X1_UNROLL _Pragma("clang loop unroll(full)")
#define C1X1_KEEP_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define C1X1_UNROLL _Pragma("GCC unroll 32")
#define C1X1_KEEP_ROLLED _Pragma("GCC unroll 1")
#endif

#endif
