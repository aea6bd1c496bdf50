/* scalar.c - register tiles in plain C: what every machine runs, and the reference for the others.
 *
 *           j = 0   1   2   3
 *   i = 0     acc acc acc acc       per p: 4 loads of b, 4 of a, 16 multiply-adds
 *     ..
 *   i = 3     acc acc acc acc
 *
 * Two rows of the registry come from here. The first takes one fused multiply-add per step as every
 * vector ISA does, through the C library where the baseline has no instruction for it: the same
 * bits, slowly. The second, for CPUs without FMA, rounds twice. */
#include "kernel.h"

/* For the rows of emulated.c too. */
extern const c1x1_kernels c1x1_scalar_float32, c1x1_scalar_float64;
extern const c1x1_kernels c1x1_scalar_int64, c1x1_scalar_pairs;

#define TILES(X)                                                                        \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(1, 3) X(2, 3) X(3, 3) \
    X(4, 3) X(1, 4) X(2, 4) X(3, 4) X(4, 4)
#define DOTS(X) X(1, 1)

/* A vector of one element is never cut off. */
#define TILE_ENTRY(M, NV) .tile[M - 1][NV - 1] = {NAME(tile_##M##x##NV)},
#define PACK_ENTRY(NV) NAME(pack_##NV),
#define DOT_ENTRY(M, N) .dot[M - 1][N - 1] = NAME(dot_##M##x##N),
#define KERNELS(FINISHES)                                                               \
    {                                                                                   \
        .vl = VL, .mr = {0, 4, 4, 4, 4}, .preferred = {4, 3, 2, 1}, .dot_mr = {0, 1},   \
        .fma_per_cycle = 1, .loads_per_cycle = 2, .fma_latency = 4, TILES(TILE_ENTRY)   \
        DOTS(DOT_ENTRY) SMALLS(SMALL_ENTRY).fold = NAME(fold),                          \
        .chains = {NAME(chains_1), NAME(chains_2), NAME(chains_3), NAME(chains_4)},     \
        .finish = FINISHES, .pack = {PACKS(PACK_ENTRY)}                                 \
    }

/* No kernels for few channels side by side but those of int64, which no other ISA has: CPUs this old
 * take the general ones. */
#define SMALLS(X)
#include "vec_scalar.h"
#define NAME(x) scalar_f32_##x
#include "tile_real.inc"
#include "dot_real.inc"
#include "chains_real.inc"
#include "act_real.inc"
#include "finish_real.inc"
const c1x1_kernels c1x1_scalar_float32 = KERNELS(NAME(finishes));
#undef NAME

#define VEC_FLOAT64
#include "vec_scalar.h"
#define NAME(x) scalar_f64_##x
#include "tile_real.inc"
#include "dot_real.inc"
#include "chains_real.inc"
#include "act_real.inc"
#include "finish_real.inc"
const c1x1_kernels c1x1_scalar_float64 = KERNELS(NAME(finishes));
#undef NAME

/* Their epilogues are those above: activations need exact products, which cost little there. */
#define VEC_UNFUSED
#include "vec_scalar.h"
#define NAME(x) scalar_unfused_f64_##x
#include "tile_real.inc"
#include "dot_real.inc"
#include "chains_real.inc"
static const c1x1_kernels scalar_unfused_float64 = KERNELS(scalar_f64_finishes);
#undef NAME

#undef VEC_FLOAT64
#include "vec_scalar.h"
#define NAME(x) scalar_unfused_f32_##x
#include "tile_real.inc"
#include "dot_real.inc"
#include "chains_real.inc"
static const c1x1_kernels scalar_unfused_float32 = KERNELS(scalar_f32_finishes);
#undef NAME
#undef VEC_UNFUSED

#undef SMALLS

#define VEC_INT64
#include "vec_scalar.h"
#define NAME(x) scalar_i64_##x
#define FINISH_INTEGER
#include "tile_real.inc"
#include "dot_real.inc"
#include "chains_real.inc"
#include "small_real.inc"
#include "finish_real.inc"
const c1x1_kernels c1x1_scalar_int64 = KERNELS(NAME(finishes));

#undef NAME
#undef SMALLS
#undef SMALLS_TO_8
#undef SMALL_ENTRY
#undef KERNELS

#include "vec_pairs_scalar.h"
#define NAME(x) scalar_pairs_##x
#define TILE_PAIRS
#include "tile_real.inc"
#include "dot_real.inc"
#include "finish_real.inc"
const c1x1_kernels c1x1_scalar_pairs = {.vl = VL,
                                        .mr = {0, 4, 4, 4, 4},
                                        .preferred = {4, 3, 2, 1},
                                        .dot_mr = {0, 1},
                                        .fma_per_cycle = 1,
                                        .loads_per_cycle = 2,
                                        .fma_latency = 4,
                                        TILES(TILE_ENTRY) DOTS(DOT_ENTRY).finish = NAME(finishes)};

extern const c1x1_isa c1x1_isa_scalar, c1x1_isa_scalar_unfused;
const c1x1_isa c1x1_isa_scalar = {
    .name = "scalar",
    .description = "plain C, fused multiply-add",
    .needs = C1X1_HAS_FMA,
    .kernels = {&c1x1_scalar_float32, &c1x1_scalar_float64, &c1x1_scalar_int64, &c1x1_scalar_pairs},
};
const c1x1_isa c1x1_isa_scalar_unfused = {
    .name = "scalar",
    .description = "plain C, multiply and add",
    .needs = 0,
    .kernels = {&scalar_unfused_float32, &scalar_unfused_float64, &c1x1_scalar_int64,
                &c1x1_scalar_pairs},
};
