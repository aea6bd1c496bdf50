/* vec_x86_avx2_pairs.h - the words of tile_real.inc and small_real.inc for pairs of int16 in AVX2.
 *
 * An element of an operand is two int16, of a result one int32. Loads, stores and shuffles of 32-bit
 * elements are those of float: include after vec_x86_avx2.h. */
#undef real
#undef vec
#undef vec_zero
#undef vec_set1
#undef vec_load
#undef vec_store
#undef vec_load_n
#undef vec_store_n
#undef vec_select
#undef vec_fma
#undef vec_fma_to
#undef vec_add
#undef vec_max
#undef vec_min
#undef vec_fold
#undef vec_fold_four
#undef vec_deinterleave
#undef vec_deinterleave4
#undef vec_interleave

/* Left to itself the compiler would form many products before it adds the first, and run out of
 * registers: sums are hidden from it one by one. */
static inline __m256i x86_avx2_multiply_pairs(__m256i a, __m256i b, __m256i c) {
    c = _mm256_add_epi32(c, _mm256_madd_epi16(a, b));
    __asm__("" : "+x"(c));
    return c;
}

#define real uint32_t
#define vec __m256i
#define vec_zero _mm256_setzero_si256
#define vec_set1(p) _mm256_set1_epi32((int)*(p))
#define vec_load(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define vec_store(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define vec_load_n(p, n, mask) _mm256_maskload_epi32((const int *)(const void *)(p), mask)
#define vec_store_n(p, v, n, mask) \
    x86_avx2_store_f32((float *)(void *)(p), _mm256_castsi256_ps(v), n)
#define vec_select(mask, yes, no) _mm256_blendv_epi8(no, yes, mask)
#define vec_fma x86_avx2_multiply_pairs
/* One scratch register. */
#define vec_fma_to(acc, a, b)                                                              \
    do {                                                                                   \
        vec product_;                                                                      \
        __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"                                 \
                : "+x"(acc), "=&x"(product_)                                               \
                : "x"(a), "x"(b));                                                         \
    } while (0)
#define vec_add _mm256_add_epi32
#define vec_max _mm256_max_epi32
#define vec_min _mm256_min_epi32
#define vec_fold(s) x86_avx2_sum_i32(vec_add((s)[0], (s)[1]))
#define vec_fold_four(c, sums, bias) x86_avx2_fold_four_i32(c, sums, bias)
#define vec_deinterleave(x, p, K) \
    x86_avx2_deinterleave_f32((__m256 *)(void *)(x), (const float *)(const void *)(p), K)
#define vec_deinterleave4(x, p, step) \
    x86_avx2_deinterleave4_f32((__m256 *)(void *)(x), (const float *)(const void *)(p), step)
#define vec_interleave(p, y, N) \
    x86_avx2_interleave_f32((float *)(void *)(p), (__m256 *)(void *)(y), N)

static inline uint32_t x86_avx2_sum_i32(__m256i v) {
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    x = _mm_add_epi32(x, _mm_unpackhi_epi64(x, x));
    return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 1)));
}

/* Four dots at once. */
static inline __attribute__((always_inline)) void
x86_avx2_fold_four_i32(uint32_t *c, __m256i (*sums)[2], const uint32_t *bias) {
    __m256i x[4];
    for (int r = 0; r < 4; r++) x[r] = _mm256_add_epi32(sums[r][0], sums[r][1]);
    const __m256i h =
        _mm256_hadd_epi32(_mm256_hadd_epi32(x[0], x[1]), _mm256_hadd_epi32(x[2], x[3]));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
    if (bias) sum = _mm_add_epi32(sum, _mm_loadu_si128((const __m128i *)(const void *)bias));
    _mm_storeu_si128((__m128i *)(void *)c, sum);
}
