# Which axis is what, and how it is told to the core.
cimport numpy as cnp
from numpy cimport ndarray

from c1x1._core cimport PackedWeights, c1x1_problem


# How a user's w is to be read.
cdef struct filters:
    size_t c_in      # per group
    size_t c_out     # in all
    Py_ssize_t in_axis, out_axis  # axes of w; out_axis -1: one filter without that axis
    bint drops_channel_axis       # a 1-D w: the result has no channel axis


# What the axes of x, w and the result are.
cdef struct geometry:
    int ndim, channel_axis, batch_axis  # of x; batch_axis -1: none
    bint is_strided
    Py_ssize_t step[64]                 # along each axis of x; set where is_strided
    filters w
    int out_ndim
    cnp.npy_intp shape[64]              # of the result


# Sets ndim, channel_axis and batch_axis; no strides so far.
cdef int read_layout(geometry *g, object layout, int ndim) except -1
cdef bint layout_is_channels_last(object layout) except -1
# Sets step: what is given along spatial axes of x, 1 along the others.
cdef int read_stride(geometry *g, object stride) except -1
cdef int parse_groups(object groups) except -1
# 1 when w can be read for an image of `channels`, else 0. channels < 0: whatever they are.
cdef int read_filters(filters *f, ndarray w, Py_ssize_t channels, Py_ssize_t groups,
                      bint is_channels_last, int image_ndim, bint has_batch) noexcept
# Sets g.w, or says why w does not fit x.
cdef int fit_filters(geometry *g, ndarray x, ndarray w, object layout, int groups) except -1
cdef void set_weights(c1x1_problem *p, ndarray w, filters *f, size_t groups) noexcept
# Packs for products of that type; None where the kernels take w as it is.
cdef PackedWeights pack_filters(ndarray w, filters *f, Py_ssize_t groups, int typenum, bint is_last,
                                int promises)
# The pixels of x that the steps take, and the result's shape; no strides of a result so far.
cdef void set_pixels(c1x1_problem *p, geometry *g, ndarray x) noexcept
# Strides of a result, axis by axis of its shape.
cdef void set_strides(c1x1_problem *p, geometry *g, const cnp.npy_intp *strides) noexcept
