from cnnx._kernels.ground.floating cimport floating


cdef enum:
    LONGEST = 4096  # pixels of a window that are added up in the array's own precision: longer sums lose digits
    TOGETHER = 256  # channels of a larger window that are added up side by side


cdef struct windows:
    Py_ssize_t images, height, width, channels
    Py_ssize_t rows, columns
    Py_ssize_t filter_height, filter_width, row_stride, column_stride, top, left


cdef windows measure(
    str name, Py_ssize_t[4] x, Py_ssize_t[4] out, filter_size, stride, padding,
) except *
cdef void largest_row(const windows *w, const floating *image, Py_ssize_t oh, floating *best) noexcept nogil
cdef void average_row(windows w, const floating *image, Py_ssize_t oh, floating *out) noexcept nogil
cdef void add_line(
    const floating *cells, Py_ssize_t width, Py_ssize_t column, Py_ssize_t channels, double *totals,
) noexcept nogil
