# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""What the arguments of a call mean: layouts, weight shapes, defaults, dtypes, and every message.

In Cython because a small call costs less than a microsecond; the pixels are not touched here.
"""

cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_READ_CHAR
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from numpy cimport ndarray

import operator

import numpy as np

from c1x1 import _complex, _epilogue
from c1x1._core cimport *

cnp.import_array()

cdef extern from *:
    """
    #define c1x1_unicode_length(s) PyUnicode_GET_LENGTH(s)
    """
    Py_ssize_t c1x1_unicode_length(object s)

cdef object HIGHEST = "highest"
cdef str DTYPES = "bool, int8 to int64, uint8 to uint64, float16, float32, float64"


class ComplexOperand(TypeError):
    """An operand is complex: caught where that has a meaning."""


# ---- operands ------------------------------------------------------------------------------------

cdef object refuse_dtype(ndarray a, str name):
    kind = a.dtype.kind
    if kind == "c":
        raise ComplexOperand(f"{name} has dtype {a.dtype}; expected a real one: pass {name}.real and {name}.imag one by one")
    if kind in "fV" and a.dtype.kind == "f":
        way = f"pass {name}.astype(np.float64)"
    elif kind in "mM":
        way = f"pass {name}.astype(np.int64)"
    elif a.dtype.names is not None:
        way = f"pass one field, {name}[{a.dtype.names[0]!r}]"
    else:
        way = f"pass {name}.astype(np.float32)"
    raise TypeError(f"{name} has dtype {a.dtype}; expected one of {DTYPES}: {way}")


cdef ndarray as_array_or_complex(object value, str name):
    """The same, where complex values have a meaning too."""
    try:
        return as_array(value, name)
    except ComplexOperand:
        a = np.asarray(value)
        if a.dtype.itemsize > 16:
            raise
        return a.astype(a.dtype.newbyteorder("="), copy=False)


cdef object from_dlpack(object value, ndarray fallback):
    if fallback.dtype.kind == "O" and hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    return fallback


cdef ndarray as_array(object value, str name):
    """An ndarray of `value` without a copy where there is one to be had; native byte order."""
    cdef ndarray a
    if cnp.PyArray_CheckExact(value):
        a = <ndarray>value
    else:
        if hasattr(value, "mask") and hasattr(value, "filled"):
            raise TypeError(f"{name} is a masked array, whose mask would be lost: pass {name}.filled(value)")
        try:
            a = np.asarray(value)
        except (ValueError, TypeError, RuntimeError, BufferError) as error:
            raise TypeError(f"{name} cannot be seen as an array: {error}") from error
        a = from_dlpack(value, a)
    if dtype_of(cnp.PyArray_TYPE(a)) < 0:
        refuse_dtype(a, name)
    if cnp.PyArray_ISBYTESWAPPED(a):
        return a.astype(a.dtype.newbyteorder("="))
    return a


# ---- layout --------------------------------------------------------------------------------------

cdef object refuse_layout(object layout, int ndim):
    if not isinstance(layout, str):
        raise TypeError(f"layout must be a str such as 'HWC' or None, not {type(layout).__name__}")
    if layout.count("C") != 1:
        raise ValueError(f"layout {layout!r} must name the channels axis 'C' exactly once, as in 'HWC' or 'NCHW'")
    if any(not ("A" <= letter <= "Z") for letter in layout) or len(set(layout)) != len(layout):
        raise ValueError(f"layout {layout!r} must give each axis a capital letter of its own, as in 'NHWC'")
    better = {1: "C", 2: "WC", 3: "HWC", 4: "NHWC", 5: "NDHWC"}
    raise ValueError(
        f"layout {layout!r} names {len(layout)} axes but x has {ndim}"
        + (f": for channels last pass layout={better[ndim]!r}" if ndim in better else "")
    )


cdef bint layout_is_channels_last(object layout) except -1:
    if layout is None:
        return True
    if not isinstance(layout, str) or layout.count("C") != 1:
        refuse_layout(layout, 0)
    return layout.endswith("C")


# Sets the channels' and the batch's axis (-1: none).
cdef int read_layout(object layout, int ndim, int *channel_axis, int *batch_axis) except -1:
    cdef int axis, count = 0
    cdef unsigned int seen = 0
    cdef int letter
    batch_axis[0] = -1
    if ndim == 0:
        raise ValueError("x has no axes; expected at least the channels, as in shape (C,) or (H, W, C)")
    if layout is None:
        channel_axis[0] = ndim - 1
        if ndim >= 4:
            batch_axis[0] = 0
        return 0
    if not isinstance(layout, str) or c1x1_unicode_length(layout) != ndim:
        refuse_layout(layout, ndim)
    for axis in range(ndim):
        letter = <int>PyUnicode_READ_CHAR(layout, axis)
        if letter < c"A" or letter > c"Z" or seen >> (letter - c"A") & 1:
            refuse_layout(layout, ndim)
        seen |= 1u << (letter - c"A")
        if letter == c"C":
            channel_axis[0] = axis
            count += 1
        elif letter == c"N":
            batch_axis[0] = axis
    if count != 1:
        refuse_layout(layout, ndim)
    return 0


# ---- weights -------------------------------------------------------------------------------------

cdef bint ones(const cnp.npy_intp *shape, int start, int stop) noexcept:
    cdef int i
    for i in range(start, stop):
        if shape[i] != 1:
            return False
    return True


# 1 when w can be read for an image of `channels`, else 0. channels < 0: whatever they are.
cdef int read_filters(filters *f, ndarray w, Py_ssize_t channels, Py_ssize_t groups,
                      bint is_channels_last, int image_ndim, bint has_batch) noexcept:
    cdef const cnp.npy_intp *shape = <const cnp.npy_intp *>cnp.PyArray_DIMS(w)
    cdef int d = cnp.PyArray_NDIM(w), in_axis, out_axis
    cdef bint is_window
    if d == 1:
        f.in_axis, f.out_axis, f.drops_channel_axis = 0, -1, True
        f.c_in, f.c_out = <size_t>shape[0], 1
        return groups == 1 and (channels < 0 or shape[0] == channels)
    if d < 2:
        return 0
    # A matrix, with axes of one element for the window before (after) it.
    f.drops_channel_axis = False
    if is_channels_last:
        in_axis, out_axis = d - 2, d - 1
        is_window = ones(shape, 0, d - 2)
    else:
        in_axis, out_axis = 1, 0
        is_window = ones(shape, 2, d)
    if is_window and (channels < 0 or shape[in_axis] * groups == channels):
        f.in_axis, f.out_axis = in_axis, out_axis
        f.c_in, f.c_out = <size_t>shape[in_axis], <size_t>shape[out_axis]
        return f.c_out % <size_t>groups == 0
    # One filter in the image's own shape.
    if groups == 1 and (d == image_ndim or (has_batch and d == image_ndim - 1)):
        in_axis = d - 1 if is_channels_last else 0
        if shape[in_axis] == channels and (ones(shape, 0, d - 1) if is_channels_last else ones(shape, 1, d)):
            f.in_axis, f.out_axis = in_axis, -1
            f.c_in, f.c_out = <size_t>shape[in_axis], 1
            return 1
    return 0


cdef object refuse_filters(object x, object w, object layout, int channel_axis, int batch_axis,
                           Py_ssize_t groups):
    """Says what w was, what x needs, and which one edit would make them fit."""
    cdef filters f
    cdef int axis
    cdef int ndim = x.ndim
    cdef bint is_last = channel_axis == ndim - 1
    cdef bint has_batch = batch_axis >= 0
    channels = x.shape[channel_axis]
    if groups > 1 and channels % groups != 0:
        raise ValueError(f"x has {channels} channels, which {groups} groups do not divide evenly")
    wanted = "(C_in, C_out)" if is_last else "(C_out, C_in)"
    numbers = f"({channels // groups}, C_out)" if is_last else f"(C_out, {channels // groups})"
    letters = layout if layout is not None else {1: "C", 2: "WC", 3: "HWC", 4: "NHWC", 5: "NDHWC"}.get(
        ndim, "channels last")
    text = (f"w of shape {tuple(w.shape)} does not fit x of shape {tuple(x.shape)} in layout {letters!r}, "
            f"which has {channels} channels" + (f" in {groups} groups" if groups > 1 else "")
            + f": expected {wanted} = {numbers}")
    if w.ndim >= 2 and groups > 1 and read_filters(&f, w, channels, 1, is_last, ndim, has_batch):
        raise ValueError(text + f"; with groups each filter sees only C_in / groups = {channels // groups} channels")
    if w.ndim >= 2 and groups > 1 and is_last and w.shape[w.ndim - 2] * groups == channels:
        raise ValueError(text + f"; {w.shape[w.ndim - 1]} output channels do not divide into {groups} groups")
    if w.ndim >= 2 and groups > 1 and not is_last and w.shape[1] * groups == channels:
        raise ValueError(text + f"; {w.shape[0]} output channels do not divide into {groups} groups")
    # Does w fit as it is when another axis of x is the channels?
    for axis in range(ndim):
        if axis != channel_axis and axis != batch_axis and x.shape[axis] != channels:
            if read_filters(&f, w, x.shape[axis], groups, axis == ndim - 1, ndim, has_batch):
                names = {3: {0: "CHW", 2: "HWC"}, 4: {1: "NCHW", 3: "NHWC"}, 2: {0: "CW", 1: "WC"},
                         5: {1: "NCDHW", 4: "NDHWC"}}.get(ndim, {}).get(axis)
                if names is not None and names != layout:
                    raise ValueError(text + f"; pass layout={names!r} if axis {axis} of x is the channels")
    if w.ndim == 2 and read_filters(&f, w.T, channels, groups, is_last, ndim, has_batch):
        raise ValueError(text + "; pass w.T")
    if w.ndim > 2 and read_filters(&f, w, channels, groups, not is_last, ndim, has_batch):
        order = "(2, 3, 1, 0)" if is_last else "(3, 2, 0, 1)"
        if w.ndim == 4:
            raise ValueError(text + f"; pass w.transpose{order}")
    if w.ndim > 2 and sum(size > 1 for size in w.shape) > 2:
        raise ValueError(text + "; a window larger than 1x1 is not a pointwise convolution")
    raise ValueError(text)


cdef void set_weights(c1x1_problem *p, ndarray w, filters *f, size_t groups) noexcept:
    p.w = <const char *>cnp.PyArray_DATA(w)
    p.w_dtype = dtype_of(cnp.PyArray_TYPE(w))
    p.w_in = cnp.PyArray_STRIDE(w, <int>f.in_axis)
    p.w_out = cnp.PyArray_STRIDE(w, <int>f.out_axis) if f.out_axis >= 0 else 0
    p.groups = groups
    p.c_in, p.c_out = f.c_in, f.c_out // groups


cdef PackedWeights pack_filters(ndarray w, filters *f, Py_ssize_t groups, int typenum):
    """Packs for products of that type; None where the kernels take w as it is."""
    cdef c1x1_problem p
    memset(&p, 0, sizeof(p))
    if typenum == cnp.NPY_DOUBLE:
        p.compute = C1X1_COMPUTE_FLOAT64
    elif dtype_of(typenum) == C1X1_FLOAT32 or dtype_of(typenum) == C1X1_FLOAT16:
        p.compute = C1X1_COMPUTE_FLOAT32
    else:
        return None
    set_weights(&p, w, f, <size_t>groups)
    p.x = p.out = <char *>p.w
    p.x_dtype = p.out_dtype = p.w_dtype
    p.x_channel = p.out_channel = cnp.PyArray_ITEMSIZE(w)
    p.dims = 0
    return pack(&p)


# ---- the smaller arguments -----------------------------------------------------------------------

cdef int parse_groups(object groups) except -1:
    cdef Py_ssize_t n
    try:
        n = operator.index(groups)
    except TypeError:
        raise TypeError(f"groups must be an int, not {type(groups).__name__}") from None
    if not 1 <= n <= 0x7fffffff:
        raise ValueError(f"groups must be at least 1, not {groups}")
    return <int>n


cdef int parse_threads(object threads) except -1:
    if threads is None:
        return 0
    try:
        n = operator.index(threads)
    except TypeError:
        raise TypeError(f"threads must be an int or None, not {type(threads).__name__}") from None
    if n < 1:
        raise ValueError(f"threads must be at least 1, not {n}; None chooses")
    return min(n, 1 << 16)


# One step per spatial axis of x; 1 for the others.
cdef int parse_stride(object stride, Py_ssize_t *steps, int ndim, int channel_axis, int batch_axis) except -1:
    cdef int axis, at = 0, spatial = ndim - 1 - (batch_axis >= 0)
    for axis in range(ndim):
        steps[axis] = 1
    if stride is None:
        raise TypeError("stride must be an int or one int per spatial axis, not None")
    try:
        values = [operator.index(stride)] * spatial
    except TypeError:
        try:
            values = [operator.index(s) for s in stride]
        except TypeError:
            raise TypeError(
                f"stride must be an int or one int per spatial axis, not {stride!r}") from None
    if len(values) != spatial:
        raise ValueError(f"stride {stride!r} has {len(values)} values but x has {spatial} spatial axes")
    for axis in range(ndim):
        if axis != channel_axis and axis != batch_axis:
            if not 1 <= values[at] <= 0x7fffffffffffffff:
                raise ValueError(f"stride must be at least 1, not {stride!r}")
            steps[axis] = values[at]
            at += 1
    return 0


cdef ndarray read_vector(object given, str name, size_t c_out, int typenum):
    """Contiguous, of the dtype the epilogue is done in, one value per output channel."""
    cdef ndarray b = as_array(given, name)
    if cnp.PyArray_NDIM(b) == 1 and <size_t>cnp.PyArray_DIM(b, 0) == c_out:
        if cnp.PyArray_TYPE(b) == typenum and cnp.PyArray_ISCARRAY_RO(b):
            return b
    elif cnp.PyArray_NDIM(b) != 0:
        raise ValueError(f"{name} has shape {(<object>b).shape}; expected ({c_out},), one value per output channel, or a scalar")
    compute = np.dtype(cnp.PyArray_TypeObjectFromType(typenum))
    if not np.can_cast(b.dtype, compute, "same_kind"):
        raise TypeError(
            f"{name} has dtype {b.dtype} but x and w are integers, whose sums are exact in {compute}: "
            f"pass x.astype(np.float32) or an integer {name}")
    return np.ascontiguousarray(np.broadcast_to(b, (c_out,)), dtype=compute)


# ---- what follows the sums -----------------------------------------------------------------------

cdef class Extras:
    def __reduce__(self):
        raise TypeError("a part of a call, not to be pickled")


cdef Extras read_extras(object scale, object residual, object activation, object lut, object nodata):
    """None where nothing is asked for: the common call pays nothing."""
    if scale is None and residual is None and activation is None and lut is None and nodata is None:
        return None
    cdef Extras e = Extras.__new__(Extras)
    e.scale, e.residual, e.nodata = scale, residual, nodata
    e.activation, e.parameters = 0, ()
    if activation is not None:
        e.activation, e.parameters = _epilogue.read_activation(activation)
    e.table = None if lut is None else as_array(lut, "lut")
    e.tables = {}
    return e


# Every kernel of today is as exact and as reproducible as the strictest setting asks.
cdef int check_promises(object precision, object reproducible) except -1:
    if precision not in ("highest", "high", "medium"):
        raise ValueError(f"precision must be 'highest', 'high' or 'medium', not {precision!r}")
    if reproducible is not True and reproducible is not False:
        raise TypeError(f"reproducible must be True or False, not {reproducible!r}")
    return 0


cdef int type_of_compute(int compute) noexcept:
    if compute == C1X1_COMPUTE_FLOAT32:
        return cnp.NPY_FLOAT
    return cnp.NPY_DOUBLE if compute == C1X1_COMPUTE_FLOAT64 else cnp.NPY_INT64


# The type number that scale, bias and the activation's parameters have.
cdef int finish_type(c1x1_problem *p, Extras extras) noexcept:
    if extras is not None and p.compute == C1X1_COMPUTE_INT64:
        if extras.scale is not None or extras.activation != 0:
            return cnp.NPY_DOUBLE
    return type_of_compute(p.compute)


cdef list set_vectors(c1x1_problem *p, Extras extras, size_t c_out, ndarray avoid):
    """Scale and the activation's parameters; returns what must outlive the call."""
    cdef int typenum = finish_type(p, extras), i
    cdef ndarray v
    cdef list keep = []
    p.epilogue.activation = extras.activation
    if extras.scale is not None:
        v = apart(read_vector(extras.scale, "scale", c_out, typenum), avoid)
        p.epilogue.scale = <const char *>cnp.PyArray_DATA(v)
        keep.append(v)
    for i in range(len(extras.parameters)):
        v = apart(read_vector(extras.parameters[i], "slopes", c_out, typenum), avoid)
        p.epilogue.parameter[i] = <const char *>cnp.PyArray_DATA(v)
        keep.append(v)
    return keep


