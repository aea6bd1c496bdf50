/* x86_avx512.c - register tiles for AVX-512.
 *
 *           j = 0..15  16..31  32..47  48..63
 *   i = 0   [acc00]   [acc01] [acc02] [acc03]     per p: 4 loads of b, 6 broadcasts of a, 24 FMAs
 *     ..      ..        ..      ..      ..        registers: 24 acc + 4 b + 1 a = 29 of 32
 *   i = 5   [acc50]   [acc51] [acc52] [acc53]
 *
 * The other shapes (8x1, 8x2, 8x3, 4x6, 3x8, 2x12 vectors) serve thin problems and tails. Eight
 * accumulators are enough to keep two FMA ports busy; more than eight rows would take more pointers
 * than there are general registers. */
#include "kernel.h"
#include "tiles_x86_avx512.h"
#include "vec_x86_avx512.h"
#define NAME(x) x86_avx512_f32_##x
#define DOTS DOTS_F32
#include "tile_real.inc"
#include "dot_real.inc"
#include "chains_real.inc"
#include "act_real.inc"
#include "finish_real.inc"
static const c1x1_kernels x86_avx512_float32 = KERNELS(0, 8, 8, 6, 6);
#undef NAME
#undef DOTS

#define VEC_FLOAT64
#include "vec_x86_avx512.h"
#define NAME(x) x86_avx512_f64_##x
#define DOTS DOTS_F64
#include "tile_real.inc"
#include "dot_real.inc"
#include "chains_real.inc"
#include "act_real.inc"
#include "finish_real.inc"
static const c1x1_kernels x86_avx512_float64 = KERNELS(0, 8, 6, 4, 3);

extern const c1x1_kernels c1x1_x86_avx512_pairs;
extern const c1x1_isa c1x1_isa_x86_avx512;
const c1x1_isa c1x1_isa_x86_avx512 = {
    .name = "x86_avx512",
    .description = "x86-64 with AVX-512 F, BW, DQ and VL",
    .needs = C1X1_HAS_FMA | C1X1_HAS_AVX2 | C1X1_HAS_F16C | C1X1_HAS_AVX512,
    .kernels = {&x86_avx512_float32, &x86_avx512_float64, NULL, &c1x1_x86_avx512_pairs},
};
