/* trial.h - one random problem for drive.c, or one random chain: its operands, and the results that it
 * must have, by loops over whole numbers that share nothing with the core. */
#ifndef TRIAL_H
#define TRIAL_H

#include "arrays.h"

enum { X, OUT, RESIDUAL, W, TABLE, SCALE, BIAS, SLOPE, ROOMS, MOST_LAYERS = 4 };
/* Powers of two that a pixel's values may be multiplied by: to subnormal numbers, to some whose products
 * bfloat16's pieces still hold, to some beyond that; or each is infinite. */
enum { TINY = -130, LARGE = 90, VAST = 112, INFINITE = 1000 };

typedef struct {
    array w; /* "pixels" are the output channels of all groups */
    array table, scale, bias, parameter[2];
    int has_table, has_scale, has_bias, parameters;
    c1x1_activation activation;
    c1x1_compute compute, finish;
    c1x1_dtype x_dtype, out_dtype;
    size_t groups, c_in, c_out;
} layer;

typedef struct {
    rng r;
    room rooms[ROOMS], heap; /* heap: malloc */
    int count, is_chain, is_planar;
    layout layout; /* of x and out; unless it is ANY_LAYOUT, all dtypes are those of the sums */
    layer layers[MOST_LAYERS];
    array x, out, residual;
    int has_residual, residual_is_out, is_in_place;
    int has_nodata, nodata_is_nan;
    long nodata, fill;
    int is_bare;    /* sums alone */
    int is_bytes;   /* x and out of uint8, pixels side by side */
    int has_powers; /* some pixels hold very small or large numbers */
    char *before;   /* out's memory */
    long *values[2];
    unsigned char *is_empty; /* pixels without data */
    int *power;              /* of two, that pixels are multiplied by */
} trial;

static inline void *reserve(size_t bytes) {
    void *p = calloc(bytes + 1, 1);
    if (!p) abort();
    return p;
}

/* ---- operands ------------------------------------------------------------------------------- */

static inline void fill_array(rng *r, array *a, long most) {
    for (size_t p = 0; p < pixels_of(a); p++)
        for (size_t c = 0; c < a->size[a->axes]; c++)
            put(element(a, p, c), a->dtype, draw_value(r, a->dtype, most));
}

static inline void make_array(rng *r, array *a, room *where, layout wanted, int may_repeat,
                              long most) {
    size_t bytes;
    do bytes = lay_out(r, a, wanted, may_repeat);
    while (bytes > ROOM_BYTES);
    place_array(r, a, where, bytes);
    fill_array(r, a, most);
}

/* One value per output channel, contiguous. */
static inline void make_vector(rng *r, array *a, room *where, c1x1_dtype dtype, size_t count,
                               long low, long high) {
    const size_t size = c1x1_dtype_size(dtype);
    *a = (array){.dtype = dtype, .size = {count}, .stride = {(ptrdiff_t)size}};
    place_array(r, a, where, count * size);
    for (size_t c = 0; c < count; c++) put(element(a, 0, c), dtype, between(r, low, high));
}

/* Sums of pairs of int16, or of bytes, take narrow operands only. */
static inline c1x1_dtype draw_narrow(rng *r) {
    return (c1x1_dtype)PICK(r, C1X1_BOOL, C1X1_INT8, C1X1_INT8, C1X1_UINT8, C1X1_UINT8, C1X1_INT16);
}

static inline c1x1_dtype draw_dtype(rng *r, c1x1_compute compute) {
    if (compute == C1X1_COMPUTE_INT32) return draw_narrow(r);
    const size_t count = compute == C1X1_COMPUTE_INT64 ? C1X1_FLOAT16 : C1X1_DTYPE_COUNT;
    return chance(r, 50) ? c1x1_compute_dtype(compute) : (c1x1_dtype)below(r, count);
}

/* Entries for the values that x may have; poison for all others. */
static inline void make_table(trial *t, layer *l, room *where) {
    const c1x1_dtype dtype = c1x1_compute_dtype(l->compute);
    const size_t entries = (size_t)1 << 8 * c1x1_dtype_size(l->x_dtype);
    const size_t channels = l->groups * l->c_in;
    const size_t rows = channels && chance(&t->r, 50) && entries * channels < 150000 ? channels : 1;
    l->table = (array){.dtype = dtype, .axes = 1, .size = {rows, entries}};
    l->table.stride[1] = (ptrdiff_t)c1x1_dtype_size(dtype);
    l->table.stride[0] = rows > 1 ? (ptrdiff_t)entries * l->table.stride[1] : 0;
    place_array(&t->r, &l->table, where, rows * entries * c1x1_dtype_size(dtype));
}

