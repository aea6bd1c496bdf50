/* problem.c - what is legal: sizes that fit, results that do not share memory, and the shortest
 * description of the pixels. All argument checks of the C core are here. */
#include "c1x1.h"
#include "sizes.h"

static const size_t dtype_sizes[] = {
#define SIZE(NAME, name, type) sizeof(type),
    C1X1_FOR_EACH_DTYPE(SIZE)
#undef SIZE
};

static const char *const dtype_names[] = {
#define TEXT(NAME, name, type) name,
    C1X1_FOR_EACH_DTYPE(TEXT)
#undef TEXT
};

static const char is_unsigned[C1X1_DTYPE_COUNT] = {
#define IS_UNSIGNED(NAME, name, type) [C1X1_##NAME] = (type)-1 > 0,
    C1X1_FOR_EACH_INTEGER(IS_UNSIGNED)
#undef IS_UNSIGNED
};

size_t c1x1_dtype_size(c1x1_dtype dtype) { return dtype_sizes[dtype]; }

const char *c1x1_dtype_name(c1x1_dtype dtype) { return dtype_names[dtype]; }

c1x1_dtype c1x1_compute_dtype(c1x1_compute compute) {
    static const c1x1_dtype dtypes[] = {C1X1_FLOAT32, C1X1_FLOAT64, C1X1_INT64, C1X1_INT32};
    return dtypes[compute];
}

static const struct {
    const char *name;
    int parameters;
} activations[] = {
#define C1X1_ACTIVATION(NAME, name, parameters) {#name, parameters},
#include "epilogues.def"
#undef C1X1_ACTIVATION
};

const char *c1x1_activation_name(int activation) { return activations[activation].name; }

int c1x1_activation_parameters(int activation) { return activations[activation].parameters; }

int c1x1_has_epilogue(const c1x1_problem *p) {
    const c1x1_epilogue *e = &p->epilogue;
    return e->scale || e->residual || e->activation != C1X1_IDENTITY;
}

int c1x1_tiles_finish(const c1x1_problem *p) {
    const c1x1_epilogue *e = &p->epilogue;
    return !e->scale && (e->activation == C1X1_IDENTITY || e->activation == C1X1_RELU ||
                         e->activation == C1X1_RELU6);
}

c1x1_compute c1x1_finish_dtype(const c1x1_problem *p) {
    const c1x1_epilogue *e = &p->epilogue;
    const int is_real = e->scale || e->activation != C1X1_IDENTITY;
    return c1x1_is_whole(p->compute) && is_real ? C1X1_COMPUTE_FLOAT64 : p->compute;
}

c1x1_dtype c1x1_stored_dtype(const c1x1_problem *p) {
    const int is_modular = c1x1_finish_dtype(p) == C1X1_COMPUTE_INT64 && !p->table &&
                           is_unsigned[p->x_dtype] && is_unsigned[p->w_dtype];
    return is_modular && p->out_dtype == C1X1_UINT64 ? C1X1_INT64 : p->out_dtype;
}

/* Of a stride and its opposite, modulo the address space, the one that is no negative number. */
static size_t distance(ptrdiff_t stride) { return smaller((size_t)stride, 0 - (size_t)stride); }

/* Adds the bytes that `size` steps of `stride` reach to *extent; 0 when that overflows. */
static int extend(size_t *extent, size_t size, ptrdiff_t stride) {
    size_t reach;
    if (size <= 1) return 1;
    if (__builtin_mul_overflow(size - 1, distance(stride), &reach)) return 0;
    if (__builtin_add_overflow(*extent, reach, extent)) return 0;
    return *extent <= PTRDIFF_MAX;
}

/* The bytes from the first to the last element of x (or out); 0 when that overflows. */
static size_t extent_of(const c1x1_problem *p, int is_out) {
    const size_t channels = p->groups * (is_out ? p->c_out : p->c_in); /* count_fits */
    size_t extent = c1x1_dtype_size(is_out ? p->out_dtype : p->x_dtype);
    if (!extend(&extent, channels, is_out ? p->out_channel : p->x_channel)) return 0;
    for (int d = 0; d < p->dims; d++)
        if (!extend(&extent, p->dim[d].size, is_out ? p->dim[d].out_stride : p->dim[d].x_stride))
            return 0;
    return extent;
}

