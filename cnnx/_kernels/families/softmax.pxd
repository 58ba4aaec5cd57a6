from cnnx._kernels.ground.floating cimport floating

cdef double exponentials(const floating *z, Py_ssize_t classes, floating most, floating *out) noexcept nogil
