/* plan_matrix.c - whether a matrix unit multiplies, and its blocks.
 *
 * The choice depends on the operands' shapes, strides and dtypes, and on whether weights were cut before,
 * never on threads, addresses or memory: the same call gives the same bits. Bytes give the same bits
 * whoever multiplies them. Constants: decision 0012. */
#include "plan.h"

#include <math.h>

static const double RESULT_PASS = 0.1;       /* cycles per result, for every block of k */
static const double STREAM_BYTES = 8;        /* per cycle, of weights beyond L2 */
static const size_t L1_PIECES = 30 << 10;    /* bytes of a panel for one block of k */
static const size_t PIXELS_OF_PASS = 256;    /* that share one pass over weights beyond L2 */
static const size_t PIXELS_ALONG = 128;      /* of planes, which are read in runs, or not cut */
static const size_t CUT_WEIGHTS = 768 << 10; /* bytes that each thread may cut for one call */
static const size_t FEWEST = 16;             /* channels in or out, and pixels, worth a tile */

enum { EDGE = C1X1_MATRIX_EDGE };

c1x1_unit c1x1_matrix_kind(const c1x1_problem *p) {
    if (p->compute == C1X1_COMPUTE_INT32) return C1X1_UNIT_BYTES;
    const int are_halves = p->x_dtype == C1X1_BFLOAT16 && p->w_dtype == C1X1_BFLOAT16;
    return are_halves ? C1X1_UNIT_BFLOAT16 : C1X1_UNIT_FLOAT32;
}

static const c1x1_matrix_kernels *unit_of(const c1x1_isa *isa, const c1x1_problem *p) {
    return isa->matrix[c1x1_matrix_kind(p)];
}

/* Pieces of bfloat16 that hold every bit of a value; a byte is one of its own kind. */
static unsigned exact_pieces(c1x1_dtype dtype) {
    switch (dtype) {
    case C1X1_BOOL:
    case C1X1_INT8:
    case C1X1_UINT8:
    case C1X1_BFLOAT16:
        return 1;
    case C1X1_INT16:
    case C1X1_UINT16:
    case C1X1_FLOAT16:
        return 2;
    default:
        return C1X1_MATRIX_PIECES;
    }
}

unsigned c1x1_matrix_pieces(c1x1_dtype dtype, c1x1_precision precision) {
    const unsigned asked = C1X1_MATRIX_PIECES - (unsigned)precision, exact = exact_pieces(dtype);
    return asked < exact ? asked : exact;
}

static unsigned x_pieces(const c1x1_problem *p) {
    return c1x1_matrix_pieces(p->table ? C1X1_FLOAT32 : p->x_dtype, p->precision);
}

static unsigned w_pieces(const c1x1_problem *p) {
    return c1x1_matrix_pieces(p->w_dtype, p->precision);
}

static unsigned products(unsigned a, unsigned b) {
#define COUNT(x, y) +1
#define ENTRY(A, B) [A][B] = 0 C1X1_PRODUCTS_##A##_##B(COUNT),
    static const unsigned counts[C1X1_MATRIX_PIECES + 1][C1X1_MATRIX_PIECES + 1] = {
        C1X1_FOR_EACH_PIECES(ENTRY)};
#undef ENTRY
#undef COUNT
    return counts[a][b];
}

static int is_signed(c1x1_dtype dtype) { return dtype == C1X1_INT8; }

static c1x1_dtype dtype_of_a(const c1x1_problem *p, int pixels_are_n) {
    return pixels_are_n ? p->w_dtype : p->x_dtype;
}

static c1x1_dtype dtype_of_b(const c1x1_problem *p, int pixels_are_n) {
    return pixels_are_n ? p->x_dtype : p->w_dtype;
}

int c1x1_matrix_offset(const c1x1_problem *p, const c1x1_isa *isa, int pixels_are_n) {
    const c1x1_signs signs = unit_of(isa, p)->signs;
    const int a_is_signed = is_signed(dtype_of_a(p, pixels_are_n));
    const int is_alike = a_is_signed == is_signed(dtype_of_b(p, pixels_are_n));
    if (signs == C1X1_SIGNS_ANY || is_alike == (signs == C1X1_SIGNS_AGREE)) return 0;
    return a_is_signed ? 128 : -128;
}

