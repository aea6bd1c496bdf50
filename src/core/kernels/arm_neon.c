/* arm_neon.c - register tiles for NEON, which every 64-bit ARM has.
 *
 *           j = 0..3   4..7    8..11   12..15
 *   i = 0   [acc00]   [acc01] [acc02] [acc03]     per four p: 16 loads of b, 6 of a, 96 FMAs
 *     ..      ..        ..      ..      ..        registers: 24 acc + 6 a + 1 b = 31 of 32
 *   i = 5   [acc50]   [acc51] [acc52] [acc53]
 *
 * An FMA takes one lane of its third operand, so that a vector of a is four columns of one row
 * (float64: two) and nothing is broadcast. The other shapes (8x1, 8x2, 7x3, 4x6, 3x8, 2x12 vectors)
 * serve thin problems and tails; 8x3 would take 33 registers. Counts are in decision 0007. */
#include "kernel.h"

/* every m x nv with m * nv <= 24, nv <= 12 and m <= 8, but for 8x3 */
#define TILES(X)                                                                                 \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(1, 2) X(2, 2) X(3, 2)      \
    X(4, 2) X(5, 2) X(6, 2) X(7, 2) X(8, 2) X(1, 3) X(2, 3) X(3, 3) X(4, 3) X(5, 3) X(6, 3)      \
    X(7, 3) X(1, 4) X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(6, 4) X(1, 5) X(2, 5) X(3, 5) X(4, 5)      \
    X(1, 6) X(2, 6) X(3, 6) X(4, 6) X(1, 7) X(2, 7) X(3, 7) X(1, 8) X(2, 8) X(3, 8) X(1, 9)      \
    X(2, 9) X(1, 10) X(2, 10) X(1, 11) X(2, 11) X(1, 12) X(2, 12)
#define MR_OF_NV {0, 8, 8, 7, 6, 4, 4, 3, 3, 2, 2, 2, 2}
#define PREFERRED {4, 2, 3, 1, 6, 8, 12}

/* float: m * n * 4 vectors of sums */
#define DOTS_F32(X) \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(1, 2) X(2, 2) X(3, 2) X(1, 3) X(2, 3) X(1, 4)
/* double: m * n * 8 vectors of sums */
#define DOTS_F64(X) X(1, 1) X(2, 1) X(3, 1) X(1, 2) X(1, 3)

#define TILE_ENTRY(M, NV) .tile[M - 1][NV - 1] = {NAME(tile_##M##x##NV), NAME(tile_##M##x##NV##_masked)},
#define PACK_ENTRY(NV) NAME(pack_##NV),
#define DOT_ENTRY(M, N) .dot[M - 1][N - 1] = NAME(dot_##M##x##N),

#define KERNELS(...)                                                                        \
    {                                                                                       \
        .vl = VL, .mr = MR_OF_NV, .preferred = PREFERRED, .dot_mr = {__VA_ARGS__},           \
        .fma_per_cycle = 2, .loads_per_cycle = 2, .fma_latency = 4, .fold = NAME(fold), .chains = {NAME(chains_1), NAME(chains_2), NAME(chains_3), NAME(chains_4)}, .finish = NAME(finishes), .pack = {PACKS(PACK_ENTRY)},      \
        TILES(TILE_ENTRY) DOTS(DOT_ENTRY) SMALLS(SMALL_ENTRY)                               \
    }

#include "vec_arm_neon.h"
#define NAME(x) arm_neon_f32_##x
#define DOTS DOTS_F32
#include "tile_real.inc"
#include "small_real.inc"
#include "act_real.inc"
#include "finish_real.inc"
static const c1x1_kernels arm_neon_float32 = KERNELS(0, 6, 3, 2, 1);
#undef NAME
#undef DOTS
#undef SMALLS
#undef SMALL_ENTRY

#define VEC_FLOAT64
#include "vec_arm_neon.h"
#define NAME(x) arm_neon_f64_##x
#define DOTS DOTS_F64
#include "tile_real.inc"
#include "small_real.inc"
#include "act_real.inc"
#include "finish_real.inc"
static const c1x1_kernels arm_neon_float64 = KERNELS(0, 3, 1, 1, 0);

extern const c1x1_isa c1x1_isa_arm_neon;
const c1x1_isa c1x1_isa_arm_neon = {
    .name = "arm_neon",
    .description = "64-bit ARM with NEON",
    .needs = C1X1_HAS_FMA | C1X1_HAS_NEON,
    .kernels = {&arm_neon_float32, &arm_neon_float64, NULL},
};
