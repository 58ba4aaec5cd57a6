from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport geometry


cdef bint scatters_in_cache(geometry g, floating kind) noexcept nogil
cdef int scatter(geometry g, const floating *grad, const floating *W, floating *out) except -1 nogil