static const c1x1_pieces *cut_before(const c1x1_problem *p, const c1x1_isa *unit, c1x1_role role) {
    const c1x1_pieces *pieces = p->packed ? p->packed->pieces : NULL;
    const int fits = pieces && p->packed->compute == p->compute &&
                     pieces->are_rows == c1x1_pixels_are_n(role) &&
                     (!pieces->are_rows || pieces->offset == c1x1_matrix_offset(p, unit, 1));
    return fits ? pieces : NULL;
}

/* Output channels whose weights are cut for a call and kept: all of k. */
static size_t channels_at_once(const c1x1_problem *p, const c1x1_matrix_kernels *unit) {
    const size_t panel = c1x1_matrix_bytes(unit, p->c_in, w_pieces(p));
    return larger(CUT_WEIGHTS / panel, 1) * EDGE;
}

static size_t block_of_k(const c1x1_matrix_kernels *unit, size_t k, unsigned pieces) {
    const size_t fits = L1_PIECES / (EDGE * pieces * C1X1_MATRIX_ROW / unit->k) / unit->k * unit->k;
    return round_up(divide_up(k, divide_up(k, fits)), unit->k);
}

static int is_byte(c1x1_dtype dtype) { return c1x1_dtype_size(dtype) == 1; }

int c1x1_matrix_suits(const c1x1_problem *p) {
    const int is_known = p->compute == C1X1_COMPUTE_INT32
                             ? is_byte(p->x_dtype) && is_byte(p->w_dtype)
                             : p->compute == C1X1_COMPUTE_FLOAT32 && !p->is_reproducible;
    return is_known && p->c_in >= FEWEST && p->c_out >= FEWEST;
}

/* Whether elements follow each other `along` one axis, and lie whole elements apart across it. */
static int is_dense(ptrdiff_t along, ptrdiff_t across, size_t size) {
    return along == (ptrdiff_t)size && across % (ptrdiff_t)size == 0;
}

static int pixels_in_place(const c1x1_view *v, const c1x1_choice *c, const c1x1_isa *isa) {
    const c1x1_problem *p = v->problem;
    if (c1x1_matrix_kind(p) == C1X1_UNIT_FLOAT32) return c->x_in_place;
    if (c->is_gathered) return 0;
    const ptrdiff_t pixel = p->dim[p->dims - 1].x_stride;
    const int are_columns = c1x1_pixels_are_n(c->role);
    return is_dense(are_columns ? pixel : p->x_channel, are_columns ? p->x_channel : pixel,
                    unit_of(isa, p)->size);
}

/* Rows that fill whole tiles as they lie: nothing beside them is read. */
static int reads_pixels(const c1x1_view *v, const c1x1_choice *c, const c1x1_isa *isa) {
    const c1x1_problem *p = v->problem;
    return c1x1_matrix_kind(p) != C1X1_UNIT_FLOAT32 && !c1x1_pixels_are_n(c->role) &&
           pixels_in_place(v, c, isa) && p->c_in % unit_of(isa, p)->k == 0 &&
           c1x1_matrix_offset(p, isa, 0) == 0;
}

static int weights_in_place(const c1x1_view *v, const c1x1_choice *c, const c1x1_isa *isa) {
    const c1x1_problem *p = v->problem;
    const int are_rows = c1x1_pixels_are_n(c->role);
    const ptrdiff_t along = are_rows ? p->w_in : p->w_out, across = are_rows ? p->w_out : p->w_in;
    if (c1x1_matrix_kind(p) != C1X1_UNIT_FLOAT32)
        return is_dense(along, across, unit_of(isa, p)->size);
    return c1x1_w_is_native(v) && c1x1_is_unit(along, v->size);
}

/* Whether the load stage turns pixels: they do not lie as the unit takes them, nor along what it cuts. */
static int turns_pixels(const c1x1_view *v, const c1x1_choice *c, const c1x1_isa *isa) {
    const c1x1_problem *p = v->problem;
    const ptrdiff_t pixel = p->dim[p->dims - 1].x_stride;
    return !pixels_in_place(v, c, isa) &&
           !c1x1_is_unit(c1x1_pixels_are_n(c->role) ? pixel : p->x_channel,
                         c1x1_dtype_size(p->x_dtype));
}

/* Cycles that the unit takes in the role of a choice. */
static double matrix_cost(const c1x1_view *v, const c1x1_choice *c, const c1x1_machine *machine) {
    const c1x1_problem *p = v->problem;
    const c1x1_matrix_kernels *unit = unit_of(machine->isa, p);
    const int is_cut = cut_before(p, machine->isa, c->role) != NULL;
    const size_t panel = c1x1_matrix_bytes(unit, p->c_in, w_pieces(p));
    if (!is_cut && panel > CUT_WEIGHTS) return HUGE_VAL;
    const int pixels_are_n = c1x1_pixels_are_n(c->role);
    const double pixels = (double)v->pixels, k = (double)p->c_in, channels = (double)p->c_out;
    /* Fewer rows take less time, fewer columns do not. */
    const double m = pixels_are_n ? channels : pixels;
    const size_t run = pixels_are_n ? (c->is_gathered ? v->pixels : v->run) : p->c_out;
    const double n = (double)round_up(run, EDGE / 2) * (pixels_are_n ? pixels / (double)run : 1);
    const double tiles = m / (EDGE / 2) * n / (EDGE / 2) * (double)divide_up(p->c_in, unit->k);
    const double n_blocks = is_cut ? 1 : (double)divide_up(p->c_out, channels_at_once(p, unit));
    const double k_blocks = (double)divide_up(p->c_in, block_of_k(unit, p->c_in, x_pieces(p)));
    const double bytes = (double)panel * (double)divide_up(p->c_out, EDGE);
    double cost = tiles * products(x_pieces(p), w_pieces(p)) * unit->cycles_per_product +
                  pixels * channels * RESULT_PASS * k_blocks;
    if (!reads_pixels(v, c, machine->isa)) cost += pixels * k * unit->cycles_per_split * n_blocks;
    if (turns_pixels(v, c, machine->isa)) cost += pixels * k * C1X1_COPY_STRIDED;
    if (!is_cut) cost += k * channels * unit->cycles_per_split;
    if (!c->is_direct) cost += pixels * channels * C1X1_COPY_STRIDED;
    if (bytes > (double)machine->l2_bytes)
        cost += bytes / STREAM_BYTES *
                (v->pixels > PIXELS_OF_PASS ? pixels / (double)PIXELS_OF_PASS : 1);
    return cost;
}

int c1x1_choose_matrix(const c1x1_view *v, const c1x1_machine *machine, c1x1_choice *c) {
    const c1x1_problem *p = v->problem;
    if (!unit_of(machine->isa, p) || !c1x1_matrix_suits(p) || p->overlap != C1X1_APART) return 0;
    if (v->pixels < FEWEST) return 0;
    const c1x1_choice tiles = *c;
    double lowest = tiles.cost;
    for (int is_other = 0; is_other < 2; is_other++) {
        const c1x1_role other = c1x1_pixels_are_n(tiles.role) ? C1X1_PIXELS_M : C1X1_PIXELS_N;
        const c1x1_choice candidate = is_other ? c1x1_choose_in_role(v, other) : tiles;
        const double cost = matrix_cost(v, &candidate, machine);
        if (cost >= lowest) continue;
        lowest = cost;
        *c = candidate;
    }
    return lowest < tiles.cost;
}

/* Pixels of a block: a panel of them stays in L1 while all weights pass, or where those lie beyond L2
 * the other way round. */
static size_t pixels_of_block(const c1x1_plan *plan, int is_streamed, size_t pixels) {
    const int reads_bytes = plan->reads_x && plan->unit_kind == C1X1_UNIT_BYTES;
    size_t want = is_streamed                                    ? PIXELS_OF_PASS
                  : c1x1_pixels_are_n(plan->role) || reads_bytes ? PIXELS_ALONG
                                                                 : EDGE;
    const size_t channels = c1x1_pixels_are_n(plan->role) ? plan->mc : plan->nc;
    const size_t share =
        plan->threads > 1 ? pixels * plan->outer / (2 * (size_t)plan->threads) : want;
    want = smaller(want, larger(share, 1));
    if (!plan->is_direct) want = smaller(want, C1X1_TILE_BUFFER / (channels * sizeof(float)));
    return smaller(larger(want / EDGE, 1) * EDGE, round_up(pixels, EDGE));
}

void c1x1_plan_matrix(const c1x1_view *v, const c1x1_choice *c, const c1x1_machine *machine,
                      c1x1_plan *plan) {
    const c1x1_problem *p = v->problem;
    const c1x1_matrix_kernels *unit = unit_of(machine->isa, p);
    const int pixels_are_n = c1x1_pixels_are_n(plan->role);
    const int is_cut = cut_before(p, machine->isa, plan->role) != NULL;
    const c1x1_source weights = is_cut                                 ? C1X1_PREPACKED
                                : weights_in_place(v, c, machine->isa) ? C1X1_IN_PLACE
                                                                       : C1X1_PACK_BLOCK;
    const c1x1_source pixels =
        pixels_in_place(v, c, machine->isa) ? C1X1_IN_PLACE : C1X1_PACK_BLOCK;
    size_t channels = is_cut ? p->c_out : channels_at_once(p, unit);
    if (!plan->is_direct) channels = smaller(channels, 1024);
    plan->unit = machine->isa;
    plan->unit_kind = c1x1_matrix_kind(p);
    plan->factor = 1;
    plan->k = p->c_in;
    plan->reads_x = reads_pixels(v, c, machine->isa);
    plan->a_offset = c1x1_matrix_offset(p, machine->isa, pixels_are_n);
    plan->a_is_signed = is_signed(dtype_of_a(p, pixels_are_n)) != (plan->a_offset != 0);
    plan->b_is_signed = is_signed(dtype_of_b(p, pixels_are_n));
    plan->a = pixels_are_n ? weights : pixels;
    plan->b = pixels_are_n ? pixels : weights;
    plan->a_pieces = pixels_are_n ? w_pieces(p) : x_pieces(p);
    plan->b_pieces = pixels_are_n ? x_pieces(p) : w_pieces(p);
    plan->matrix_kc = block_of_k(unit, p->c_in, x_pieces(p));
    const size_t weight_bytes = c1x1_matrix_bytes(unit, p->c_in, w_pieces(p)) *
                                divide_up(smaller(channels, p->c_out), EDGE);
    const int is_streamed = weight_bytes > machine->l2_bytes / 4 * 3;
    size_t *channel_block = pixels_are_n ? &plan->mc : &plan->nc;
    size_t *pixel_block = pixels_are_n ? &plan->nc : &plan->mc;
    const size_t run = pixels_are_n ? plan->n : plan->m;
    *channel_block = smaller(channels, p->c_out);
    *pixel_block = smaller(pixels_of_block(plan, is_streamed, run), run);
    plan->order = pixels_are_n == is_streamed ? C1X1_ROWS_OUTSIDE : C1X1_PANELS_OUTSIDE;
}

void c1x1_size_matrix(c1x1_plan *plan) {
    const c1x1_matrix_kernels *unit = plan->unit->matrix[plan->unit_kind];
    const size_t line = C1X1_LINE;
    const size_t stage = (plan->matrix_kc + EDGE) * EDGE * unit->size;
    const int is_checked = plan->unit_kind != C1X1_UNIT_BYTES;
    const size_t tiles = is_checked ? EDGE * (plan->kc + 2 * C1X1_CHAINS) * sizeof(float) : 0;
    const size_t panel = is_checked ? plan->kc * plan->nr * sizeof(float) : 0;
    const int pixels_are_n = c1x1_pixels_are_n(plan->role);
    const size_t a_k = pixels_are_n ? plan->k : plan->matrix_kc;
    const size_t b_k = pixels_are_n ? plan->matrix_kc : plan->k;
    const size_t a =
        divide_up(plan->mc, EDGE) * c1x1_matrix_bytes(unit, a_k, plan->a_pieces) + stage;
    const size_t b =
        divide_up(plan->nc, EDGE) * c1x1_matrix_bytes(unit, b_k, plan->b_pieces) + stage;
    const int holds_a = plan->a != C1X1_PREPACKED && !plan->reads_x;
    plan->a_bytes = round_up(larger(holds_a ? a : 0, tiles), line);
    plan->b_bytes = round_up(larger(plan->b == C1X1_PREPACKED ? 0 : b, tiles + panel), line);
    plan->tile_bytes =
        plan->is_direct ? 0 : round_up(plan->mc * c1x1_plan_tile_row(plan) * sizeof(float), line);
    plan->range_bytes = round_up(
        (divide_up(plan->mc, EDGE) + divide_up(plan->nc, EDGE)) * sizeof(c1x1_range), line);
}