/* The entry for x's value in a channel. */
static inline char *entry_of(const layer *l, size_t channel, long value) {
    const long lowest = l->x_dtype == C1X1_INT8 ? -128 : l->x_dtype == C1X1_INT16 ? -32768 : 0;
    return element(&l->table, l->table.size[0] > 1 ? channel : 0, (size_t)(value - lowest));
}

/* Those whose results are whole numbers again; others are compared with the scalar kernels' bits. */
static inline int is_exact(c1x1_activation a) {
    return a == C1X1_IDENTITY || a == C1X1_RELU || a == C1X1_RELU6 || a == C1X1_LEAKY_RELU ||
           a == C1X1_CLIP || a == C1X1_PRELU;
}

/* Vectors and activation; `keeps_small`: what another layer of a chain reads. */
static inline void make_terms(trial *t, layer *l, room *rooms, int keeps_small) {
    rng *r = &t->r;
    l->has_scale = !t->is_bare && chance(r, 25);
    l->has_bias = !t->is_bare && chance(r, 50);
    l->activation = t->is_bare || chance(r, 50) ? C1X1_IDENTITY
                                                : (c1x1_activation)below(r, C1X1_ACTIVATION_COUNT);
    if (keeps_small) l->activation = C1X1_CLIP;
    const int is_real = l->has_scale || l->activation != C1X1_IDENTITY;
    l->finish = c1x1_is_whole(l->compute) && is_real ? C1X1_COMPUTE_FLOAT64 : l->compute;
    const c1x1_dtype dtype = c1x1_compute_dtype(l->finish);
    const size_t count = l->groups * l->c_out;
    if (l->has_scale) make_vector(r, &l->scale, &rooms[SCALE], dtype, count, -3, 3);
    if (l->has_bias) make_vector(r, &l->bias, &rooms[BIAS], dtype, count, -9, 9);
    l->parameters = c1x1_activation_parameters(l->activation);
    for (int i = 0; i < l->parameters; i++) {
        const int is_high = l->activation == C1X1_CLIP && i == 1;
        make_vector(r, &l->parameter[i], i ? &t->heap : &rooms[SLOPE], dtype, count,
                    is_high                     ? 1
                    : l->activation == C1X1_ELU ? 1
                                                : -3,
                    is_high ? 4 : 2);
    }
}

static inline void make_layer(trial *t, layer *l, size_t index, size_t c_in_total) {
    rng *r = &t->r;
    room none[ROOMS];
    memset(none, 0, sizeof none);
    room *rooms = index ? none : t->rooms;
    const int is_last = (int)index == t->count - 1;
    l->compute = (c1x1_compute)PICK(r, C1X1_COMPUTE_FLOAT32, C1X1_COMPUTE_FLOAT32,
                                    C1X1_COMPUTE_FLOAT64, C1X1_COMPUTE_INT64);
    const int is_native = t->layout != ANY_LAYOUT;
    if (t->is_bytes)
        l->compute = C1X1_COMPUTE_FLOAT32;
    else if (is_native)
        l->compute = chance(r, 70) ? C1X1_COMPUTE_FLOAT32 : C1X1_COMPUTE_FLOAT64;
    else if (!t->is_chain && chance(r, 20))
        l->compute = C1X1_COMPUTE_INT32;
    if (index) {
        l->x_dtype = t->layers[index - 1].out_dtype;
        if (is_float(l->x_dtype) && l->compute == C1X1_COMPUTE_INT64)
            l->compute = C1X1_COMPUTE_FLOAT64;
        do l->groups = PICK(r, 1, 1, 2, 3);
        while (c_in_total % l->groups);
        l->c_in = c_in_total / l->groups;
        l->c_out = 1 + below(r, 12);
    } else {
        l->x_dtype = is_native ? c1x1_compute_dtype(l->compute) : draw_dtype(r, l->compute);
    }
    c1x1_dtype w_dtype = is_native ? c1x1_compute_dtype(l->compute) : draw_dtype(r, l->compute);
    if (is_native && l->compute == C1X1_COMPUTE_FLOAT32 && l->c_in % C1X1_MATRIX_HALVES == 0)
        l->x_dtype = w_dtype = C1X1_BFLOAT16;
    l->out_dtype = is_native || chance(r, 60) ? c1x1_compute_dtype(l->compute)
                                              : (c1x1_dtype)below(r, C1X1_DTYPE_COUNT);
    if (t->is_bytes) l->x_dtype = l->out_dtype = C1X1_UINT8;
    l->has_table = !index && c1x1_dtype_size(l->x_dtype) <= 2 && !is_float(l->x_dtype) &&
                   l->x_dtype != C1X1_BOOL && l->compute != C1X1_COMPUTE_INT32 && chance(r, 40);
    make_terms(t, l, rooms, t->is_chain && !is_last);
    l->w = (array){.dtype = w_dtype, .axes = 1, .size = {l->groups * l->c_out, l->c_in}};
    /* Rows of filters for planes, of channels' weights for pixels: as kernels read them in place. */
    const layout w_layout = t->layout == CHANNELS_FIRST  ? CHANNELS_LAST
                            : t->layout == CHANNELS_LAST ? CHANNELS_FIRST
                                                         : ANY_LAYOUT;
    make_array(r, &l->w, &rooms[W], w_layout, 1, t->is_chain ? 1 : 4);
    if (l->has_table) make_table(t, l, &rooms[TABLE]);
}

