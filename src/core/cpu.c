/* cpu.c - which CPU this is: CPUID, XCR0, cache sizes; the only reader of the environment. */
#define _GNU_SOURCE
#include "cpu.h"

#include <errno.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>
#define IS_X86 1
#else
#define IS_X86 0
#endif
#if defined(__aarch64__) || defined(_M_ARM64)
#define IS_ARM 1
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif
#ifdef _WIN32
#include <windows.h>
#endif
#else
#define IS_ARM 0
#endif

enum {
    LEAF1_ECX_FMA = 1u << 12,
    LEAF1_ECX_OSXSAVE = 1u << 27,
    LEAF1_ECX_AVX = 1u << 28,
    LEAF1_ECX_F16C = 1u << 29,
    LEAF7_EBX_AVX2 = 1u << 5,
    LEAF7_EBX_AVX512F = 1u << 16,
    LEAF7_EBX_AVX512DQ = 1u << 17,
    LEAF7_EBX_AVX512BW = 1u << 30
};
#define LEAF7_EBX_AVX512VL (1u << 31)
#define LEAF7_ECX_AVX512_VNNI (1u << 11)
#define LEAF7_1_EAX_AVX_VNNI (1u << 4)
#define LEAF7_EDX_AMX (1u << 22 | 1u << 24 | 1u << 25) /* bfloat16, tiles, int8 */
#define XCR0_AVX 0x6u      /* SSE and AVX state */
#define XCR0_AVX512 0xe6u  /* and opmask, upper halves, upper registers */
#define XCR0_AMX 0x60000u  /* tile configuration and data */

unsigned c1x1_features(const c1x1_cpuid *id) {
    const uint32_t avx = LEAF1_ECX_OSXSAVE | LEAF1_ECX_AVX;
    const uint32_t avx512 =
        LEAF7_EBX_AVX512F | LEAF7_EBX_AVX512DQ | LEAF7_EBX_AVX512BW | LEAF7_EBX_AVX512VL;
    unsigned features = 0;
    /* A CPU may have what the operating system does not save: then using it is SIGILL. */
    if ((id->leaf1_ecx & avx) != avx || (id->xcr0 & XCR0_AVX) != XCR0_AVX) return 0;
    if (id->leaf1_ecx & LEAF1_ECX_FMA) features |= C1X1_HAS_FMA;
    if (id->leaf1_ecx & LEAF1_ECX_F16C) features |= C1X1_HAS_F16C;
    if (id->leaf7_ebx & LEAF7_EBX_AVX2) features |= C1X1_HAS_AVX2;
    if ((id->leaf7_ebx & avx512) == avx512 && (id->xcr0 & XCR0_AVX512) == XCR0_AVX512)
        features |= C1X1_HAS_AVX512;
    if (features & C1X1_HAS_AVX512 && id->leaf7_ecx & LEAF7_ECX_AVX512_VNNI)
        features |= C1X1_HAS_AVX512_VNNI;
    if (id->leaf7_1_eax & LEAF7_1_EAX_AVX_VNNI) features |= C1X1_HAS_AVX_VNNI;
    if ((id->leaf7_edx & LEAF7_EDX_AMX) == LEAF7_EDX_AMX && (id->xcr0 & XCR0_AMX) == XCR0_AMX)
        features |= C1X1_HAS_AMX;
    return features;
}

#if IS_X86
static uint64_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Leaf 4 (Intel) and 0x8000001d (AMD) describe one cache per subleaf in the same form. */
static void read_caches(unsigned leaf, size_t *l1, size_t *l2) {
    unsigned a, b, c, d;
    for (unsigned sub = 0; sub < 8 && __get_cpuid_count(leaf, sub, &a, &b, &c, &d); sub++) {
        const unsigned type = a & 0x1f, level = a >> 5 & 7;
        if (type == 0) return;
        const size_t bytes =
            (size_t)((b >> 22) + 1) * ((b >> 12 & 0x3ff) + 1) * ((b & 0xfff) + 1) * ((size_t)c + 1);
        if (level == 1 && type == 1) *l1 = bytes;
        if (level == 2) *l2 = bytes;
    }
}
#endif

#if IS_ARM
/* SDOT and UDOT: since ARMv8.2, optional there. */
static int has_dot(void) {
#if defined(__linux__)
    enum { HWCAP_ASIMD_DOT = 1 << 20 };
    return (getauxval(AT_HWCAP) & HWCAP_ASIMD_DOT) != 0;
#elif defined(__APPLE__)
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &value, &size, NULL, 0) == 0 && value;
#elif defined(_WIN32)
    enum { ARM_V82_DOT = 43 }; /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE */
    return IsProcessorFeaturePresent(ARM_V82_DOT) != 0;
#else
    return 0;
#endif
}
#endif

void c1x1_cpu_read(unsigned *features, size_t *l1_bytes, size_t *l2_bytes) {
    *features = 0;
    *l1_bytes = 32 << 10;
    *l2_bytes = 512 << 10;
#if IS_X86
    unsigned a, b, c, d;
    c1x1_cpuid id = {0};
    if (__get_cpuid(1, &a, &b, &c, &d)) id.leaf1_ecx = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        const unsigned subleaves = a;
        id.leaf7_ebx = b;
        id.leaf7_ecx = c;
        id.leaf7_edx = d;
        if (subleaves > 0 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) id.leaf7_1_eax = a;
    }
    if (id.leaf1_ecx & LEAF1_ECX_OSXSAVE) id.xcr0 = read_xcr0();
    *features = c1x1_features(&id);
    const int is_amd = __get_cpuid(0x80000000, &a, &b, &c, &d) && a >= 0x8000001d &&
                       __get_cpuid(0x80000001, &a, &b, &c, &d) && (c >> 22 & 1);
    read_caches(is_amd ? 0x8000001du : 4u, l1_bytes, l2_bytes);
#else
    *features = C1X1_HAS_FMA;
#if IS_ARM
    *features |= C1X1_HAS_NEON; /* part of the base instruction set, as is FMA */
    if (has_dot()) *features |= C1X1_HAS_DOT;
#endif
#endif
}

int c1x1_cpu_permits_amx(void) {
#if IS_X86 && defined(__linux__)
    enum { ARCH_GET_XCOMP_PERM = 0x1022, ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    unsigned long permitted = 0;
    const int error = errno;
    syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
    const long failed = syscall(SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &permitted);
    errno = error; /* a refusal is no error of the caller's */
    return !failed && permitted >> XFEATURE_XTILEDATA & 1;
#else
    return 0;
#endif
}

const char *c1x1_cpu_environment(const char *name) {
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

const char *c1x1_compiler_name(void) {
#ifdef __clang__
    return __VERSION__; /* names itself */
#else
    return "gcc " __VERSION__;
#endif
}
