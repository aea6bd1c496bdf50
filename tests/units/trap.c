/* trap.c - instructions of AMX and AVX-VNNI on a CPU that lacks them.
 *
 * Each raises SIGILL; the handler decodes it, does in plain C what Intel's manual says, and goes on
 * behind it. So a program built for AMX runs its own instructions, slowly, on any x86-64 Linux.
 * LDTILECFG, TILERELEASE, TILEZERO, TILELOADD, TILESTORED, TDPBF16PS, TDPB[SU][SU]D; and
 * VPDPBUSD of 256 bits. */
#define _GNU_SOURCE
#include "trap.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

static tile_config config;
static unsigned char tile[8][16][64];
unsigned long amx_trapped;

static _Noreturn void refuse(const char *why) {
    fprintf(stderr, "trap.c: %s\n", why);
    _Exit(3);
}

static float flush(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if ((bits & 0x7f800000u) == 0) bits &= 0x80000000u;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static float half_at(const unsigned char *at) {
    uint16_t half;
    memcpy(&half, at, sizeof half);
    const uint32_t bits = (uint32_t)half << 16;
    float v;
    memcpy(&v, &bits, sizeof v);
    return flush(v);
}

static void must_fit(int c, int a, int b) {
    if (config.rows[c] == 0 || config.rows[a] != config.rows[c] ||
        config.row_bytes[b] != config.row_bytes[c] || config.rows[b] * 4 != config.row_bytes[a])
        refuse("a product of tiles whose sizes do not fit");
    if (c == a || c == b || a == b) refuse("a product of tiles that are not three");
}

/* Four products of bytes to each int32, which wraps. */
static void multiply_bytes(int c, int a, int b, int a_is_signed, int b_is_signed) {
    must_fit(c, a, b);
    for (int m = 0; m < config.rows[c]; m++)
        for (int n = 0; n < config.row_bytes[c] / 4; n++) {
            uint32_t sum;
            memcpy(&sum, tile[c][m] + 4 * n, sizeof sum);
            for (int k = 0; k < config.row_bytes[a]; k++) {
                const unsigned char u = tile[a][m][k], v = tile[b][k / 4][4 * n + k % 4];
                sum += (uint32_t)((a_is_signed ? (signed char)u : u) *
                                  (b_is_signed ? (signed char)v : v));
            }
            memcpy(tile[c][m] + 4 * n, &sum, sizeof sum);
        }
}

/* The products of even and of odd elements apart, then both, then what the tile holds. */
static void multiply(int c, int a, int b) {
    must_fit(c, a, b);
    for (int m = 0; m < config.rows[c]; m++)
        for (int n = 0; n < config.row_bytes[c] / 4; n++) {
            float sum[2] = {0, 0}, all;
            for (int k = 0; k < config.rows[b]; k++)
                for (int odd = 0; odd < 2; odd++) {
                    const float product = half_at(tile[a][m] + 4 * k + 2 * odd) *
                                          half_at(tile[b][k] + 4 * n + 2 * odd);
                    sum[odd] = flush(sum[odd] + flush(product));
                }
            memcpy(&all, tile[c][m] + 4 * n, sizeof all);
            all = flush(flush(all) + flush(sum[0] + sum[1]));
            memcpy(tile[c][m] + 4 * n, &all, sizeof all);
        }
}

static void configure(const unsigned char *from) {
    memcpy(&config, from, sizeof config);
    if (config.palette != 1) refuse("LDTILECFG of another palette than 1");
    for (int i = 0; i < 16; i++) {
        const int is_none = config.rows[i] == 0 && config.row_bytes[i] == 0;
        if (i >= 8 && !is_none) refuse("LDTILECFG of a tile that does not exist");
        if (config.rows[i] > 16 || config.row_bytes[i] > 64 ||
            (config.rows[i] == 0) != (config.row_bytes[i] == 0))
            refuse("LDTILECFG of a size that no tile has");
    }
    memset(tile, 0, sizeof tile);
}

static void move(int t, char *at, ptrdiff_t stride, int is_store) {
    if (config.rows[t] == 0) refuse("a tile that is not configured");
    for (int r = 0; r < config.rows[t]; r++, at += stride) {
        if (is_store)
            memcpy(at, tile[t][r], config.row_bytes[t]);
        else {
            memset(tile[t][r], 0, 64);
            memcpy(tile[t][r], at, config.row_bytes[t]);
        }
    }
    if (!is_store) memset(tile[t][config.rows[t]], 0, (size_t)(16 - config.rows[t]) * 64);
}

/* Upper halves of the sixteen YMM registers, as XSAVE has them in the frame of a signal. */
static unsigned char *upper_halves(char *fpstate) {
    enum { XSTATE_BV = 512, YMM = 576, HAS_YMM = 4 };
    uint64_t *saved = (uint64_t *)(void *)(fpstate + XSTATE_BV);
    if (!(*saved & HAS_YMM)) memset(fpstate + YMM, 0, 16 * 16);
    *saved |= HAS_YMM; /* what is not, is not restored */
    return (unsigned char *)fpstate + YMM;
}

static void read_ymm(char *fpstate, int number, unsigned char *to) {
    enum { XMM = 160 };
    memcpy(to, fpstate + XMM + number * 16, 16);
    memcpy(to + 16, upper_halves(fpstate) + number * 16, 16);
}

static void write_ymm(char *fpstate, int number, const unsigned char *from) {
    enum { XMM = 160 };
    memcpy(fpstate + XMM + number * 16, from, 16);
    memcpy(upper_halves(fpstate) + number * 16, from + 16, 16);
}

/* VPDPBUSD: unsigned bytes of `a` by signed ones of b, four to each int32, which wraps. */
static void multiply_ymm(char *fpstate, int c, int a, const unsigned char *b) {
    unsigned char left[32];
    uint32_t sums[8];
    read_ymm(fpstate, a, left);
    read_ymm(fpstate, c, (unsigned char *)sums);
    for (int i = 0; i < 32; i++) sums[i / 4] += (uint32_t)(left[i] * (signed char)b[i]);
    write_ymm(fpstate, c, (const unsigned char *)sums);
}

static greg_t value(const greg_t *regs, int number) {
    static const int index[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};
    return regs[index[number]];
}

static void handle(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number, (void)info;
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *at = (const unsigned char *)regs[REG_RIP];
    char *fpstate = (char *)((ucontext_t *)context)->uc_mcontext.fpregs;
    const int is_ymm = (at[2] & 0x87) == 0x05 && at[3] == 0x50; /* L, no W, 66 */
    if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || ((at[2] & 0x84) != 0 && !is_ymm))
        refuse("an illegal instruction that is none of AMX's or AVX-VNNI's");
    const int r = !(at[1] & 0x80), x = !(at[1] & 0x40), b = !(at[1] & 0x20);
    const int prefix = at[2] & 3, third = ~at[2] >> 3 & 15, opcode = at[3];
    const int mode = at[4] >> 6, reg = at[4] >> 3 & 7, rm = at[4] & 7;
    const unsigned char *next = at + 5;
    char *memory = NULL;
    ptrdiff_t stride = 0;
    if (r && !is_ymm) refuse("a tile that does not exist");
    if (mode != 3) {
        int base = rm | b << 3, has_base = 1;
        greg_t displacement = 0, indexed = 0;
        if (rm == 4) {
            const int sib = *next++, index = (sib >> 3 & 7) | x << 3;
            base = (sib & 7) | b << 3;
            if (index != 4) indexed = value(regs, index) << (sib >> 6);
            has_base = !((sib & 7) == 5 && mode == 0);
        } else if (rm == 5 && mode == 0) {
            int32_t offset;
            memcpy(&offset, next, 4);
            base = -1;
            displacement = regs[REG_RIP] + 9 + offset; /* from the next instruction */
            next += 4;
        }
        if (mode == 1) displacement = (int8_t)*next++;
        if (mode == 2 || !has_base) {
            int32_t offset;
            memcpy(&offset, next, 4);
            displacement = offset;
            next += 4;
        }
        const greg_t origin = base >= 0 && has_base ? value(regs, base) : 0;
        stride = indexed;
        memory = (char *)(uintptr_t)(origin + displacement);
    }
    if (is_ymm) {
        unsigned char right[32];
        if (memory)
            memcpy(right, memory + stride, sizeof right);
        else
            read_ymm(fpstate, rm | b << 3, right);
        multiply_ymm(fpstate, reg | r << 3, third, right);
    } else if (opcode == 0x49 && prefix == 0 && memory && reg == 0)
        configure((const unsigned char *)memory + stride);
    else if (opcode == 0x49 && prefix == 0 && at[4] == 0xc0)
        memset(&config, 0, sizeof config);
    else if (opcode == 0x49 && prefix == 3 && !memory && rm == 0)
        memset(tile[reg], 0, sizeof tile[reg]);
    else if (opcode == 0x4b && prefix == 3 && memory && rm == 4)
        move(reg, memory, stride, 0);
    else if (opcode == 0x4b && prefix == 2 && memory && rm == 4)
        move(reg, memory, stride, 1);
    else if (opcode == 0x5c && prefix == 2 && !memory)
        multiply(reg, rm, third);
    else if (opcode == 0x5e && !memory) /* none: uu, 66: us, F3: su, F2: ss */
        multiply_bytes(reg, rm, third, prefix >= 2, prefix == 1 || prefix == 3);
    else
        refuse("an instruction of AMX that is not emulated");
    amx_trapped++;
    regs[REG_RIP] = (greg_t)(uintptr_t)next;
}

void amx_trap(void) {
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGILL, &action, NULL) != 0) refuse("no handler");
}

int amx_is_released(void) { return config.palette == 0; }