/* ---- a trial -------------------------------------------------------------------------------- */

static inline void draw_sizes(trial *t, layer *l) {
    rng *r = &t->r;
    size_t macs, elements, pixels, most_macs = 300000, most_elements = 20000;
    t->x.axes = (int)below(r, MOST_AXES);
    l->groups = PICK(r, 1, 1, 1, 2, 3);
    l->c_in = chance(r, 3) ? 0
                           : 1 + (chance(r, 70)   ? below(r, 20)
                                  : chance(r, 85) ? below(r, 90)
                                  : chance(r, 80) ? 150 + below(r, 200)
                                                  : 1000 + below(r, 300));
    l->c_out = 1 + (chance(r, 50) ? below(r, 5) : chance(r, 85) ? below(r, 40) : below(r, 150));
    if (t->is_chain) l->c_in = 1 + below(r, 12);
    const size_t kind = below(r, 100);
    if (!t->is_chain && kind < 20) { /* what a small kernel takes */
        l->groups = 1;
        l->c_in = 1 + below(r, 15);
        l->c_out = 1 + below(r, 4);
        t->is_bytes = chance(r, 15);
    } else if (!t->is_chain && kind < 25) { /* sixteen sums that wait for more channels */
        l->groups = 1;
        l->c_in = 1025 + below(r, 300);
        l->c_out = 1 + below(r, 4);
        most_elements = 60000;
    }
    t->layout = t->is_bytes ? CHANNELS_LAST : ANY_LAYOUT;
    t->is_bare = t->is_bytes && chance(r, 80);
    for (int d = 0; d < t->x.axes; d++)
        t->x.size[d] = 1 + (d == t->x.axes - 1 && chance(r, 40) ? below(r, 700) : below(r, 9));
    if (!t->is_chain && kind >= 90) {
        t->x.axes = 1;
        l->groups = PICK(r, 1, 1, 2);
        t->is_bare = chance(r, 40);
    } else if (!t->is_chain && kind >= 84 && kind < 87) { /* planes that begin alike */
        t->layout = CHANNELS_FIRST;
        t->x.axes = 1 + (int)below(r, 2);
        t->x.size[0] = t->x.axes > 1 ? 1 + below(r, 3) : 1;
        t->x.size[t->x.axes - 1] = 16 * (1 + below(r, 30));
    } else if (!t->is_chain && kind >= 87) { /* longer rows than are widened at a time */
        t->x.axes = 1;
        t->x.size[0] = 2000 + below(r, 2500);
        l->c_in = 1 + below(r, 3);
        l->c_out = 1 + below(r, 3);
    }
    if (!t->is_chain && kind >= 95) { /* planes enough to be packed a panel at a time */
        t->layout = CHANNELS_FIRST;
        l->c_in = 192 + below(r, 150);
        l->c_out = 5 + below(r, 20);
        t->x.size[0] = 5 + below(r, 60);
    } else if (!t->is_chain &&
               kind >= 90) { /* weights of few pixels; whole tiles of a matrix unit */
        t->layout = CHANNELS_LAST;
        l->c_in = chance(r, 40) ? 32 + 32 * below(r, 3) : 20 + below(r, 60);
        l->c_out = 30 + below(r, 150);
        t->x.size[0] = 1 + (chance(r, 30) ? below(r, 90) : below(r, 20));
        if (chance(r, 8)) { /* more weights than are packed at once */
            l->groups = 1;
            l->c_in = 128 + below(r, 100);
            l->c_out = 860 + below(r, 240);
            t->x.size[0] = 1 + below(r, 6);
            most_macs = 1500000;
        }
    }
    do {
        pixels = pixels_of(&t->x);
        macs = pixels * l->groups * (l->c_in + 1) * l->c_out;
        elements = pixels * l->groups * (l->c_in > l->c_out ? l->c_in : l->c_out);
        int widest = 0;
        for (int d = 1; d < t->x.axes; d++)
            if (t->x.size[d] > t->x.size[widest]) widest = d;
        if (macs > most_macs || elements > most_elements) {
            if (pixels > 1)
                t->x.size[widest] = (t->x.size[widest] + 1) / 2;
            else
                l->c_out = (l->c_out + 1) / 2;
        }
    } while (macs > most_macs || elements > most_elements);
}

