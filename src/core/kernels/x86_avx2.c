/* x86_avx2.c - register tiles for AVX2 and FMA.
 *
 *           j = 0..7   8..15
 *   i = 0   [acc00]   [acc01]     per p: 2 loads of b, 6 broadcasts of a, 12 FMAs
 *     ..      ..        ..        registers: 12 acc + 2 b + 1 a = 15 of 16
 *   i = 5   [acc50]   [acc51]
 *
 * Twelve accumulators keep both FMA ports busy over a latency of four to five cycles. The other
 * shapes (8x1, 4x3, 3x4, 2x6, 1x12 vectors) serve thin problems and tails. */
#include "kernel.h"

/* every m x nv with m * nv <= 12 and m <= 8: more rows take more pointers than there are registers */
#define TILES(X)                                                                            \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(1, 2) X(2, 2) X(3, 2) \
    X(4, 2) X(5, 2) X(6, 2) X(1, 3) X(2, 3) X(3, 3) X(4, 3) X(1, 4) X(2, 4) X(3, 4) X(1, 5) \
    X(2, 5) X(1, 6) X(2, 6) X(1, 7) X(1, 8) X(1, 9) X(1, 10) X(1, 11) X(1, 12)
#define MR_OF_NV {0, 8, 6, 4, 3, 2, 2, 1, 1, 1, 1, 1, 1}
#define PREFERRED {2, 1, 3, 4, 6, 12, 8}

/* float: m * n * 2 vectors of sums */
#define DOTS_F32(X) \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(1, 2) X(2, 2) X(1, 3) X(2, 3) X(1, 4)
/* double: m * n * 4 vectors of sums */
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

#include "vec_x86_avx2.h"
#define NAME(x) x86_avx2_f32_##x
#define DOTS DOTS_F32
#include "tile_real.inc"
#include "small_real.inc"
#include "act_real.inc"
#include "finish_real.inc"
static const c1x1_kernels x86_avx2_float32 = KERNELS(0, 4, 2, 2, 1);
#undef NAME
#undef DOTS
#undef SMALLS
#undef SMALL_ENTRY

#define VEC_FLOAT64
#include "vec_x86_avx2.h"
#define NAME(x) x86_avx2_f64_##x
#define DOTS DOTS_F64
#include "tile_real.inc"
#include "small_real.inc"
#include "act_real.inc"
#include "finish_real.inc"
static const c1x1_kernels x86_avx2_float64 = KERNELS(0, 3, 1, 1, 0);

extern const c1x1_isa c1x1_isa_x86_avx2;
const c1x1_isa c1x1_isa_x86_avx2 = {
    .name = "x86_avx2",
    .description = "x86-64 with AVX2 and FMA",
    .needs = C1X1_HAS_FMA | C1X1_HAS_AVX2,
    .kernels = {&x86_avx2_float32, &x86_avx2_float64, NULL},
};