# A small operand, copied where `out` may lie over it.
cdef ndarray apart(ndarray small, ndarray out):
    return small.copy() if out is not None and spans_meet(out, small) else small


cdef ndarray set_table(c1x1_problem *p, Extras extras, ndarray x, ndarray avoid):
    cdef int typenum = type_of_compute(p.compute)
    cdef ndarray table = extras.tables.get(typenum)
    if table is None:
        table = np.ascontiguousarray(extras.table, cnp.PyArray_TypeObjectFromType(typenum))
        extras.tables[typenum] = table
    table = apart(table, avoid)
    size = cnp.PyArray_ITEMSIZE(table)
    # At the entry for 0: signed values count from their lowest.
    p.table = <const char *>cnp.PyArray_DATA(table)
    if p.x_dtype == C1X1_INT8:
        p.table += 128 * size
    elif p.x_dtype == C1X1_INT16:
        p.table += 32768 * size
    p.table_channel = cnp.PyArray_STRIDE(table, 0) if cnp.PyArray_NDIM(table) == 2 else 0
    return table


cdef ndarray set_residual(c1x1_problem *p, Extras extras, ndarray out, const cnp.npy_intp *shape, int ndim,
                          int channel_axis, filters *f):
    cdef ndarray r = as_array(extras.residual, "residual")
    cdef int d, axis = 0
    dtype = np.dtype(cnp.PyArray_TypeObjectFromType(finish_type(p, extras)))
    if not np.can_cast(r.dtype, dtype, "same_kind"):
        raise TypeError(
            f"residual has dtype {r.dtype} but x and w are integers, whose sums are exact in {dtype}: "
            "pass x.astype(np.float32) or an integer residual")
    wanted = tuple([shape[d] for d in range(ndim)])
    if (<object>r).shape != wanted:
        try:
            r = np.broadcast_to(r, wanted)
        except ValueError:
            raise ValueError(
                f"residual has shape {extras.residual.shape if hasattr(extras.residual, 'shape') else np.shape(r)}; "
                f"expected {wanted}, the result's, or one that broadcasts to it") from None
    p.epilogue.residual = <const char *>cnp.PyArray_DATA(r)
    p.epilogue.residual_dtype = dtype_of(cnp.PyArray_TYPE(r))
    p.epilogue.residual_channel = 0 if f.drops_channel_axis else cnp.PyArray_STRIDE(r, channel_axis)
    for d in range(p.dims):
        if axis == channel_axis and not f.drops_channel_axis:
            axis += 1
        p.dim[d].residual_stride = cnp.PyArray_STRIDE(r, axis)
        axis += 1
    return r