/* x's values for the loops; sets entries of the table and pixels without data. */
static inline void read_x(trial *t) {
    layer *l = &t->layers[0];
    const size_t channels = l->groups * l->c_in, pixels = pixels_of(&t->x);
    if (l->has_table)
        for (size_t p = 0; p < pixels; p++)
            for (size_t c = 0; c < channels; c++)
                put(element(&t->x, p, c), l->x_dtype,
                    (long)(draw(&t->r) & 0xffff)); /* each value of its dtype */
    if (t->has_nodata && t->nodata_is_nan && channels)
        for (size_t i = 0; i < 1 + pixels / 7; i++)
            memset(element(&t->x, below(&t->r, pixels), below(&t->r, channels)), 0xff,
                   c1x1_dtype_size(l->x_dtype));
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < channels; c++) {
            const long double v = get(element(&t->x, p, c), l->x_dtype);
            const int is_nan = v != v;
            long value = is_nan ? 0 : (long)v;
            t->is_empty[p] |=
                t->has_nodata && (is_nan || (!t->nodata_is_nan && value == t->nodata));
            if (l->has_table) {
                char *entry = entry_of(l, c, value);
                value = (long)(draw(&t->r) % 5) - 2;
                /* Another pixel may have set it before. */
                static const unsigned char poison[8] = {255, 255, 255, 255, 255, 255, 255, 255};
                if (memcmp(entry, poison, c1x1_dtype_size(l->table.dtype)) == 0)
                    put(entry, l->table.dtype,
                        value == -1 ? 3 : value); /* -1 is the poison of int64 */
                value = (long)get(entry, l->table.dtype);
            }
            t->values[0][p * channels + c] = value;
        }
    if (!t->has_powers) return;
    for (size_t p = 0; p < pixels; p++) {
        if (chance(&t->r, 70)) continue;
        t->power[p] = (int)(long)PICK(&t->r, (size_t)TINY, (size_t)TINY, LARGE, VAST, INFINITE);
        for (size_t c = 0; c < channels; c++) {
            const float v = ldexpf((float)t->values[0][p * channels + c], t->power[p]);
            if (t->x.dtype == C1X1_BFLOAT16)
                memcpy(element(&t->x, p, c), (const char *)&v + 2, 2);
            else
                memcpy(element(&t->x, p, c), &v, sizeof v);
        }
    }
}

/* Whether results are sums alone, of which a matrix unit would lose the subnormal ones. */
static inline int may_have_powers(const trial *t) {
    const layer *l = &t->layers[0];
    return !t->is_chain && l->compute == C1X1_COMPUTE_FLOAT32 &&
           (l->x_dtype == C1X1_FLOAT32 || l->x_dtype == C1X1_BFLOAT16) &&
           l->out_dtype == C1X1_FLOAT32 && !l->has_scale && !l->has_bias && !t->has_residual &&
           !t->has_nodata && l->activation == C1X1_IDENTITY;
}

