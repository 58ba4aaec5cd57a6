from libc.stdint cimport uint8_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport call, geometry


cdef int check(const call *c, Py_ssize_t biases, const Py_ssize_t *argmax) except -1
cdef geometry forward_geometry(const call *c) noexcept nogil
cdef geometry backward_geometry(const call *c) noexcept nogil
cdef Py_ssize_t filters_size(const geometry *g, floating kind) noexcept nogil
cdef void prepare_filters(const geometry *g, const floating *W, floating *filters) noexcept nogil
cdef const floating *prepared_filters(const geometry *g, const floating *W, dict prepared) except? NULL
cdef int convolve(
    const geometry *g, const floating *x, const floating *W, const floating *filters, const floating *b, bint relu,
    floating *out, uint8_t *argmax,
) except -1 nogil
cdef int input_gradient(const geometry *g, const floating *grad, const floating *W, floating *out) except -1 nogil
