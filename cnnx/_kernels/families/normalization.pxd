from cnnx._kernels.families.channels cimport channel_pass
from cnnx._kernels.ground.floating cimport floating

cdef enum:
    LANES = 16      # elements of the widest vector

cdef enum:
    # For each channel, in the order in which kernels have them.
    MEAN, INV_STD, GAMMA, BETA, GAMMA_GRAD, BETA_GRAD


cdef void spread_numbers(const channel_pass *p, floating *to) noexcept nogil
cdef void spread_slopes(const channel_pass *p, floating *values, floating *to) noexcept nogil
