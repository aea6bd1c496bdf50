/* x86_avx2_bytes.c - pixels of at most four interleaved uint8 channels through float32 weights to at most
 * four of uint8, in AVX2.
 *
 *   16 pixels --vpshufb, one per channel in--> int32 --> 2 x K vectors of float
 *             --2 x K * N FMAs--> 2 x N vectors --> int32 --packs--> bytes --vpshufb--> 16 pixels
 *
 * No float ever reaches memory. The lower half of a vector has pixels 0 to 3 or 4 to 7, the upper half
 * those eight further on, so that no shuffle crosses halves. */
#include "kernel.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

enum { VL = 16 };
static const char Z = -128; /* a byte of zero */

/* Byte `at` + K * i of either half becomes its int32 number i. */
TILE_INLINE __m256 pick(__m256i v, int at, int K) {
    const char p0 = (char)at, p1 = (char)(at + K);
    const char p2 = (char)(at + 2 * K), p3 = (char)(at + 3 * K);
    const __m256i bytes = _mm256_setr_epi8(p0, Z, Z, Z, p1, Z, Z, Z, p2, Z, Z, Z, p3, Z, Z, Z, p0,
                                           Z, Z, Z, p1, Z, Z, Z, p2, Z, Z, Z, p3, Z, Z, Z);
    return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(v, bytes));
}

TILE_INLINE __m256i halves(const uint8_t *low, const uint8_t *high) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)low)),
                                   _mm_loadu_si128((const void *)high), 1);
}

/* Pixels 0 to 3 and 8 to 11 (half 0), or 4 to 7 and 12 to 15 (half 1), to K vectors. */
TILE_INLINE void read_pixels(__m256 *x, const uint8_t *p, const int K, const int HALF) {
    __m256i v;
    int at = 0; /* of the first pixel */
    if (K == 1) {
        v = halves(p, p);
        at = 4 * HALF;
        v = _mm256_shuffle_epi8(v, _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, Z, Z, Z, Z, Z, Z, Z, Z,
                                                    8, 9, 10, 11, 12, 13, 14, 15, Z, Z, Z, Z, Z, Z,
                                                    Z, Z));
    } else if (K == 2) {
        v = _mm256_loadu_si256((const void *)p);
        at = 8 * HALF;
    } else if (K == 3) { /* pixel 4 is byte 12: nothing beyond the pixels is read */
        v = halves(p + 8 * HALF, p + 24 + 8 * HALF);
        at = 4 * HALF;
    } else {
        v = halves(p + 16 * HALF, p + 32 + 16 * HALF);
    }
    C1X1_UNROLL
    for (int i = 0; i < K; i++) x[i] = pick(v, at + i, K);
}

/* Rounded to int32; beyond it becomes the lowest, which saturates to 0, as NaN does. */
TILE_INLINE __m256i round_to_byte(__m256 v, const int IS_BOUNDED) {
    return _mm256_cvtps_epi32(IS_BOUNDED ? v : _mm256_min_ps(_mm256_set1_ps(255), v));
}

TILE_INLINE __m256i shuffle(__m256i v, __m128i bytes) {
    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(bytes));
}

TILE_INLINE void store_halves(uint8_t *low, uint8_t *high, __m256i v) {
    _mm_storeu_si128((void *)low, _mm256_castsi256_si128(v));
    _mm_storeu_si128((void *)high, _mm256_extracti128_si256(v, 1));
}

/* Eight bytes of three channels in each half, two channels in `two`: 24 bytes of each half. */
TILE_INLINE void write_threes(uint8_t *p, __m256i two, __m256i third) {
    const __m128i a = _mm_setr_epi8(0, 8, Z, 1, 9, Z, 2, 10, Z, 3, 11, Z, 4, 12, Z, 5);
    const __m128i b = _mm_setr_epi8(Z, Z, 0, Z, Z, 1, Z, Z, 2, Z, Z, 3, Z, Z, 4, Z);
    const __m128i c = _mm_setr_epi8(13, Z, 6, 14, Z, 7, 15, Z, Z, Z, Z, Z, Z, Z, Z, Z);
    const __m128i d = _mm_setr_epi8(Z, 5, Z, Z, 6, Z, Z, 7, Z, Z, Z, Z, Z, Z, Z, Z);
    const __m256i first = _mm256_or_si256(shuffle(two, a), shuffle(third, b));
    const __m256i rest = _mm256_or_si256(shuffle(two, c), shuffle(third, d));
    store_halves(p, p + 24, first);
    _mm_storel_epi64((void *)(p + 16), _mm256_castsi256_si128(rest));
    _mm_storel_epi64((void *)(p + 40), _mm256_extracti128_si256(rest, 1));
}