# 0: apart. 1: element for element the same. 2: anything else.
cdef int residual_overlap(ndarray residual, ndarray out):
    if not spans_meet(residual, out):
        return 0
    same = (cnp.PyArray_DATA(residual) == cnp.PyArray_DATA(out) and cnp.PyArray_TYPE(residual) == cnp.PyArray_TYPE(out)
            and (<object>residual).strides == (<object>out).strides)
    return 1 if same else 2


cdef ndarray check_out(object out, const cnp.npy_intp *shape, int ndim, int typenum):
    cdef ndarray a
    cdef int d
    if not cnp.PyArray_Check(out):
        raise TypeError(f"out must be a NumPy array, not {type(out).__name__}")
    a = <ndarray>out
    fits = cnp.PyArray_NDIM(a) == ndim
    for d in range(ndim if fits else 0):
        fits = fits and cnp.PyArray_DIM(a, d) == shape[d]
    if fits and cnp.PyArray_TYPE(a) == typenum and cnp.PyArray_ISWRITEABLE(a):
        return a
    dtype = <object>cnp.PyArray_DescrFromType(typenum)
    if not fits:
        wanted = tuple([shape[d] for d in range(ndim)])
        raise ValueError(f"out has shape {out.shape}; expected {wanted}: pass out=np.empty({wanted}, {str(dtype)!r})")
    if not cnp.PyArray_ISWRITEABLE(a):
        raise ValueError("out is read-only: pass a writable array")
    if dtype_of(cnp.PyArray_TYPE(a)) < 0:
        refuse_dtype(a, "out")
    if not np.can_cast(dtype, a.dtype, "same_kind"):
        raise TypeError(
            f"out has dtype {a.dtype}, to which the result's {dtype} does not cast under 'same_kind': "
            f"pass dtype={a.dtype.name!r} to round and saturate, or out of dtype {dtype}")
    return a


