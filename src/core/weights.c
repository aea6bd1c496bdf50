/* weights.c - weights packed once, and the memory that packed things lie in. */
#define _POSIX_C_SOURCE 200809L
#include "operands.h"

#include <stdlib.h>
#include <string.h>

void *c1x1_allocate(size_t bytes) {
#ifdef _WIN32
    return _aligned_malloc(bytes, C1X1_LINE);
#else
    void *p;
    if (posix_memalign(&p, C1X1_LINE, bytes) != 0) return NULL;
    return p;
#endif
}

void c1x1_release(void *p) {
#ifdef _WIN32
    _aligned_free(p);
#else
    free(p);
#endif
}

/* For the a side or the b side of a matrix unit. NULL: no memory. */
static c1x1_pieces *cut_weights(const c1x1_problem *p, const c1x1_isa *isa, int are_rows) {
    const c1x1_matrix_kernels *unit = isa->matrix[c1x1_matrix_kind(p)];
    const unsigned count = c1x1_matrix_pieces(p->w_dtype, p->precision);
    const int offset = are_rows ? c1x1_matrix_offset(p, isa, 1) : 0;
    const size_t panels = divide_up(p->c_out, C1X1_MATRIX_EDGE), all = panels * p->groups;
    const size_t panel_bytes = c1x1_matrix_bytes(unit, p->c_in, count);
    const size_t head = round_up(sizeof(c1x1_pieces), C1X1_LINE);
    const size_t ranges = round_up(all * sizeof(c1x1_range), C1X1_LINE);
    const size_t stage = C1X1_MATRIX_EDGE * (p->c_in + unit->k) * unit->size;
    char *memory = c1x1_allocate(head + ranges + all * panel_bytes);
    char *rows = c1x1_allocate(stage);
    if (!memory || !rows) {
        c1x1_release(memory);
        c1x1_release(rows);
        return NULL;
    }
    c1x1_pieces *cut_once = (c1x1_pieces *)(void *)memory;
    *cut_once = (c1x1_pieces){.kernels = unit,
                              .count = count,
                              .are_rows = are_rows,
                              .offset = offset,
                              .panel_bytes = panel_bytes,
                              .panels = panels,
                              .range = (c1x1_range *)(void *)(memory + head),
                              .data = memory + head + ranges};
    const c1x1_load_fn load = unit->size < sizeof(float)
                                  ? c1x1_find_copy(unit->size)
                                  : c1x1_find_load(p->w_dtype, p->compute, C1X1_ALONG);
    const ptrdiff_t ld = are_rows ? (ptrdiff_t)p->c_in : C1X1_MATRIX_EDGE;
    for (size_t i = 0; i < all; i++) {
        const size_t first = i % panels * C1X1_MATRIX_EDGE,
                     n = smaller(C1X1_MATRIX_EDGE, p->c_out - first);
        const char *from =
            p->w + (ptrdiff_t)(i / panels) * p->w_group + (ptrdiff_t)first * p->w_out;
        const c1x1_copy as_rows = {n, p->c_in, p->w_out, p->w_in, ld};
        const c1x1_copy as_columns = {p->c_in, n, p->w_in, p->w_out, ld};
        load(rows, from, are_rows ? &as_rows : &as_columns);
        cut_once->range[i] = (c1x1_range){UINT32_MAX, 0};
        const c1x1_split split = {.count = n,
                                  .k = p->c_in,
                                  .source = rows,
                                  .ld = ld,
                                  .to = cut_once->data + i * panel_bytes,
                                  .pieces = count,
                                  .is_flipped = offset != 0,
                                  .range = &cut_once->range[i]};
        (are_rows ? unit->split_rows : unit->split_columns)(&split);
    }
    c1x1_release(rows);
    return cut_once;
}

c1x1_status c1x1_pack_weights(const c1x1_problem *p, const c1x1_machine *machine, int is_planar,
                              c1x1_weights *weights) {
    const c1x1_load_fn load = c1x1_find_load(p->w_dtype, p->compute, C1X1_ACROSS);
    const size_t steps = c1x1_steps(p->compute, p->c_in);
    const size_t size = c1x1_dtype_size(c1x1_compute_dtype(p->compute));
    const size_t nr = c1x1_panel_width(machine, p->compute, p->c_in, p->c_out);
    const size_t panels = divide_up(p->c_out, nr);
    const c1x1_kernels *kernels = c1x1_find_kernels(machine->isa, p->compute, NULL);
    const size_t last = c1x1_last_columns(kernels, nr, p->c_out), before = p->c_out - last;
    const size_t wide = last > nr ? round_up(last, kernels->vl) : 0;
    *weights = (c1x1_weights){.compute = p->compute,
                              .groups = p->groups,
                              .c_in = p->c_in,
                              .c_out = p->c_out,
                              .nr = nr,
                              .wide = wide,
                              .wide_at = panels * nr * steps * size,
                              .group_bytes = (panels * nr + wide) * steps * size};
    c1x1_find_kernels(machine->isa, p->compute, &weights->isa);
    weights->bytes = weights->group_bytes * p->groups;
    weights->panels = c1x1_allocate(weights->bytes ? weights->bytes : 1);
    if (!weights->panels) return C1X1_NO_MEMORY;
    memset(weights->panels, 0, weights->bytes);
    if (machine->isa->matrix[c1x1_matrix_kind(p)] && c1x1_matrix_suits(p)) {
        weights->pieces = cut_weights(p, machine->isa, is_planar);
        if (!weights->pieces) return C1X1_NO_MEMORY;
        weights->bytes += weights->pieces->panels * p->groups * weights->pieces->panel_bytes;
    }
    for (size_t g = 0; g < p->groups; g++) {
        char *to = (char *)weights->panels + g * weights->group_bytes;
        const char *from = p->w + (ptrdiff_t)g * p->w_group;
        for (size_t j = 0; j < p->c_out; j += nr, to += nr * steps * size) {
            const c1x1_copy copy = {p->c_in, smaller(nr, p->c_out - j), p->w_in, p->w_out,
                                    (ptrdiff_t)nr};
            load(to, from + (ptrdiff_t)j * p->w_out, &copy);
        }
        if (wide) {
            const c1x1_copy copy = {p->c_in, last, p->w_in, p->w_out, (ptrdiff_t)wide};
            load(to, from + (ptrdiff_t)before * p->w_out, &copy);
        }
    }
    return C1X1_OK;
}

void c1x1_free_weights(c1x1_weights *weights) {
    c1x1_release(weights->panels);
    c1x1_release(weights->pieces);
    weights->panels = weights->pieces = NULL;
}
