from libc.stdint cimport uint8_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport geometry


cdef bint scatter_is_faster(const geometry *g, floating kind) noexcept nogil
cdef int scatter(
    const geometry *g, const floating *grad, const uint8_t *places, const floating *W, floating *out,
) except -1 nogil
