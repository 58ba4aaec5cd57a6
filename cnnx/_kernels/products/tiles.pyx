"""What a convolution reads and writes, its bands of output rows, and the tiles they read.

A tile, the few image rows that a band of output rows needs, is copied once with its zero padding into a buffer
that stays in cache. In an NHWC image the columns of a filter row, (column, channel), are neighbours in memory,
and the next output position's columns begin one stride further: they overlap. So gemm.h reads the columns of a tile
through strides, and the matrix of columns is never written out. Images that need no padding are read where they lie.

With dilation the pixels under a filter lie apart, and each of them is read where it lies: no zeros come between the
weights. A filter row stays whole where only rows lie apart; where columns do, the product takes pixel after pixel.

A pooled gradient has a value and its place for each window; a tile spreads its rows out, and pooled.h lists its
windows and what lies below them.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport loops_for, pooled_gradient

cdef enum:
    MOST_BLOCKS = 16
    BLOCK_POSITIONS = 2048


cdef geometry measure(
    Py_ssize_t images, Py_ssize_t height, Py_ssize_t width, Py_ssize_t channels,
    Py_ssize_t filter_height, Py_ssize_t filter_width,
    Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t filters,
    Py_ssize_t row_stride, Py_ssize_t column_stride, Py_ssize_t row_dilation, Py_ssize_t column_dilation,
    Py_ssize_t top, Py_ssize_t left, Py_ssize_t row_spread, Py_ssize_t column_spread,
) noexcept nogil:
    cdef geometry g
    g.images, g.height, g.width, g.channels = images, height, width, channels
    g.filter_height, g.filter_width = filter_height, filter_width
    g.rows, g.columns, g.filters = rows, columns, filters
    g.row_stride, g.column_stride = row_stride, column_stride
    # A single row or column has no neighbour.
    g.row_dilation = row_dilation if filter_height > 1 else 1
    g.column_dilation = column_dilation if filter_width > 1 else 1
    g.window_height = (filter_height - 1) * g.row_dilation + 1
    g.window_width = (filter_width - 1) * g.column_dilation + 1
    g.top, g.left = top, left
    g.row_spread, g.column_spread = row_spread, column_spread
    g.tile_width = (columns - 1) * column_stride + g.window_width
    g.copied = not (
        top == 0 and left == 0 and row_spread == 1 and column_spread == 1
        and g.tile_width <= width and (rows - 1) * row_stride + g.window_height <= height
    )
    if not g.copied:
        g.tile_width = width
    g.band = rows
    g.pool_height = g.pool_width = 1
    g.pools = False
    g.places = NULL
    return g


cdef Py_ssize_t band_rows(geometry g, Py_ssize_t most, Py_ssize_t window) noexcept nogil:
    """At most `most` output rows at a time, in bands of whole windows of rows that differ little."""
    cdef Py_ssize_t count, windows = max(1, g.rows // window)
    most = max(1, min(most // window, windows))
    count = (windows + most - 1) // most
    return (windows + count - 1) // count * window


cdef Py_ssize_t bands(geometry g) noexcept nogil:
    return (g.rows + g.band - 1) // g.band


cdef Py_ssize_t tile_size(geometry g, Py_ssize_t channels) noexcept nogil:
    if not g.copied:
        return 0
    return ((g.band - 1) * g.row_stride + g.window_height) * g.tile_width * channels


cdef bint is_read(geometry g, Py_ssize_t h, Py_ssize_t count) noexcept nogil:
    """Whether row h of those behind `count` output rows lies under a filter's row; dilation leaves some out."""
    cdef Py_ssize_t i
    for i in range(g.filter_height):
        if h < 0:
            return False
        if h % g.row_stride == 0 and h // g.row_stride < count:
            return True
        h -= g.row_dilation
    return False


