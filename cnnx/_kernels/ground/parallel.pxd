from cnnx._kernels.ground.floating cimport floating


cdef Py_ssize_t tasks_for_product(Py_ssize_t most, double operations) noexcept nogil
cdef int threads_for_product(Py_ssize_t tasks, double operations) noexcept nogil
cdef int threads_for(Py_ssize_t tasks, double operations) noexcept nogil
cdef void *allocate(Py_ssize_t bytes) except NULL nogil
cdef void release(void *memory) noexcept nogil
cdef void for_each_task(
    void (*run)(const void *job, Py_ssize_t task, floating *memory) noexcept nogil, const void *job,
    Py_ssize_t tasks, int threads, floating *memory, Py_ssize_t private,
) noexcept nogil


cdef inline void add_parts(double *sums, Py_ssize_t parts, Py_ssize_t size) noexcept nogil:
    """Add the sums of all parts to those of the first, in order."""
    cdef Py_ssize_t part, i
    for part in range(1, parts):
        for i in range(size):
            sums[i] += sums[part * size + i]