static inline void make_out(trial *t) {
    const layer *l = &t->layers[t->count - 1];
    rng *r = &t->r;
    t->out = t->x;
    t->out.dtype = l->out_dtype;
    t->out.size[t->out.axes] = l->groups * l->c_out;
    size_t bytes;
    do bytes = lay_out(r, &t->out, t->layout, 0);
    while (bytes > ROOM_BYTES);
    if (l->c_out <= 4 && chance(r, 50)) bytes = lay_out_dense(&t->out);
    place_array(r, &t->out, &t->rooms[OUT], bytes);
}

static inline void make_residual(trial *t) {
    const layer *l = &t->layers[t->count - 1];
    rng *r = &t->r;
    t->has_residual = !t->is_bare && chance(r, 30);
    if (!t->has_residual) return;
    const int is_whole = c1x1_is_whole(l->finish);
    const int is_narrow = l->finish == C1X1_COMPUTE_INT32; /* no sum may outgrow that */
    if (is_narrow && (is_float(l->out_dtype) || c1x1_dtype_size(l->out_dtype) > 2))
        t->residual_is_out = 0;
    else
        t->residual_is_out =
            !t->is_in_place && chance(r, 30) && !(is_whole && is_float(l->out_dtype));
    if (t->residual_is_out) {
        fill_array(r, &t->out, 9);
        t->residual = t->out;
        return;
    }
    t->residual = t->out;
    t->residual.dtype = draw_dtype(r, l->finish);
    make_array(r, &t->residual, &t->rooms[RESIDUAL], t->layout, 1, 9);
}

static inline void make_trial(trial *t, uint64_t seed) {
    rng *r = &t->r;
    *r = (rng){seed * 0x2545f4914f6cdd1du};
    t->is_chain = chance(r, 12);
    t->is_planar = chance(r, 50);
    t->count = t->is_chain ? 1 + (int)below(r, MOST_LAYERS) : 1;
    layer *l = &t->layers[0];
    draw_sizes(t, l);
    make_layer(t, l, 0, 0);
    for (int i = 1; i < t->count; i++)
        make_layer(t, &t->layers[i], (size_t)i, t->layers[i - 1].groups * t->layers[i - 1].c_out);
    const size_t channels = l->groups * l->c_in;
    t->x.dtype = l->x_dtype;
    t->x.size[t->x.axes] = channels;
    /* In place: each pixel's results over its own channels. */
    t->is_in_place = !t->is_chain && l->groups == 1 && l->c_in == l->c_out &&
                     c1x1_dtype_size(l->x_dtype) == c1x1_dtype_size(l->out_dtype) && chance(r, 50);
    make_array(r, &t->x, &t->rooms[X], t->layout, !t->is_in_place, 4);
    t->has_nodata = !t->is_bare && chance(r, 15);
    t->nodata_is_nan = is_float(l->x_dtype) && chance(r, 50);
    t->nodata = between(r, 0, l->x_dtype == C1X1_BOOL ? 1 : 3);
    if (t->is_in_place) {
        t->out = t->x;
        t->out.dtype = l->out_dtype;
    } else {
        make_out(t);
    }
    t->fill = t->out.dtype == C1X1_BOOL ? 1 : 7;
    make_residual(t);
    size_t most = channels;
    for (int i = 0; i < t->count; i++)
        if (t->layers[i].groups * t->layers[i].c_out > most)
            most = t->layers[i].groups * t->layers[i].c_out;
    const size_t pixels = pixels_of(&t->x);
    for (int i = 0; i < 2; i++) t->values[i] = reserve(pixels * most * sizeof(long));
    t->is_empty = reserve(pixels);
    t->power = reserve(pixels * sizeof(int));
    int x_repeats = 0;
    for (int d = 0; d <= t->x.axes; d++) x_repeats |= t->x.size[d] > 1 && t->x.stride[d] == 0;
    t->has_powers = !x_repeats && may_have_powers(t) && chance(r, 80);
    read_x(t);
    t->before = reserve(t->out.bytes);
    memcpy(t->before, t->out.memory, t->out.bytes);
}

