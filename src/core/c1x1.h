/* c1x1.h - the C core's interface: what a problem is, what a plan is, and the calls between floors.
 *
 * Floors, top to bottom; a file includes only this header and headers of its own floor or below:
 *   problem.c choose.c plan.c plan_blocks.c plan_matrix.c chain_plan.c
 *                                  floor 3  what is legal; who computes what, where and how
 *   driver.c multiply.c multiply_few.c matrix.c chain.c operands.c weights.c pack.c lookup.c
 *   finish.c store.c threads.c pool.c
 *                                  floor 4  walks the plan
 *   kernels/                       floor 5  one register tile each
 *   registry.c cpu.c               beside them: which kernels exist, which of them this CPU runs
 *
 * All strides in a problem are in bytes and may be zero, negative or unaligned. Sizes are counts of
 * elements. Nothing here allocates but c1x1_run and c1x1_pack_weights, and nothing prints. */
#ifndef C1X1_H
#define C1X1_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- dtypes ------------------------------------------------------------------------------- */

/* name in C, NumPy's name, C type. The order is that of c1x1_dtype. */
#define C1X1_FOR_EACH_INTEGER(X) \
    X(BOOL, "bool", uint8_t)     \
    X(INT8, "int8", int8_t)      \
    X(UINT8, "uint8", uint8_t)   \
    X(INT16, "int16", int16_t)   \
    X(UINT16, "uint16", uint16_t) \
    X(INT32, "int32", int32_t)   \
    X(UINT32, "uint32", uint32_t) \
    X(INT64, "int64", int64_t)   \
    X(UINT64, "uint64", uint64_t)
#define C1X1_FOR_EACH_FLOAT(X)     \
    X(FLOAT16, "float16", uint16_t) \
    X(BFLOAT16, "bfloat16", uint16_t) \
    X(FLOAT32, "float32", float)   \
    X(FLOAT64, "float64", double)
#define C1X1_FOR_EACH_DTYPE(X) C1X1_FOR_EACH_INTEGER(X) C1X1_FOR_EACH_FLOAT(X)

typedef enum {
#define C1X1_ENUM(NAME, name, type) C1X1_##NAME,
    C1X1_FOR_EACH_DTYPE(C1X1_ENUM)
#undef C1X1_ENUM
        C1X1_DTYPE_COUNT
} c1x1_dtype;

size_t c1x1_dtype_size(c1x1_dtype dtype);
const char *c1x1_dtype_name(c1x1_dtype dtype);

/* The dtypes that kernels accumulate in. Everything else is converted on its way in. */
enum {
    C1X1_COMPUTE_FLOAT32,
    C1X1_COMPUTE_FLOAT64,
    C1X1_COMPUTE_INT64,
    C1X1_COMPUTE_INT32, /* exact, of operands that fit int16: the caller knows that no sum overflows */
    C1X1_COMPUTE_COUNT
};
typedef int c1x1_compute;

c1x1_dtype c1x1_compute_dtype(c1x1_compute compute);

/* Channels in one element of an operand: a kernel for int32 multiplies pairs of int16. Of an odd number
 * of channels the last pair is filled with a zero, in both operands. */
static inline size_t c1x1_pack_factor(c1x1_compute compute) {
    return compute == C1X1_COMPUTE_INT32 ? 2 : 1;
}

/* Elements that `channels` take: the steps of a kernel. */
static inline size_t c1x1_steps(c1x1_compute compute, size_t channels) {
    const size_t factor = c1x1_pack_factor(compute);
    return channels / factor + (channels % factor != 0);
}

static inline int c1x1_is_whole(c1x1_compute compute) {
    return compute == C1X1_COMPUTE_INT64 || compute == C1X1_COMPUTE_INT32;
}

/* ---- status ------------------------------------------------------------------------------- */

typedef enum {
    C1X1_OK,
    C1X1_PAUSED,     /* the time slice is over, call c1x1_run again with the same run */
    C1X1_NO_MEMORY,  /* nothing was written */
    C1X1_TOO_LARGE,  /* sizes or strides overflow the address space */
    C1X1_OUT_REPEATS /* two results would share memory */
} c1x1_status;

/* ---- problem ------------------------------------------------------------------------------ */

enum { C1X1_MAX_DIMS = 64 };

