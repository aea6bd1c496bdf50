/* x86_avx2_bytes.c - pixels of at most four interleaved uint8 channels through float32 weights to at most
 * four of uint8, in AVX2.
 *
 *   8 pixels --vpshufb, one per channel in--> int32 --> K vectors of float
 *            --K * N FMAs--> N vectors --> int32 --packs--> bytes --vpshufb--> 8 pixels
 *
 * No float ever reaches memory. Each half of a vector has four pixels, so that all shuffles but the last
 * stay within halves. */
#include "kernel.h"

#include <immintrin.h>
#include <string.h>

enum { VL = 8 };

/* Byte `channel` of pixels 0 to 3, the first of which begins at byte `low` of the lower half, `high` of
 * the upper one: each becomes an int32. */
TILE_INLINE __m256i pick(int channel, int K, int low, int high) {
    const int l = low + channel, h = high + channel;
    const char z = -128;
    return _mm256_setr_epi8(
        (char)l, z, z, z, (char)(l + K), z, z, z, (char)(l + 2 * K), z, z, z, (char)(l + 3 * K), z,
        z, z, (char)h, z, z, z, (char)(h + K), z, z, z, (char)(h + 2 * K), z, z, z,
        (char)(h + 3 * K), z, z, z);
}

/* Eight pixels of K bytes to K vectors. */
TILE_INLINE void read_pixels(__m256 *x, const uint8_t *p, const int K) {
    __m256i v;
    int high = 0;
    if (K == 1) {
        v = _mm256_broadcastsi128_si256(_mm_loadl_epi64((const void *)p));
        high = 4;
    } else if (K == 2) {
        v = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)p));
        high = 8;
    } else if (K == 3) { /* bytes 0 .. 15 and 8 .. 23, in which pixel 4 is byte 12 */
        v = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128((const void *)p)),
            _mm_loadu_si128((const void *)(p + 8)), 1);
        high = 4;
    } else {
        v = _mm256_loadu_si256((const void *)p);
    }
    C1X1_UNROLL
    for (int i = 0; i < K; i++)
        x[i] = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(v, pick(i, K, 0, high)));
}

/* Rounded to int32; beyond it becomes the lowest, which saturates to 0, as NaN does. */
TILE_INLINE __m256i round_to_byte(__m256 v) {
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(255), v));
}

/* Four bytes of each of N channels in each half to pixels. */
TILE_INLINE __m256i interleave(const int N) {
    const char z = -128;
    if (N == 2)
        return _mm256_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, z, z, z, z, z, z, z, z, 0, 4, 1, 5, 2, 6, 3,
                                7, z, z, z, z, z, z, z, z);
    if (N == 3)
        return _mm256_setr_epi8(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, z, z, z, z, 0, 4, 8, 1, 5, 9,
                                2, 6, 10, 3, 7, 11, z, z, z, z);
    return _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5,
                            9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

TILE_INLINE void write_pixels(uint8_t *p, const __m256 *y, const int N) {
    __m256i t[C1X1_MAX_SMALL];
    C1X1_UNROLL
    for (int o = 0; o < C1X1_MAX_SMALL; o++) t[o] = o < N ? round_to_byte(y[o]) : t[o - 1];
    __m256i bytes = _mm256_packs_epi32(t[0], t[1]);
    bytes = _mm256_packus_epi16(bytes, N > 2 ? _mm256_packs_epi32(t[2], t[3]) : bytes);
    if (N > 1) bytes = _mm256_shuffle_epi8(bytes, interleave(N));
    if (N == 4) {
        _mm256_storeu_si256((void *)p, bytes);
    } else if (N == 3) {
        bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
        _mm_storeu_si128((void *)p, _mm256_castsi256_si128(bytes));
        _mm_storel_epi64((void *)(p + 16), _mm256_extracti128_si256(bytes, 1));
    } else if (N == 2) {
        _mm_storeu_si128((void *)p,
                         _mm256_castsi256_si128(_mm256_permute4x64_epi64(bytes, 0x8)));
    } else {
        const __m256i low = _mm256_setr_epi32(0, 4, 0, 0, 0, 0, 0, 0);
        _mm_storel_epi64((void *)p,
                         _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, low)));
    }
}

TILE_INLINE void convert_group(const uint8_t *b, uint8_t *c,
                               __m256 (*w)[C1X1_MAX_SMALL], const __m256 *bias, const int K,
                               const int N) {
    __m256 x[C1X1_MAX_SMALL], y[C1X1_MAX_SMALL];
    read_pixels(x, b, K);
    C1X1_UNROLL
    for (int o = 0; o < N; o++) {
        y[o] = _mm256_mul_ps(x[0], w[o][0]);
        C1X1_UNROLL
        for (int i = 1; i < K; i++) y[o] = _mm256_fmadd_ps(x[i], w[o][i], y[o]);
        if (bias) y[o] = _mm256_add_ps(y[o], bias[o]);
    }
    write_pixels(c, y, N);
}

TILE_INLINE void convert(const c1x1_tile *t, const int K, const int N) {
    const float *a = t->a, *bias_m = t->bias_m;
    const uint8_t *b = t->b;
    uint8_t *c = t->c;
    __m256 w[C1X1_MAX_SMALL][C1X1_MAX_SMALL], bias[C1X1_MAX_SMALL];
    C1X1_UNROLL
    for (int o = 0; o < N; o++) {
        C1X1_UNROLL
        for (int i = 0; i < K; i++) w[o][i] = _mm256_set1_ps(a[o * t->lda + i]);
        bias[o] = bias_m ? _mm256_set1_ps(bias_m[o]) : _mm256_setzero_ps();
    }
    size_t left = t->n;
    if (bias_m) {
        for (; left >= VL; left -= VL, b += VL * K, c += VL * N)
            convert_group(b, c, w, bias, K, N);
    } else {
        for (; left >= VL; left -= VL, b += VL * K, c += VL * N)
            convert_group(b, c, w, NULL, K, N);
    }
    if (left == 0) return;
    uint8_t in[VL * C1X1_MAX_SMALL] = {0}, out[VL * C1X1_MAX_SMALL];
    memcpy(in, b, left * (size_t)K);
    convert_group(in, out, w, bias_m ? bias : NULL, K, N);
    memcpy(c, out, left * (size_t)N);
}

#define BYTES_OF(X, K) X(K, 1) X(K, 2) X(K, 3) X(K, 4)
#define BYTES(X) BYTES_OF(X, 1) BYTES_OF(X, 2) BYTES_OF(X, 3) BYTES_OF(X, 4)
#define BYTE_KERNEL(K, N) \
    static void x86_avx2_bytes_##K##x##N(const c1x1_tile *t) { convert(t, K, N); }
BYTES(BYTE_KERNEL)

#define ENTRY(K, N) .small[K - 1][N - 1] = x86_avx2_bytes_##K##x##N,
extern const c1x1_bytes c1x1_x86_avx2_bytes;
const c1x1_bytes c1x1_x86_avx2_bytes = {.vl = VL, BYTES(ENTRY)};
