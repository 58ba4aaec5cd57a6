cdef enum:
    LANES = 8  # sums that are taken side by side, so that none waits for the one before


cdef inline double sum_of_lanes(const double *sums) noexcept nogil:
    return (sums[0] + sums[1]) + (sums[2] + sums[3]) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
