# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Single kernels of the C core, for tests and for what `explain` measures: their list, and calls of one."""

from numpy cimport ndarray
cimport numpy as cnp

from c1x1._core cimport C1X1_COMPUTE_FLOAT32, isa_count, isa_row

from c1x1._core import activations, computes, dtypes

cnp.import_array()

cdef extern from "c1x1.h" nogil:
    int C1X1_ON_REQUEST

cdef extern from "kernels/kernel.h" nogil:
    ctypedef struct c1x1_ahead:
        const char *at
        size_t count
        ptrdiff_t step
        size_t each
    ctypedef struct c1x1_tile:
        size_t k, n
        const void *a
        const void *b
        void *c
        ptrdiff_t lda, ldb, ldc
        const void *bias_m
        const void *bias_n
        const void *residual
        ptrdiff_t ldr
        const void *bounds
        size_t piece
        int start
        bint fetches_c
        ptrdiff_t fetched_c, fetched
        int sweep
        c1x1_ahead ahead
        bint is_ahead_of_b
        size_t more
        ptrdiff_t next_b
    ctypedef void (*c1x1_tile_fn)(const c1x1_tile *tile) noexcept nogil
    ctypedef struct c1x1_finish:
        size_t m, n
        void *c
        const void *residual
        ptrdiff_t ldc, ldr
        int is_by_row
        const void *scale
        const void *bias
        const void *parameter[2]
    ctypedef void (*c1x1_finish_fn)(const c1x1_finish *finish) noexcept nogil
    ctypedef struct c1x1_kernels:
        unsigned vl
        unsigned mr[13]
        unsigned dot_mr[5]
        double fma_per_cycle
        c1x1_tile_fn tile[8][12][2]
        c1x1_tile_fn dot[8][4]
        c1x1_tile_fn small[15][4]
        c1x1_tile_fn chains[4]
        c1x1_tile_fn fold
        c1x1_tile_fn column
        c1x1_tile_fn pack[12]
        const c1x1_finish_fn *finish
    ctypedef void (*c1x1_convert_fn)(void *to, const void *from_, size_t count) noexcept nogil
    ctypedef struct c1x1_converters:
        c1x1_convert_fn load[4][16]
        c1x1_convert_fn store[4][16]
    ctypedef struct c1x1_bytes:
        unsigned vl
        c1x1_tile_fn small[4][4]
    ctypedef struct c1x1_isa:
        const char *name
        const char *description
        unsigned needs
        const c1x1_kernels *kernels[4]
        const c1x1_converters *converters
        const c1x1_bytes *bytes
    int C1X1_ZERO, C1X1_ADD, C1X1_CONTINUE
    int C1X1_MAX_MR, C1X1_MAX_NV, C1X1_MAX_DOT, C1X1_MAX_SMALL, C1X1_MAX_SMALL_IN