static int count_fits(const c1x1_problem *p) {
    size_t pixels = 1, inputs, outputs;
    for (int d = 0; d < p->dims; d++)
        if (__builtin_mul_overflow(pixels, p->dim[d].size, &pixels)) return 0;
    if (__builtin_mul_overflow(p->groups, p->c_in, &inputs)) return 0;
    if (__builtin_mul_overflow(p->groups, p->c_out, &outputs)) return 0;
    return !__builtin_mul_overflow(outputs, c1x1_dtype_size(p->out_dtype), &outputs) &&
           !__builtin_mul_overflow(pixels, outputs ? outputs : 1, &outputs) &&
           outputs <= PTRDIFF_MAX && inputs <= PTRDIFF_MAX;
}

c1x1_span c1x1_span_of(const void *data, int dims, const ptrdiff_t *shape, const ptrdiff_t *strides,
                       size_t itemsize) {
    c1x1_span span = {(uintptr_t)data, (uintptr_t)data + itemsize};
    for (int d = 0; d < dims; d++) {
        if (shape[d] == 0) return (c1x1_span){(uintptr_t)data, (uintptr_t)data};
        /* Modulo the address space: sizes that do not fit are refused later. */
        const uintptr_t reach = ((uintptr_t)shape[d] - 1) * distance(strides[d]);
        if (strides[d] < 0)
            span.begin -= reach;
        else
            span.end += reach;
    }
    return span;
}

int c1x1_spans_meet(c1x1_span a, c1x1_span b) { return a.begin < b.end && b.begin < a.end; }

static c1x1_span span_of_problem(const c1x1_problem *p, int is_out) {
    ptrdiff_t shape[C1X1_MAX_DIMS + 1], strides[C1X1_MAX_DIMS + 1];
    for (int d = 0; d < p->dims; d++) {
        shape[d] = (ptrdiff_t)p->dim[d].size;
        strides[d] = is_out ? p->dim[d].out_stride : p->dim[d].x_stride;
    }
    shape[p->dims] = (ptrdiff_t)(p->groups * (is_out ? p->c_out : p->c_in));
    strides[p->dims] = is_out ? p->out_channel : p->x_channel;
    return c1x1_span_of(is_out ? p->out : p->x, p->dims + 1, shape, strides,
                        c1x1_dtype_size(is_out ? p->out_dtype : p->x_dtype));
}

static int is_same_pixels(const c1x1_problem *p) {
    if (p->x != p->out || p->groups != 1 || p->c_in != p->c_out) return 0;
    if (c1x1_dtype_size(p->x_dtype) != c1x1_dtype_size(p->out_dtype)) return 0;
    if (p->c_in > 1 && p->x_channel != p->out_channel) return 0;
    for (int d = 0; d < p->dims; d++)
        if (p->dim[d].size > 1 && p->dim[d].x_stride != p->dim[d].out_stride) return 0;
    return 1;
}

void c1x1_problem_find_overlap(c1x1_problem *p) {
    if (!c1x1_spans_meet(span_of_problem(p, 0), span_of_problem(p, 1)))
        p->overlap = C1X1_APART;
    else
        p->overlap = is_same_pixels(p) ? C1X1_SAME_PIXELS : C1X1_TANGLED;
}

/* Bytes from pixel to pixel along an axis, of x and of out, each as often as a pixel has channels there. */
static double weighted_step(const c1x1_problem *p, const c1x1_dim *dim) {
    return (double)dim->x_stride * (double)p->c_in + (double)dim->out_stride * (double)p->c_out;
}

/* Unsigned: strides of arrays that are only planned for may reach beyond all addresses. */
static uintptr_t last_of(const void *first, const c1x1_dim *dim, ptrdiff_t stride) {
    return first ? (uintptr_t)first + (dim->size - 1) * (uintptr_t)stride : 0;
}
static ptrdiff_t turned(ptrdiff_t stride) { return (ptrdiff_t)(0 - (size_t)stride); }

/* Axes are walked upwards in memory: a flipped x is read forwards and its results are written backwards,
 * or the other way round where those have more channels. */
static void walk_upwards(c1x1_problem *p) {
    for (int d = 0; d < p->dims; d++) {
        c1x1_dim *dim = &p->dim[d];
        if (weighted_step(p, dim) >= 0) continue;
        p->x = (const char *)last_of(p->x, dim, dim->x_stride);
        p->out = (char *)last_of(p->out, dim, dim->out_stride);
        p->epilogue.residual =
            (const char *)last_of(p->epilogue.residual, dim, dim->residual_stride);
        dim->x_stride = turned(dim->x_stride);
        dim->out_stride = turned(dim->out_stride);
        dim->residual_stride = turned(dim->residual_stride);
    }
}

