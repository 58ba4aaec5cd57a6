from libc.stdint cimport uint8_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport geometry


cdef void pool_band(
    geometry g, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count, const floating *rows, Py_ssize_t channels,
    bint relu, floating *out, uint8_t *argmax,
) noexcept nogil
cdef Py_ssize_t packed_size(geometry g, floating kind) noexcept nogil
cdef void pack_filters(geometry g, const floating *W, floating *packed) noexcept nogil
cdef int correlate(
    geometry g, const floating *x, const floating *filters, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil
