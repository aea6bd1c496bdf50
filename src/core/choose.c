/* choose.c - who is the vector side, which tile, what is copied.
 *
 * Candidates are compared by estimated cycles of one thread: what the tiles take at the machine's
 * FMA and load rates, plus what packing and the store stage take per element. The estimate needs to
 * rank, not to predict. docs/architecture.md tells the choices in words. */
#include "plan.h"

#include <math.h>

/* Cycles, measured (decision 0005). */
static const double TILE_CALL = 12;       /* entering and leaving a kernel */
static const double TILE_STORE = 1;       /* per vector of results */
static const double COLUMN_STEP = 0.5;    /* per element of a by a single column (decision 0017) */
static const double PANEL_VECTOR = 1.4;   /* per vector of b fetched from beyond L1 */
static const double PLANE_ROW = 4;        /* per row of a tile that starts on a page of its own */
static const double COPY_DENSE = 0.3;     /* per element copied along memory */
static const double COPY_CONVERTED = 0.5; /* per element converted along memory by a converter */
static const double COPY_TURNED = 0.7;    /* per element of four bytes, transposed */
static const double TINY_MACS = 20000;    /* weighing alternatives takes as long */
static const size_t MANY_PIXELS = 64;     /* turning the weights is little beside multiplying */
static const size_t LONGEST_PACKED_ROW = 8192; /* elements; a dot cannot split k */

/* ---- what the kernels can use as it lies ---------------------------------------------------- */

static int suits(const void *pointer, ptrdiff_t stride, size_t size) {
    return (uintptr_t)pointer % size == 0 && stride % (ptrdiff_t)size == 0;
}

c1x1_view c1x1_look_at(const c1x1_problem *p, const c1x1_kernels *kernels) {
    const c1x1_dtype native = c1x1_compute_dtype(p->compute);
    c1x1_view v = {.problem = p, .kernels = kernels, .size = c1x1_dtype_size(native)};
    v.pixels = c1x1_problem_pixels(p);
    v.run = p->dims ? p->dim[p->dims - 1].size : 1;
    v.k = c1x1_steps(p->compute, p->c_in);
    /* Sums of integers are the same in any order. */
    v.chains = !c1x1_is_whole(p->compute) && p->c_out <= 4 && v.k >= C1X1_CHAINS ? C1X1_CHAINS : 1;
    v.x_is_native = p->x_dtype == native && suits(p->x, p->x_channel, v.size) &&
                    suits(p->x, p->x_group, v.size);
    v.out_is_native = p->out_dtype == native && suits(p->out, p->out_channel, v.size) &&
                      suits(p->out, p->out_group, v.size);
    for (int d = 0; d < p->dims; d++) {
        v.x_is_native = v.x_is_native && suits(p->x, p->dim[d].x_stride, v.size);
        v.out_is_native = v.out_is_native && suits(p->out, p->dim[d].out_stride, v.size);
    }
    /* A block that is finished in `out` finds its residual where it lies. */
    const c1x1_epilogue *e = &p->epilogue;
    if (c1x1_finish_dtype(p) != p->compute) v.out_is_native = 0;
    if (e->residual) {
        v.out_is_native = v.out_is_native && e->residual_dtype == native &&
                          suits(e->residual, e->residual_channel, v.size) &&
                          suits(e->residual, e->residual_group, v.size);
        for (int d = 0; d < p->dims; d++)
            v.out_is_native =
                v.out_is_native && suits(e->residual, p->dim[d].residual_stride, v.size);
    }
    return v;
}

int c1x1_w_is_native(const c1x1_view *v) {
    const c1x1_problem *p = v->problem;
    return p->w_dtype == c1x1_compute_dtype(p->compute) && suits(p->w, p->w_in, v->size) &&
           suits(p->w, p->w_out, v->size) && suits(p->w, p->w_group, v->size);
}

int c1x1_w_stays(const c1x1_problem *p, size_t rows, size_t mr) {
    enum { PAGE = 4096, MOST = 6, MOST_HALF_A_PAGE_APART = 4 };
    if (p->w_in % PAGE == 0) return rows <= mr;
    return divide_up(rows, mr) <= (p->w_in % (PAGE / 2) == 0 ? MOST_HALF_A_PAGE_APART : MOST);
}

/* ---- cost ----------------------------------------------------------------------------------- */

static double greater(double a, double b) { return a > b ? a : b; }

/* One step along k of an m x nv tile. */
static double step_cost(const c1x1_kernels *s, double m, double nv) {
    const double in_registers =
        greater(m * nv / s->fma_per_cycle, greater((m + nv) / s->loads_per_cycle, s->fma_latency));
    return greater(in_registers, nv * PANEL_VECTOR);
}

/* All panels of an m x n result with tiles of mr x nv vectors, rows shared out evenly. */
static double grid_cost(const c1x1_view *v, size_t m, size_t n, double steps, unsigned mr,
                        unsigned nv, double row_cost) {
    const c1x1_kernels *s = v->kernels;
    const size_t nr = (size_t)nv * s->vl;
    size_t last = n % nr; /* columns of a panel that is not nr wide */
    if (last > 0 && n > nr && c1x1_panel_columns(s, nr, nr + last) > nr) last += nr;
    const int is_column = n == 1 && v->small && v->small->column;
    const size_t alone = is_column || c1x1_is_column_left(s, v->small, last);
    double cost = (double)alone * (double)m * steps * COLUMN_STEP;
    const struct {
        double panels;
        unsigned nv;
    } parts[] = {{(double)((n - last) / nr), nv},
                 {last > alone, (unsigned)((last - alone + s->vl - 1) / s->vl)}};
    for (int i = 0; i < 2; i++) {
        if (parts[i].panels == 0) continue;
        const unsigned rows = i == 0 ? mr : s->mr[parts[i].nv];
        const double tiles = (double)((m + rows - 1) / rows), height = (double)m / tiles;
        cost += parts[i].panels * tiles *
                (steps * step_cost(s, height, parts[i].nv) + TILE_CALL +
                 height * (parts[i].nv * TILE_STORE + row_cost));
    }
    return cost;
}

/* An element copied from or to rows of stride `along`, columns of stride `across`. */
static double copy_of(ptrdiff_t along, ptrdiff_t across, c1x1_dtype dtype, int is_native,
                      int is_converted) {
    const size_t size = c1x1_dtype_size(dtype);
    if (c1x1_is_unit(along, size) && is_native) return COPY_DENSE;
    if (c1x1_is_unit(along, size) && is_converted) return COPY_CONVERTED;
    return c1x1_is_unit(across, size) && is_native && size == 4 ? COPY_TURNED : C1X1_COPY_STRIDED;
}

/* What a c1x1_choice pays to bring x in and results out through buffers. */
static double copy_cost(const c1x1_view *v, const c1x1_choice *c) {
    const c1x1_problem *p = v->problem;
    const c1x1_dim none = {0}, *last = p->dims ? &p->dim[p->dims - 1] : &none;
    const int pixels_are_rows = p->dims && c->role == C1X1_PIXELS_N;
    double cost = 0, weights = 0;
    if (!c->x_in_place) {
        const ptrdiff_t pixel = last->x_stride, channel = p->x_channel;
        cost += (double)p->c_in * copy_of(pixels_are_rows ? pixel : channel,
                                          pixels_are_rows ? channel : pixel, p->x_dtype,
                                          v->x_is_native, v->x_is_converted);
    }
    if (!c->is_direct) {
        const ptrdiff_t pixel = last->out_stride, channel = p->out_channel;
        cost += (double)p->c_out * copy_of(pixels_are_rows ? pixel : channel,
                                           pixels_are_rows ? channel : pixel, p->out_dtype,
                                           v->out_is_native, v->out_is_converted);
    }
    if (c->role == C1X1_PIXELS_M && !p->packed)
        weights = (double)p->c_in * (double)p->c_out *
                  copy_of(p->w_out, p->w_in, p->w_dtype, c1x1_w_is_native(v), 0);
    if (v->chains > 1 && c->role == C1X1_PIXELS_N)
        cost += (double)p->c_out * 4 * COPY_DENSE; /* sums that wait in L1 */
    return cost * (double)v->pixels + weights;
}

/* The panel width for w as the vector side: a function of the channels alone, since weights are
 * packed before any image is seen. */
static unsigned best_nv(const c1x1_view *v, size_t n, double steps, size_t rows, double row_cost) {
    const c1x1_kernels *s = v->kernels;
    unsigned best = s->preferred[0];
    double lowest = -1;
    for (const unsigned *nv = s->preferred; *nv; nv++) {
        if (*nv > 1 && (*nv - 1) * (size_t)s->vl >= n) continue; /* as the narrower ones */
        const double cost = grid_cost(v, rows, n, steps, s->mr[*nv], *nv, row_cost);
        if (lowest < 0 || cost < lowest * 0.99) {
            lowest = cost;
            best = *nv;
        }
    }
    return best;
}

