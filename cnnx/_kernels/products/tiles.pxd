from libc.stdint cimport uint8_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.loops cimport pooled_gradient

cdef enum:
    # A few images are cut into so many bands that several threads have work.
    FEWEST_TASKS = 8
    # Positions, about, whose gradients are added up in one number of the array's own precision. Longer sums lose digits.
    LONGEST = 16384


cdef struct pair:
    Py_ssize_t height, width


cdef struct call:
    # The kernel that is called, its arrays' shapes, and how filters slide over the images and windows over the outputs.
    const char *name
    const Py_ssize_t *x
    const Py_ssize_t *W
    const Py_ssize_t *out   # with pooling, of its outputs
    pair stride, padding, dilation
    pair size, pool         # of the convolution's outputs, and of windows


cdef struct nhwc:
    Py_ssize_t images, height, width, channels


cdef struct sliding:
    # How filters slide over images.
    pair filter_size, stride, dilation
    pair padding                                    # before the image; negative crops
    pair spread                                     # distance of neighbouring pixels once zeros lie between


cdef struct geometry:
    Py_ssize_t images, height, width, channels      # what is read
    Py_ssize_t filter_height, filter_width
    Py_ssize_t rows, columns, filters               # what is written
    Py_ssize_t row_stride, column_stride
    Py_ssize_t row_dilation, column_dilation        # distance of neighbouring pixels under a filter
    Py_ssize_t span_height, span_width              # what a filter spans
    Py_ssize_t top, left                            # padding; negative crops
    Py_ssize_t row_spread, column_spread            # distance of neighbouring pixels once zeros lie between
    Py_ssize_t tile_width                           # columns of the padded image that are read
    Py_ssize_t band_rows                            # output rows at a time
    bint copied                                     # False: read the image where it lies
    Py_ssize_t pool_height, pool_width              # windows pooled after the convolution; 1 for none
    bint pools                                      # whether only the largest of each window is written
    const uint8_t *places                           # where an image read is a pooled gradient: its maxima


cdef struct band:
    # Neighbouring output rows of one image.
    Py_ssize_t image, first, count


cdef call unpooled(
    const char *name, const Py_ssize_t *x, const Py_ssize_t *W, const Py_ssize_t *out, tuple window) except *
cdef call with_pooling(
    const char *name, const Py_ssize_t *x, const Py_ssize_t *W, const Py_ssize_t *out, tuple window) except *
cdef too_far(const call *c)
cdef geometry measure(nhwc x, nhwc out, sliding s) noexcept nogil
cdef geometry pooled(geometry g, pair window) noexcept nogil
cdef geometry reading_pooled(geometry g, pair window, const uint8_t *places) noexcept nogil
cdef geometry with_copies(geometry g) noexcept nogil
cdef geometry with_bands(geometry g, Py_ssize_t rows) noexcept nogil
cdef geometry with_filter_rows(geometry g, Py_ssize_t begin, Py_ssize_t end) noexcept nogil
cdef Py_ssize_t even_rows(const geometry *g, Py_ssize_t most, Py_ssize_t unit) noexcept nogil
cdef Py_ssize_t bands(const geometry *g) noexcept nogil
cdef band band_of(const geometry *g, Py_ssize_t number) noexcept nogil
cdef Py_ssize_t tile_rows(const geometry *g, Py_ssize_t count) noexcept nogil
cdef Py_ssize_t tile_size(const geometry *g, Py_ssize_t channels) noexcept nogil
cdef const floating *view_tile(
    const geometry *g, const floating *x, band at, Py_ssize_t channel, Py_ssize_t channels, floating *tile,
    floating *spare,
) noexcept nogil
cdef bint pools_in_registers(const geometry *g) noexcept nogil
cdef Py_ssize_t runs_in_row(const geometry *g) noexcept nogil
cdef Py_ssize_t pooled_offset(const geometry *g, Py_ssize_t image, Py_ssize_t row) noexcept nogil
cdef void fill_planes(
    const geometry *g, const floating *x, band at, pair phases, Py_ssize_t plane, Py_ssize_t plane_row,
    floating *planes, floating *spare,
) noexcept nogil
cdef Py_ssize_t image_blocks(const geometry *g, Py_ssize_t positions) noexcept nogil
cdef void move_sums(floating *sums, floating *totals, Py_ssize_t count) noexcept nogil
cdef Py_ssize_t aligned(Py_ssize_t size) noexcept nogil
cdef Py_ssize_t table_room(Py_ssize_t entries, floating kind) noexcept nogil
cdef Py_ssize_t spare_size(const geometry *g) noexcept nogil
cdef pooled_gradient windows_of(
    const geometry *g, Py_ssize_t rows, Py_ssize_t weights_row, floating *lists, Py_ssize_t entries,
) noexcept nogil
cdef Py_ssize_t lists_size(const geometry *g, Py_ssize_t entries, floating kind) noexcept nogil