# The result's dtype where it is not one that x, or its table, and w share.
cdef object mixed_dtype(ndarray x, ndarray w):
    cdef int a = dtype_of(cnp.PyArray_TYPE(x)), b = dtype_of(cnp.PyArray_TYPE(w))
    if b == C1X1_INT8 and (a == C1X1_UINT8 or a == C1X1_INT8):
        return np.dtype(np.int32)
    if (a == C1X1_INT16 or a == C1X1_UINT16 or a == C1X1_INT32 or a == C1X1_INT64) and w.dtype.kind in "iu":
        return np.dtype(np.int64)
    return np.result_type(x.dtype, w.dtype)


cdef object read_dtype(object dtype, str name="dtype"):
    try:
        result = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{name} {dtype!r} is none that NumPy knows; expected one of {DTYPES}") from None
    if dtype_of(result.num) < 0:
        raise TypeError(f"{name} {result} cannot hold {'a result' if name == 'dtype' else 'an image'}; expected one of {DTYPES}")
    return result.newbyteorder("=")


cdef int compute_of(int dtype) noexcept:
    if dtype == C1X1_FLOAT64:
        return C1X1_COMPUTE_FLOAT64
    if dtype == C1X1_FLOAT32 or dtype == C1X1_FLOAT16:
        return C1X1_COMPUTE_FLOAT32
    return C1X1_COMPUTE_INT64


