from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport geometry


cdef bint positions_are_faster(const geometry *g) noexcept nogil
cdef int correlate_positions(
    const geometry *g, const floating *x, const floating *W, bint flipped, const floating *bias, bint relu,
    floating *out,
) except -1 nogil