/* Whether weights are the vector side without being turned. */
static int w_is_ready(const c1x1_view *v) {
    return v->problem->packed || (c1x1_w_is_native(v) && c1x1_is_unit(v->problem->w_out, v->size));
}

/* The widest panel whose tiles are as tall as an even share of the rows: where few rows meet weights as
 * they lie, those are read in runs as long as can be. */
static unsigned widest_nv(const c1x1_view *v, size_t n, size_t rows) {
    const c1x1_kernels *s = v->kernels;
    const size_t height = divide_up(rows, divide_up(rows, s->mr[2]));
    unsigned widest = 2;
    for (unsigned nv = 3; nv <= C1X1_MAX_NV; nv++)
        if (s->mr[nv] >= height && (nv - 1) * (size_t)s->vl < n) widest = nv;
    return widest;
}

enum { MANY_ROWS = 1 << 12 };

unsigned c1x1_panel_width(const c1x1_machine *machine, c1x1_compute compute, size_t c_in,
                          size_t c_out) {
    const c1x1_kernels *kernels = c1x1_find_kernels(machine->isa, compute, NULL);
    const c1x1_view v = {.kernels = kernels, .small = c1x1_find_small(machine->isa, compute)};
    return kernels->vl * best_nv(&v, c_out, (double)c1x1_steps(compute, c_in), MANY_ROWS, 0);
}

static c1x1_choice evaluate(const c1x1_view *v, c1x1_role role, int is_gathered) {
    const c1x1_problem *p = v->problem;
    const c1x1_kernels *s = v->kernels;
    const size_t run = is_gathered ? v->pixels : v->run;
    const c1x1_dim *last = p->dims ? &p->dim[p->dims - 1] : NULL;
    const double runs = (double)v->pixels / (double)run;
    c1x1_choice c = {.role = role, .is_gathered = is_gathered};
    if (role == C1X1_PIXELS_N) {
        c.x_in_place =
            !is_gathered && v->x_is_native && (!last || c1x1_is_unit(last->x_stride, v->size));
        c.is_direct =
            !is_gathered && v->out_is_native && (!last || c1x1_is_unit(last->out_stride, v->size));
        if (p->epilogue.residual && last)
            c.is_direct = c.is_direct && c1x1_is_unit(last->residual_stride, v->size);
        const double steps = (double)v->k / v->chains;
        c.nv = best_nv(v, run, steps, p->c_out, PLANE_ROW);
        c.mr = s->mr[c.nv];
        c.cost = v->chains * grid_cost(v, p->c_out, run, steps, c.mr, c.nv, PLANE_ROW);
    } else {
        c.x_in_place = !is_gathered && v->x_is_native && c1x1_is_unit(p->x_channel, v->size);
        c.is_direct = !is_gathered && v->out_is_native && c1x1_is_unit(p->out_channel, v->size);
        if (p->epilogue.residual)
            c.is_direct = c.is_direct && c1x1_is_unit(p->epilogue.residual_channel, v->size);
        if (role == C1X1_DOT) {
            unsigned n = (unsigned)p->c_out;
            while (s->dot_mr[n] == 0) n--;
            c.mr = s->dot_mr[n];
            c.nv = n;
            const double vecs = (double)C1X1_CHAINS / s->vl;
            /* A row to pack must not outgrow a thread's share of memory: that leaves pixels_n,
             * which splits k. */
            if (!c.x_in_place && v->k > LONGEST_PACKED_ROW)
                c.cost = HUGE_VAL;
            else
                c.cost = (double)run * (double)((p->c_out + n - 1) / n) *
                         ((double)v->k / C1X1_CHAINS * vecs * step_cost(s, c.mr, n) / c.mr +
                          4.0 * n + TILE_CALL / c.mr);
        } else {
            c.nv = best_nv(v, p->c_out, (double)v->k, MANY_ROWS, 0);
            if (!p->packed && w_is_ready(v) && c1x1_w_stays(p, run, s->mr[2]))
                c.nv = widest_nv(v, p->c_out, run);
            c.mr = s->mr[c.nv];
            c.cost = grid_cost(v, run, p->c_out, (double)v->k, c.mr, c.nv, 0);
        }
    }
    if (p->overlap == C1X1_SAME_PIXELS) c.x_in_place = 0;
    c.cost = c.cost * runs + copy_cost(v, &c);
    return c;
}

