from cnnx._kernels.ground.floating cimport floating

cdef enum:
    LANES = 32


cdef inline floating differences(const floating *x, Py_ssize_t count) noexcept nogil:
    """The sum of x - x, which is 0 where all numbers are finite, and else NaN."""
    cdef Py_ssize_t i, lane, whole = count - count % LANES
    cdef floating[LANES] sums
    cdef floating total = 0
    for lane in range(LANES):
        sums[lane] = 0
    for i in range(whole // LANES):
        for lane in range(LANES):
            sums[lane] += x[i * LANES + lane] - x[i * LANES + lane]
    for i in range(whole, count):
        total += x[i] - x[i]
    for lane in range(LANES):
        total += sums[lane]
    return total
