from libc.stdint cimport uint8_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport geometry


cdef bint gradient_by_windows(const geometry *g) noexcept nogil
cdef int window_gradient(
    const geometry *g, Py_ssize_t positions, const floating *x, const floating *grad, const uint8_t *places,
    floating *W_grad, floating *b_grad,
) except -1 nogil
