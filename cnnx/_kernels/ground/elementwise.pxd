cdef enum:
    RUN = 16384     # elements of a task

# Elements `a`, `b` (NULL if there is a single input) and `out`; `p` and `q` are constants of the kernel.
ctypedef void (*run_function)(
    const void *a, const void *b, void *out, Py_ssize_t count, double p, double q) noexcept nogil


cdef struct elements:
    char *first
    Py_ssize_t count, last, itemsize    # elements, those along the last axis, and bytes of one
    char type


cdef elements elements_of(array, int flags) except *
cdef wrong_types(str name, tuple arrays)
cdef int take_elements(str name, tuple inputs, tuple outputs, elements *found, char second_type=*) except -1
cdef int take_channels(
    str name, tuple inputs, tuple outputs, elements *found, tuple numbers, tuple filled, elements *of_channels,
) except -1
cdef int for_each_run(
    str name, a, b, out, run_function for_float, run_function for_double, double p=*, double q=*,
    double operations=*, Py_ssize_t run=*, char b_type=*) except -1


cdef inline void *at(elements e, Py_ssize_t i) noexcept nogil:
    return e.first + i * e.itemsize
