/* x86_avx2_pairs.c - register tiles for AVX2 whose elements are pairs of int16, with sums in int32.
 *
 *           j = 0..7   8..15
 *   i = 0   [acc00]   [acc01]     per pair: 2 loads of b, 6 broadcasts of a, 12 vpmaddwd, 12 vpaddd
 *     ..      ..        ..        registers: 12 acc + 2 b + 1 a + 1 product = 16 of 16
 *   i = 5   [acc50]   [acc51]
 *
 * The caller knows that no sum of products outgrows int32. vpmaddubsw would take bytes as they are,
 * but saturates (decision 0011). */
#include "kernel.h"
#include "tiles_x86_avx2.h"

/* 4x3 and 3x4 vectors, which floats have, would take a register more than there are; wider tiles than six
 * vectors, which serve one row, would gain nothing: a product takes its time, an addition hardly any. */
#undef MR_OF_NV
#undef PREFERRED
#undef TILES
#undef ORDERED
#define TILES(X)                                                                            \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(1, 2) X(2, 2) X(3, 2) \
    X(4, 2) X(5, 2) X(6, 2) X(1, 3) X(2, 3) X(3, 3) X(1, 4) X(2, 4) X(1, 5) X(2, 5) X(1, 6) \
    X(2, 6)
#define MR_OF_NV {0, 8, 6, 3, 2, 2, 2}
#define PREFERRED {2, 1, 6}
#define ORDERED

#include "vec_x86_avx2.h"
#include "vec_x86_avx2_pairs.h"
#define NAME(x) x86_avx2_pairs_##x
#define DOTS DOTS_F32
#define TILE_PAIRS
#define FINISH_INTEGER
#include "tile_real.inc"
#include "dot_real.inc"
#include "small_real.inc"
#include "finish_real.inc"

extern const c1x1_kernels c1x1_x86_avx2_pairs;
const c1x1_kernels c1x1_x86_avx2_pairs = KERNELS(0, 4, 2, 2, 1);