# The largest magnitude of an integer dtype; infinite for what is not narrow.
cdef double magnitude(object dtype):
    if dtype.kind == "b":
        return 1
    return <double>np.iinfo(dtype).max + 1 if dtype.kind in "iu" else np.inf


# Sums of integers are exact in a float dtype as long as no partial sum outgrows its fraction, and
# the kernels of floats are many times as fast as those of integers.
cdef int exact_compute(ndarray values, ndarray w, size_t c_in, object bias, Extras extras) except -1:
    cdef double largest = <double>c_in * magnitude(values.dtype) * magnitude(w.dtype)
    if extras is not None and (extras.scale is not None or extras.activation != 0):
        return C1X1_COMPUTE_FLOAT64 if largest <= 2.0 ** 53 else C1X1_COMPUTE_INT64
    if bias is not None:
        bias = np.asarray(bias)
        if bias.dtype.kind not in "biu":
            return C1X1_COMPUTE_INT64
        largest += float(np.abs(bias.astype(np.float64)).max(initial=0))
    if extras is not None and extras.residual is not None:
        largest += magnitude(np.asarray(extras.residual).dtype)
    if largest <= 2.0 ** 24:
        return C1X1_COMPUTE_FLOAT32
    return C1X1_COMPUTE_FLOAT64 if largest <= 2.0 ** 53 else C1X1_COMPUTE_INT64


# ---- the call ------------------------------------------------------------------------------------

# A problem as `run` has described it, with all that must live as long as it.
cdef class Prepared:
    cdef c1x1_problem problem
    cdef object keep
    cdef ndarray result


