/* weights.c - weights packed once, and the memory that packed things lie in. */
#define _POSIX_C_SOURCE 200809L
#include "matrix.h"

#include <stdlib.h>
#include <string.h>

void *c1x1_allocate(size_t bytes) {
#ifdef _WIN32
    return _aligned_malloc(bytes, C1X1_LINE);
#else
    void *p;
    return posix_memalign(&p, C1X1_LINE, bytes) == 0 ? p : NULL;
#endif
}

void c1x1_release(void *p) {
#ifdef _WIN32
    _aligned_free(p);
#else
    free(p);
#endif
}

c1x1_status c1x1_pack_weights(const c1x1_problem *p, const c1x1_machine *machine, int is_planar,
                              c1x1_weights *weights) {
    const c1x1_load_fn load = c1x1_find_load(p->w_dtype, p->compute, C1X1_ACROSS);
    const size_t steps = c1x1_steps(p->compute, p->c_in);
    const size_t size = c1x1_dtype_size(c1x1_compute_dtype(p->compute));
    const size_t nr = c1x1_panel_width(machine, p->compute, p->c_in, p->c_out);
    const size_t panels = (p->c_out + nr - 1) / nr;
    *weights = (c1x1_weights){.compute = p->compute,
                              .groups = p->groups,
                              .c_in = p->c_in,
                              .c_out = p->c_out,
                              .nr = nr,
                              .group_bytes = panels * nr * steps * size};
    c1x1_find_kernels(machine->isa, p->compute, &weights->isa);
    weights->bytes = weights->group_bytes * p->groups;
    weights->panels = c1x1_allocate(weights->bytes ? weights->bytes : 1);
    if (!weights->panels) return C1X1_NO_MEMORY;
    memset(weights->panels, 0, weights->bytes);
    const c1x1_matrix_kernels *unit = machine->isa->matrix;
    if (unit && c1x1_matrix_suits(p)) {
        const unsigned count = c1x1_matrix_pieces(p->w_dtype, p->precision);
        weights->pieces = c1x1_cut_weights(p, unit, is_planar, count);
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
    }
    return C1X1_OK;
}

void c1x1_free_weights(c1x1_weights *weights) {
    c1x1_release(weights->panels);
    c1x1_release(weights->pieces);
    weights->panels = weights->pieces = NULL;
}
