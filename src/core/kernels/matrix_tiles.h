/* matrix_tiles.h - what the parts of a matrix unit share: the tiles' edges. */
#ifndef C1X1_MATRIX_TILES_H
#define C1X1_MATRIX_TILES_H

#include "kernel.h"

#include <string.h>

enum { LANES = 16, TILE_ROWS = 16 };

#define SPLIT_INLINE static inline __attribute__((always_inline))

#endif