# The one way down for conv, Pointwise and explain. With `machine` (a dict) nothing is computed and
# the plan for such a machine comes back; with a Prepared in its place, that gets the problem.
cdef object run(object x_, ndarray w, object bias_, object layout, object stride, object groups_,
                object out_, object dtype, object threads_, Extras extras, PackedWeights packed,
                object machine):
    cdef c1x1_problem p
    cdef filters f
    cdef int channel_axis, batch_axis, axis, d, ndim, typenum, threads, groups = 1
    cdef cnp.npy_intp shape[64]
    cdef Py_ssize_t steps[64]
    cdef Py_ssize_t channels
    cdef ndarray x = as_array(x_, "x")
    cdef ndarray out = None, target = None, bias = None, residual = None, values = x, table = None
    cdef list keep = None
    cdef Prepared prepared = machine if type(machine) is Prepared else None
    cdef cnp.npy_intp strides[64]
    cdef object result_dtype, natural
    ndim = cnp.PyArray_NDIM(x)
    read_layout(layout, ndim, &channel_axis, &batch_axis)
    if groups_ is not 1:
        groups = parse_groups(groups_)
    channels = cnp.PyArray_DIM(x, channel_axis)
    if not read_filters(&f, w, channels, groups, channel_axis == ndim - 1, ndim, batch_axis >= 0):
        refuse_filters(x, w, layout, channel_axis, batch_axis, groups)
    threads = parse_threads(threads_)
    if stride is not 1:
        parse_stride(stride, steps, ndim, channel_axis, batch_axis)

    # dtypes
    if extras is not None and extras.table is not None:
        values = extras.table
        _epilogue.check_table(values, x.dtype, channels)
    typenum = cnp.PyArray_TYPE(values)
    if dtype is None and typenum == cnp.PyArray_TYPE(w) and (typenum == cnp.NPY_FLOAT or typenum == cnp.NPY_DOUBLE):
        p.compute = C1X1_COMPUTE_FLOAT32 if typenum == cnp.NPY_FLOAT else C1X1_COMPUTE_FLOAT64
        p.out_dtype = dtype_of(typenum)
    else:
        natural = result_dtype = mixed_dtype(values, w)
        if dtype is not None:
            result_dtype = read_dtype(dtype)
        p.out_dtype = dtype_of(result_dtype.num)
        p.compute = compute_of(dtype_of(natural.num))
        if p.compute == C1X1_COMPUTE_INT64:
            p.compute = exact_compute(values, w, f.c_in, bias_, extras)
        if p.compute == C1X1_COMPUTE_FLOAT32 and p.out_dtype == C1X1_FLOAT64:
            p.compute = C1X1_COMPUTE_FLOAT64
        typenum = result_dtype.num
    p.x_dtype = dtype_of(cnp.PyArray_TYPE(x))
    p.table = NULL
    p.nodata.is_given = 0
    memset(&p.epilogue, 0, sizeof(p.epilogue))
    set_weights(&p, w, &f, <size_t>groups)

    # the result's shape, and the pixels
    d = 0
    p.dims = 0
    for axis in range(ndim):
        if axis == channel_axis:
            if not f.drops_channel_axis:
                shape[d] = <cnp.npy_intp>f.c_out
                d += 1
            continue
        shape[d] = cnp.PyArray_DIM(x, axis)
        p.dim[p.dims].x_stride = cnp.PyArray_STRIDE(x, axis)
        p.dim[p.dims].residual_stride = 0
        if stride is not 1 and steps[axis] > 1:
            shape[d] = (shape[d] + steps[axis] - 1) // steps[axis] if shape[d] else 0
            # A single pixel needs no stride; its product might not fit.
            p.dim[p.dims].x_stride = p.dim[p.dims].x_stride * steps[axis] if shape[d] > 1 else 0
        p.dim[p.dims].size = <size_t>shape[d]
        p.dims += 1
        d += 1

    if machine is not None and prepared is None and out_ is None:
        # Only planning: a result of any size needs no memory.
        contiguous(strides, shape, d, cnp.PyArray_DescrFromType(typenum).itemsize)
        p.out = NULL
        set_strides(&p, strides, channel_axis, &f)
    elif out_ is None:
        out = target = <ndarray>cnp.PyArray_EMPTY(d, shape, typenum, 0)
    else:
        out = check_out(out_, shape, d, typenum)
        target = out
        if cnp.PyArray_ISBYTESWAPPED(out):
            target = np.empty((<object>out).shape, out.dtype.newbyteorder("="))
    if bias_ is not None:
        bias = read_vector(bias_, "bias", f.c_out, finish_type(&p, extras))
    if out_ is not None and target is out:
        # Weights and bias are small: a copy of them makes any overlap harmless.
        if spans_meet(out, w):
            w = w.copy()
            set_weights(&p, w, &f, <size_t>groups)
        if bias is not None:
            bias = apart(bias, out)
    if extras is not None:
        keep = set_vectors(&p, extras, f.c_out, out if out_ is not None else None)
        if extras.table is not None:
            table = set_table(&p, extras, x, out if out_ is not None else None)
        if extras.residual is not None:
            residual = set_residual(&p, extras, out, shape, d, channel_axis, &f)
        if extras.nodata is not None:
            found, fill = _epilogue.read_nodata(
                extras.nodata, x.dtype, np.dtype(cnp.PyArray_TypeObjectFromType(
                    cnp.PyArray_TYPE(target))) if target is not None else result_dtype_of(typenum))
            p.nodata.is_given = 1
            memcpy(p.nodata.value, <const char *><bytes>found, len(found))
            memcpy(p.nodata.fill, <const char *><bytes>fill, len(fill))

    p.x = <const char *>cnp.PyArray_DATA(x)
    p.x_channel = cnp.PyArray_STRIDE(x, channel_axis)
    p.bias = NULL if bias is None else <const char *>cnp.PyArray_DATA(bias)
    p.packed = NULL if packed is None else &packed.weights
    p.overlap = C1X1_APART
    if target is not None:
        set_target(&p, target, channel_axis, &f)
    if out_ is not None and target is out and cnp.PyArray_SIZE(out) > 0 and (
            find_overlap(&p) == C1X1_TANGLED
            or (residual is not None and residual_overlap(residual, out) == 2)):
        target = np.empty((<object>out).shape, out.dtype)
        p.overlap = C1X1_APART
        set_target(&p, target, channel_axis, &f)
    if residual is not None and target is out and out_ is not None:
        p.epilogue.residual_is_out = residual_overlap(residual, out)
    if prepared is not None:
        prepared.problem, prepared.result, prepared.keep = p, out, (w, bias, keep, table)
        return None
    if machine is not None:
        overlap = "temporary" if target is not out else "same_pixels" if p.overlap == C1X1_SAME_PIXELS else "apart"
        described = describe_plan(&p, machine, threads)
        described["shape"] = tuple([shape[axis] for axis in range(d)])
        described["dtype"] = (result_dtype_of(typenum) if out is None else out.dtype).name
        described["overlap"], described["products"] = overlap, 1
        return described
    if cnp.PyArray_SIZE(target) > 0:
        execute(&p, threads)
    if target is not out:
        np.copyto(out, target, casting="same_kind")
    return out if out_ is None else out_


cdef object result_dtype_of(int typenum):
    return np.dtype(cnp.PyArray_TypeObjectFromType(typenum))


cdef void contiguous(cnp.npy_intp *strides, const cnp.npy_intp *shape, int ndim, cnp.npy_intp itemsize) noexcept:
    cdef int d
    for d in range(ndim - 1, -1, -1):
        strides[d] = itemsize
        itemsize *= shape[d]