/* One axis of the pixels: spatial or batch. */
typedef struct {
    size_t size;
    ptrdiff_t x_stride, out_stride, residual_stride;
} c1x1_dim;

/* How `out` lies to `x` in memory. */
typedef enum {
    C1X1_APART,       /* no byte in common */
    C1X1_SAME_PIXELS, /* each pixel's result overwrites that pixel's own channels, nothing else */
    C1X1_TANGLED      /* anything else: the caller must compute into memory of its own */
} c1x1_overlap;

typedef enum {
#define C1X1_ACTIVATION(NAME, name, parameters) C1X1_##NAME,
#include "epilogues.def"
#undef C1X1_ACTIVATION
    C1X1_ACTIVATION_COUNT
} c1x1_activation;

const char *c1x1_activation_name(int activation);
int c1x1_activation_parameters(int activation);

/* What becomes of the sums: activation(scale * sum + bias + residual). The vectors hold one value per
 * output channel of all groups, contiguous, or are NULL; dtypes as c1x1_finish_dtype says. */
typedef struct {
    const char *scale, *parameter[2]; /* of the activation */
    const char *residual;             /* any dtype and strides, or NULL */
    c1x1_dtype residual_dtype;
    ptrdiff_t residual_channel, residual_group;
    int residual_is_out; /* element for element */
    c1x1_activation activation;
} c1x1_epilogue;

/* Pixels that hold a certain value, the bytes of one element, and what their results shall be. */
typedef struct {
    int is_given;
    char value[8], fill[8];
} c1x1_nodata;

/* How exact float32 sums must be; only a matrix unit gains by less than the highest. */
typedef enum {
    C1X1_HIGHEST, /* as one fused multiply-add after the other */
    C1X1_HIGH,    /* products of operands of 16 bits */
    C1X1_MEDIUM   /* products of operands of 8 bits: bfloat16 */
} c1x1_precision;

struct c1x1_weights;

/* With f the identity or the table, and s = sum_i f(x[p, g * c_in + i]) * w[i, g * c_out + o]:
 * out[p, g * c_out + o] = activation(scale * s + bias[g * c_out + o] + residual[p, g * c_out + o]) */
typedef struct {
    const char *x, *w, *bias; /* bias: c1x1_finish_dtype, contiguous, or NULL */
    char *out;
    c1x1_epilogue epilogue;
    c1x1_nodata nodata;
    const char
        *table; /* of the compute dtype, at the entry of x == 0; or NULL. x has 8 or 16 bits. */
    ptrdiff_t table_channel; /* bytes from one input channel's entries to the next's, or 0 */
    c1x1_dtype x_dtype, w_dtype, out_dtype;
    c1x1_compute compute;
    c1x1_overlap overlap;
    int dims;
    c1x1_dim dim[C1X1_MAX_DIMS];
    size_t groups, c_in, c_out; /* channels per group */
    ptrdiff_t x_channel, w_in, w_out, out_channel;
    ptrdiff_t x_group, w_group, out_group; /* set by c1x1_problem_normalise */
    c1x1_precision precision;
    int is_reproducible;               /* the same bits wherever it runs: no matrix unit */
    const struct c1x1_weights *packed; /* of the same w, or NULL */
} c1x1_problem;

/* Whether more than a bias is asked for. */
int c1x1_has_epilogue(const c1x1_problem *problem);
/* Whether tiles can do it: what costs them no constants, a residual and the bounds of relu. */
int c1x1_tiles_finish(const c1x1_problem *problem);

/* In which dtype that is done: integer sums stay integers for a residual alone, else float64. */
c1x1_compute c1x1_finish_dtype(const c1x1_problem *problem);

/* The dtype that results are stored as: int64 for uint64 where sums in int64 of unsigned numbers are its own,
 * modulo 2^64 as NumPy's are. */
c1x1_dtype c1x1_stored_dtype(const c1x1_problem *problem);

/* Sets `overlap`, from the bytes that x and out span. Before c1x1_problem_normalise. */
void c1x1_problem_find_overlap(c1x1_problem *problem);

/* Whether [begin, end) of one span and of another have a byte in common. */
typedef struct {
    uintptr_t begin, end;
} c1x1_span;
/* The bytes an array of `itemsize` spans. */
c1x1_span c1x1_span_of(const void *data, int dims, const ptrdiff_t *shape, const ptrdiff_t *strides,
                       size_t itemsize);
