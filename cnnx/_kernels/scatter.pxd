from cnnx._kernels.floating cimport floating
from cnnx._kernels.tiles cimport geometry


cdef bint scatters_in_cache(geometry g, floating kind) noexcept nogil
cdef int scatter(geometry g, const floating *grad, const floating *W, floating *out) except -1 nogil
