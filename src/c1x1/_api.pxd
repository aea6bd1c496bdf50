# What Pointwise shares with conv.
from numpy cimport ndarray

from c1x1._core cimport PackedWeights, c1x1_problem


# How a user's w is to be read.
cdef struct filters:
    size_t c_in      # per group
    size_t c_out     # in all
    Py_ssize_t in_axis, out_axis  # axes of w; out_axis -1: one filter without that axis
    bint drops_channel_axis       # a 1-D w: the result has no channel axis


# What a call asks for beyond weights and bias, as it was given.
cdef class Extras:
    cdef readonly object scale, residual, nodata
    cdef readonly ndarray table
    cdef readonly int activation
    cdef readonly tuple parameters
    cdef dict tables  # the table, by the type number that it was converted to


cdef ndarray as_array(object value, str name)
cdef ndarray as_array_or_complex(object value, str name)
cdef object read_dtype(object dtype, str name=*)
cdef Extras read_extras(object scale, object residual, object activation, object lut, object nodata)
cdef int check_promises(object precision, object reproducible) except -1
cdef object run(object x, ndarray w, object bias, object layout, object stride, object groups,
                object out, object dtype, object threads, Extras extras, PackedWeights packed,
                object machine)
cdef object run_complex(object x, object w, object bias, object layout, object stride, object groups,
                        object scale, object residual, object out, object dtype, object threads, dict packed,
                        object machine)
cdef int refuse_for_complex(object activation, object lut, object nodata) except -1
cdef PackedWeights pack_filters(ndarray w, filters *f, Py_ssize_t groups, int typenum)
cdef int parse_groups(object groups) except -1
cdef int read_filters(filters *f, ndarray w, Py_ssize_t channels, Py_ssize_t groups,
                      bint is_channels_last, int image_ndim, bint has_batch) noexcept
cdef bint layout_is_channels_last(object layout) except -1
cdef void set_weights(c1x1_problem *p, ndarray w, filters *f, size_t groups) noexcept