/* Pixels of few channels that lie side by side, without a gap in `out`. */
static int is_small(const c1x1_view *v) {
    const c1x1_problem *p = v->problem;
    const ptrdiff_t x_size = (ptrdiff_t)c1x1_dtype_size(p->x_dtype);
    const ptrdiff_t out_size = (ptrdiff_t)c1x1_dtype_size(p->out_dtype);
    if (v->k < 1 || v->k > C1X1_MAX_SMALL_IN || p->c_out > C1X1_MAX_SMALL) return 0;
    if (!v->small || p->groups != 1 || !v->small->small[v->k - 1][p->c_out - 1]) return 0;
    if (p->c_in > 1 && p->x_channel != x_size) return 0;
    if (p->c_out > 1 && p->out_channel != out_size) return 0;
    if (p->dims == 0) return 1;
    const c1x1_dim *last = &p->dim[p->dims - 1];
    return last->x_stride == (ptrdiff_t)p->c_in * x_size &&
           last->out_stride == (ptrdiff_t)p->c_out * out_size;
}

/* Whether kernels convert such pixels in their registers on the way in and out. */
static int takes_bytes(const c1x1_view *v) {
    const c1x1_problem *p = v->problem;
    return v->bytes && p->compute == C1X1_COMPUTE_FLOAT32 && p->out_dtype == C1X1_UINT8 &&
           p->c_in <= C1X1_MAX_SMALL && !p->table && !c1x1_has_epilogue(p);
}

/* Whether the residual lies as the results of a small kernel do. */
static int is_residual_small(const c1x1_view *v) {
    const c1x1_problem *p = v->problem;
    const ptrdiff_t size = (ptrdiff_t)v->size;
    if (!p->epilogue.residual) return 1;
    return c1x1_is_unit(p->epilogue.residual_channel, v->size) &&
           (p->dims == 0 || p->dim[p->dims - 1].residual_stride == (ptrdiff_t)p->c_out * size);
}

/* Less work than weighing the alternatives. */
static int is_tiny(const c1x1_view *v) {
    return (double)v->pixels * (double)v->problem->c_in * (double)v->problem->c_out <= TINY_MACS;
}

c1x1_choice c1x1_choose(const c1x1_view *v) {
    const c1x1_problem *p = v->problem;
    if (is_small(v) && takes_bytes(v))
        return (c1x1_choice){.role = C1X1_SMALL,
                             .mr = (unsigned)p->c_out,
                             .nv = 1,
                             .x_in_place = 1,
                             .is_direct = 1,
                             .takes_bytes = 1};
    if (is_small(v))
        return (c1x1_choice){.role = C1X1_SMALL,
                             .mr = (unsigned)p->c_out,
                             .nv = 1,
                             .x_in_place = v->x_is_native,
                             .is_direct = v->out_is_native && is_residual_small(v)};
    const int is_dot = v->chains > 1 || (p->compute == C1X1_COMPUTE_INT32 &&
                                         p->c_out <= C1X1_MAX_DOT && v->k > C1X1_CHAINS / 2);
    const c1x1_role last_role = is_dot ? C1X1_DOT : C1X1_PIXELS_M;
    c1x1_choice best = evaluate(v, last_role, 0);
    /* Nothing to gain elsewhere: no copies, full vectors. */
    if (best.x_in_place && best.is_direct && p->dims <= 1 &&
        (best.role == C1X1_DOT || p->c_out >= 2 * v->kernels->vl || is_tiny(v)) &&
        (v->pixels >= MANY_PIXELS || w_is_ready(v)))
        return best;
    for (int is_gathered = 0; is_gathered <= (p->dims > 1); is_gathered++) {
        const c1x1_role roles[] = {last_role, C1X1_PIXELS_N};
        for (int r = 0; r < 2; r++) {
            const c1x1_choice c = evaluate(v, roles[r], is_gathered);
            if (c.cost < best.cost) best = c;
        }
    }
    return best;
}

c1x1_choice c1x1_choose_in_role(const c1x1_view *v, c1x1_role role) {
    const c1x1_choice best = evaluate(v, role, 0);
    if (v->problem->dims <= 1) return best;
    const c1x1_choice gathered = evaluate(v, role, 1);
    return gathered.cost < best.cost ? gathered : best;
}
