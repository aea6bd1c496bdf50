# From objects to arrays, and the dtypes of a call.
cimport numpy as cnp
from numpy cimport ndarray

from c1x1._core cimport dtype_of


cdef ndarray to_array(object value, str name)


cdef inline ndarray as_array(object value, str name):
    """An ndarray of `value` without a copy where there is one to be had; native byte order."""
    if (cnp.PyArray_CheckExact(value) and dtype_of(cnp.PyArray_TYPE(<ndarray>value)) >= 0
            and not cnp.PyArray_ISBYTESWAPPED(<ndarray>value)):
        return <ndarray>value
    return to_array(value, name)


# The same, where complex values have a meaning too.
cdef ndarray as_array_or_complex(object value, str name)
cdef object refuse_dtype(ndarray a, str name)
# The dtype with a type number.
cdef object dtype_of_type(int typenum)
# The type number of a compute dtype.
cdef int type_of_compute(int compute) noexcept
# A dtype that results or images may have, in native byte order.
cdef object read_dtype(object dtype, str name=*)
# The same, where complex values have a meaning too.
cdef object read_dtype_or_complex(object dtype, str name)
# The result's dtype where it is not one that x, or its table, and w share.
cdef object mixed_dtype(ndarray x, ndarray w)
# The dtype that such results are computed in, and the one that sums of integers are exact in where they
# go to a result of that dtype; ValueError where an addend fits none.
cdef int compute_of(int dtype) noexcept
# Whether every value of an integer dtype is one of int16.
cdef bint fits_int16(ndarray a) noexcept
cdef int exact_compute(ndarray values, ndarray w, size_t c_in, object bias, object residual,
                       bint is_scaled, bint has_table, object dtype) except -1
