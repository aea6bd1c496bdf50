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
#include "tiles_arm_neon.h"
#include "vec_arm_neon.h"
#define NAME(x) arm_neon_f32_##x
#define DOTS DOTS_F32
#include "tile_real.inc"
#include "dot_real.inc"
#include "chains_real.inc"
#include "small_real.inc"
#include "column_real.inc"
#include "act_real.inc"
#include "finish_real.inc"
static const c1x1_kernels arm_neon_float32 = KERNELS(0, 6, 3, 2, 1);
#undef NAME
#undef DOTS
#undef SMALLS
#undef SMALLS_TO_8
#undef SMALL_ENTRY

#define VEC_FLOAT64
#include "vec_arm_neon.h"
#define NAME(x) arm_neon_f64_##x
#define DOTS DOTS_F64
#include "tile_real.inc"
#include "dot_real.inc"
#include "chains_real.inc"
#include "small_real.inc"
#include "column_real.inc"
#include "act_real.inc"
#include "finish_real.inc"
static const c1x1_kernels arm_neon_float64 = KERNELS(0, 3, 1, 1, 0);

extern const c1x1_kernels c1x1_arm_neon_pairs;
extern const c1x1_isa c1x1_isa_arm_neon;
const c1x1_isa c1x1_isa_arm_neon = {
    .name = "arm_neon",
    .description = "64-bit ARM with NEON",
    .needs = C1X1_HAS_FMA | C1X1_HAS_NEON,
    .kernels = {&arm_neon_float32, &arm_neon_float64, NULL, &c1x1_arm_neon_pairs},
};