int c1x1_spans_meet(c1x1_span a, c1x1_span b);

/* Checks sizes and strides, drops axes of size 1, turns, sorts and merges the others so that they follow memory
 * and `dim` is as short as it can be: x, out and the residual may begin at another pixel. Changes the order in which
 * pixels are visited, never their results. */
c1x1_status c1x1_problem_normalise(c1x1_problem *problem);
/* The same where no axis may be turned: pixels that will lie elsewhere. */
c1x1_status c1x1_problem_normalise_block(c1x1_problem *problem);

/* Pixels of a normalised problem. */
size_t c1x1_problem_pixels(const c1x1_problem *problem);

/* ---- ISAs and this machine ---------------------------------------------------------------- */

/* One bit per CPU feature that a kernel file may need. */
enum {
    C1X1_HAS_FMA = 1 << 0,
    C1X1_HAS_AVX2 = 1 << 1,
    C1X1_HAS_AVX512 = 1 << 2, /* F, BW, DQ, VL and the OS saves the state */
    C1X1_HAS_NEON = 1 << 3,
    C1X1_HAS_F16C = 1 << 4,
    C1X1_HAS_AMX = 1 << 5, /* tiles of bfloat16 and bytes; the OS saves them, once it is asked */
    C1X1_HAS_AVX512_VNNI = 1 << 6,
    C1X1_HAS_AVX_VNNI = 1 << 7,
    C1X1_HAS_DOT = 1 << 8,   /* ARM's SDOT and UDOT */
    C1X1_ON_REQUEST = 1 << 9 /* no CPU's: a row that runs only when it is named */
};

/* The CPUID words and XCR0 that decide; zero where a leaf does not exist. */
typedef struct {
    uint32_t leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_edx;
    uint32_t leaf7_1_eax; /* of subleaf 1 */
    uint64_t xcr0;
} c1x1_cpuid;

/* A pure function, so that a table of CPUs can test it. */
unsigned c1x1_features(const c1x1_cpuid *cpuid);

struct c1x1_isa;

/* What a plan may know of the machine. */
typedef struct {
    unsigned features;
    size_t l1_bytes, l2_bytes;    /* data caches of one core */
    const struct c1x1_isa *isa;   /* the best that features, build and C1X1_ISA allow */
    int thread_limit;             /* C1X1_NUM_THREADS, else CPUs this process may use */
    const char *thread_limit_why; /* where that number came from */
} c1x1_machine;

/* Read once, at import. Returns 0, or -1 when C1X1_ISA names no ISA of this build. */
int c1x1_machine_init(void);
const c1x1_machine *c1x1_this_machine(void);
/* Whether the plan may run here. A matrix unit needs the operating system's permission, asked for once,
 * when a plan first wants it; where that is refused, this machine goes on without (and says 0 for
 * plans that were made before). */
struct c1x1_plan;
int c1x1_machine_permits(const struct c1x1_plan *plan);
/* Caps the ISA; returns 0, or -1 when the name is unknown or this CPU cannot run it. */
int c1x1_select_isa(const char *name);

/* ---- weights packed once ------------------------------------------------------------------ */

/* Panels of `nr` output channels, each (steps, nr) contiguous; the tail panel is narrower in use but
 * not in memory. Where c1x1_panel_columns takes the last two together they follow once more as one, in rows
 * of `wide` elements, which serves blocks that reach the end. Group after group. */
typedef struct c1x1_weights {
    const struct c1x1_isa *isa;
    c1x1_compute compute;
    size_t groups, c_in, c_out, nr, wide, wide_at, group_bytes, bytes; /* wide_at: of a group */
    void *panels;
    struct c1x1_pieces *pieces; /* for the matrix unit, or NULL */
} c1x1_weights;

/* Packs the weights of `problem` (w, w_dtype, strides, groups, c_in, c_out, compute, precision) for `machine`, for images whose channels are planes or not.
 * The caller frees with c1x1_free_weights. */
c1x1_status c1x1_pack_weights(const c1x1_problem *problem, const c1x1_machine *machine,
                              int is_planar, c1x1_weights *weights);
void c1x1_free_weights(c1x1_weights *weights);

/* ---- plan --------------------------------------------------------------------------------- */