def kernels():
    """Every kernel of every ISA: dicts with isa (its index), name, dtype, kind, m, n, vl, and factor, the
    channels in one element of an operand (where it is 2, that is a pair of int16).

    n counts vectors for a tile, columns for a dot; a small kernel takes m channels to n. `is_full` marks the
    shapes that plans name.
    """
    cdef const c1x1_isa *isa
    cdef const c1x1_kernels *k
    rows = []
    for i in range(isa_count()):
        isa = <const c1x1_isa *>isa_row(i)
        for c, (dtype, factor) in enumerate(computes()):
            k = isa.kernels[<size_t>c]
            if k == NULL or isa.needs & C1X1_ON_REQUEST:
                continue
            common = {"isa": i, "name": isa.name.decode(), "compute": c, "dtype": dtype,
                      "vl": k.vl, "factor": factor}
            for m in range(1, C1X1_MAX_MR + 1):
                for n in range(1, C1X1_MAX_NV + 1):
                    if k.tile[m - 1][n - 1][0] != NULL:
                        rows.append(common | {"kind": "tile", "m": m, "n": n,
                                              "is_full": k.mr[n] == m})
                for n in range(1, C1X1_MAX_DOT + 1):
                    if k.dot[m - 1][n - 1] != NULL:
                        rows.append(common | {"kind": "dot", "m": m, "n": n,
                                              "is_full": k.dot_mr[n] == m})
            for m in range(1, C1X1_MAX_SMALL_IN + 1):
                for n in range(1, C1X1_MAX_SMALL + 1):
                    if k.small[m - 1][n - 1] != NULL:
                        rows.append(common | {"kind": "small", "m": m, "n": n, "is_full": True})
            for n in range(1, C1X1_MAX_NV + 1):
                if k.pack[n - 1] != NULL:
                    rows.append(common | {"kind": "pack", "m": 1, "n": n, "is_full": True})
            for m in range(1, C1X1_MAX_DOT + 1):
                if k.chains[m - 1] != NULL:
                    rows.append(common | {"kind": "chains", "m": m, "n": 1, "is_full": True})
            if k.column != NULL:
                rows.append(common | {"kind": "column", "m": k.vl, "n": 1, "is_full": True})
            if k.fold != NULL:
                rows.append(common | {"kind": "fold", "m": 1, "n": 1, "is_full": True})
            for a, (activation, _) in enumerate(activations()):
                if k.finish[<size_t>a] != NULL:
                    rows.append(common | {"kind": "finish", "m": a, "n": 1, "is_full": True,
                                          "activation": activation})
        if isa.bytes != NULL:
            rows += [{"isa": i, "name": isa.name.decode(), "compute": C1X1_COMPUTE_FLOAT32,
                      "dtype": "float32", "vl": isa.bytes.vl, "factor": 1, "kind": "bytes",
                      "m": m, "n": n, "is_full": True}
                     for m in range(1, C1X1_MAX_SMALL + 1) for n in range(1, C1X1_MAX_SMALL + 1)]
    return rows


def converters():
    """Every converter of every ISA: dicts with isa (its index), name, compute, way ("load" or "store"), and the
    dtypes `source` and `target`; where the target holds pairs, it is "int16".
    """
    cdef const c1x1_isa *isa
    cdef const c1x1_converters *v
    rows = []
    for i in range(isa_count()):
        isa = <const c1x1_isa *>isa_row(i)
        v = isa.converters
        if v == NULL:
            continue
        for c, (sums, factor) in enumerate(computes()):
            operand = "int16" if factor > 1 else sums
            for d, dtype in enumerate(dtypes()):
                common = {"isa": i, "name": isa.name.decode(), "compute": c, "dtype": d}
                if v.load[<size_t>c][<size_t>d] != NULL:
                    rows.append(common | {"way": "load", "source": dtype, "target": operand})
                if v.store[<size_t>c][<size_t>d] != NULL:
                    rows.append(common | {"way": "store", "source": sums, "target": dtype})
    return rows


cdef const c1x1_isa *isa_of(dict row) except NULL:
    return <const c1x1_isa *>isa_row(<size_t>row["isa"])


def run_converter(dict row, ndarray source, ndarray target):
    """Calls one converter on dense arrays of one length."""
    cdef const c1x1_converters *v = isa_of(row).converters
    cdef int c = row["compute"], d = row["dtype"]
    cdef c1x1_convert_fn fn = v.load[c][d] if row["way"] == "load" else v.store[c][d]
    fn(<void *>data_of(target), data_of(source), target.size)


cdef const char *data_of(ndarray a) noexcept:
    return NULL if a is None else <const char *>cnp.PyArray_DATA(a)


