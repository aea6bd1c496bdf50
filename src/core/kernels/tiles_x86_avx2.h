/* tiles_x86_avx2.h - the shapes of AVX2's kernels, and the table that they make. Included once. */
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

#define ORDERED                                                                             \
    .column = NAME(column), .fold = NAME(fold),                                                                     \
    .chains = {NAME(chains_1), NAME(chains_2), NAME(chains_3), NAME(chains_4)},             \
    .pack = {PACKS(PACK_ENTRY)},

#define KERNELS(...)                                                                        \
    {                                                                                       \
        .vl = VL, .mr = MR_OF_NV, .preferred = PREFERRED, .dot_mr = {__VA_ARGS__},           \
        .fma_per_cycle = 2, .loads_per_cycle = 2, .fma_latency = 4, .finish = NAME(finishes), ORDERED TILES(TILE_ENTRY) DOTS(DOT_ENTRY) SMALLS(SMALL_ENTRY)                               \
    }
