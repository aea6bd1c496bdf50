# What Pointwise shares with conv.
from numpy cimport ndarray

from c1x1._core cimport PackedWeights, c1x1_problem
from c1x1._results cimport Extras


# A problem as `run` has described it, with all that must live as long as it.
cdef class Prepared:
    cdef c1x1_problem problem
    cdef object keep
    cdef ndarray result


cdef int read_promises(object precision, object reproducible) except -1
cdef object run(object x, ndarray w, object bias, object layout, object stride, object groups,
                object out, object dtype, object threads, Extras extras, PackedWeights packed,
                object machine, int promises, int bits=*)
# The same where x or w is complex, as real runs. `parts` are those of w (_complex.Parts) or None, `packed` such of them
# as are packed already, by their names.
cdef object run_complex(object x, object w, object bias, object layout, object stride, object groups,
                        object scale, object residual, object activation, object lut, object nodata,
                        object out, object dtype, object threads, object parts, dict packed,
                        object machine, int promises)
