from libc.stdint cimport uint8_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport geometry, pair


cdef struct call:
    # The arrays' shapes, and how filters slide over the images and windows over the outputs.
    const Py_ssize_t *x
    const Py_ssize_t *W
    const Py_ssize_t *out   # with pooling, of its outputs
    pair stride, padding, dilation
    pair size, pool         # of the convolution's outputs, and of windows


cdef call unpooled(const Py_ssize_t *x, const Py_ssize_t *W, const Py_ssize_t *out, stride, padding, dilation) except *
cdef int check(const char *name, const call *c, Py_ssize_t biases, const Py_ssize_t *argmax) except -1
cdef geometry forward_geometry(const call *c) noexcept nogil
cdef geometry backward_geometry(const call *c) noexcept nogil
cdef int convolve(
    const geometry *g, const floating *x, const floating *W, const floating *filters, const floating *b, bint relu,
    floating *out, uint8_t *argmax,
) except -1 nogil
cdef int input_gradient(const geometry *g, const floating *grad, const floating *W, floating *out) except -1 nogil
