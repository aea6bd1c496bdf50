# What the meaning floor may use of the binding: the C types, and two calls.

from numpy cimport ndarray


cdef extern from "c1x1.h" nogil:
    ctypedef int c1x1_dtype
    int C1X1_BOOL, C1X1_INT8, C1X1_UINT8, C1X1_INT16, C1X1_UINT16, C1X1_INT32, C1X1_UINT32
    int C1X1_INT64, C1X1_UINT64, C1X1_FLOAT16, C1X1_BFLOAT16, C1X1_FLOAT32, C1X1_FLOAT64
    int C1X1_DTYPE_COUNT
    int C1X1_COMPUTE_FLOAT32, C1X1_COMPUTE_FLOAT64, C1X1_COMPUTE_INT64, C1X1_COMPUTE_INT32
    int C1X1_COMPUTE_COUNT
    int C1X1_MAX_DIMS
    int C1X1_APART, C1X1_SAME_PIXELS, C1X1_TANGLED

    ctypedef struct c1x1_dim:
        size_t size
        ptrdiff_t x_stride
        ptrdiff_t out_stride
        ptrdiff_t residual_stride

    ctypedef struct c1x1_epilogue:
        const char *scale
        const char *parameter[2]
        const char *residual
        int residual_dtype
        ptrdiff_t residual_channel
        int residual_is_out
        int activation

    ctypedef struct c1x1_nodata:
        int is_given
        char value[8]
        char fill[8]

    ctypedef struct c1x1_weights:
        size_t bytes

    ctypedef struct c1x1_problem:
        const char *x
        const char *w
        const char *bias
        char *out
        c1x1_epilogue epilogue
        c1x1_nodata nodata
        const char *table
        ptrdiff_t table_channel
        int x_dtype, w_dtype, out_dtype, compute, overlap, dims
        c1x1_dim dim[64]
        size_t groups, c_in, c_out
        ptrdiff_t x_channel, w_in, w_out, out_channel
        ptrdiff_t x_group, w_group, out_group
        int precision, is_reproducible
        const c1x1_weights *packed

    ctypedef struct c1x1_chain:
        int count, is_planar
        c1x1_problem whole
        c1x1_problem *layer
        void *plan

# NumPy's type number to c1x1_dtype, or -1.
cdef int dtype_of(int typenum) noexcept
# Whether that is a dtype of another package which dtype_of knows from now on: bfloat16.
cdef bint learn_dtype(object dtype) noexcept
# Normalises and computes; raises what the status says.
cdef int execute(c1x1_problem *problem, int threads) except -1
# The same for layers that follow each other; chain.layer and chain.whole are set.
cdef int execute_chain(c1x1_chain *chain, int threads) except -1
# Normalises and plans for at most `threads` (0: as many as there may be), as a dict. Reads and writes no
# data.
cdef dict describe_plan(c1x1_problem *problem, object machine, int threads)
# How out lies to x: sets problem.overlap and returns it.
cdef int find_overlap(c1x1_problem *problem) noexcept
# How many rows the registry has, and one of them: a c1x1_isa, for _kernels.pyx.
cdef size_t isa_count() noexcept
cdef const void *isa_row(size_t i) noexcept
# Whether two arrays may share memory, by the bytes they span.
cdef bint spans_meet(ndarray a, ndarray b) noexcept


cdef class PackedWeights:
    cdef c1x1_weights weights


cdef PackedWeights pack(c1x1_problem *problem, bint is_planar)
