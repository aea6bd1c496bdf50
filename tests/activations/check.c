/* check.c - the activations of one ISA beside references of higher precision.
 *
 * Built with -DVEC_HEADER="kernels/vec_<isa>.h" and that ISA's flags.
 *
 *   check errors STRIDE SAMPLES [NAME]   of every activation (or one) the largest error in ulp:
 *                                        float over every STRIDE-th of the 2^32 bit patterns
 *                                        (1: all), double over SAMPLES of each sign
 *   check hash STRIDE SAMPLES            a hash of the results, the same for every ISA
 *
 * A line is: dtype, name, largest error, the input there, the result there. An ulp is the spacing
 * of the dtype at the reference. NaN and Inf must come out where the reference says; such a
 * difference is an error of Inf. Exits with 77 where the CPU lacks the instructions. */
#include "kernels/kernel.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Enough for references whose arguments need more than long double has. */
#ifdef __x86_64__
typedef __float128 wide;
#else
typedef long double wide;
#endif

enum { BLOCK = 4096, SPECIALS = 8 };
#define C1X1_ACTIVATION(CAPS, name, parameters) ACT_##CAPS,
enum {
#include "epilogues.def"
    ACT_COUNT
};
#undef C1X1_ACTIVATION
#define C1X1_ACTIVATION(CAPS, name, parameters) #name,
static const char *const names[] = {
#include "epilogues.def"
};
#undef C1X1_ACTIVATION

/* Exact in float, so that the references know them exactly. */
static const double parameters_of[ACT_COUNT][2] = {
    [ACT_ELU] = {0.75},
    [ACT_LEAKY_RELU] = {0.01171875},
    [ACT_CLIP] = {-1.5, 2.5},
    [ACT_PRELU] = {-0.25},
};

/* ---- what is checked ------------------------------------------------------------------------ */

