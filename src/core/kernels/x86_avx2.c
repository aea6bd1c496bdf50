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
#include "tiles_x86_avx2.h"
#include "vec_x86_avx2.h"
#define NAME(x) x86_avx2_f32_##x
#define DOTS DOTS_F32
#include "tile_real.inc"
#include "dot_real.inc"
#include "chains_real.inc"
#include "small_real.inc"
#include "column_real.inc"
#include "act_real.inc"
#include "finish_real.inc"
static const c1x1_kernels x86_avx2_float32 = KERNELS(0, 4, 2, 2, 1);
#undef NAME
#undef DOTS
#undef SMALLS
#undef SMALLS_TO_8
#undef SMALL_ENTRY

#define VEC_FLOAT64
#include "vec_x86_avx2.h"
#define NAME(x) x86_avx2_f64_##x
#define DOTS DOTS_F64
#include "tile_real.inc"
#include "dot_real.inc"
#include "chains_real.inc"
#include "small_real.inc"
#include "column_real.inc"
#include "act_real.inc"
#include "finish_real.inc"
static const c1x1_kernels x86_avx2_float64 = KERNELS(0, 3, 1, 1, 0);

extern const c1x1_kernels c1x1_x86_avx2_pairs;
extern const c1x1_converters c1x1_x86_avx2_converters;
extern const c1x1_bytes c1x1_x86_avx2_bytes;
extern const c1x1_isa c1x1_isa_x86_avx2;
const c1x1_isa c1x1_isa_x86_avx2 = {
    .name = "x86_avx2",
    .description = "x86-64 with AVX2, FMA and F16C",
    .needs = C1X1_HAS_FMA | C1X1_HAS_AVX2 | C1X1_HAS_F16C,
    .kernels = {&x86_avx2_float32, &x86_avx2_float64, NULL, &c1x1_x86_avx2_pairs},
    .converters = &c1x1_x86_avx2_converters,
    .bytes = &c1x1_x86_avx2_bytes,
};
