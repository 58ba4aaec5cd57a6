cdef inline bint same_shape(const Py_ssize_t *a, const Py_ssize_t *b, int rank) noexcept nogil:
    cdef int i
    for i in range(rank):
        if a[i] != b[i]:
            return False
    return True


cdef inline tuple as_tuple(const Py_ssize_t *shape, int rank):
    cdef list sizes = []
    cdef int i
    for i in range(rank):
        sizes.append(shape[i])
    return tuple(sizes)
