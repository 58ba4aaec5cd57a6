cdef Py_ssize_t tasks_for_product(Py_ssize_t most, double operations) noexcept nogil
cdef int threads_for_product(Py_ssize_t tasks, double operations) noexcept nogil
cdef int threads_for(Py_ssize_t tasks, double operations) noexcept nogil
cdef void *allocate(Py_ssize_t bytes) except NULL nogil
cdef void release(void *memory) noexcept nogil


cdef extern from "shares.h" nogil:
    ctypedef struct shares:
        pass
    void deal(shares *s, Py_ssize_t tasks, int threads)
    Py_ssize_t take(shares *s, int thread)
