# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""The calls: `conv`, the plan of a call, and the run of either, step by step.

In Cython because a small call costs less than a microsecond; the pixels are not touched here.
"""

cimport numpy as cnp
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from numpy cimport ndarray

import operator

import numpy as np

from c1x1 import _epilogue
from c1x1._core cimport *
from c1x1._layout cimport (fit_filters, geometry, layout_is_channels_last, parse_groups, read_layout,
                           read_stride, set_pixels, set_strides, set_weights)
from c1x1._operands cimport (as_array, compute_of, dtype_of_type, exact_compute, mixed_dtype,
                             read_dtype)
from c1x1._operands import ComplexOperand
from c1x1._results cimport (Extras, apart, as_target, check_out, finish_type, read_extras,
                            read_vector, residual_overlap, set_nodata, set_residual, set_table,
                            set_target, set_vectors, shape_of)

cnp.import_array()

cdef object HIGHEST = "highest"
cdef enum:
    REPRODUCIBLE = 4
cdef ndarray FLOATS = np.empty(0, np.float32)  # in the place of bfloat16 where NumPy has none


# ---- the smaller arguments -----------------------------------------------------------------------

cdef tuple PRECISIONS = ("highest", "high", "medium")


# Both in one number, which is 0 for the defaults. Only a matrix unit makes a difference of them.
cdef int read_promises(object precision, object reproducible) except -1:
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be 'highest', 'high' or 'medium', not {precision!r}")
    if type(reproducible) is not bool and not isinstance(reproducible, np.bool_):
        raise TypeError(f"reproducible must be True or False, not {reproducible!r}")
    return PRECISIONS.index(precision) + (REPRODUCIBLE if reproducible else 0)


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


# ---- the run -------------------------------------------------------------------------------------

# The type number of the result; sets the dtypes that are computed in and given back. `values` are
# those of x, or of its table.
cdef int settle_dtypes(c1x1_problem *p, ndarray values, ndarray w, object bias, object dtype,
                       Extras extras, object out) except -1:
    cdef int typenum = cnp.PyArray_TYPE(values)
    if dtype is None and typenum == cnp.PyArray_TYPE(w) and (typenum == cnp.NPY_FLOAT or typenum == cnp.NPY_DOUBLE):
        p.compute = C1X1_COMPUTE_FLOAT32 if typenum == cnp.NPY_FLOAT else C1X1_COMPUTE_FLOAT64
        p.out_dtype = dtype_of(typenum)
        return typenum
    natural = result_dtype = mixed_dtype(values, w)
    if dtype is not None:
        result_dtype = read_dtype(dtype)
    p.out_dtype = dtype_of(result_dtype.num)
    p.compute = compute_of(dtype_of(natural.num))
    if p.compute == C1X1_COMPUTE_INT64:
        p.compute = exact_compute(
            values, w, p.c_in, bias, None if extras is None else extras.residual,
            extras is not None and (extras.scale is not None or extras.activation != 0),
            extras is not None and extras.table is not None,
            out.dtype if isinstance(out, np.ndarray) else result_dtype)
    if p.compute == C1X1_COMPUTE_FLOAT32 and p.out_dtype == C1X1_FLOAT64:
        p.compute = C1X1_COMPUTE_FLOAT64
    return result_dtype.num


cdef void contiguous(cnp.npy_intp *strides, const geometry *g, cnp.npy_intp itemsize) noexcept:
    cdef int d
    for d in range(g.out_ndim - 1, -1, -1):
        strides[d] = itemsize
        itemsize *= g.shape[d]


# The one way down for conv, Pointwise and explain. With `machine` (a dict) nothing is computed and
# the plan for such a machine comes back; with a Prepared in its place, that gets the problem. `bits`
# tells what uint16 stands for bfloat16: 1 the pixels, 2 the results.
cdef object run(object x_, ndarray w, object bias_, object layout, object stride, object groups_,
                object out_, object dtype, object threads_, Extras extras, PackedWeights packed,
                object machine, int promises, int bits=0):
    cdef c1x1_problem p
    cdef geometry g
    cdef int typenum, threads, groups = 1
    cdef ndarray x = as_array(x_, "x")
    cdef ndarray out = None, target = None, bias = None, residual = None, table = None
    cdef list keep = None
    cdef Prepared prepared = machine if type(machine) is Prepared else None
    cdef cnp.npy_intp strides[64]
    read_layout(&g, layout, cnp.PyArray_NDIM(x))
    if groups_ is not 1:
        groups = parse_groups(groups_)
    fit_filters(&g, x, w, layout, groups)
    threads = 0 if threads_ is None else parse_threads(threads_)
    if stride is not 1:
        read_stride(&g, stride)
    set_weights(&p, w, &g.w, <size_t>groups)
    p.x_dtype = dtype_of(cnp.PyArray_TYPE(x))
    p.table = NULL
    p.nodata.is_given = 0
    memset(&p.epilogue, 0, sizeof(p.epilogue))
    if extras is not None and extras.table is not None:
        table = extras.table
        _epilogue.check_table(table, x.dtype, cnp.PyArray_DIM(x, g.channel_axis))
    if bits & 1:
        p.x_dtype = C1X1_BFLOAT16
    typenum = settle_dtypes(&p, FLOATS if bits & 1 else x if table is None else table, w, bias_, dtype,
                            extras, out_)
    set_pixels(&p, &g, x)

    if machine is not None and prepared is None and out_ is None:
        # Only planning: a result of any size needs no memory.
        contiguous(strides, &g, cnp.PyArray_DescrFromType(typenum).itemsize)
        p.out = NULL
        set_strides(&p, &g, strides)
    elif out_ is None:
        out = target = <ndarray>cnp.PyArray_EMPTY(g.out_ndim, g.shape, typenum, 0)
    else:
        out = check_out(out_, &g, typenum)
        target = as_target(out, typenum)
    if bias_ is not None:
        bias = read_vector(bias_, "bias", g.w.c_out, finish_type(&p, extras))
    if out_ is not None and target is out:
        # Weights and bias are small: a copy of them makes any overlap harmless.
        if spans_meet(out, w):
            w = w.copy()
            set_weights(&p, w, &g.w, <size_t>groups)
        if bias is not None:
            bias = apart(bias, out)
    if extras is not None:
        keep = set_vectors(&p, extras, g.w.c_out, out if out_ is not None else None)
        if table is not None:
            table = set_table(&p, extras, x, out if out_ is not None else None)
        if extras.residual is not None:
            residual = set_residual(&p, extras, &g)
        if extras.nodata is not None:
            set_nodata(&p, extras.nodata, x, typenum if target is None else cnp.PyArray_TYPE(target))

    p.x = <const char *>cnp.PyArray_DATA(x)
    p.x_channel = cnp.PyArray_STRIDE(x, g.channel_axis)
    p.bias = NULL if bias is None else <const char *>cnp.PyArray_DATA(bias)
    p.precision, p.is_reproducible = promises & 3, promises & REPRODUCIBLE
    p.packed = NULL if packed is None else &packed.weights
    p.overlap = C1X1_APART
    if target is not None:
        set_target(&p, &g, target)
    if bits & 2:
        p.out_dtype = C1X1_BFLOAT16
    if out_ is not None and target is out and cnp.PyArray_SIZE(out) > 0 and (
            find_overlap(&p) == C1X1_TANGLED
            or (residual is not None and residual_overlap(residual, out) == 2)):
        target = np.empty((<object>out).shape, out.dtype)
        p.overlap = C1X1_APART
        set_target(&p, &g, target)
        if bits & 2:
            p.out_dtype = C1X1_BFLOAT16
    if residual is not None and target is out and out_ is not None:
        p.epilogue.residual_is_out = residual_overlap(residual, out)
    if prepared is not None:
        prepared.problem, prepared.result, prepared.keep = p, out, (w, bias, keep, table)
        return None
    if machine is not None:
        overlap = "temporary" if target is not out else "same_pixels" if p.overlap == C1X1_SAME_PIXELS else "apart"
        described = describe_plan(&p, machine, threads)
        described["shape"] = shape_of(&g)
        described["dtype"] = (dtype_of_type(typenum) if out is None else out.dtype).name
        described["overlap"], described["products"], described["convolutions"] = overlap, 1, 1
        return described
    if cnp.PyArray_SIZE(target) > 0:
        execute(&p, threads)
    if target is not out:
        np.copyto(out, target, casting="same_kind")
    return out if out_ is None else out_


cdef object run_complex(object x, object w, object bias, object layout, object stride, object groups,
                        object scale, object residual, object activation, object lut, object nodata,
                        object out, object dtype, object threads, object parts, dict packed, object machine, int promises):
    from c1x1 import _complex
    _complex.refuse(activation=activation, lut=lut, nodata=nodata)

    def real(a, b, which, bias=None, scale=None, residual=None, out=None, dtype=None, machine=None):
        return run(a, b, bias, layout, stride, groups, out, dtype, threads,
                   read_extras(scale, residual, None, None, None), packed.get(which), machine, promises)

    return _complex.convolve(real, x, w, bias, scale, residual, out, dtype, machine, layout_is_channels_last(layout),
                             groups, parts)


cdef object run_any(object x, object w, object bias, object layout, object stride, object groups,
                    object scale, object residual, object activation, object lut, object nodata,
                    object out, object dtype, object threads, object machine, int promises):
    try:
        return run(x, as_array(w, "w"), bias, layout, stride, groups, out, dtype, threads,
                   read_extras(scale, residual, activation, lut, nodata), None, machine, promises)
    except ComplexOperand:
        if np.asarray(x).dtype.kind != "c" and np.asarray(w).dtype.kind != "c":
            raise
    return run_complex(x, w, bias, layout, stride, groups, scale, residual, activation, lut, nodata, out, dtype,
                       threads, None, {}, machine, promises)


# ---- the calls -----------------------------------------------------------------------------------

def conv(x, w, bias=None, *, layout=None, stride=1, groups=1, scale=None, residual=None, activation=None,
         lut=None, nodata=None, out=None, dtype=None, precision="highest", reproducible=False, threads=None):
    """1x1 (pointwise) convolution: at every pixel, a sum over channels, one per filter.

    ``y[..., o] = activation(scale[o] * sum_c f(x[..., c]) * w[c, o] + bias[o] + residual[..., o])``,
    where ``f`` is the identity or a look-up table. It is what a convolution with a window of one
    pixel computes [1]_, and what ``np.tensordot(x, w, axes=1)`` does for channels last.

    Parameters
    ----------
    x : array_like
        The image, or a batch of them. Any strides; never copied unless its bytes are swapped or
        `out` overlaps it. bool, integers, float16, bfloat16 (of ml_dtypes), float32, float64,
        complex64 or complex128. Where
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
        ("clip", lo, hi) where None is no bound, ("prelu", slopes). Applied last, before the result is written.
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
        Of the result. Default ``np.result_type(x, w)``, but int32 for int8 filters on uint8 and int8,
        and int64 for integer filters on int16, uint16, int32 and int64; these are exact. Sums of all integers
        are: ``dtype=np.int64`` keeps them where the default does not hold them, as for int16 filters on uint8.
        Integer results saturate and round half to even; uint64 of unsigned operands is modulo 2^64, as
        NumPy's, and sums in float64 where anything else is made of it. float64 makes the sums of floats
        float64 too.
    precision : {"highest", "high", "medium"}, optional
        Of float32 sums. "highest": at least as accurate as one fused multiply-add after the other.
        "high": to about 1e-5 relative. "medium": operands rounded to bfloat16, sums in float32. The
        lower settings allow what is faster; where nothing is, they give what "highest" gives.
    reproducible : bool, optional
        True: each bit of the result depends on its own pixel, `w`, what follows the sums, the dtypes
        and the numbers of channels, and on nothing else: not on threads, batch, layout, strides or
        the CPU. False promises the same but for CPUs with a matrix unit or without FMA.
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

    See Also
    --------
    Pointwise : the same with weights that are packed once.
    Chain : several layers on one block of pixels after the other.
    explain : what such a call computes, and how.

    References
    ----------
    .. [1] M. Lin, Q. Chen, S. Yan, "Network In Network", 2013, arXiv:1312.4400.

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

    Channels first, with weights as PyTorch has them, and an activation:

    >>> batch = -np.ones((2, 3, 8, 8), np.float32)
    >>> c1x1.conv(batch, np.ones((5, 3, 1, 1), np.float32), 1.0, layout="NCHW", activation="relu").max()
    np.float32(0.0)

    Bytes in, bytes out: grey, rounded and saturated.

    >>> c1x1.conv(np.full((1, 2, 3), 200, np.uint8), [[0.25], [0.5], [0.25]], dtype=np.uint8)
    array([[[200],
            [200]]], dtype=uint8)
    """
    cdef int promises = 0
    if precision is not HIGHEST or reproducible is not False:
        promises = read_promises(precision, reproducible)
    return run_any(x, w, bias, layout, stride, groups, scale, residual, activation, lut, nodata, out, dtype,
                   threads, None, promises)


def plan(x, w, bias=None, *, layout=None, stride=1, groups=1, scale=None, residual=None, activation=None,
         lut=None, nodata=None, out=None, dtype=None, precision="highest", reproducible=False, threads=None,
         machine=None):
    """The plan of the same call to `conv`, as a dict; nothing is computed.

    `machine` overrides ``isa``, ``l1_bytes``, ``l2_bytes`` and ``threads``. The plan is a pure
    function of shapes, strides, dtypes, where in a cache line x begins, and machine.
    """
    described = run_any(x, w, bias, layout, stride, groups, scale, residual, activation, lut, nodata, out, dtype,
                        threads, {} if machine is None else machine, read_promises(precision, reproducible))
    described["precision"] = precision if described["unit"] else HIGHEST
    return described


include "_chain.pxi"
