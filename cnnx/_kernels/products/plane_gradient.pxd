from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport geometry


cdef bint gradient_by_planes(const geometry *g) noexcept nogil
cdef int plane_gradient(
    const geometry *g, const floating *x, const floating *grad, floating *W_grad, floating *b_grad,
) except -1 nogil