/* run_<dtype>[activation](x, y, parameters): BLOCK elements of x to y */
#define C1X1_ACTIVATION(CAPS, name, parameters)                                                  \
    static void NAME(run_##name)(const real *x, real *y, const real *p) {                        \
        for (int i = 0; i < BLOCK; i += VL)                                                      \
            vec_store(y + i, NAME(act_##name)(vec_load(x + i), vec_set1(p), vec_set1(p + 1)));   \
    }
#include VEC_HEADER
#define NAME(x) check_f32_##x
#include "kernels/act_real.inc"
#include "epilogues.def"
#undef NAME
#define VEC_FLOAT64
#include VEC_HEADER
#define NAME(x) check_f64_##x
#include "kernels/act_real.inc"
#include "epilogues.def"
#undef NAME
#undef C1X1_ACTIVATION

#define C1X1_ACTIVATION(CAPS, name, parameters) check_f32_run_##name,
static void (*const run_f32[])(const float *, float *, const float *) = {
#include "epilogues.def"
};
#undef C1X1_ACTIVATION
#define C1X1_ACTIVATION(CAPS, name, parameters) check_f64_run_##name,
static void (*const run_f64[])(const double *, double *, const double *) = {
#include "epilogues.def"
};
#undef C1X1_ACTIVATION

/* ---- references ----------------------------------------------------------------------------- */

/* Constants in two parts, since a long double holds 64 bits of them. */
#define SQRT_HALF 0.7071067811865475243818940365159164684883L
#define SQRT_HALF_LOW 1.89503255889325707965506e-20L
#define SQRT_2_PI 0.7978845608028653558531362310901613454917L
#define SQRT_2_PI_LOW 2.67558887786023914600658e-20L
#define CUBE 0.04471499999999999997238320226244923105696L
#define CUBE_LOW 2.76167977375507689430378e-20L

/* Formulas that need no care. T is double for float, long double for double. */
#define DEFINE_SIMPLE(NAME, T, exp, expm1, tanh)                                                 \
    static T NAME(int activation, T x, T p0, T p1) {                                             \
        if (isnan(x)) return x;                                                                  \
        const T relu6 = x + 3 < 0 ? 0 : x + 3 > 6 ? 6 : x + 3;                                   \
        switch (activation) {                                                                    \
        case ACT_RELU: return x > 0 ? x : 0;                                                     \
        case ACT_RELU6: return x < 0 ? 0 : x > 6 ? 6 : x;                                        \
        case ACT_SIGMOID: return 1 / (1 + exp(-x));                                              \
        case ACT_TANH: return tanh(x);                                                           \
        case ACT_SILU: return x < -2000 ? -(T)0 : x / (1 + exp(-x));                             \
        case ACT_HARDSWISH: return x < -3 ? -(T)0 : x * (relu6 / 6);                             \
        case ACT_HARDSIGMOID: return relu6 / 6;                                                  \
        case ACT_ELU: return x > 0 ? x : p0 * expm1(x);                                          \
        case ACT_LEAKY_RELU:                                                                     \
        case ACT_PRELU: return x > 0 ? x : p0 * x;                                               \
        case ACT_CLIP: return x < p0 ? p0 : x > p1 ? p1 : x;                                     \
        default: return x;                                                                       \
        }                                                                                        \
    }
DEFINE_SIMPLE(simple_f64, double, exp, expm1, tanh)
DEFINE_SIMPLE(simple_wide, long double, expl, expm1l, tanhl)

static double want_f32(int activation, double x, const double *p) {
    if (activation == ACT_GELU) return x < -100 ? -0.0 : 0.5 * x * erfc(-x * 0.70710678118654752);
    if (activation == ACT_GELU_TANH) {
        const double y = 1.5957691216057308 * (x + 0.044715 * x * x * x);
        return x < -100 ? -0.0 : x / (1 + exp(-y));
    }
    return simple_f64(activation, x, p[0], p[1]);
}

/* Arguments in two parts: an error of 2^-64 in them would show, multiplied by up to 1500. */
static long double want_f64(int activation, double x, const double *p) {
    if (fabs(x) < 100 && activation == ACT_GELU) {
        const wide c = (wide)SQRT_HALF + SQRT_HALF_LOW, z = -x * c;
        const long double high = (long double)z, low = (long double)(z - high);
        const long double slope = -1.1283791670955125739L * expl(-high * high);
        return 0.5L * x * (erfcl(high) + slope * low);
    }
    if (fabs(x) < 100 && activation == ACT_GELU_TANH) {
        const wide c = (wide)SQRT_2_PI + SQRT_2_PI_LOW;
        const wide cube = ((wide)CUBE + CUBE_LOW) * x * x * x, y = -2 * c * (x + cube);
        const long double high = (long double)y, low = (long double)(y - high);
        return x / (1 + expl(high) * (1 + low));
    }
    if (activation == ACT_GELU || activation == ACT_GELU_TANH)
        return isnan(x) ? x : x > 0 ? x : -0.0L;
    return simple_wide(activation, x, p[0], p[1]);
}

static int fast_ilogb(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (int)(bits >> 52 & 0x7ff) - 1023;
}

static double fast_ldexp(double v, int n) { /* 2^n is normal */
    const uint64_t bits = (uint64_t)(n + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return v * power;
}

/* |got - want| in units of the spacing of T's numbers at `want`: 2^(exponent - digits + 1), where
 * exponents below `lowest` are subnormal. */
#define DEFINE_ERROR(NAME, T, WIDE, ilogb, ldexp, digits, lowest, largest)                       \
    static double NAME(T got, WIDE want) {                                                       \
        if (got == want) return 0;                                                               \
        if (isnan(want) && isnan(got)) return 0;                                                 \
        if (!(want >= -largest && want <= largest) || !isfinite(got)) return INFINITY;           \
        const int exponent = want == 0 ? lowest : ilogb(want);                                   \
        const WIDE difference = got > want ? got - want : want - got;                            \
        return (double)ldexp(difference, digits - 1 - (exponent < lowest ? lowest : exponent));  \
    }
DEFINE_ERROR(error_f32, float, double, fast_ilogb, fast_ldexp, 24, -126, 0x1.ffffffp127)
DEFINE_ERROR(error_f64, double, long double, ilogbl, ldexpl, 53, -1022, 0x1.fffffffffffffcp1023L)

/* ---- inputs --------------------------------------------------------------------------------- */

static const double specials[SPECIALS] = {0, -0.0, INFINITY, -INFINITY, NAN, -NAN, 1, -1};

static double special(uint64_t i) { return specials[i % SPECIALS]; }

static void fill_f32(float *x, uint64_t first, uint64_t stride) {
    for (int i = 0; i < BLOCK; i++) {
        const uint64_t k = first + (uint64_t)i, last = (((uint64_t)1 << 32) - 1) / stride;
        const uint32_t bits = (uint32_t)(k * stride);
        memcpy(&x[i], &bits, sizeof bits);
        if (k > last) x[i] = (float)special(k - last);
    }
}

/* Steps of equal size between bit patterns are a grid of logarithms: of each sign, first from 2^-64
 * to 2^11, then all. */
static void fill_f64(double *x, uint64_t first, uint64_t samples) {
    for (int i = 0; i < BLOCK; i++) {
        const uint64_t k = first + (uint64_t)i, half = samples / 2 + 1;
        const uint64_t low = k < samples ? (uint64_t)(1023 - 64) << 52 : 0;
        const uint64_t range = k < samples ? (uint64_t)(64 + 11) << 52 : (uint64_t)0x7ff << 52;
        const uint64_t step = range / half | 1, n = k % samples / 2;
        const uint64_t bits = (low + n * step) | k << 63;
        memcpy(&x[i], &bits, sizeof bits);
        if (k >= 2 * samples) x[i] = special(k - 2 * samples);
    }
}

/* ---- the two commands ----------------------------------------------------------------------- */

static void check_f32(int a, uint64_t stride) {
    static float x[BLOCK], y[BLOCK];
    const float p[2] = {(float)parameters_of[a][0], (float)parameters_of[a][1]};
    const uint64_t count = ((uint64_t)1 << 32) / stride + SPECIALS;
    double worst = 0;
    float at = 0, result = 0;
    for (uint64_t first = 0; first < count; first += BLOCK) {
        fill_f32(x, first, stride);
        run_f32[a](x, y, p);
        for (int i = 0; i < BLOCK; i++) {
            const double want = want_f32(a, x[i], parameters_of[a]);
            const double e = error_f32(y[i], want);
            if (e > worst) worst = e, at = x[i], result = y[i];
        }
    }
    printf("float %s %.4f %.9g %.9g\n", names[a], worst, at, result);
}

static void check_f64(int a, uint64_t samples) {
    static double x[BLOCK], y[BLOCK];
    double worst = 0, at = 0, result = 0;
    for (uint64_t first = 0; first < 2 * samples + SPECIALS; first += BLOCK) {
        fill_f64(x, first, samples);
        run_f64[a](x, y, parameters_of[a]);
        for (int i = 0; i < BLOCK; i++) {
            const long double want = want_f64(a, x[i], parameters_of[a]);
            const double e = error_f64(y[i], want);
            if (e > worst) worst = e, at = x[i], result = y[i];
        }
    }
    printf("double %s %.4f %.17g %.17g\n", names[a], worst, at, result);
}

/* FNV-1a by words. A NaN's sign and payload are left to the ISA: all NaN count as one. */
static uint64_t add_to_hash(uint64_t hash, uint64_t bits, int is_nan) {
    return (hash ^ (is_nan ? 0x7ff8 : bits)) * 0x100000001b3u;
}

static void hash_f32(int a, uint64_t stride) {
    static float x[BLOCK], y[BLOCK];
    const float p[2] = {(float)parameters_of[a][0], (float)parameters_of[a][1]};
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint64_t first = 0; first < ((uint64_t)1 << 32) / stride + SPECIALS; first += BLOCK) {
        fill_f32(x, first, stride);
        run_f32[a](x, y, p);
        for (int i = 0; i < BLOCK; i++) {
            uint32_t bits;
            memcpy(&bits, &y[i], sizeof bits);
            hash = add_to_hash(hash, bits, isnan(y[i]));
        }
    }
    printf("float %s %016" PRIx64 "\n", names[a], hash);
}

static void hash_f64(int a, uint64_t samples) {
    static double x[BLOCK], y[BLOCK];
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint64_t first = 0; first < 2 * samples + SPECIALS; first += BLOCK) {
        fill_f64(x, first, samples);
        run_f64[a](x, y, parameters_of[a]);
        for (int i = 0; i < BLOCK; i++) {
            uint64_t bits;
            memcpy(&bits, &y[i], sizeof bits);
            hash = add_to_hash(hash, bits, isnan(y[i]));
        }
    }
    printf("double %s %016" PRIx64 "\n", names[a], hash);
}

/* Whether this CPU runs what the compiler was told to use. */
static int cpu_suffices(void) {
#ifdef __AVX512F__
    if (!__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) return 0;
#endif
#ifdef __AVX2__
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
#endif
    return 1;
}

int main(int argc, char **argv) {
    if (!cpu_suffices()) return 77;
    const int is_hash = argc > 1 && strcmp(argv[1], "hash") == 0;
    if (argc < 4 || (!is_hash && strcmp(argv[1], "errors") != 0)) {
        fprintf(stderr, "usage: %s errors|hash STRIDE SAMPLES [NAME]\n", argv[0]);
        return 2;
    }
    const uint64_t stride = strtoull(argv[2], NULL, 10), samples = strtoull(argv[3], NULL, 10);
    for (int a = 0; a < ACT_COUNT; a++) {
        if (argc > 4 && strcmp(argv[4], names[a]) != 0) continue;
        if (stride > 0) (is_hash ? hash_f32 : check_f32)(a, stride);
        if (samples > 0) (is_hash ? hash_f64 : check_f64)(a, samples);
        fflush(stdout);
    }
    return 0;
}
