# What becomes of the sums, and where the results go.
from numpy cimport ndarray

from c1x1._core cimport c1x1_problem
from c1x1._layout cimport geometry


# What a call asks for beyond weights and bias, as it was given.
cdef class Extras:
    cdef readonly object scale, residual, nodata
    cdef readonly ndarray table
    cdef readonly int activation
    cdef readonly tuple parameters
    cdef dict tables  # the table, by the type number that it was converted to


# None where nothing is asked for: the common call pays nothing.
cdef Extras read_extras(object scale, object residual, object activation, object lut, object nodata)
cdef tuple shape_of(const geometry *g)
# Contiguous, of that type, one value per output channel.
cdef ndarray read_vector(object given, str name, size_t c_out, int typenum)
# The type number that scale, bias and the activation's parameters have.
cdef int finish_type(c1x1_problem *p, Extras extras) noexcept
# These tell the core of one extra each and return what must outlive the call; what `avoid` may lie
# over is copied.
cdef list set_vectors(c1x1_problem *p, Extras extras, size_t c_out, ndarray avoid)
cdef ndarray set_table(c1x1_problem *p, Extras extras, ndarray x, ndarray avoid)
cdef ndarray set_residual(c1x1_problem *p, Extras extras, geometry *g)
cdef int set_nodata(c1x1_problem *p, object nodata, ndarray x, int typenum) except -1
# A small operand, copied where `out` may lie over it.
cdef ndarray apart(ndarray small, ndarray out)
# 0: apart. 1: element for element the same. 2: anything else.
cdef int residual_overlap(ndarray residual, ndarray out)
# `out` as an array, if a result of that type may be written to it.
cdef ndarray check_out(object out, const geometry *g, int typenum)
# An array to compute into: `out`, unless its bytes are swapped or it is complex.
cdef ndarray as_target(ndarray out, int typenum)
# From here on the result is known to the core: its pointer, dtype and strides.
cdef void set_target(c1x1_problem *p, geometry *g, ndarray target) noexcept