/* y[o][h]: channel o of half h, as read_pixels has them. */
TILE_INLINE void write_pixels(uint8_t *p, __m256 (*y)[2], const int N, const int IS_BOUNDED) {
    __m256i words[C1X1_MAX_SMALL]; /* of pixels 0 to 7, 8 to 15 */
    C1X1_UNROLL
    for (int o = 0; o < C1X1_MAX_SMALL; o++)
        words[o] = o < N ? _mm256_packs_epi32(round_to_byte(y[o][0], IS_BOUNDED),
                                              round_to_byte(y[o][1], IS_BOUNDED))
                         : words[o - 1];
    const __m256i two = _mm256_packus_epi16(words[0], words[1]);
    const __m256i other = _mm256_packus_epi16(words[2], words[3]);
    const __m128i alternating = _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    if (N == 1) {
        _mm_storeu_si128((void *)p, _mm256_castsi256_si128(_mm256_permute4x64_epi64(two, 0x8)));
    } else if (N == 2) {
        _mm256_storeu_si256((void *)p, shuffle(two, alternating));
    } else if (N == 3) {
        write_threes(p, two, other);
    } else {
        const __m256i a = shuffle(two, alternating), b = shuffle(other, alternating);
        store_halves(p, p + 32, _mm256_unpacklo_epi16(a, b));
        store_halves(p + 16, p + 48, _mm256_unpackhi_epi16(a, b));
    }
}

typedef struct {
    __m256 w[C1X1_MAX_SMALL][C1X1_MAX_SMALL], bias[C1X1_MAX_SMALL];
} operands;

TILE_INLINE void convert_group(const uint8_t *b, uint8_t *c, const operands *v, const int K,
                               const int N, const int HAS_BIAS, const int IS_BOUNDED) {
    __m256 x[C1X1_MAX_SMALL], y[C1X1_MAX_SMALL][2];
    C1X1_UNROLL
    for (int h = 0; h < 2; h++) {
        read_pixels(x, b, K, h);
        C1X1_UNROLL
        for (int o = 0; o < N; o++) {
            y[o][h] = _mm256_mul_ps(x[0], v->w[o][0]);
            C1X1_UNROLL
            for (int i = 1; i < K; i++) y[o][h] = _mm256_fmadd_ps(x[i], v->w[o][i], y[o][h]);
            if (HAS_BIAS) y[o][h] = _mm256_add_ps(y[o][h], v->bias[o]);
        }
    }
    write_pixels(c, y, N, IS_BOUNDED);
}

TILE_INLINE size_t convert_all(const uint8_t *b, uint8_t *c, size_t n, const operands *v,
                               const int K, const int N, const int HAS_BIAS, const int IS_BOUNDED) {
    size_t done = 0;
    for (; done + VL <= n; done += VL, b += VL * K, c += VL * N)
        convert_group(b, c, v, K, N, HAS_BIAS, IS_BOUNDED);
    return done;
}

TILE_INLINE void convert(const c1x1_tile *t, const int K, const int N) {
    const float *a = t->a, *bias_m = t->bias_m;
    const uint8_t *b = t->b;
    uint8_t *c = t->c;
    operands v;
    int is_bounded = 1; /* no result outgrows int32 */
    C1X1_UNROLL
    for (int o = 0; o < N; o++) {
        float most = bias_m ? fabsf(bias_m[o]) : 0;
        C1X1_UNROLL
        for (int i = 0; i < K; i++) {
            v.w[o][i] = _mm256_set1_ps(a[o * t->lda + i]);
            most += 255 * fabsf(a[o * t->lda + i]);
        }
        v.bias[o] = bias_m ? _mm256_set1_ps(bias_m[o]) : _mm256_setzero_ps();
        is_bounded &= most < 0x1p30f; /* not so for a NaN */
    }
    size_t done;
    if (!is_bounded)
        done = convert_all(b, c, t->n, &v, K, N, 1, 0);
    else if (bias_m)
        done = convert_all(b, c, t->n, &v, K, N, 1, 1);
    else
        done = convert_all(b, c, t->n, &v, K, N, 0, 1);
    const size_t left = t->n - done;
    if (left == 0) return;
    uint8_t in[VL * C1X1_MAX_SMALL] = {0}, out[VL * C1X1_MAX_SMALL];
    memcpy(in, b + done * (size_t)K, left * (size_t)K);
    convert_group(in, out, &v, K, N, 1, 0);
    memcpy(c + done * (size_t)N, out, left * (size_t)N);
}

#define BYTES_OF(X, K) X(K, 1) X(K, 2) X(K, 3) X(K, 4)
#define BYTES(X) BYTES_OF(X, 1) BYTES_OF(X, 2) BYTES_OF(X, 3) BYTES_OF(X, 4)
#define BYTE_KERNEL(K, N) \
    static void x86_avx2_bytes_##K##x##N(const c1x1_tile *t) { convert(t, K, N); }
BYTES(BYTE_KERNEL)

#define ENTRY(K, N) .small[K - 1][N - 1] = x86_avx2_bytes_##K##x##N,
extern const c1x1_bytes c1x1_x86_avx2_bytes;
const c1x1_bytes c1x1_x86_avx2_bytes = {.vl = VL, BYTES(ENTRY)};