/* Which of (pixels, output channels) is the broadcast side m and which the vector side n. */
typedef enum {
    C1X1_PIXELS_M, /* m = pixels, n = output channels: channels last */
    C1X1_PIXELS_N, /* m = output channels, n = pixels: channels first */
    C1X1_DOT,      /* m = pixels, vectors along the input channels: few output channels */
    C1X1_SMALL     /* n = pixels, few channels side by side in out: at most 15 in, 4 out */
} c1x1_role;

static inline int c1x1_pixels_are_n(c1x1_role role) {
    return role == C1X1_PIXELS_N || role == C1X1_SMALL;
}

/* Whether a tile buffer holds a pixel's channels side by side. */
static inline int c1x1_pixels_are_rows(c1x1_role role) { return role != C1X1_PIXELS_N; }

/* Where the kernel finds an operand. */
typedef enum {
    C1X1_IN_PLACE,   /* in the caller's array */
    C1X1_PACK_BLOCK, /* copied, converted, one block at a time */
    C1X1_PACK_PANEL, /* b only: one panel at a time */
    C1X1_PREPACKED   /* b only: c1x1_weights */
} c1x1_source;

typedef enum {
    C1X1_ROWS_OUTSIDE,  /* for each tile row of a: all panels of b */
    C1X1_PANELS_OUTSIDE /* for each panel of b: all tile rows of a */
} c1x1_order;

/* How planes are read whose results have sixteen running sums. */
typedef enum {
    C1X1_COLUMNS,  /* all of them at a few pixels */
    C1X1_QUARTERS, /* a quarter of them, in runs of some pixels */
    C1X1_RUNS      /* a few of them, in longer runs */
} c1x1_sweep;

/* What a matrix unit multiplies. */
typedef enum {
    C1X1_UNIT_FLOAT32,  /* float32, or what becomes it, in pieces of bfloat16 */
    C1X1_UNIT_BFLOAT16, /* bfloat16 on both sides */
    C1X1_UNIT_BYTES,    /* int8, uint8 and bool */
    C1X1_UNIT_COUNT
} c1x1_unit;

/* Who does the epilogue. */
typedef enum {
    C1X1_FINISH_NONE,  /* nobody: at most a bias follows the sums, and the tiles add that */
    C1X1_FINISH_TILE,  /* the tiles, while the sums are in their registers */
    C1X1_FINISH_OUT,   /* the finish kernel, where the sums lie in `out` */
    C1X1_FINISH_BUFFER /* the finish kernel in the tile buffer, before the store stage */
} c1x1_finisher;

/* Everything the driver needs to know; plain data, comparable and printable. */
typedef struct c1x1_plan {
    const struct c1x1_isa *isa; /* whose kernels; may be below the machine's best */
    c1x1_compute compute;
    c1x1_role role;
    c1x1_source a, b;
    c1x1_order order;
    c1x1_finisher finisher;
    int takes_bytes;  /* small kernels read and write uint8 themselves */
    int is_direct;    /* kernels write `out` themselves; else through a tile buffer */
    int is_gathered;  /* a block of pixels spans several axes; else the last axis only */
    int fetches_x;    /* pixels lie beyond L2 and are read in place: those to come are fetched */
    c1x1_sweep sweep; /* of chains */
    int fetches_c;    /* results lie beyond L2: their lines are fetched ahead */
    unsigned mr, nr;  /* the register tile, in elements */
    unsigned chains;  /* running sums per result: 1 or 16 (canonical order) */
    const struct c1x1_isa
        *unit;           /* whose matrix unit multiplies, or NULL. What that cannot do is left
                            to the tiles of `isa`. */
    c1x1_unit unit_kind; /* what it multiplies */
    unsigned a_pieces, b_pieces;  /* that a matrix unit multiplies */
    int reads_x;                  /* it reads pixels where they lie: they fill whole tiles */
    int a_is_signed, b_is_signed; /* bytes, as it multiplies them */
    int a_offset;    /* was added to those of a, whose signs it cannot multiply otherwise */
    unsigned factor; /* channels in an element of an operand */
    size_t m, n, k;  /* of one outer step; k in elements */
    size_t mc, nc, kc;
    size_t head;                      /* of n, a block before the others; or 0 */
    size_t matrix_kc;                 /* of k, that the matrix unit takes at once */
    size_t piece;                     /* of k, summed from zero: a function of k alone */
    int sums_wait;                    /* sixteen sums of each result, for further blocks of k */
    size_t outer, m_blocks, n_blocks; /* blocks = outer * m_blocks * n_blocks */
    size_t grain;                     /* blocks that a thread takes at once: a task */
    size_t a_bytes, b_bytes, tile_bytes, wide_bytes, residual_bytes, range_bytes,
        flag_bytes; /* workspace of one thread */
    int threads;
} c1x1_plan;

