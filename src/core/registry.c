/* registry.c - the ordered table of ISAs, and the one that serves this machine. */
#include "cpu.h"
#include "kernels/kernel.h"
#include "threads.h"

#include <stdatomic.h>
#include <string.h>

#ifdef C1X1_BUILD_X86_AMX
extern const c1x1_isa c1x1_isa_x86_amx;
#endif
#ifdef C1X1_BUILD_X86_AVX512_VNNI
extern const c1x1_isa c1x1_isa_x86_avx512_vnni;
#endif
#ifdef C1X1_BUILD_X86_AVX512
extern const c1x1_isa c1x1_isa_x86_avx512;
#endif
#ifdef C1X1_BUILD_X86_AVX_VNNI
extern const c1x1_isa c1x1_isa_x86_avx_vnni;
#endif
#ifdef C1X1_BUILD_X86_AVX2
extern const c1x1_isa c1x1_isa_x86_avx2;
#endif
#ifdef C1X1_BUILD_ARM_NEON_DOT
extern const c1x1_isa c1x1_isa_arm_neon_dot;
#endif
#ifdef C1X1_BUILD_ARM_NEON
extern const c1x1_isa c1x1_isa_arm_neon;
#endif
#ifdef C1X1_BUILD_EMULATED
extern const c1x1_isa c1x1_isa_emulated_amx, c1x1_isa_emulated_vnni, c1x1_isa_emulated_dot;
#endif
extern const c1x1_isa c1x1_isa_scalar, c1x1_isa_scalar_unfused;

const c1x1_isa *const c1x1_isas[] = {
#ifdef C1X1_BUILD_X86_AMX
    &c1x1_isa_x86_amx,
#endif
#ifdef C1X1_BUILD_X86_AVX512_VNNI
    &c1x1_isa_x86_avx512_vnni,
#endif
#ifdef C1X1_BUILD_X86_AVX512
    &c1x1_isa_x86_avx512,
#endif
#ifdef C1X1_BUILD_X86_AVX_VNNI
    &c1x1_isa_x86_avx_vnni,
#endif
#ifdef C1X1_BUILD_X86_AVX2
    &c1x1_isa_x86_avx2,
#endif
#ifdef C1X1_BUILD_ARM_NEON_DOT
    &c1x1_isa_arm_neon_dot,
#endif
#ifdef C1X1_BUILD_ARM_NEON
    &c1x1_isa_arm_neon,
#endif
    &c1x1_isa_scalar,          &c1x1_isa_scalar_unfused,
#ifdef C1X1_BUILD_EMULATED
    &c1x1_isa_emulated_amx,    &c1x1_isa_emulated_vnni,  &c1x1_isa_emulated_dot,
#endif
};
const size_t c1x1_isa_count = sizeof c1x1_isas / sizeof c1x1_isas[0];

static c1x1_machine machine;

static size_t row_of(const c1x1_isa *isa) {
    size_t i = 0;
    while (c1x1_isas[i] != isa) i++;
    return i;
}

static const c1x1_isa *find(const c1x1_isa *isa, c1x1_compute compute, int needs_small) {
    for (size_t i = row_of(isa); i < c1x1_isa_count; i++) {
        const c1x1_kernels *kernels = c1x1_isas[i]->kernels[compute];
        if (kernels && (!needs_small || kernels->small[0][0])) return c1x1_isas[i];
    }
    return NULL;
}

const c1x1_kernels *c1x1_find_kernels(const c1x1_isa *isa, c1x1_compute compute,
                                      const c1x1_isa **owner) {
    const c1x1_isa *found = find(isa, compute, 0); /* plain C has them all */
    if (owner) *owner = found;
    return found->kernels[compute];
}

const c1x1_kernels *c1x1_find_small(const c1x1_isa *isa, c1x1_compute compute) {
    const c1x1_isa *found = find(isa, compute, 1);
    return found ? found->kernels[compute] : NULL;
}

c1x1_convert_fn c1x1_find_load_converter(const c1x1_isa *isa, c1x1_dtype from, c1x1_compute to) {
    for (size_t i = row_of(isa); i < c1x1_isa_count; i++) {
        const c1x1_converters *converters = c1x1_isas[i]->converters;
        if (converters && converters->load[to][from]) return converters->load[to][from];
    }
    return NULL;
}

c1x1_convert_fn c1x1_find_store_converter(const c1x1_isa *isa, c1x1_compute from, c1x1_dtype to) {
    for (size_t i = row_of(isa); i < c1x1_isa_count; i++) {
        const c1x1_converters *converters = c1x1_isas[i]->converters;
        if (converters && converters->store[from][to]) return converters->store[from][to];
    }
    return NULL;
}

const c1x1_bytes *c1x1_find_bytes(const c1x1_isa *isa) {
    for (size_t i = row_of(isa); i < c1x1_isa_count; i++)
        if (c1x1_isas[i]->bytes) return c1x1_isas[i]->bytes;
    return NULL;
}

const c1x1_isa *c1x1_find_isa(const char *name) {
    for (size_t i = 0; i < c1x1_isa_count; i++)
        if (strcmp(c1x1_isas[i]->name, name) == 0) return c1x1_isas[i];
    return NULL;
}

/* The best row that the features allow, from the row called `cap` downwards. */
static const c1x1_isa *best_isa(unsigned features, const char *cap) {
    int is_below_cap = cap == NULL;
    for (size_t i = 0; i < c1x1_isa_count; i++) {
        const c1x1_isa *isa = c1x1_isas[i];
        const int is_named = cap && strcmp(isa->name, cap) == 0;
        is_below_cap = is_below_cap || is_named;
        if (!is_below_cap) continue;
        if ((isa->needs & ~(features | (is_named ? C1X1_ON_REQUEST : 0u))) == 0) return isa;
    }
    return NULL;
}

int c1x1_machine_init(void) {
    c1x1_cpu_read(&machine.features, &machine.l1_bytes, &machine.l2_bytes);
    machine.thread_limit = c1x1_threads_limit(&machine.thread_limit_why);
    machine.isa = best_isa(machine.features, c1x1_cpu_environment("C1X1_ISA"));
    if (machine.isa) return 0;
    machine.isa = best_isa(machine.features, NULL);
    return -1;
}

const c1x1_machine *c1x1_this_machine(void) { return &machine; }

int c1x1_machine_permits(const c1x1_plan *plan) {
    static atomic_int answer; /* 0: not asked yet, 1: granted, -1: refused */
    if (!plan->unit || !(plan->unit->needs & C1X1_HAS_AMX)) return 1;
    if (atomic_load(&answer) == 0) atomic_store(&answer, c1x1_cpu_permits_amx() ? 1 : -1);
    if (atomic_load(&answer) > 0) return 1;
    machine.features &= ~(unsigned)C1X1_HAS_AMX;
    machine.isa = best_isa(machine.features, machine.isa->name);
    return 0;
}

int c1x1_select_isa(const char *name) {
    const c1x1_isa *isa = best_isa(machine.features, name);
    if (!isa || strcmp(isa->name, name) != 0) return -1;
    machine.isa = isa;
    return 0;
}
