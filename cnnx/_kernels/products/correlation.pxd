from libc.stdint cimport uint8_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport band, geometry


cdef void pool_band(
    const geometry *g, band at, const floating *rows, Py_ssize_t channels, bint relu, floating *out, uint8_t *argmax,
) noexcept nogil
cdef Py_ssize_t packed_size(const geometry *g, floating kind) noexcept nogil
cdef void pack_filters(const geometry *g, const floating *W, floating *packed) noexcept nogil
cdef int correlate(
    const geometry *g, const floating *x, const floating *filters, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil
cdef int correlate_tiles(
    const geometry *g, const floating *x, const floating *filters, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil
