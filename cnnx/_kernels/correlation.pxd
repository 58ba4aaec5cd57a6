from libc.stdint cimport uint8_t

from cnnx._kernels.floating cimport floating
from cnnx._kernels.tiles cimport geometry


cdef int correlate(
    geometry g, const floating *x, const floating *W, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil
