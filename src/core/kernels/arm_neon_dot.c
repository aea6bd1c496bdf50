/* arm_neon_dot.c - bytes by SDOT and UDOT of ARMv8.2: four products of one sign and their sum.
 *
 *           j = 0..3   4..7   8..11  12..15
 *   i = 0   [acc00]   [acc01] [acc02] [acc03]     per four channels: 4 loads of b, 6 of a, 24 dots
 *     ..      ..        ..      ..      ..        registers: 24 acc + 4 b + 1 a = 29 of 32
 *   i = 5   [acc50]   [acc51] [acc52] [acc53]
 *
 * The other kernels are those of arm_neon. */
#include "kernel.h"

#include <arm_neon.h>
#include <string.h>

typedef int32x4_t dot_vec;
enum { DOT_VL = 4, DOT_ROWS = 6, DOT_NV = 4 };
#define DOT_SIGNS C1X1_SIGNS_AGREE
#define DOT_CYCLES 600 /* 512 at two dots a cycle */

static inline dot_vec dot_four(const char *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return vdupq_n_s32(four);
}
static inline dot_vec dot_load(const void *p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }
static inline dot_vec dot_unsigned(dot_vec acc, dot_vec a, dot_vec b) {
    return vreinterpretq_s32_u32(
        vdotq_u32(vreinterpretq_u32_s32(acc), vreinterpretq_u8_s32(a), vreinterpretq_u8_s32(b)));
}
static inline dot_vec dot_signed(dot_vec acc, dot_vec a, dot_vec b) {
    return vdotq_s32(acc, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
}
#define dot_zero() vdupq_n_s32(0)
#define dot_store(p, v) vst1q_s32(p, v)
#define dot_add(u, v) vaddq_s32(u, v)
#define dot_negate(v) vnegq_s32(v)
#define dot_times_128(v) vshlq_n_s32(v, 7)
#include "matrix_dots.inc"

extern const c1x1_isa c1x1_isa_arm_neon_dot;
const c1x1_isa c1x1_isa_arm_neon_dot = {
    .name = "arm_neon_dot",
    .description = "64-bit ARM with NEON and its dot products",
    .needs = C1X1_HAS_FMA | C1X1_HAS_NEON | C1X1_HAS_DOT,
    .matrix = {[C1X1_UNIT_BYTES] = &dots_of_bytes},
};
