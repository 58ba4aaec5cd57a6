from libc.stdint cimport uint8_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport pooled_gradient

cdef enum:
    # A few images are cut into so many bands that several threads have work.
    FEWEST_TASKS = 8


cdef struct geometry:
    Py_ssize_t images, height, width, channels      # what is read
    Py_ssize_t filter_height, filter_width
    Py_ssize_t rows, columns, filters               # what is written
    Py_ssize_t row_stride, column_stride
    Py_ssize_t row_dilation, column_dilation        # distance of neighbouring pixels under a filter
    Py_ssize_t window_height, window_width          # what a filter spans
    Py_ssize_t top, left                            # padding; negative crops
    Py_ssize_t row_spread, column_spread            # distance of neighbouring pixels once zeros lie between
    Py_ssize_t tile_width                           # columns of the padded image that are read
    Py_ssize_t band                                 # output rows at a time
    bint copied                                     # False: read the image where it lies
    Py_ssize_t pool_height, pool_width              # windows pooled after the convolution; 1 for none
    bint pools                                      # whether only the largest of each window is written
    const uint8_t *places                           # where an image read is a pooled gradient: its maxima


cdef geometry measure(
    Py_ssize_t images, Py_ssize_t height, Py_ssize_t width, Py_ssize_t channels,
    Py_ssize_t filter_height, Py_ssize_t filter_width,
    Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t filters,
    Py_ssize_t row_stride, Py_ssize_t column_stride, Py_ssize_t row_dilation, Py_ssize_t column_dilation,
    Py_ssize_t top, Py_ssize_t left, Py_ssize_t row_spread, Py_ssize_t column_spread,
) noexcept nogil
cdef Py_ssize_t band_rows(geometry g, Py_ssize_t most, Py_ssize_t window) noexcept nogil
cdef Py_ssize_t bands(geometry g) noexcept nogil
cdef Py_ssize_t tile_size(geometry g, Py_ssize_t channels) noexcept nogil
cdef const floating *view_tile(
    geometry g, const floating *x, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count,
    Py_ssize_t channel, Py_ssize_t channels, floating *tile, floating *spare,
) noexcept nogil
cdef Py_ssize_t runs_in_row(geometry g) noexcept nogil
cdef Py_ssize_t pooled_offset(geometry g, Py_ssize_t image, Py_ssize_t row) noexcept nogil
cdef void fill_planes(
    geometry g, const floating *x, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count,
    Py_ssize_t plane, Py_ssize_t plane_row, floating *planes, floating *spare,
) noexcept nogil
cdef Py_ssize_t image_blocks(Py_ssize_t images, Py_ssize_t positions) noexcept nogil
cdef Py_ssize_t lines(Py_ssize_t size) noexcept nogil
cdef Py_ssize_t spare_size(geometry g) noexcept nogil
cdef pooled_gradient windows_of(geometry g, Py_ssize_t rows, floating *lists, Py_ssize_t entries) noexcept nogil
cdef Py_ssize_t lists_size(geometry g, Py_ssize_t entries, floating kind) noexcept nogil
