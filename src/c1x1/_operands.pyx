# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""From objects to arrays, and the dtypes of a call: what is taken, computed in and given back."""

cimport numpy as cnp
from numpy cimport ndarray

import numpy as np

from c1x1._core cimport *

cnp.import_array()

cdef object INT64_MAX = np.uint64(np.iinfo(np.int64).max)
cdef str DTYPES = "bool, int8 to int64, uint8 to uint64, float16, bfloat16, float32, float64"


class ComplexOperand(TypeError):
    """An operand is complex: caught where that has a meaning."""


# ---- arrays --------------------------------------------------------------------------------------

cdef object refuse_dtype(ndarray a, str name):
    kind = a.dtype.kind
    if kind == "c" and a.dtype.itemsize > 16:
        raise ComplexOperand(f"{name} has dtype {a.dtype}; expected one of {DTYPES}, complex64 or complex128: "
                             f"pass {name}.astype(np.complex128)")
    if kind == "c":
        raise ComplexOperand(f"{name} has dtype {a.dtype}; expected a real one: pass {name}.real and {name}.imag one by one")
    if kind == "f":
        way = f"pass {name}.astype(np.float64)"
    elif kind in "mM":
        way = f"pass {name}.astype(np.int64)"
    elif a.dtype.names is not None:
        way = f"pass one field, {name}[{a.dtype.names[0]!r}]"
    elif kind == "O" and cnp.PyArray_NDIM(a) == 0:
        given = (<object>a).item()
        way = ("call the layer itself, layer(x)" if callable(given) and name == "w"
               else f"pass an array of numbers, not a {type(given).__name__}")
    else:
        way = f"pass {name}.astype(np.float32)" if kind == "O" else f"a {a.dtype.type.__name__} is no number"
    raise TypeError(f"{name} has dtype {a.dtype}; expected one of {DTYPES}: {way}")


cdef object from_dlpack(object value, ndarray fallback):
    if fallback.dtype.kind == "O" and hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    return fallback


cdef ndarray to_array(object value, str name):
    """What `as_array` does, once it is known to be more than a look."""
    cdef ndarray a
    if cnp.PyArray_CheckExact(value):
        a = <ndarray>value
    else:
        if hasattr(value, "mask") and hasattr(value, "filled"):
            raise TypeError(f"{name} is a masked array, whose mask would be lost: pass {name}.filled(value)")
        try:
            a = np.asarray(value)
        except (ValueError, TypeError, RuntimeError, BufferError, OverflowError) as error:
            raise TypeError(f"{name} cannot be seen as an array: {error}") from error
        a = from_dlpack(value, a)
    if dtype_of(cnp.PyArray_TYPE(a)) < 0 and not learn_dtype(a.dtype):
        refuse_dtype(a, name)
    if cnp.PyArray_ISBYTESWAPPED(a):
        return a.astype(a.dtype.newbyteorder("="))
    return a


cdef ndarray as_array_or_complex(object value, str name):
    try:
        return as_array(value, name)
    except ComplexOperand:
        a = np.asarray(value)
        if a.dtype.itemsize > 16:
            raise
        return a.astype(a.dtype.newbyteorder("="), copy=False)


def read_array(value, str name):
    """`value` as conv sees an operand: an ndarray without a copy where there is one, or conv's error."""
    return as_array(value, name)


def read_array_or_complex(value, str name):
    """The same, where complex values have a meaning too."""
    return as_array_or_complex(value, name)


# ---- dtypes --------------------------------------------------------------------------------------

cdef object dtype_of_type(int typenum):
    return np.dtype(cnp.PyArray_TypeObjectFromType(typenum))


cdef int type_of_compute(int compute) noexcept:
    if compute == C1X1_COMPUTE_FLOAT32:
        return cnp.NPY_FLOAT
    if compute == C1X1_COMPUTE_INT32:
        return cnp.NPY_INT32
    return cnp.NPY_DOUBLE if compute == C1X1_COMPUTE_FLOAT64 else cnp.NPY_INT64


# The result's dtype where it is not one that x, or its table, and w share.
cdef object mixed_dtype(ndarray x, ndarray w):
    cdef int a = dtype_of(cnp.PyArray_TYPE(x)), b = dtype_of(cnp.PyArray_TYPE(w))
    if b == C1X1_INT8 and (a == C1X1_UINT8 or a == C1X1_INT8):
        return np.dtype(np.int32)
    if (a == C1X1_INT16 or a == C1X1_UINT16 or a == C1X1_INT32 or a == C1X1_INT64) and w.dtype.kind in "iu":
        return np.dtype(np.int64)
    try:
        return np.result_type(x.dtype, w.dtype)
    except TypeError:
        raise TypeError(f"x, or its table, has dtype {x.dtype} and w {w.dtype}, which have no dtype in common: "
                        "pass w.astype(np.float32)") from None


