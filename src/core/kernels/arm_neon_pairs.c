/* arm_neon_pairs.c - register tiles for NEON whose elements are pairs of int16, with sums in int32.
 *
 *           j = 0..3   4..7    8..11   12..15
 *   i = 0   [acc00]   [acc01] [acc02] [acc03]     per four pairs: 16 loads of b, each taken apart by
 *     ..      ..        ..      ..      ..        XTN and SHRN, 5 of a, 160 SMLAL
 *   i = 4   [acc40]   [acc41] [acc42] [acc43]     registers: 20 acc + 5 a + 2 of b = 27 of 32
 *
 * A lane of int16 is taken from one of the lower sixteen registers, where all of a has to stay beside
 * nothing else. As many products an instruction as FMLA of float32 makes: what is gained is exactness
 * beyond 2^24. The caller knows that no sum of products outgrows int32. */
#include "kernel.h"
#include "tiles_arm_neon.h"
#undef MR_OF_NV
#undef PREFERRED
#undef TILES
#undef ORDERED
/* every m x nv with m * nv <= 20, nv <= 8 and m <= 8 */
#define TILES(X)                                                                                 \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(1, 2) X(2, 2) X(3, 2)      \
    X(4, 2) X(5, 2) X(6, 2) X(7, 2) X(8, 2) X(1, 3) X(2, 3) X(3, 3) X(4, 3) X(5, 3) X(6, 3)      \
    X(1, 4) X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(1, 5) X(2, 5) X(3, 5) X(4, 5) X(1, 6) X(2, 6)      \
    X(3, 6) X(1, 7) X(2, 7) X(1, 8) X(2, 8)
#define MR_OF_NV {0, 8, 8, 6, 5, 4, 3, 2, 2}
#define PREFERRED {4, 2, 3, 1, 6}
#define ORDERED

#include "vec_arm_neon.h"
#include "vec_arm_neon_pairs.h"
#define NAME(x) arm_neon_pairs_##x
#define DOTS DOTS_F32
#define TILE_PAIRS
#define FINISH_INTEGER
#include "tile_real.inc"
#include "dot_real.inc"
#include "small_real.inc"
#include "finish_real.inc"

extern const c1x1_kernels c1x1_arm_neon_pairs;
const c1x1_kernels c1x1_arm_neon_pairs = KERNELS(0, 6, 3, 2, 1);