/* Of the same bytes, those in which x and out go different ways do not cancel. */
static double weighted_distance(const c1x1_problem *p, const c1x1_dim *dim) {
    return (double)distance(dim->x_stride) * (double)p->c_in +
           (double)distance(dim->out_stride) * (double)p->c_out;
}

/* Largest steps outside. Insertion: there are few, mostly in order. */
static void sort_dims(c1x1_problem *p) {
    for (int d = 1; d < p->dims; d++) {
        const c1x1_dim dim = p->dim[d];
        const double own = weighted_distance(p, &dim);
        int at = d;
        for (; at > 0 && weighted_distance(p, &p->dim[at - 1]) < own; at--)
            p->dim[at] = p->dim[at - 1];
        p->dim[at] = dim;
    }
}

/* Each axis must step over all that the axes inside it reach. A few exotic strides that do not
 * repeat fail this too; no array that NumPy makes by slicing or transposing does. */
static int out_repeats(const c1x1_problem *p) {
    ptrdiff_t strides[C1X1_MAX_DIMS + 1];
    size_t sizes[C1X1_MAX_DIMS + 1];
    int n = 0;
    for (int d = 0; d <= p->dims; d++) {
        const size_t size = d == p->dims ? p->groups * p->c_out : p->dim[d].size;
        const ptrdiff_t stride = d == p->dims ? p->out_channel : p->dim[d].out_stride;
        if (size <= 1) continue;
        int at = n++;
        for (; at > 0 && distance(strides[at - 1]) > distance(stride); at--) {
            strides[at] = strides[at - 1];
            sizes[at] = sizes[at - 1];
        }
        strides[at] = stride;
        sizes[at] = size;
    }
    size_t extent = c1x1_dtype_size(p->out_dtype);
    for (int d = 0; d < n; d++) {
        if (distance(strides[d]) < extent) return 1;
        extent += (sizes[d] - 1) * distance(strides[d]);
    }
    return 0;
}

static void merge_dims(c1x1_problem *p) {
    int n = 0;
    for (int d = 0; d < p->dims; d++) {
        c1x1_dim dim = p->dim[d];
        if (n > 0) {
            c1x1_dim *outer = &p->dim[n - 1];
            const ptrdiff_t size = (ptrdiff_t)dim.size;
            if (outer->x_stride == dim.x_stride * size &&
                outer->out_stride == dim.out_stride * size &&
                outer->residual_stride == dim.residual_stride * size) {
                dim.size *= outer->size;
                *outer = dim;
                continue;
            }
        }
        p->dim[n++] = dim;
    }
    p->dims = n;
}

static c1x1_status normalise(c1x1_problem *p, int may_move) {
    if (!count_fits(p)) return C1X1_TOO_LARGE;
    const size_t pixels = c1x1_problem_pixels(p);
    if (pixels == 0 || p->c_out == 0) return C1X1_OK;
    if (extent_of(p, 1) == 0 || (p->c_in && extent_of(p, 0) == 0)) return C1X1_TOO_LARGE;
    int n = 0;
    for (int d = 0; d < p->dims; d++)
        if (p->dim[d].size != 1) p->dim[n++] = p->dim[d];
    p->dims = n;
    if (out_repeats(p)) return C1X1_OUT_REPEATS;
    if (may_move) walk_upwards(p);
    sort_dims(p);
    merge_dims(p);
    p->x_group = (ptrdiff_t)p->c_in * p->x_channel;
    p->w_group = (ptrdiff_t)p->c_out * p->w_out;
    p->out_group = (ptrdiff_t)p->c_out * p->out_channel;
    p->epilogue.residual_group = (ptrdiff_t)p->c_out * p->epilogue.residual_channel;
    /* Strides of axes with one element mean nothing; give them the value that fits best. */
    const ptrdiff_t size = (ptrdiff_t)c1x1_dtype_size(c1x1_compute_dtype(p->compute));
    if (p->c_in <= 1) p->x_channel = p->w_in = size;
    if (p->c_out <= 1) p->w_out = p->out_channel = p->epilogue.residual_channel = size;
    return C1X1_OK;
}

c1x1_status c1x1_problem_normalise(c1x1_problem *p) { return normalise(p, 1); }

c1x1_status c1x1_problem_normalise_block(c1x1_problem *p) { return normalise(p, 0); }

size_t c1x1_problem_pixels(const c1x1_problem *p) {
    size_t pixels = 1;
    for (int d = 0; d < p->dims; d++) pixels *= p->dim[d].size;
    return pixels;
}
