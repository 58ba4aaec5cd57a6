from libc.stdint cimport uint8_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport geometry


cdef bint planes_are_faster(const geometry *g, floating kind) noexcept nogil
cdef int multiply_by_planes(
    const geometry *g, const floating *x, const floating *W, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil
