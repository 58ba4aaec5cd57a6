from cnnx._kernels.ground.floating cimport floating

cdef floating largest(const floating *z, Py_ssize_t classes) noexcept nogil
cdef double exponentials(const floating *z, Py_ssize_t classes, floating *out) noexcept nogil
