# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Binding: objects to pointers, the GIL, status codes to exceptions. No decisions.

Beside the two calls that the other modules cimport there is what `info` and the tests ask of the C
core: its tables and its plans. Single kernels are in _kernels.pyx.
"""

cimport cython
cimport numpy as cnp
from numpy cimport ndarray
from libc.stdlib cimport free, malloc
from cpython.exc cimport PyErr_CheckSignals

import os

import numpy as np

cnp.import_array()

cdef extern from "kernels/kernel.h" nogil:
    ctypedef struct c1x1_kernels:
        unsigned vl
        double fma_per_cycle
    ctypedef struct c1x1_isa:
        const char *name
        const char *description
        unsigned needs
        const c1x1_kernels *kernels[4]
    const c1x1_isa *const c1x1_isas[]
    const size_t c1x1_isa_count
    const c1x1_isa *c1x1_find_isa(const char *name)

cdef extern from "c1x1.h" nogil:
    int C1X1_OK, C1X1_PAUSED, C1X1_NO_MEMORY, C1X1_TOO_LARGE, C1X1_OUT_REPEATS
    ctypedef struct c1x1_cpuid:
        unsigned int leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf7_1_eax
        unsigned long long xcr0
    ctypedef struct c1x1_machine:
        unsigned features
        size_t l1_bytes, l2_bytes
        const c1x1_isa *isa
        int thread_limit
        const char *thread_limit_why
    ctypedef struct c1x1_plan:
        const c1x1_isa *isa
        int compute, role, a, b, order, finisher, takes_bytes, is_direct, is_gathered, fetches_x, sweep, fetches_c, sums_wait
        unsigned mr, nr, chains
        const c1x1_isa *unit
        unsigned a_pieces, b_pieces, factor
        int unit_kind, reads_x, a_offset
        size_t m, n, k, mc, nc, kc, head, matrix_kc, piece, outer, m_blocks, n_blocks, grain
        int threads
    ctypedef struct c1x1_span:
        pass
    ctypedef struct c1x1_run_state:
        pass
    const char *c1x1_dtype_name(int dtype)
    int C1X1_ACTIVATION_COUNT
    const char *c1x1_activation_name(int activation)
    int c1x1_activation_parameters(int activation)
    int c1x1_compute_dtype(int compute)
    size_t c1x1_pack_factor(int compute)
    unsigned c1x1_features(const c1x1_cpuid *cpuid)
    int c1x1_machine_init()
    const c1x1_machine *c1x1_this_machine()
    int c1x1_machine_permits(const c1x1_plan *plan)
    int c1x1_select_isa(const char *name)
    void c1x1_problem_find_overlap(c1x1_problem *problem)
    c1x1_span c1x1_span_of(const void *data, int dims, const ptrdiff_t *shape,
                           const ptrdiff_t *strides, size_t itemsize)
    int c1x1_spans_meet(c1x1_span a, c1x1_span b)
    size_t c1x1_problem_pixels(const c1x1_problem *problem)
    int c1x1_problem_normalise(c1x1_problem *problem)
    int c1x1_pack_weights(const c1x1_problem *problem, const c1x1_machine *machine,
                          int is_planar, c1x1_weights *weights)
    void c1x1_free_weights(c1x1_weights *weights)
    int c1x1_threads_available(const c1x1_machine *machine)
    size_t c1x1_plan_thread_bytes(const c1x1_plan *plan)
    void c1x1_make_plan(const c1x1_problem *problem, const c1x1_machine *machine, int limit,
                       c1x1_plan *plan)
    size_t c1x1_plan_blocks(const c1x1_plan *plan)
    size_t c1x1_plan_tasks(const c1x1_plan *plan)
    const char *c1x1_role_name(int role)
    const char *c1x1_source_name(int source)
    const char *c1x1_order_name(int order)
    const char *c1x1_sweep_name(int sweep)
    const char *c1x1_finisher_name(int finisher)
    int c1x1_finish_dtype(const c1x1_problem *problem)
    int c1x1_run_begin(c1x1_run_state *run, const c1x1_problem *problem, const c1x1_plan *plan)
    int c1x1_run(c1x1_run_state *run)
    void c1x1_run_end(c1x1_run_state *run)
    int c1x1_chain_plan(c1x1_chain *chain, const c1x1_machine *machine, int limit)
    int c1x1_chain_begin(c1x1_chain *chain)
    int c1x1_chain_run(c1x1_chain *chain)
    void c1x1_chain_end(c1x1_chain *chain)
    const char *c1x1_openmp_name()
    const char *c1x1_compiler_name()
    int C1X1_HAS_FMA, C1X1_HAS_AVX2, C1X1_HAS_AVX512, C1X1_HAS_NEON, C1X1_HAS_F16C
    int C1X1_HAS_AMX, C1X1_HAS_AVX512_VNNI, C1X1_HAS_AVX_VNNI, C1X1_HAS_DOT, C1X1_ON_REQUEST

cdef extern from "threads.h" nogil:
    int c1x1_threads_from_quota(const char *quota, const char *period)
    int c1x1_threads_of_cgroups(const char *memberships, const char *root)

# ---- start ---------------------------------------------------------------------------------------

cdef object refuse_environment(str name, str is_wrong, str expected):
    raise ImportError(f"{name}={os.environ.get(name)!r} {is_wrong}; expected {expected}")


# The core reads both by itself, and trusts what passed here.
cdef object check_environment():
    if c1x1_machine_init() != 0:
        names = dict.fromkeys(c1x1_isas[i].name.decode() for i in range(c1x1_isa_count))
        refuse_environment("C1X1_ISA", "names no instruction set of this build", f"one of {', '.join(names)}")
    limit = os.environ.get("C1X1_NUM_THREADS", "")
    if limit and not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= 65536):
        refuse_environment("C1X1_NUM_THREADS", "is no number of threads", "1 to 65536, or nothing")


check_environment()

cdef int dtype_table[32]


cdef int fill_dtype_table() except -1:
    cdef int num, code
    for num in range(32):
        dtype_table[num] = -1
    for letter in "?bBhHiIlLqQefd":
        descr = np.dtype(letter)
        for code in range(C1X1_DTYPE_COUNT):
            if c1x1_dtype_name(code).decode() == descr.name:
                dtype_table[<int>descr.num] = code
    return 0


fill_dtype_table()


# A package beside NumPy gives it its number, when it is imported.
cdef int bfloat16_type = -1


cdef int dtype_of(int typenum) noexcept:
    if 0 <= typenum < 32:
        return dtype_table[typenum]
    return C1X1_BFLOAT16 if typenum >= 0 and typenum == bfloat16_type else -1


cdef bint learn_dtype(object dtype) noexcept:
    global bfloat16_type
    if dtype.num >= 256 and dtype.itemsize == 2 and dtype.name == "bfloat16":
        bfloat16_type = dtype.num
        return True
    return False


# ---- running -------------------------------------------------------------------------------------

cdef int raise_status(int status) except -1:
    if status == C1X1_NO_MEMORY:
        raise MemoryError("c1x1: no memory for the workspace; nothing was written")
    if status == C1X1_TOO_LARGE:
        raise ValueError("the sizes of x and w overflow the address space")
    if status == C1X1_OUT_REPEATS:
        raise ValueError(
            "out overlaps itself: some of its elements share memory, so it cannot hold a result; "
            "pass out=np.empty(shape, dtype)"
        )
    return 0


cdef int execute(c1x1_problem *problem, int threads) except -1:
    cdef c1x1_plan plan
    cdef c1x1_run_state run
    cdef const c1x1_machine *machine = c1x1_this_machine()
    cdef int limit = c1x1_threads_available(machine)
    cdef int status = c1x1_problem_normalise(problem)
    if 0 < threads < limit:
        limit = threads
    if status == C1X1_OK:
        c1x1_make_plan(problem, machine, limit, &plan)
        if plan.unit != NULL and not c1x1_machine_permits(&plan):
            c1x1_make_plan(problem, machine, limit, &plan)
        status = c1x1_run_begin(&run, problem, &plan)
    if status != C1X1_OK:
        raise_status(status)
    try:
        # Some microseconds of work: handing the GIL over would cost more than it gives.
        if <double>plan.outer * <double>plan.m * <double>plan.n * <double>(plan.k + 8) < 1e5:
            c1x1_run(&run)
            return 0
        status = C1X1_PAUSED
        while status == C1X1_PAUSED:
            with nogil:
                status = c1x1_run(&run)
            if status == C1X1_PAUSED:
                PyErr_CheckSignals()
    finally:
        c1x1_run_end(&run)
    return 0


cdef int execute_chain(c1x1_chain *chain, int threads) except -1:
    cdef const c1x1_machine *machine = c1x1_this_machine()
    cdef int limit = c1x1_threads_available(machine), status
    if 0 < threads < limit:
        limit = threads
    chain.plan = malloc(2 * <size_t>chain.count * sizeof(c1x1_plan))
    if chain.plan == NULL:
        raise_status(C1X1_NO_MEMORY)
    try:
        raise_status(c1x1_chain_plan(chain, machine, limit))
        raise_status(c1x1_chain_begin(chain))
        try:
            status = C1X1_PAUSED
            while status == C1X1_PAUSED:
                with nogil:
                    status = c1x1_chain_run(chain)
                if status == C1X1_PAUSED:
                    PyErr_CheckSignals()
        finally:
            c1x1_chain_end(chain)
    finally:
        free(chain.plan)
    return 0


cdef dict describe_plan(c1x1_problem *problem, object machine, int threads):
    cdef c1x1_plan plan
    cdef c1x1_machine m = c1x1_this_machine()[0]
    cdef int limit = c1x1_threads_available(&m)
    if machine is not None:
        if "isa" in machine:
            m.isa = c1x1_find_isa(machine["isa"].encode())
            if m.isa == NULL:
                raise ValueError(f"unknown ISA {machine['isa']!r}")
        m.l1_bytes = machine.get("l1_bytes", m.l1_bytes)
        m.l2_bytes = machine.get("l2_bytes", m.l2_bytes)
        limit = machine.get("threads", limit)
    if 0 < threads < limit:
        limit = threads
    raise_status(c1x1_problem_normalise(problem))
    if c1x1_problem_pixels(problem) * problem.c_out * problem.groups == 0:
        raise ValueError("there are no results to plan for: x has no pixels, or w no filters")
    c1x1_make_plan(problem, &m, limit, &plan)
    cdef const c1x1_kernels *kernels = plan.isa.kernels[plan.compute]
    return {
        "isa": plan.isa.name.decode(),
        "compute": c1x1_dtype_name(c1x1_compute_dtype(plan.compute)).decode(),
        "role": c1x1_role_name(plan.role).decode(),
        "a": c1x1_source_name(plan.a).decode(),
        "b": c1x1_source_name(plan.b).decode(),
        "order": c1x1_order_name(plan.order).decode(),
        "finisher": c1x1_finisher_name(plan.finisher).decode(),
        "finish": c1x1_dtype_name(c1x1_compute_dtype(c1x1_finish_dtype(problem))).decode(),
        "takes_bytes": bool(plan.takes_bytes),
        "is_direct": bool(plan.is_direct),
        "is_gathered": bool(plan.is_gathered),
        "fetches_x": bool(plan.fetches_x),
        "sweep": c1x1_sweep_name(plan.sweep).decode(),
        "fetches_c": bool(plan.fetches_c),
        "sums_wait": bool(plan.sums_wait),
        "mr": plan.mr, "nr": plan.nr, "chains": plan.chains,
        "factor": plan.factor,
        "m": plan.m, "n": plan.n, "k": plan.k,
        "unit": None if plan.unit == NULL else plan.unit.name.decode(),
        "a_pieces": plan.a_pieces, "b_pieces": plan.b_pieces, "matrix_kc": plan.matrix_kc,
        "unit_kind": plan.unit_kind, "reads_x": bool(plan.reads_x), "a_offset": plan.a_offset,
        "mc": plan.mc, "nc": plan.nc, "kc": plan.kc, "head": plan.head, "piece": plan.piece,
        "outer": plan.outer, "grain": plan.grain,
        "blocks": c1x1_plan_blocks(&plan),
        "tasks": c1x1_plan_tasks(&plan),
        "thread_bytes": c1x1_plan_thread_bytes(&plan),
        "threads": plan.threads, "thread_limit": limit,
        "flops_per_cycle": 2 * kernels.vl * kernels.fma_per_cycle * c1x1_pack_factor(plan.compute),
    }


# ---- operands ------------------------------------------------------------------------------------

cdef int find_overlap(c1x1_problem *problem) noexcept:
    c1x1_problem_find_overlap(problem)
    return problem.overlap


cdef c1x1_span span_of(ndarray a) noexcept:
    return c1x1_span_of(cnp.PyArray_DATA(a), cnp.PyArray_NDIM(a), <ptrdiff_t *>cnp.PyArray_DIMS(a),
                        <ptrdiff_t *>cnp.PyArray_STRIDES(a), <size_t>cnp.PyArray_ITEMSIZE(a))


cdef bint spans_meet(ndarray a, ndarray b) noexcept:
    return c1x1_spans_meet(span_of(a), span_of(b)) != 0


@cython.auto_pickle(False)
cdef class PackedWeights:
    """Weights laid out for the kernels of this machine. Never pickled: rebuilt where it lands."""

    def __dealloc__(self):
        c1x1_free_weights(&self.weights)

    @property
    def nbytes(self):
        return self.weights.bytes


cdef PackedWeights pack(c1x1_problem *problem, bint is_planar):
    cdef PackedWeights packed = PackedWeights()
    raise_status(c1x1_problem_normalise(problem))
    raise_status(c1x1_pack_weights(problem, c1x1_this_machine(), is_planar, &packed.weights))
    return packed


# ---- what this build and this machine are --------------------------------------------------------

cdef list feature_names(unsigned features):
    return [name for bit, name in ((C1X1_HAS_FMA, "FMA"), (C1X1_HAS_AVX2, "AVX2"), (C1X1_HAS_F16C, "F16C"),
                                   (C1X1_HAS_AVX_VNNI, "AVX-VNNI"), (C1X1_HAS_AVX512, "AVX-512"),
                                   (C1X1_HAS_AVX512_VNNI, "AVX512-VNNI"), (C1X1_HAS_AMX, "AMX"),
                                   (C1X1_HAS_NEON, "NEON"), (C1X1_HAS_DOT, "DotProd")) if features & bit]


def features_of(leaf1_ecx, leaf7_ebx, xcr0, leaf7_edx=0, leaf7_ecx=0, leaf7_1_eax=0):
    """Names of the CPU features that these CPUID words and XCR0 stand for."""
    cdef c1x1_cpuid cpuid
    cpuid.leaf1_ecx, cpuid.leaf7_ebx, cpuid.xcr0 = leaf1_ecx, leaf7_ebx, xcr0
    cpuid.leaf7_edx, cpuid.leaf7_ecx, cpuid.leaf7_1_eax = leaf7_edx, leaf7_ecx, leaf7_1_eax
    return feature_names(c1x1_features(&cpuid))


def threads_from_quota(bytes quota, bytes period):
    """CPUs that a cgroup quota allows; 0 where it sets no limit."""
    return c1x1_threads_from_quota(quota, period)


def threads_of_cgroups(bytes memberships, bytes root):
    """The least that the cgroups in a file like /proc/self/cgroup allow, below `root`; or 0."""
    return c1x1_threads_of_cgroups(memberships, root)


def machine():
    """What the C core knows of this machine, as a dict."""
    cdef const c1x1_machine *m = c1x1_this_machine()
    return {
        "isa": m.isa.name.decode(),
        "isa_description": m.isa.description.decode(),
        "features": feature_names(m.features),
        "l1_bytes": m.l1_bytes,
        "l2_bytes": m.l2_bytes,
        "thread_limit": m.thread_limit,
        "thread_limit_why": m.thread_limit_why.decode(),
        "threads_available": c1x1_threads_available(m),
        "openmp": c1x1_openmp_name().decode(),
        "compiler": c1x1_compiler_name().decode(),
    }


def isas():
    """The registry: (name, description, missing CPU features), best ISA first."""
    cdef unsigned features = c1x1_this_machine().features
    return [
        (c1x1_isas[i].name.decode(), c1x1_isas[i].description.decode(),
         feature_names(c1x1_isas[i].needs & ~features))
        for i in range(c1x1_isa_count) if not c1x1_isas[i].needs & C1X1_ON_REQUEST
    ]


def isas_on_request():
    """Names of those that run only when `C1X1_ISA` or `select_isa` names them: for tests."""
    return [c1x1_isas[i].name.decode()
            for i in range(c1x1_isa_count) if c1x1_isas[i].needs & C1X1_ON_REQUEST]


def select_isa(str name):
    """Caps the ISA from now on, as C1X1_ISA does at import. For tests and benchmarks."""
    if c1x1_select_isa(name.encode()) != 0:
        raise ValueError(f"this machine cannot run {name!r}")


cdef size_t isa_count() noexcept:
    return c1x1_isa_count


cdef const void *isa_row(size_t i) noexcept:
    return c1x1_isas[i]


def computes():
    """What is summed in, by its code: (dtype of the sums, channels in one element of an operand)."""
    return [(c1x1_dtype_name(c1x1_compute_dtype(c)).decode(), c1x1_pack_factor(c))
            for c in range(C1X1_COMPUTE_COUNT)]


def dtypes():
    """The names of the dtypes in the order of their codes."""
    return [c1x1_dtype_name(d).decode() for d in range(C1X1_DTYPE_COUNT)]


def activations():
    """The activations in the order of their codes: (name, number of parameters)."""
    return [(c1x1_activation_name(i).decode(), c1x1_activation_parameters(i))
            for i in range(C1X1_ACTIVATION_COUNT)]