cdef const floating *image_row(
    geometry g, const floating *x, Py_ssize_t image, Py_ssize_t row, floating *spare,
) noexcept nogil:
    """A row of an image; that of a pooled gradient is spread out into `spare`."""
    cdef Py_ssize_t pooled, pooled_columns
    if g.places == NULL:
        return x + (image * g.height + row) * g.width * g.channels
    pooled_columns = g.width // g.pool_width
    pooled = (image * (g.height // g.pool_height) + row // g.pool_height) * pooled_columns * g.channels
    loops_for(sizeof(floating)).spread_row(
        x + pooled, g.places + pooled, pooled_columns, g.pool_width, row % g.pool_height * g.pool_width,
        g.channels, spare)
    return spare


cdef const floating *view_tile(
    geometry g, const floating *x, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count,
    Py_ssize_t channel, Py_ssize_t channels, floating *tile, floating *spare,
) noexcept nogil:
    """Channels of the padded rows behind output rows first .. first + count, copied if they must be.

    Rows that no filter's row reads are left as they are.
    """
    cdef Py_ssize_t origin = first * g.row_stride - g.top, row_size = g.tile_width * channels
    cdef Py_ssize_t h, w, source_row, begin, end
    cdef const floating *source
    cdef floating *row
    if not g.copied:
        return x + (image * g.height + origin) * g.width * g.channels
    # The source columns begin .. end fall into the tile.
    begin = 0 if g.left >= 0 else (-g.left + g.column_spread - 1) // g.column_spread
    end = (g.tile_width - g.left + g.column_spread - 1) // g.column_spread
    end = max(begin, min(end, g.width))
    for h in range((count - 1) * g.row_stride + g.window_height):
        if g.row_dilation > 1 and not is_read(g, h, count):
            continue
        row = tile + h * row_size
        source_row = origin + h
        if source_row < 0 or source_row % g.row_spread or source_row // g.row_spread >= g.height or begin == end:
            memset(row, 0, row_size * sizeof(floating))
            continue
        source = image_row(g, x, image, source_row // g.row_spread, spare) + channel
        if g.column_spread == 1:
            memset(row, 0, (begin + g.left) * channels * sizeof(floating))
            if channels == g.channels:
                memcpy(row + (begin + g.left) * channels, source + begin * channels,
                       (end - begin) * channels * sizeof(floating))
            else:
                for w in range(begin, end):
                    memcpy(row + (w + g.left) * channels, source + w * g.channels, channels * sizeof(floating))
            w = end + g.left
            memset(row + w * channels, 0, (g.tile_width - w) * channels * sizeof(floating))
        else:
            memset(row, 0, row_size * sizeof(floating))
            for w in range(begin, end):
                memcpy(row + (w * g.column_spread + g.left) * channels, source + w * g.channels,
                       channels * sizeof(floating))
    return tile


cdef Py_ssize_t runs_in_row(geometry g) noexcept nogil:
    """Runs of neighbouring pixels under a row of a filter."""
    return 1 if g.column_dilation == 1 else g.filter_width


cdef Py_ssize_t pooled_offset(geometry g, Py_ssize_t image, Py_ssize_t row) noexcept nogil:
    """Where the row of windows begins that an output row belongs to."""
    return (image * (g.rows // g.pool_height) + row // g.pool_height) * (g.columns // g.pool_width) * g.filters


cdef void fill_planes(
    geometry g, const floating *x, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count,
    Py_ssize_t plane, Py_ssize_t plane_row, floating *planes, floating *spare,
) noexcept nogil:
    """The rows behind output rows first .. first + count, a plane for each channel; margins are left as they are.

    They are zeros already where an image is a single band, like the one before it, and else to be cleared before.
    """
    cdef Py_ssize_t origin = first * g.row_stride - g.top, C = g.channels
    cdef Py_ssize_t rows = (count - 1) * g.row_stride + g.window_height
    cdef Py_ssize_t h, begin = max(0, -g.left), end = min(g.width, g.tile_width - g.left)
    cdef const floating *source
    cdef floating *row
    for h in range(rows):
        if not 0 <= origin + h < g.height or begin >= end or g.row_dilation > 1 and not is_read(g, h, count):
            continue
        source = image_row(g, x, image, origin + h, spare) + begin * C
        row = planes + h * plane_row + g.left + begin
        if C == 1:
            memcpy(row, source, (end - begin) * sizeof(floating))
        else:
            loops_for(sizeof(floating)).split_row(source, end - begin, C, plane, row)


cdef Py_ssize_t image_blocks(Py_ssize_t images, Py_ssize_t positions) noexcept nogil:
    """Blocks of images with a partial weight gradient each.

    More would let more threads work, and cost memory and a longer final sum; so a block has at least so many positions.
    """
    return max(1, min(min(images, MOST_BLOCKS), images * positions // BLOCK_POSITIONS))


cdef Py_ssize_t lines(Py_ssize_t size) noexcept nogil:
    """Rounded up to whole cache lines."""
    return (size + 15) // 16 * 16


cdef Py_ssize_t spare_size(geometry g) noexcept nogil:
    return 0 if g.places == NULL else g.width * g.channels


cdef pooled_gradient windows_of(geometry g, Py_ssize_t rows, floating *lists, Py_ssize_t entries) noexcept nogil:
    """The windows of `rows` output rows; `lists` has room for so many entries, and the ends of a row's lists."""
    cdef pooled_gradient p
    p.windows, p.window_columns = (rows + g.pool_height - 1) // g.pool_height, g.columns // g.pool_width
    p.height, p.width = g.pool_height, g.pool_width
    p.channels = g.filters
    p.step = g.column_stride * g.channels
    p.tile_row = g.tile_width * g.channels
    p.position_row = g.row_stride * p.tile_row
    p.filter_rows, p.columns = g.filter_height, g.filter_width * g.channels
    p.weights_row = 0  # set by those that read weights
    p.gradients = lists
    p.offsets = <Py_ssize_t *>(lists + lines(entries))
    p.ends = p.offsets + entries
    return p


cdef Py_ssize_t lists_size(geometry g, Py_ssize_t entries, floating kind) noexcept nogil:
    """Room for the lists of `windows_of`; `kind` only carries the type."""
    cdef Py_ssize_t offsets = (entries + g.columns) * <Py_ssize_t>sizeof(Py_ssize_t) // <Py_ssize_t>sizeof(floating)
    return lines(entries) + lines(offsets)