# From here on `out` is known to the core: its pointer, dtype and strides, axis by axis of x.
cdef void set_target(c1x1_problem *p, ndarray target, int channel_axis, filters *f) noexcept:
    p.out = <char *>cnp.PyArray_DATA(target)
    p.out_dtype = dtype_of(cnp.PyArray_TYPE(target))
    set_strides(p, cnp.PyArray_STRIDES(target), channel_axis, f)


cdef void set_strides(c1x1_problem *p, const cnp.npy_intp *strides, int channel_axis, filters *f) noexcept:
    cdef int d, axis = 0
    p.out_channel = 0
    if not f.drops_channel_axis:
        p.out_channel = strides[channel_axis]
    for d in range(p.dims):
        if axis == channel_axis and not f.drops_channel_axis:
            axis += 1
        p.dim[d].out_stride = strides[axis]
        axis += 1


def conv(x, w, bias=None, *, layout=None, stride=1, groups=1, scale=None, residual=None, activation=None,
         lut=None, nodata=None, out=None, dtype=None, precision="highest", reproducible=False, threads=None):
    """1x1 (pointwise) convolution: at every pixel, a sum over channels, one per filter.

    ``y[..., o] = activation(scale[o] * sum_c f(x[..., c]) * w[c, o] + bias[o] + residual[..., o])``,
    where ``f`` is the identity or a look-up table.

    Parameters
    ----------
    x : array_like
        The image, or a batch of them. Any strides; never copied unless its bytes are swapped or
        `out` overlaps it. bool, integers, float16, float32, float64, complex64 or complex128. Where
        it or `w` is complex, `scale` is real, and there is no activation, table or nodata.
    w : array_like
        The filters. Channels last: ``(C_in, C_out)``, also with window axes ``(1, 1, C_in, C_out)``
        as in Keras. Channels first: ``(C_out, C_in)``, also ``(C_out, C_in, 1, 1)`` as in PyTorch
        and ONNX. With `groups`, ``C_in / groups`` stands in the place of ``C_in``. One filter may
        have the image's own shape, ``(1, 1, C_in)`` or ``(C_in, 1, 1)``; a 1-D ``(C_in,)`` is one
        filter whose result has no channel axis.
    bias : array_like, optional
        ``(C_out,)`` or a scalar, added to the (scaled) sums.
    layout : str, optional
        One letter per axis of `x`, ``C`` the channels and ``N`` the batch, for instance ``"NCHW"``.
        None means channels last: HWC, NHWC, NDHWC.
    stride : int or sequence of int, optional
        Takes pixels 0, s, 2s, ... of every spatial axis, without a copy. There is no padding: pad
        the result instead, with `bias` as the value (a padded pixel's sum is zero).
    groups : int, optional
        Group g of the input channels meets only group g of the filters.
    scale : array_like, optional
        ``(C_out,)`` or a scalar by which the sums are multiplied before `bias` is added. Sums of
        integers are scaled in float64, and then rounded to the result's dtype.
    residual : array_like, optional
        Broadcasts to the result and is added to it before the activation. ``residual=out``
        accumulates in place.
    activation : str or tuple, optional
        "relu", "relu6", "sigmoid", "tanh", "silu", "hardswish", "hardsigmoid", "gelu" (by erf),
        "gelu_tanh", "elu"; or with parameters ("leaky_relu", slope), ("elu", alpha),
        ("clip", lo, hi), ("prelu", slopes). Applied last, before the result is written.
    lut : array_like, optional
        For `x` of 8 or 16 bits: what stands in the place of each of its values, ``(256,)`` or
        ``(65536,)``, or one row per channel of `x`. A signed value counts from its dtype's minimum.
    nodata : scalar, optional
        A pixel of which any channel equals it (NaN: is NaN) results in `nodata` in every output
        channel, or in NaN where the result's dtype cannot hold it.
    out : ndarray, optional
        Receives the result, in any strides and any dtype that the result casts to under
        ``same_kind``. May overlap the operands.
    dtype : dtype_like, optional
        Of the result. Default ``np.result_type(x, w)``; int8 filters give int32, wider integers
        int64, both exact. Integer results saturate and round half to even. float64 makes the sums
        float64 too.
    threads : int, optional
        At most that many. None: as many as the work deserves and the process may use.

    Returns
    -------
    ndarray
        In `x`'s layout, C-contiguous unless `out` is given.

    Raises
    ------
    ValueError
        Shapes, layout, stride or groups that do not fit; an `out` that overlaps itself.
    TypeError
        A dtype or an argument of a kind that is not supported.
    MemoryError
        No memory for the result or the workspace; nothing was written.

    Examples
    --------
    How 28x28x192 shrinks to 28x28x1: the filter holds one number per channel.

    >>> import numpy as np, c1x1
    >>> x = np.ones((28, 28, 192), np.float32)
    >>> w = np.full((1, 1, 192), 0.5, np.float32)
    >>> c1x1.conv(x, w).shape
    (28, 28, 1)
    >>> float(c1x1.conv(x, w)[0, 0, 0])
    96.0
    """
    if precision is not HIGHEST or reproducible is not False:
        check_promises(precision, reproducible)
    try:
        return run(x, as_array(w, "w"), bias, layout, stride, groups, out, dtype, threads,
                   read_extras(scale, residual, activation, lut, nodata), None, None)
    except ComplexOperand:
        x, w = np.asarray(x), np.asarray(w)
        if x.dtype.kind != "c" and w.dtype.kind != "c":
            raise
        refuse_for_complex(activation, lut, nodata)
        return run_complex(x, w, bias, layout, stride, groups, scale, residual, out, dtype, threads, {}, None)


