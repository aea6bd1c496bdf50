/* tiles_arm_neon.h - the shapes of NEON's kernels, and the table that they make. Included once. */
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

#define ORDERED                                                                             \
    .column = NAME(column), .fold = NAME(fold),                                                                     \
    .chains = {NAME(chains_1), NAME(chains_2), NAME(chains_3), NAME(chains_4)},             \
    .pack = {PACKS(PACK_ENTRY)},

#define KERNELS(...)                                                                        \
    {                                                                                       \
        .vl = VL, .mr = MR_OF_NV, .preferred = PREFERRED, .dot_mr = {__VA_ARGS__},           \
        .fma_per_cycle = 2, .loads_per_cycle = 2, .fma_latency = 4, .finish = NAME(finishes), ORDERED TILES(TILE_ENTRY) DOTS(DOT_ENTRY) SMALLS(SMALL_ENTRY)                               \
    }
