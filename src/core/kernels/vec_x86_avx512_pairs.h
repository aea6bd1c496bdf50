/* vec_x86_avx512_pairs.h - the words of tile_real.inc for pairs of int16 in AVX-512 BW.
 *
 * An element of an operand is two int16, of a result one int32. Masks are those of float: include
 * after vec_x86_avx512.h. */
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
#undef vec_sum

/* Left to itself the compiler would form many products before it adds the first, and run out of
 * registers: sums are hidden from it one by one. */
static inline __m512i x86_avx512_multiply_pairs(__m512i a, __m512i b, __m512i c) {
    c = _mm512_add_epi32(c, _mm512_madd_epi16(a, b));
    __asm__("" : "+v"(c));
    return c;
}

#define real uint32_t
#define vec __m512i
#define vec_zero _mm512_setzero_si512
#define vec_set1(p) _mm512_set1_epi32((int)*(p))
#define vec_load(p) _mm512_loadu_si512((const void *)(p))
#define vec_store(p, v) _mm512_storeu_si512((void *)(p), v)
#define vec_load_n(p, n, mask) _mm512_maskz_loadu_epi32(mask, (const void *)(p))
#define vec_store_n(p, v, n, mask) _mm512_mask_storeu_epi32((void *)(p), mask, v)
#define vec_select(mask, yes, no) _mm512_mask_mov_epi32(no, mask, yes)
#define vec_fma x86_avx512_multiply_pairs
/* One scratch register. */
#define vec_fma_to(acc, a, b)                                                              \
    do {                                                                                   \
        vec product_;                                                                      \
        __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"                                 \
                : "+v"(acc), "=&v"(product_)                                               \
                : "v"(a), "v"(b));                                                         \
    } while (0)
#define vec_add _mm512_add_epi32
#define vec_max _mm512_max_epi32
#define vec_min _mm512_min_epi32
#define vec_sum(v) ((uint32_t)_mm512_reduce_add_epi32(v))