static inline void release_trial(trial *t) {
    for (int i = 0; i < t->count; i++) {
        layer *l = &t->layers[i];
        const room *rooms = i ? NULL : t->rooms;
        const room *w = rooms ? &rooms[W] : &t->heap;
        release_array(&l->w, w);
        if (l->has_table) release_array(&l->table, w);
        if (l->has_scale) release_array(&l->scale, w);
        if (l->has_bias) release_array(&l->bias, w);
        for (int p = 0; p < l->parameters; p++) release_array(&l->parameter[p], p ? &t->heap : w);
    }
    release_array(&t->x, &t->rooms[X]);
    if (!t->is_in_place) release_array(&t->out, &t->rooms[OUT]);
    if (t->has_residual && !t->residual_is_out) release_array(&t->residual, &t->rooms[RESIDUAL]);
    for (int i = 0; i < 2; i++) free(t->values[i]);
    free(t->is_empty);
    free(t->power);
    free(t->before);
}

/* ---- what the results must be ------------------------------------------------------------------ */

static inline long activated(const layer *l, long v, size_t channel) {
    long a[2] = {0, 0};
    for (int i = 0; i < l->parameters; i++)
        a[i] = (long)get(element(&l->parameter[i], 0, channel), l->parameter[i].dtype);
    switch (l->activation) {
    case C1X1_RELU:
        return v > 0 ? v : 0;
    case C1X1_RELU6:
        return v > 6 ? 6 : v > 0 ? v : 0;
    case C1X1_LEAKY_RELU:
    case C1X1_PRELU:
        return v > 0 ? v : a[0] * v;
    case C1X1_CLIP:
        v = v < a[0] ? a[0] : v;
        return v > a[1] ? a[1] : v;
    default:
        return v;
    }
}

/* One layer: `from` has its inputs, `to` gets its finished results, not yet rounded to the dtype. */
static inline void apply(const trial *t, const layer *l, int is_last, const long *from, long *to) {
    const size_t ins = l->groups * l->c_in, outs = l->groups * l->c_out;
    long *w = reserve(outs * l->c_in * sizeof(long));
    for (size_t o = 0; o < outs; o++)
        for (size_t i = 0; i < l->c_in; i++)
            w[o * l->c_in + i] = (long)get(element(&l->w, o, i), l->w.dtype);
    for (size_t p = 0; p < pixels_of(&t->x); p++)
        for (size_t o = 0; o < outs; o++) {
            const long *x = from + p * ins + o / l->c_out * l->c_in;
            long v = 0;
            for (size_t i = 0; i < l->c_in; i++) v += x[i] * w[o * l->c_in + i];
            if (l->has_scale) v *= (long)get(element(&l->scale, 0, o), l->scale.dtype);
            if (l->has_bias) v += (long)get(element(&l->bias, 0, o), l->bias.dtype);
            if (is_last && t->has_residual) {
                /* Where the residual is out, it is gone by now. */
                const array *a = &t->residual;
                const char *at = element(a, p, o);
                v += (long)get(t->residual_is_out ? t->before + (at - a->memory) : at, a->dtype);
            }
            to[p * outs + o] = activated(l, v, o);
        }
    free(w);
}

/* A sum of a pixel of infinite numbers: values[1] has them, as whole ones. */
static inline long double sum_of_infinite(const trial *t, size_t p, size_t o) {
    const layer *l = &t->layers[0];
    const long *x = t->values[1] + p * l->groups * l->c_in + o / l->c_out * l->c_in;
    long double sum = 0;
    for (size_t i = 0; i < l->c_in; i++)
        sum += (x[i] > 0   ? INFINITY
                : x[i] < 0 ? -INFINITY
                           : 0) *
               get(element(&l->w, o, i), l->w.dtype);
    return sum;
}

/* Leaves in values[0] what the last layer's results are before they become its dtype. */
static inline void compute_wanted(trial *t) {
    for (int i = 0; i < t->count; i++) {
        const layer *l = &t->layers[i];
        const int is_last = i == t->count - 1;
        apply(t, l, is_last, t->values[0], t->values[1]);
        const size_t count = pixels_of(&t->x) * l->groups * l->c_out;
        for (size_t e = 0; !is_last && e < count; e++)
            t->values[1][e] = (long)stored(t->values[1][e], l->out_dtype, 0);
        long *swapped = t->values[0];
        t->values[0] = t->values[1];
        t->values[1] = swapped;
    }
}

#endif
