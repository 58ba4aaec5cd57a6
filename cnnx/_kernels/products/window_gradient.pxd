from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport geometry


cdef bint gradient_by_windows(geometry g) noexcept nogil
cdef int window_gradient(
    geometry g, Py_ssize_t positions, const floating *x, const floating *grad, floating *W_grad, floating *b_grad,
) except -1 nogil
