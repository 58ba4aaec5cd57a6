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
