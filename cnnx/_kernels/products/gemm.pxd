from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.loops cimport product


cdef struct panels:
    # A matrix of `depth` rows cut into panels of columns, each as wide as one or two vectors.
    Py_ssize_t depth, columns, lanes, count, size


cdef struct grid:
    # Points of `count` grids, `stride` apart, and how far rows and columns of one are apart.
    Py_ssize_t count, rows, columns
    Py_ssize_t stride, row_stride, column_stride


cdef panels cut_panels(Py_ssize_t depth, Py_ssize_t columns, floating kind) noexcept nogil
cdef Py_ssize_t panel_columns(panels cut, Py_ssize_t panel) noexcept nogil
cdef Py_ssize_t panel_width(panels cut, Py_ssize_t panel) noexcept nogil
cdef Py_ssize_t padded_columns(panels cut) noexcept nogil
cdef Py_ssize_t panel_offset(panels cut, Py_ssize_t panel) noexcept nogil
cdef Py_ssize_t bias_room(panels cut) noexcept nogil
cdef void widen_bias(panels cut, const floating *bias, floating *wide) noexcept nogil
cdef void pack_panel(
    const floating *matrix, Py_ssize_t row_stride, Py_ssize_t column_stride,
    panels cut, Py_ssize_t panel, floating *packed,
) noexcept nogil
cdef void multiply(
    product p, Py_ssize_t rows, Py_ssize_t a_row, const floating *a, const floating *b, floating *c,
) noexcept nogil
cdef void multiply_grid(
    product p, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t row_stride, Py_ssize_t column_stride, const floating *a,
    const floating *b, floating *c,
) noexcept nogil
cdef void multiply_points(product p, grid g, const floating *a, const floating *b, floating *c) noexcept nogil
