# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""Which axis is what: layout letters, strides, groups, and the shapes that filters come in."""

cimport numpy as cnp
from cpython.unicode cimport PyUnicode_READ_CHAR
from libc.string cimport memset
from numpy cimport ndarray

import operator

from c1x1._core cimport *
from c1x1._operands cimport as_array, compute_of, fits_int16

cnp.import_array()

cdef extern from *:
    """
    #define c1x1_unicode_length(s) PyUnicode_GET_LENGTH(s)
    """
    Py_ssize_t c1x1_unicode_length(object s)


# ---- the image -----------------------------------------------------------------------------------

cdef object refuse_layout(object layout, int ndim):
    if not isinstance(layout, str):
        raise TypeError(f"layout must be a str such as 'HWC' or None, not {type(layout).__name__}")
    if layout.count("C") != 1:
        raise ValueError(f"layout {layout!r} must name the channels axis 'C' exactly once, as in 'HWC' or 'NCHW'")
    if any(not ("A" <= letter <= "Z") for letter in layout) or len(set(layout)) != len(layout):
        raise ValueError(f"layout {layout!r} must give each axis a capital letter of its own, as in 'NHWC'")
    is_last = layout.endswith("C")
    better = ({1: "C", 2: "WC", 3: "HWC", 4: "NHWC", 5: "NDHWC"} if is_last else
              {2: "CW", 3: "CHW", 4: "NCHW", 5: "NCDHW"})
    raise ValueError(
        f"layout {layout!r} names {len(layout)} {'axis' if len(layout) == 1 else 'axes'} but x has {ndim}"
        + (f": for channels {'last' if is_last else 'first'} pass layout={better[ndim]!r}" if ndim in better else "")
    )


cdef bint layout_is_channels_last(object layout) except -1:
    if layout is None:
        return True
    if not isinstance(layout, str) or layout.count("C") != 1:
        refuse_layout(layout, 0)
    return layout.endswith("C")


cdef int read_layout(geometry *g, object layout, int ndim) except -1:
    cdef int axis, count = 0
    cdef unsigned int seen = 0
    cdef int letter
    g.ndim, g.batch_axis, g.is_strided = ndim, -1, False
    if ndim == 0:
        raise ValueError("x has no axes; expected at least the channels, as in shape (C,) or (H, W, C)")
    if layout is None:
        g.channel_axis = ndim - 1
        if ndim >= 4:
            g.batch_axis = 0
        return 0
    if not isinstance(layout, str) or c1x1_unicode_length(layout) != ndim:
        refuse_layout(layout, ndim)
    for axis in range(ndim):
        letter = <int>PyUnicode_READ_CHAR(layout, axis)
        if letter < c"A" or letter > c"Z" or seen >> (letter - c"A") & 1:
            refuse_layout(layout, ndim)
        seen |= 1u << (letter - c"A")
        if letter == c"C":
            g.channel_axis = axis
            count += 1
        elif letter == c"N":
            g.batch_axis = axis
    if count != 1:
        refuse_layout(layout, ndim)
    return 0


cdef int read_stride(geometry *g, object stride) except -1:
    cdef int axis, at = 0, spatial = g.ndim - 1 - (g.batch_axis >= 0)
    g.is_strided = True
    for axis in range(g.ndim):
        g.step[axis] = 1
    if stride is None:
        raise TypeError("stride must be an int or one int per spatial axis, not None")
    try:
        values = [operator.index(stride)] * spatial
    except TypeError:
        try:
            if not isinstance(stride, (list, tuple, ndarray)):
                raise TypeError  # of bytes and dicts too, though they hold ints
            values = [operator.index(s) for s in stride]
        except TypeError:
            raise TypeError(
                f"stride must be an int or one int per spatial axis, not {stride!r}") from None
    if len(values) != spatial:
        raise ValueError(f"stride {stride!r} has {len(values)} values but x has {spatial} spatial axes")
    for axis in range(g.ndim):
        if axis != g.channel_axis and axis != g.batch_axis:
            if values[at] < 1:
                raise ValueError(f"stride must be at least 1, not {stride!r}")
            g.step[axis] = min(values[at], 0x7fffffffffffffff)  # no axis is longer
            at += 1
    return 0


# ---- filters -------------------------------------------------------------------------------------

cdef int parse_groups(object groups) except -1:
    try:
        n = operator.index(groups)
    except TypeError:
        raise TypeError(f"groups must be an int, not {type(groups).__name__}") from None
    if n < 1:
        raise ValueError(f"groups must be at least 1, not {groups}")
    if n > 0x7fffffff:
        raise ValueError(f"groups must be at most {0x7fffffff}, not {groups}")
    return <int><Py_ssize_t>n


cdef bint ones(const cnp.npy_intp *shape, int start, int stop) noexcept:
    cdef int i
    for i in range(start, stop):
        if shape[i] != 1:
            return False
    return True


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


def channel_counts(ndarray w, layout, int groups):
    """The channels in and out, of all groups, in each way that some image reads w: a matrix, or one filter
    in the image's own shape. ValueError where there is none."""
    cdef filters f
    cdef int d = cnp.PyArray_NDIM(w)
    cdef const cnp.npy_intp *shape = <const cnp.npy_intp *>cnp.PyArray_DIMS(w)
    cdef bint is_last = layout_is_channels_last(layout)
    found = []
    if read_filters(&f, w, -1, groups, is_last, 0, False):
        found.append((f.c_in * groups, f.c_out))
    if groups == 1 and d >= 2 and (ones(shape, 0, d - 1) if is_last else ones(shape, 1, d)):
        found.append(((<object>w).size, 1))
    if found:
        return found
    text = f"w of shape {(<object>w).shape} holds no 1x1 filters"
    if d == 1:
        raise ValueError(text + f" of {groups} groups: it is one filter")
    if not (ones(shape, 0, d - 2) if is_last else ones(shape, 2, d)):
        raise ValueError(text + ": a window larger than 1x1 is not a pointwise convolution")
    raise ValueError(text + f" of {groups} groups: {shape[d - 1] if is_last else shape[0]} output channels do not "
                     f"divide into {groups} groups")


