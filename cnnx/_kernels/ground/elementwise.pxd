# Elements `a`, `b` (NULL if there is a single input) and `out`; `p` and `q` are constants of the kernel.
ctypedef void (*run_function)(
    const void *a, const void *b, void *out, Py_ssize_t count, double p, double q) noexcept nogil

cdef int for_each_run(
    str name, a, b, out, run_function for_float, run_function for_double, double p=*, double q=*,
    double operations=*, Py_ssize_t run=*) except -1
