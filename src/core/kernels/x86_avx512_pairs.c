/* x86_avx512_pairs.c - register tiles for AVX-512 whose elements are pairs of int16, with sums in int32.
 *
 *           j = 0..15  16..31  32..47  48..63
 *   i = 0   [acc00]   [acc01] [acc02] [acc03]     per pair: 4 loads of b, 6 broadcasts of a,
 *     ..      ..        ..      ..      ..        24 vpmaddwd, 24 vpaddd
 *   i = 5   [acc50]   [acc51] [acc52] [acc53]     registers: 24 acc + 4 b + 1 a + 1 product = 30 of 32
 *
 * The caller knows that no sum of products outgrows int32. */
#include "kernel.h"
#include "tiles_x86_avx512.h"

/* Wider tiles, which serve few rows, would gain nothing: an addition takes hardly any time. */
#undef MR_OF_NV
#undef PREFERRED
#undef TILES
#undef ORDERED
#define TILES(X)                                                                            \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(1, 2) X(2, 2) X(3, 2) \
    X(4, 2) X(5, 2) X(6, 2) X(7, 2) X(8, 2) X(1, 3) X(2, 3) X(3, 3) X(4, 3) X(5, 3) X(6, 3) \
    X(7, 3) X(8, 3) X(1, 4) X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(6, 4)
#define MR_OF_NV {0, 8, 8, 8, 6}
#define PREFERRED {4, 2, 3, 1}
#define ORDERED

#include "vec_x86_avx512.h"
#include "vec_x86_avx512_pairs.h"
#define NAME(x) x86_avx512_pairs_##x
#define DOTS DOTS_F32
#define TILE_PAIRS
#define FINISH_INTEGER
#include "tile_real.inc"
#include "dot_real.inc"
#include "finish_real.inc"

extern const c1x1_kernels c1x1_x86_avx512_pairs;
const c1x1_kernels c1x1_x86_avx512_pairs = KERNELS(0, 8, 8, 6, 6);