cdef object read_dtype(object dtype, str name="dtype"):
    try:
        result = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{name} {dtype!r} is none that NumPy knows; expected one of {DTYPES}") from None
    if dtype_of(result.num) < 0 and not learn_dtype(result):
        raise TypeError(f"{name} {result} cannot hold {'a result' if name == 'dtype' else 'an image'}; expected one of {DTYPES}")
    return result.newbyteorder("=")


cdef object read_dtype_or_complex(object dtype, str name):
    try:
        result = np.dtype(dtype)
    except TypeError:
        return read_dtype(dtype, name)
    return result if result.kind == "c" and result.itemsize <= 16 else read_dtype(dtype, name)


cdef int compute_of(int dtype) noexcept:
    if dtype == C1X1_FLOAT64:
        return C1X1_COMPUTE_FLOAT64
    if dtype == C1X1_FLOAT32 or dtype == C1X1_FLOAT16 or dtype == C1X1_BFLOAT16:
        return C1X1_COMPUTE_FLOAT32
    return C1X1_COMPUTE_INT64


# The largest magnitude of an integer dtype; infinite for what is not narrow.
cdef double magnitude(object dtype):
    if dtype.kind == "b":
        return 1
    return <double>np.iinfo(dtype).max + 1 if dtype.kind in "iu" else np.inf


cdef bint fits_int16(ndarray a) noexcept:
    cdef int dtype = dtype_of(cnp.PyArray_TYPE(a))
    return dtype == C1X1_BOOL or dtype == C1X1_INT8 or dtype == C1X1_UINT8 or dtype == C1X1_INT16


cdef bint is_beyond_int64(ndarray a):
    return a.dtype == np.uint64 and not (a <= INT64_MAX).all()


cdef int refuse_beyond_int64(object given, str name) except -1:
    """An addend that sums in int64 cannot take."""
    cdef ndarray a = np.asarray(given)
    if is_beyond_int64(a):
        raise ValueError(f"{name} holds {a.max()}, and sums of integers are made in int64: "
                         f"pass x.astype(np.float64), or a {name} of at most {INT64_MAX}")
    return 0


# Sums of integers are exact in int32 as long as none outgrows it, whose kernels multiply pairs of int16;
# and in a float dtype as long as no partial sum outgrows its fraction, whose kernels are many times as
# fast as those of int64.
cdef int narrowest_compute(ndarray values, ndarray w, size_t c_in, object bias, object residual,
                           bint is_scaled, bint has_table) except -1:
    cdef double largest = <double>c_in * magnitude(values.dtype) * magnitude(w.dtype)
    cdef bint is_paired = not has_table and fits_int16(values) and fits_int16(w)
    if is_scaled:
        if is_paired and largest < 2.0 ** 31:
            return C1X1_COMPUTE_INT32
        return C1X1_COMPUTE_FLOAT64 if largest <= 2.0 ** 53 else C1X1_COMPUTE_INT64
    if bias is not None:
        bias = np.asarray(bias)
        if bias.dtype.kind not in "biu":
            return C1X1_COMPUTE_INT64
        largest += float(np.abs(bias.astype(np.float64)).max(initial=0))
    if residual is not None:
        largest += magnitude(np.asarray(residual).dtype)
    if is_paired and largest < 2.0 ** 31:
        return C1X1_COMPUTE_INT32
    if largest <= 2.0 ** 24:
        return C1X1_COMPUTE_FLOAT32
    return C1X1_COMPUTE_FLOAT64 if largest <= 2.0 ** 53 else C1X1_COMPUTE_INT64


# Modulo 2^64 sums in int64 are uint64's too, with whatever is added to them, but nothing else's.
cdef int exact_compute(ndarray values, ndarray w, size_t c_in, object bias, object residual,
                       bint is_scaled, bint has_table, object dtype) except -1:
    cdef int compute = narrowest_compute(values, w, c_in, bias, residual, is_scaled, has_table)
    if compute != C1X1_COMPUTE_INT64 or (dtype == np.uint64 and not is_scaled):
        return compute
    if values.dtype == np.uint64 or is_beyond_int64(w):
        return C1X1_COMPUTE_FLOAT64
    if not is_scaled:
        if bias is not None:
            refuse_beyond_int64(bias, "bias")
        if residual is not None:
            refuse_beyond_int64(residual, "residual")
    return compute