cdef object refuse_filters(geometry *g, object x, object w, object layout, Py_ssize_t groups):
    """Says what w was, what x needs, and which one edit would make them fit."""
    cdef filters f
    cdef int axis, ndim = g.ndim, channel_axis = g.channel_axis, batch_axis = g.batch_axis
    cdef bint is_last = channel_axis == ndim - 1, has_batch = batch_axis >= 0
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
        orders = {3: "(2, 1, 0)", 4: "(2, 3, 1, 0)" if is_last else "(3, 2, 0, 1)"}
        if w.ndim in orders:
            raise ValueError(text + f"; pass w.transpose{orders[w.ndim]}")
    if w.ndim > 2 and sum(size > 1 for size in w.shape) > 2:
        raise ValueError(text + "; a window larger than 1x1 is not a pointwise convolution")
    raise ValueError(text)


cdef int fit_filters(geometry *g, ndarray x, ndarray w, object layout, int groups) except -1:
    if not read_filters(&g.w, w, cnp.PyArray_DIM(x, g.channel_axis), groups,
                        g.channel_axis == g.ndim - 1, g.ndim, g.batch_axis >= 0):
        refuse_filters(g, x, w, layout, groups)
    return 0


cdef void set_weights(c1x1_problem *p, ndarray w, filters *f, size_t groups) noexcept:
    p.w = <const char *>cnp.PyArray_DATA(w)
    p.w_dtype = dtype_of(cnp.PyArray_TYPE(w))
    p.w_in = cnp.PyArray_STRIDE(w, <int>f.in_axis)
    p.w_out = cnp.PyArray_STRIDE(w, <int>f.out_axis) if f.out_axis >= 0 else 0
    p.groups = groups
    p.c_in, p.c_out = f.c_in, f.c_out // groups


cdef PackedWeights pack_filters(ndarray w, filters *f, Py_ssize_t groups, int typenum, bint is_last,
                                int promises):
    """Packs for products of that type; None where the kernels take w as it is."""
    cdef c1x1_problem p
    memset(&p, 0, sizeof(p))
    if typenum == cnp.NPY_DOUBLE:
        p.compute = C1X1_COMPUTE_FLOAT64
    elif compute_of(dtype_of(typenum)) == C1X1_COMPUTE_FLOAT32:
        p.compute = C1X1_COMPUTE_FLOAT32
    elif fits_int16(w) and (dtype_of(typenum) == C1X1_INT8 or dtype_of(typenum) == C1X1_UINT8
                            or dtype_of(typenum) == C1X1_INT16):
        p.compute = C1X1_COMPUTE_INT32
    else:
        return None
    set_weights(&p, w, f, <size_t>groups)
    p.x = p.out = <char *>p.w
    p.x_dtype = p.out_dtype = p.w_dtype
    p.x_channel = p.out_channel = cnp.PyArray_ITEMSIZE(w)
    p.dims = 0
    p.precision, p.is_reproducible = promises & 3, promises & ~3
    return pack(&p, not is_last)


# ---- pixels --------------------------------------------------------------------------------------

cdef void set_pixels(c1x1_problem *p, geometry *g, ndarray x) noexcept:
    cdef int axis, d = 0
    cdef c1x1_dim *dim
    cdef cnp.npy_intp size
    p.dims = 0
    for axis in range(g.ndim):
        if axis == g.channel_axis:
            if not g.w.drops_channel_axis:
                g.shape[d] = <cnp.npy_intp>g.w.c_out
                d += 1
            continue
        dim = &p.dim[p.dims]
        size = cnp.PyArray_DIM(x, axis)
        dim.x_stride = cnp.PyArray_STRIDE(x, axis)
        dim.residual_stride = 0
        if g.is_strided and g.step[axis] > 1:
            size = (size - 1) // g.step[axis] + 1 if size else 0
            # A single pixel needs no stride; its product might not fit.
            dim.x_stride = dim.x_stride * g.step[axis] if size > 1 else 0
        dim.size = <size_t>size
        g.shape[d] = size
        p.dims += 1
        d += 1
    g.out_ndim = d


cdef void set_strides(c1x1_problem *p, geometry *g, const cnp.npy_intp *strides) noexcept:
    cdef int d, axis = 0
    p.out_channel = 0
    if not g.w.drops_channel_axis:
        p.out_channel = strides[g.channel_axis]
    for d in range(p.dims):
        if axis == g.channel_axis and not g.w.drops_channel_axis:
            axis += 1
        p.dim[d].out_stride = strides[axis]
        axis += 1


def read_operands(x_, w_, layout, stride, groups_):
    """What conv would read in these arguments, or its errors.

    Returns x and w as arrays, the axis of x's channels, the step along each axis of x, the groups,
    and the axes of w for the input and the output channels (None: one filter without that axis).
    """
    cdef geometry g
    cdef int axis, groups
    cdef ndarray x = as_array(x_, "x"), w = as_array(w_, "w")
    read_layout(&g, layout, cnp.PyArray_NDIM(x))
    groups = parse_groups(groups_)
    fit_filters(&g, x, w, layout, groups)
    read_stride(&g, stride)
    return (x, w, g.channel_axis, tuple([g.step[axis] for axis in range(g.ndim)]), groups,
            g.w.in_axis, None if g.w.out_axis < 0 else g.w.out_axis)
