from cnnx._kernels.ground.floating cimport floating

cdef enum:
    TOGETHER = 16  # neighbours that are compared at once


cdef inline bint surpassed(const floating *x, floating most) noexcept nogil:
    """Whether any of TOGETHER values is above `most`, or NaN."""
    cdef int l, above = 0
    for l in range(TOGETHER):
        above |= not x[l] <= most
    return above


cdef inline Py_ssize_t argmax(const floating *x, Py_ssize_t count) noexcept nogil:
    """Where the maximum is: the first of equal ones, and NaN counts as the largest."""
    cdef Py_ssize_t i = 0, end, place = 0
    while i < count:
        end = min(i + TOGETHER, count)
        if end == i + TOGETHER and not surpassed(x + i, x[place]):
            i = end
        while i < end:
            if not x[i] <= x[place]:
                place = i
                if x[i] != x[i]:
                    return place
            i += 1
    return place
