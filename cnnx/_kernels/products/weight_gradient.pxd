from libc.stdint cimport uint8_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport geometry, pair


cdef int weight_gradient(
    const geometry *g, pair size, const floating *x, const floating *grad, const uint8_t *places, floating *W_grad,
    floating *b_grad,
) except -1 nogil