cdef int refuse_for_complex(object activation, object lut, object nodata) except -1:
    for name, given in (("activation", activation), ("lut", lut), ("nodata", nodata)):
        if given is not None:
            raise TypeError(f"{name} is for real x and w, not for complex ones")
    return 0


# `packed` holds those parts of w that are packed already, by the names of _complex.parts. With `machine`
# the plan of the last real product comes back, and nothing is computed.
cdef object run_complex(object x, object w, object bias, object layout, object stride, object groups,
                        object scale, object residual, object out, object dtype, object threads, dict packed,
                        object machine):
    for name, operand in (("x", x), ("w", w)):
        if operand.dtype.kind != "c":
            as_array(operand, name)
    result = _complex.result_dtype(x, w, dtype)
    inner = np.dtype(np.float64 if result == np.complex128 else np.float32)
    shape = shape_of(x.real, w.real, layout, stride, groups)
    if out is not None:
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out must be a NumPy array, not {type(out).__name__}")
        if out.shape != shape:
            raise ValueError(f"out has shape {out.shape}; expected {shape}: pass out=np.empty({shape}, {str(result)!r})")
        if not np.can_cast(result, out.dtype, "same_kind"):
            raise TypeError(f"out has dtype {out.dtype}, to which the result's {result} does not cast under 'same_kind'")
        if not out.flags.writeable:
            raise ValueError("out is read-only: pass a writable array")
    is_own = out is not None and out.dtype == result and out.dtype.isnative and not any(
        [np.may_share_memory(out, a) for a in (x, w, bias, scale, residual) if isinstance(a, np.ndarray)])
    target = out if is_own else np.empty(shape, result)

    parts = _complex.parts(w)
    if machine is not None:
        products = 2 if x.dtype.kind == w.dtype.kind else 1  # of each part of the result
        described = run(x.real, parts["real"], _complex.part(bias, "real"), layout, stride, groups, target.real,
                        inner, threads, read_extras(
                            scale, target.real if products == 2 else _complex.part(residual, "real"),
                            None, None, None), None, machine)
        return described | {"dtype": target.dtype.name if out is None else out.dtype.name,
                            "products": 2 * products,
                            "overlap": "apart" if is_own or out is None else "temporary"}

    def real(a, which, c, added, to):
        run(a, parts[which], c, layout, stride, groups, to, inner, threads,
            read_extras(scale, added, None, None, None), packed.get(which), None)

    _complex.conv(real, x, parts, bias, scale, residual, target)
    if out is not None and target is not out:
        np.copyto(out, target, casting="same_kind")
        target = out
    return target


cdef tuple shape_of(object x, object w, object layout, object stride, object groups):
    """The shape of a result, before it exists."""
    if x.size == 0 or w.size == 0:
        return conv(x, w, layout=layout, stride=stride, groups=groups).shape
    return plan(x, w, layout=layout, stride=stride, groups=groups)["shape"]


def plan(x, w, bias=None, *, layout=None, stride=1, groups=1, scale=None, residual=None, activation=None,
         lut=None, nodata=None, out=None, dtype=None, precision="highest", reproducible=False, threads=None,
         machine=None):
    """The plan of the same call to `conv`, as a dict; nothing is computed.

    `machine` overrides ``isa``, ``l1_bytes``, ``l2_bytes`` and ``threads``. The plan is a pure
    function of shapes, strides, dtypes and machine.
    """
    check_promises(precision, reproducible)
    machine = {} if machine is None else machine
    try:
        described = run(x, as_array(w, "w"), bias, layout, stride, groups, out, dtype, threads,
                        read_extras(scale, residual, activation, lut, nodata), None, machine)
    except ComplexOperand:
        x, w = np.asarray(x), np.asarray(w)
        if x.dtype.kind != "c" and w.dtype.kind != "c":
            raise
        refuse_for_complex(activation, lut, nodata)
        described = run_complex(x, w, bias, layout, stride, groups, scale, residual, out, dtype, threads, {},
                                machine)
    described["precision"] = HIGHEST
    return described


# ---- for what is built on conv -------------------------------------------------------------------

def read_array(value, str name):
    """`value` as conv sees an operand: an ndarray without a copy where there is one, or conv's error."""
    return as_array(value, name)


def read_operands(x_, w_, layout, stride, groups_):
    """What conv would read in these arguments, or its errors.

    Returns x and w as arrays, the axis of x's channels, the step along each axis of x, the groups,
    and the axes of w for the input and the output channels (None: one filter without that axis).
    """
    cdef filters f
    cdef int channel_axis, batch_axis, axis, groups
    cdef Py_ssize_t steps[64]
    cdef ndarray x = as_array(x_, "x"), w = as_array(w_, "w")
    cdef int ndim = cnp.PyArray_NDIM(x)
    read_layout(layout, ndim, &channel_axis, &batch_axis)
    groups = parse_groups(groups_)
    if not read_filters(&f, w, cnp.PyArray_DIM(x, channel_axis), groups, channel_axis == ndim - 1,
                        ndim, batch_axis >= 0):
        refuse_filters(x, w, layout, channel_axis, batch_axis, groups)
    parse_stride(stride, steps, ndim, channel_axis, batch_axis)
    return (x, w, channel_axis, tuple([steps[axis] for axis in range(ndim)]), groups, f.in_axis,
            None if f.out_axis < 0 else f.out_axis)


include "_chain.pxi"
