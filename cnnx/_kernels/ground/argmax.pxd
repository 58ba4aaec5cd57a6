from cnnx._kernels.ground.floating cimport floating


cdef inline Py_ssize_t argmax(const floating *x, Py_ssize_t count) noexcept nogil:
    """Where the maximum is: the first of equal ones, and NaN counts as the largest."""
    cdef Py_ssize_t i, place = 0
    for i in range(1, count):
        if x[place] != x[place]:
            break
        if not x[i] <= x[place]:
            place = i
    return place