/* Chooses; pure: the same problem, machine and limit give the same plan, and no data is read. The
 * problem must be normalised and have results to write. */
void c1x1_make_plan(const c1x1_problem *problem, const c1x1_machine *machine, int thread_limit,
                    c1x1_plan *plan);

/* Panel width for prepacked weights. */
unsigned c1x1_panel_width(const c1x1_machine *machine, c1x1_compute compute, size_t c_in,
                          size_t c_out);

/* Whether weights that are packed once are cut for a matrix unit too, and into how many pieces. */
int c1x1_matrix_suits(const c1x1_problem *problem);
/* What a matrix unit would multiply. */
c1x1_unit c1x1_matrix_kind(const c1x1_problem *problem);
unsigned c1x1_matrix_pieces(c1x1_dtype dtype, c1x1_precision precision);
/* What is added to bytes of the a side for the byte unit of `isa`: 0, 128 or -128. */
int c1x1_matrix_offset(const c1x1_problem *problem, const struct c1x1_isa *isa, int pixels_are_n);

/* The length of the pieces that a sum over c_in channels is cut into. */
size_t c1x1_sum_piece(size_t c_in);

size_t c1x1_plan_blocks(const c1x1_plan *plan);
size_t c1x1_plan_tasks(const c1x1_plan *plan);
size_t c1x1_plan_thread_bytes(const c1x1_plan *plan);
/* Elements from row to row of the tile buffer, and of the residual beside it. */
size_t c1x1_plan_tile_row(const c1x1_plan *plan);
const char *c1x1_role_name(c1x1_role role);
const char *c1x1_source_name(c1x1_source source);
const char *c1x1_order_name(c1x1_order order);
const char *c1x1_sweep_name(c1x1_sweep sweep);
const char *c1x1_finisher_name(c1x1_finisher finisher);

/* ---- run ---------------------------------------------------------------------------------- */

/* A call in progress: lets a long call return to the caller now and then. */
typedef struct {
    const c1x1_problem *problem;
    const c1x1_plan *plan;
    char *workspace;
    size_t next_task;
} c1x1_run_state;

/* Allocates the workspace. */
c1x1_status c1x1_run_begin(c1x1_run_state *run, const c1x1_problem *problem, const c1x1_plan *plan);
/* Computes until done (C1X1_OK) or until about 50 ms have passed (C1X1_PAUSED). */
c1x1_status c1x1_run(c1x1_run_state *run);
void c1x1_run_end(c1x1_run_state *run);

/* ---- chain ---------------------------------------------------------------------------------- */

/* Layers of which each reads what the one before it wrote. */
typedef struct {
    int count, is_planar; /* channels first */
    c1x1_problem whole;   /* x of the first, out of the last, residual, nodata, all pixels */
    c1x1_problem *layer;  /* [count]; where pixels and results lie is set by c1x1_chain_plan */
    c1x1_plan *plan;      /* [2 * count]: of a whole block, and of the last of a run */
    size_t pixels, blocks_per_run, outer;         /* of a block; blocks */
    size_t buffer_bytes, layer_bytes, flag_bytes; /* workspace of one thread */
    int threads;
    char *workspace;
    size_t next;
} c1x1_chain;

c1x1_status c1x1_chain_plan(c1x1_chain *chain, const c1x1_machine *machine, int thread_limit);
/* As c1x1_run_begin, c1x1_run and c1x1_run_end. */
c1x1_status c1x1_chain_begin(c1x1_chain *chain);
c1x1_status c1x1_chain_run(c1x1_chain *chain);
void c1x1_chain_end(c1x1_chain *chain);

/* Threads a call may use now: the import-time limit, OpenMP's own, one inside a parallel region. */
int c1x1_threads_available(const c1x1_machine *machine);
const char *c1x1_openmp_name(void);
/* The compiler that built the core, with its version. */
const char *c1x1_compiler_name(void);

#ifdef __cplusplus
}
#endif
#endif