def run_kernel(dict kernel, ndarray a, ndarray b, ndarray c, *, str start="zero",
               size_t piece=1 << 30, ndarray bias_m=None, ndarray bias_n=None,
               ndarray residual=None, ndarray bounds=None,
               bint fetches_ahead=False, str sweep="columns", size_t repeat=1):
    """Calls one kernel on two-dimensional arrays whose last axis is dense; c is written.

    A c of several full tiles side by side takes one call. `fetches_ahead` names b as what is read
    next, and the rows below c; chains go over b in a `sweep`. For pack, c holds a panel in each row.

    The caller answers for shapes and dtypes: this is how the tests reach a kernel's edges.
    """
    cdef const c1x1_kernels *k = isa_of(kernel).kernels[<int>kernel["compute"]]
    cdef c1x1_tile t
    cdef ptrdiff_t size = c.itemsize
    cdef c1x1_tile_fn fn
    cdef int m = kernel["m"], n = kernel["n"]
    t.n = (b if kernel["kind"] == "pack" else c).shape[1]
    t.k = b.shape[0] if a is None else a.shape[1]
    t.more = 0
    t.a, t.b, t.c = data_of(a), data_of(b), <char *>data_of(c)
    t.lda, t.ldc = 0 if a is None else a.strides[0] // size, c.strides[0] // size
    t.ldb = 0 if b is None else b.strides[0] // size
    t.bias_m, t.bias_n = data_of(bias_m), data_of(bias_n)
    t.residual, t.bounds = data_of(residual), data_of(bounds)
    t.ldr = 0 if residual is None else residual.strides[0] // size
    t.piece, t.start = piece, {"zero": C1X1_ZERO, "add": C1X1_ADD, "continue": C1X1_CONTINUE}[start]
    t.ahead.at, t.ahead.step = <const char *>t.b, t.ldb * size
    t.ahead.count = t.k if fetches_ahead else 0
    t.ahead.each, t.is_ahead_of_b = 2, fetches_ahead
    t.sweep = ("columns", "quarters", "runs").index(sweep)
    t.fetches_c, t.fetched_c = fetches_ahead, m * t.ldc
    t.fetched = 0 if not fetches_ahead else m * t.lda if kernel["kind"] == "dot" else t.ldb
    if kernel["kind"] == "tile":
        if t.n > n * k.vl:
            t.more = t.n // (n * k.vl) - 1
            t.n = n * k.vl
        t.next_b = t.n
        fn = k.tile[m - 1][n - 1][t.n != n * k.vl]
    elif kernel["kind"] == "dot":
        t.more = c.shape[0] // m - 1
        fn = k.dot[m - 1][n - 1]
    elif kernel["kind"] == "column":
        t.more = c.shape[0] // m - 1
        fn = k.column
    elif kernel["kind"] == "pack":
        fn = k.pack[n - 1]
    elif kernel["kind"] == "chains":
        fn = k.chains[m - 1]
    elif kernel["kind"] == "small":
        fn = k.small[m - 1][n - 1]
        t.n = b.shape[0]
    elif kernel["kind"] == "bytes":
        fn = isa_of(kernel).bytes.small[m - 1][n - 1]
        t.n, t.lda = b.shape[0], a.shape[1]
    else:
        fn = k.fold
    with nogil:
        for _ in range(repeat):
            fn(&t)


def run_finish(dict kernel, ndarray c, *, bint is_by_row=False, ndarray residual=None,
               ndarray scale=None, ndarray bias=None, ndarray p0=None, ndarray p1=None):
    """Calls one finish kernel on two-dimensional c, whose last axis is dense, in place."""
    cdef const c1x1_kernels *k = isa_of(kernel).kernels[<int>kernel["compute"]]
    cdef c1x1_finish f
    f.m, f.n = c.shape[0], c.shape[1]
    f.c, f.residual = <void *>data_of(c), data_of(residual)
    f.ldc = c.strides[0] // c.itemsize
    f.ldr = 0 if residual is None else residual.strides[0] // c.itemsize
    f.is_by_row = is_by_row
    f.scale, f.bias = data_of(scale), data_of(bias)
    f.parameter[0], f.parameter[1] = data_of(p0), data_of(p1)
    k.finish[<int>kernel["m"]](&f)
