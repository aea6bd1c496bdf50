# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""What becomes of the sums, and where the results go: scale, bias, residual, activation, table, nodata
and `out`."""

cimport numpy as cnp
from libc.string cimport memcpy
from numpy cimport ndarray

import numpy as np

from c1x1 import _epilogue
from c1x1._core cimport *
from c1x1._layout cimport geometry, set_strides
from c1x1._operands cimport as_array, dtype_of_type, refuse_dtype, type_of_compute

cnp.import_array()


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


cdef tuple shape_of(const geometry *g):
    cdef int d
    return tuple([g.shape[d] for d in range(g.out_ndim)])


cdef bint has_shape_of(const geometry *g, ndarray a) noexcept:
    cdef int d
    if cnp.PyArray_NDIM(a) != g.out_ndim:
        return False
    for d in range(g.out_ndim):
        if cnp.PyArray_DIM(a, d) != g.shape[d]:
            return False
    return True


# ---- what follows the sums -----------------------------------------------------------------------

cdef ndarray read_vector(object given, str name, size_t c_out, int typenum):
    """Contiguous, of the dtype the epilogue is done in, one value per output channel."""
    cdef cnp.npy_intp length = <cnp.npy_intp>c_out
    cdef ndarray made
    if type(given) is float and (typenum == cnp.NPY_FLOAT or typenum == cnp.NPY_DOUBLE):
        made = <ndarray>cnp.PyArray_EMPTY(1, &length, typenum, 0)
        cnp.PyArray_FillWithScalar(made, given)
        return made
    cdef ndarray b = as_array(given, name)
    if cnp.PyArray_NDIM(b) == 1 and <size_t>cnp.PyArray_DIM(b, 0) == c_out:
        if cnp.PyArray_TYPE(b) == typenum and cnp.PyArray_ISCARRAY_RO(b):
            return b
    elif cnp.PyArray_NDIM(b) != 0:
        raise ValueError(f"{name} has shape {(<object>b).shape}; expected ({c_out},), one value per output channel, or a scalar")
    compute = np.dtype(cnp.PyArray_TypeObjectFromType(typenum))
    if cnp.PyArray_TYPE(b) != typenum and not np.can_cast(b.dtype, compute, "same_kind"):
        raise TypeError(
            f"{name} has dtype {b.dtype} but x and w are integers, whose sums are exact in {compute}: "
            f"pass x.astype(np.float32) or an integer {name}")
    made = <ndarray>cnp.PyArray_EMPTY(1, &length, typenum, 0)
    made[...] = b
    return made


cdef int finish_type(c1x1_problem *p, Extras extras) noexcept:
    if extras is not None and (p.compute == C1X1_COMPUTE_INT64 or p.compute == C1X1_COMPUTE_INT32):
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


cdef ndarray set_residual(c1x1_problem *p, Extras extras, geometry *g):
    cdef ndarray r = as_array(extras.residual, "residual")
    cdef int d, axis = 0, typenum = finish_type(p, extras)
    if cnp.PyArray_TYPE(r) != typenum and not np.can_cast(r.dtype, dtype_of_type(typenum), "same_kind"):
        raise TypeError(
            f"residual has dtype {r.dtype} but x and w are integers, whose sums are exact in {dtype_of_type(typenum)}: "
            "pass x.astype(np.float32) or an integer residual")
    if not has_shape_of(g, r):
        wanted = shape_of(g)
        try:
            r = np.broadcast_to(r, wanted)
        except ValueError:
            raise ValueError(
                f"residual has shape {extras.residual.shape if hasattr(extras.residual, 'shape') else np.shape(r)}; "
                f"expected {wanted}, the result's, or one that broadcasts to it") from None
    p.epilogue.residual = <const char *>cnp.PyArray_DATA(r)
    p.epilogue.residual_dtype = dtype_of(cnp.PyArray_TYPE(r))
    p.epilogue.residual_channel = 0 if g.w.drops_channel_axis else cnp.PyArray_STRIDE(r, g.channel_axis)
    for d in range(p.dims):
        if axis == g.channel_axis and not g.w.drops_channel_axis:
            axis += 1
        p.dim[d].residual_stride = cnp.PyArray_STRIDE(r, axis)
        axis += 1
    return r


cdef int residual_overlap(ndarray residual, ndarray out):
    if not spans_meet(residual, out):
        return 0
    same = (cnp.PyArray_DATA(residual) == cnp.PyArray_DATA(out) and cnp.PyArray_TYPE(residual) == cnp.PyArray_TYPE(out)
            and (<object>residual).strides == (<object>out).strides)
    return 1 if same else 2


cdef int set_nodata(c1x1_problem *p, object nodata, ndarray x, int typenum) except -1:
    found, fill = _epilogue.read_nodata(nodata, x.dtype, dtype_of_type(typenum))
    p.nodata.is_given = 1
    memcpy(p.nodata.value, <const char *><bytes>found, len(found))
    memcpy(p.nodata.fill, <const char *><bytes>fill, len(fill))
    return 0


# ---- out -----------------------------------------------------------------------------------------

cdef ndarray check_out(object out, const geometry *g, int typenum):
    cdef ndarray a
    if not cnp.PyArray_Check(out):
        raise TypeError(f"out must be a NumPy array, not {type(out).__name__}")
    a = <ndarray>out
    cdef bint fits = has_shape_of(g, a)
    if fits and cnp.PyArray_TYPE(a) == typenum and cnp.PyArray_ISWRITEABLE(a):
        return a
    dtype = <object>cnp.PyArray_DescrFromType(typenum)
    if not fits:
        wanted = shape_of(g)
        raise ValueError(f"out has shape {out.shape}; expected {wanted}: pass out=np.empty({wanted}, {str(dtype)!r})")
    if not cnp.PyArray_ISWRITEABLE(a):
        raise ValueError("out is read-only: pass a writable array")
    if is_complex(a):
        return a
    if dtype_of(cnp.PyArray_TYPE(a)) < 0 and not learn_dtype((<object>a).dtype):
        refuse_dtype(a, "out")
    if not np.can_cast(dtype, a.dtype, "same_kind"):
        raise TypeError(
            f"out has dtype {a.dtype}, to which the result's {dtype} does not cast under 'same_kind': "
            f"pass dtype={a.dtype.name!r} to round and saturate, or out of dtype {dtype}")
    return a


cdef bint is_complex(ndarray a):
    cdef int typenum = cnp.PyArray_TYPE(a)
    return typenum == cnp.NPY_CFLOAT or typenum == cnp.NPY_CDOUBLE


cdef ndarray as_target(ndarray out, int typenum):
    """Where results of that type are written, to be copied to out where it is another array."""
    if is_complex(out):
        return np.empty((<object>out).shape, dtype_of_type(typenum))
    if cnp.PyArray_ISBYTESWAPPED(out):
        return np.empty((<object>out).shape, out.dtype.newbyteorder("="))
    return out


cdef void set_target(c1x1_problem *p, geometry *g, ndarray target) noexcept:
    p.out = <char *>cnp.PyArray_DATA(target)
    p.out_dtype = dtype_of(cnp.PyArray_TYPE(target))
    set_strides(p, g, cnp.PyArray_STRIDES(target))
