from libc.stdint cimport uint8_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport geometry


cdef bint winograd_is_faster(const geometry *g) noexcept nogil
cdef bint winograd_gradient_is_faster(const geometry *g) noexcept nogil
cdef Py_ssize_t transformed_size(const geometry *g, floating kind) noexcept nogil
cdef void transform_filters(const geometry *g, const floating *W, floating *filters) noexcept nogil
cdef int winograd(
    const geometry *g, const floating *x, const floating *filters, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil
cdef int winograd_weight_gradient(
    const geometry *g, const floating *x, const floating *grad, floating *W_grad, floating *b_grad,
) except -1 nogil
