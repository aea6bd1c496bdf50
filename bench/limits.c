/* limits.c - what this machine can do at most: FMA, read, copy, streaming stores.
 *
 * roofline.py compiles it on the spot for the CPU it runs on and calls it through ctypes, one call
 * per thread. Vectors are the compiler's own (vector_size), so that any CPU takes the same text. */
#include <stddef.h>

#if defined(__AVX512F__)
enum { BYTES = 64 };
#elif defined(__AVX__)
enum { BYTES = 32 };
#else
enum { BYTES = 16 };
#endif
typedef float vec __attribute__((vector_size(BYTES)));
enum { LANES = BYTES / sizeof(float) };

/* A loop that the compiler can tell is a copy becomes a call of memcpy, which decides by itself
 * whether to stream. */
#define KEEP_LOOP() __asm__ volatile("" ::: "memory")

/* Twelve sums hide the latency of two units of four to five cycles and leave registers for x and y;
 * CPUs with 32 registers may have more units or longer latency, so they get twice that. */
#define TWELVE(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define TWELVE_MORE(DO)                                                                         \
    DO(12) DO(13) DO(14) DO(15) DO(16) DO(17) DO(18) DO(19) DO(20) DO(21) DO(22) DO(23)
#if defined(__AVX512F__) || defined(__aarch64__)
#define ALL(DO) TWELVE(DO) TWELVE_MORE(DO)
enum { SUMS = 24 };
#else
#define ALL(DO) TWELVE(DO)
enum { SUMS = 12 };
#endif

/* Multiply-adds per round of limit_fma. */
size_t limit_fma_step(void) { return SUMS * LANES; }

float limit_fma(size_t rounds, float start) {
    vec x = {0}, y = {0}, sum = {0};
    x += start;
    y += start;
#define MAKE(i) vec s##i = x + (float)i;
#define ADD(i) s##i = s##i * x + y;
/* Ties each sum to a register, lest sums be merged or computed in closed form. */
#define TIE(i) HOLD(s##i);
#define FOLD(i) sum += s##i;
#if defined(__x86_64__)
#define HOLD(v) __asm__ volatile("" : "+x"(v))
#elif defined(__aarch64__)
#define HOLD(v) __asm__ volatile("" : "+w"(v))
#else
#define HOLD(v) (void)v
#endif
    ALL(MAKE)
    for (size_t r = 0; r < rounds; r++) {
        ALL(ADD)
        ALL(TIE)
    }
    ALL(FOLD)
    return sum[0];
}

/* All below: `count` floats, a multiple of 8 vectors, at pointers aligned to 64 bytes, `times` times
 * over, since a call from Python takes longer than a small buffer does. */
float limit_read(const float *from, size_t count, size_t times) {
    const vec *x = (const vec *)from;
    vec s0 = {0}, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    for (size_t t = 0; t < times; t++) {
        for (size_t i = 0; i < count / LANES; i += 8) {
            s0 += x[i], s1 += x[i + 1], s2 += x[i + 2], s3 += x[i + 3];
            s4 += x[i + 4], s5 += x[i + 5], s6 += x[i + 6], s7 += x[i + 7];
        }
        KEEP_LOOP();
    }
    s0 += s1 + s2 + s3 + s4 + s5 + s6 + s7;
    return s0[0];
}

void limit_copy(float *to, const float *from, size_t count, size_t times) {
    vec *y = (vec *)to;
    const vec *x = (const vec *)from;
    for (size_t t = 0; t < times; t++) {
        for (size_t i = 0; i < count / LANES; i += 4) {
            y[i] = x[i], y[i + 1] = x[i + 1], y[i + 2] = x[i + 2], y[i + 3] = x[i + 3];
            KEEP_LOOP();
        }
    }
}

#if defined(__x86_64__)
#include <immintrin.h>
static inline void stream(vec *to, vec value) {
#if defined(__AVX512F__)
    _mm512_stream_ps((float *)to, (__m512)value);
#elif defined(__AVX__)
    _mm256_stream_ps((float *)to, (__m256)value);
#else
    _mm_stream_ps((float *)to, (__m128)value);
#endif
}
#define FENCE() _mm_sfence()
#define CAN_STREAM 1
#elif defined(__clang__)
static inline void stream(vec *to, vec value) { __builtin_nontemporal_store(value, to); }
#define FENCE() __sync_synchronize()
#define CAN_STREAM 1
#else
/* gcc has no word for such a store elsewhere. */
static inline void stream(vec *to, vec value) { *to = value; }
#define FENCE() (void)0
#define CAN_STREAM 0
#endif

int limit_can_stream(void) { return CAN_STREAM; }

void limit_copy_streaming(float *to, const float *from, size_t count, size_t times) {
    vec *y = (vec *)to;
    const vec *x = (const vec *)from;
    for (size_t t = 0; t < times; t++) {
        for (size_t i = 0; i < count / LANES; i++) stream(y + i, x[i]);
        KEEP_LOOP();
    }
    FENCE();
}

void limit_fill_streaming(float *to, size_t count, size_t times) {
    vec *y = (vec *)to;
    const vec zero = {0};
    for (size_t t = 0; t < times; t++) {
        for (size_t i = 0; i < count / LANES; i++) stream(y + i, zero);
        KEEP_LOOP();
    }
    FENCE();
}
