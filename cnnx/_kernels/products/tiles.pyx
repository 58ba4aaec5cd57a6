"""What a convolution reads and writes, its bands of output rows, and the tiles they read.

A tile, the few image rows that a band of output rows needs, is copied once with its zero padding into a buffer
that stays in cache. In an NHWC image the columns of a filter row, (column, channel), are neighbours in memory,
and the next output position's columns begin one stride further: they overlap. So gemm.h reads the columns of a tile
through strides, and the matrix of columns is never written out. Images that need no padding are read where they lie.

With dilation the pixels under a filter lie apart, and each of them is read where it lies: no zeros come between the
weights. A filter row stays whole where only rows lie apart; where columns do, the product takes pixel after pixel.

A pooled gradient has a value and its place for each window; a tile spreads its rows out, and pooled_gradient.h lists
its windows and what lies below them.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport loops_for
from cnnx._kernels.ground.loops cimport pooled_gradient
from cnnx._kernels.ground.shapes cimport as_tuple

cdef enum:
    MOST_BLOCKS = 16
    BLOCK_POSITIONS = 2048


cdef int take_pairs(const char *name, tuple window, int count, pair *pairs) except -1:
    """A window as a kernel is given it: so many pairs of integers."""
    cdef Py_ssize_t height, width
    cdef int i
    try:
        if len(window) != count:
            raise ValueError
        for i in range(count):
            height, width = window[i]
            pairs[i] = pair(height, width)
    except (OverflowError, TypeError, ValueError) as error:
        raise type(error)(f"{name.decode()}: window: expected {count} pairs of integers, got {window!r}") from None
    return 0


cdef call unpooled(
    const char *name, const Py_ssize_t *x, const Py_ssize_t *W, const Py_ssize_t *out, tuple window,
) except *:
    """A convolution by itself, whose window is (stride, padding, dilation)."""
    cdef pair[3] w
    take_pairs(name, window, 3, w)
    return call(
        name=name, x=x, W=W, out=out, stride=w[0], padding=w[1], dilation=w[2], size=pair(out[1], out[2]),
        pool=pair(1, 1))


cdef too_far(const call *c):
    """The error where a product of sizes might be more than an index can hold."""
    return ValueError(
        f"{c.name.decode()}: stride {c.stride.height, c.stride.width}, "
        f"padding {c.padding.height, c.padding.width} or dilation {c.dilation.height, c.dilation.width} "
        f"reaches too far beyond images {as_tuple(c.x, 4)}")


cdef call with_pooling(
    const char *name, const Py_ssize_t *x, const Py_ssize_t *W, const Py_ssize_t *out, tuple window,
) except *:
    """A convolution and max pooling, whose window is (stride, padding, size, pool_size)."""
    cdef pair[4] w
    take_pairs(name, window, 4, w)
    return call(
        name=name, x=x, W=W, out=out, stride=w[0], padding=w[1], dilation=pair(1, 1), size=w[2], pool=w[3])


cdef geometry measure(nhwc x, nhwc out, sliding s) noexcept nogil:
    cdef geometry g
    g.images, g.height, g.width, g.channels = x.images, x.height, x.width, x.channels
    g.filter_height, g.filter_width = s.filter_size.height, s.filter_size.width
    g.rows, g.columns, g.filters = out.height, out.width, out.channels
    g.row_stride, g.column_stride = s.stride.height, s.stride.width
    # A single row or column has no neighbour.
    g.row_dilation = s.dilation.height if g.filter_height > 1 else 1
    g.column_dilation = s.dilation.width if g.filter_width > 1 else 1
    g.span_height = (g.filter_height - 1) * g.row_dilation + 1
    g.span_width = (g.filter_width - 1) * g.column_dilation + 1
    g.top, g.left = s.padding.height, s.padding.width
    g.row_spread, g.column_spread = s.spread.height, s.spread.width
    g.band_rows = g.rows
    g.pool_height = g.pool_width = 1
    g.pools = False
    g.places = NULL
    g = with_copies(g)
    g.copied = not (
        g.top == 0 and g.left == 0 and g.row_spread == 1 and g.column_spread == 1
        and g.tile_width <= g.width and tile_rows(&g, g.rows) <= g.height
    )
    if not g.copied:
        g.tile_width = g.width
    return g


cdef geometry pooled(geometry g, pair window) noexcept nogil:
    """With max pooling behind, of windows that do not overlap: only the largest outputs are written."""
    g.pool_height, g.pool_width, g.pools = window.height, window.width, True
    return g


cdef geometry reading_pooled(geometry g, pair window, const uint8_t *places) noexcept nogil:
    """With images that are read from the gradient of a max pooling, and spread out in tiles."""
    g.pool_height, g.pool_width, g.places = window.height, window.width, places
    return with_copies(g)


cdef geometry with_copies(geometry g) noexcept nogil:
    """With tiles that have room for all that is read, also past a row's last pixel."""
    g.copied, g.tile_width = True, (g.columns - 1) * g.column_stride + g.span_width
    return g


cdef geometry with_bands(geometry g, Py_ssize_t rows) noexcept nogil:
    g.band_rows = rows
    return g


cdef geometry with_filter_rows(geometry g, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """With some rows of the filters alone."""
    g.top -= begin * g.row_dilation
    g.filter_height, g.span_height = end - begin, (end - begin - 1) * g.row_dilation + 1
    return g


cdef Py_ssize_t even_rows(const geometry *g, Py_ssize_t most, Py_ssize_t unit) noexcept nogil:
    """Rows of bands, `most` or fewer, that hold whole units of rows and differ little."""
    cdef Py_ssize_t count, units = max(1, g.rows // unit)
    most = max(1, min(most // unit, units))
    count = (units + most - 1) // most
    return (units + count - 1) // count * unit


cdef Py_ssize_t bands(const geometry *g) noexcept nogil:
    """Of an image."""
    return (g.rows + g.band_rows - 1) // g.band_rows


cdef band band_of(const geometry *g, Py_ssize_t number) noexcept nogil:
    """One of the bands of all images."""
    cdef band at
    at.image, at.first = number // bands(g), number % bands(g) * g.band_rows
    at.count = min(g.band_rows, g.rows - at.first)
    return at


cdef Py_ssize_t tile_rows(const geometry *g, Py_ssize_t count) noexcept nogil:
    """Rows behind so many output rows."""
    return (count - 1) * g.row_stride + g.span_height


cdef Py_ssize_t tile_size(const geometry *g, Py_ssize_t channels) noexcept nogil:
    return tile_rows(g, g.band_rows) * g.tile_width * channels if g.copied else 0


cdef Py_ssize_t next_row(const geometry *g, Py_ssize_t h, Py_ssize_t count) noexcept nogil:
    """The first row from h on of those behind `count` output rows that lies under a filter's row.

    Dilation and strides leave some out, which are passed over at once, however many there are."""
    cdef Py_ssize_t i, row, first, last, found = tile_rows(g, count)
    if g.row_dilation == 1 and g.row_stride <= g.filter_height:
        return h
    for i in range(g.filter_height):
        first = i * g.row_dilation
        last = first + (count - 1) * g.row_stride
        row = first if h <= first else first + (h - first + g.row_stride - 1) // g.row_stride * g.row_stride
        if row <= last:
            found = min(found, row)
    return found


cdef const floating *image_row(
    const geometry *g, const floating *x, Py_ssize_t image, Py_ssize_t row, floating *spare,
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
    const geometry *g, const floating *x, band at, Py_ssize_t channel, Py_ssize_t channels, floating *tile,
    floating *spare,
) noexcept nogil:
    """Channels of the padded rows behind a band's output rows, copied if they must be.

    Rows that no filter's row reads are left as they are.
    """
    cdef Py_ssize_t origin = at.first * g.row_stride - g.top, row_size = g.tile_width * channels
    cdef Py_ssize_t h, source_row, begin, end
    if not g.copied:
        return x + (at.image * g.height + origin) * g.width * g.channels
    # The source columns begin .. end fall into the tile.
    begin = 0 if g.left >= 0 else (-g.left + g.column_spread - 1) // g.column_spread
    end = (g.tile_width - g.left + g.column_spread - 1) // g.column_spread
    end = max(begin, min(end, g.width))
    h = next_row(g, 0, at.count)
    while h < tile_rows(g, at.count):
        source_row = origin + h
        if source_row < 0 or source_row % g.row_spread or source_row // g.row_spread >= g.height or begin == end:
            memset(tile + h * row_size, 0, row_size * sizeof(floating))
        else:
            copy_columns(
                g, image_row(g, x, at.image, source_row // g.row_spread, spare) + channel, begin, end, channels,
                tile + h * row_size)
        h = next_row(g, h + 1, at.count)
    return tile


cdef void copy_columns(
    const geometry *g, const floating *source, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t channels, floating *row,
) noexcept nogil:
    """Columns begin .. end of an image's row into a tile's, with zeros around and between them."""
    cdef Py_ssize_t w
    if g.column_spread > 1:
        memset(row, 0, g.tile_width * channels * sizeof(floating))
        for w in range(begin, end):
            memcpy(row + (w * g.column_spread + g.left) * channels, source + w * g.channels,
                   channels * sizeof(floating))
        return
    memset(row, 0, (begin + g.left) * channels * sizeof(floating))
    if channels == g.channels:
        memcpy(row + (begin + g.left) * channels, source + begin * channels,
               (end - begin) * channels * sizeof(floating))
    else:
        for w in range(begin, end):
            memcpy(row + (w + g.left) * channels, source + w * g.channels, channels * sizeof(floating))
    w = end + g.left
    memset(row + w * channels, 0, (g.tile_width - w) * channels * sizeof(floating))


cdef bint pools_in_registers(const geometry *g) noexcept nogil:
    """Whether the products' loops pool windows of this size themselves."""
    return g.pools and g.pool_height == 2 and g.pool_width == 2


cdef Py_ssize_t runs_in_row(const geometry *g) noexcept nogil:
    """Runs of neighbouring pixels under a row of a filter."""
    return 1 if g.column_dilation == 1 else g.filter_width


cdef Py_ssize_t pooled_offset(const geometry *g, Py_ssize_t image, Py_ssize_t row) noexcept nogil:
    """Where the row of windows begins that an output row belongs to."""
    return (image * (g.rows // g.pool_height) + row // g.pool_height) * (g.columns // g.pool_width) * g.filters


cdef void fill_planes(
    const geometry *g, const floating *x, band at, pair phases, Py_ssize_t plane, Py_ssize_t plane_row,
    floating *planes, floating *spare,
) noexcept nogil:
    """The rows behind a band's output rows, a plane for each channel; margins are left as they are.

    They are zeros already where an image is a single band, like the one before it, and else to be cleared before. With
    phases, each (height-th row, width-th column) has planes of its own, those of the first row's columns first.
    """
    cdef Py_ssize_t origin = at.first * g.row_stride - g.top, C = g.channels
    cdef Py_ssize_t h, phase, first, begin = max(0, -g.left), end = min(g.width, g.tile_width - g.left)
    cdef const floating *source
    h = next_row(g, max(0, -origin), at.count)
    while h < min(tile_rows(g, at.count), g.height - origin):
        source = image_row(g, x, at.image, origin + h, spare)
        for phase in range(phases.width):
            first = begin + (phase + phases.width - (begin + g.left) % phases.width) % phases.width
            if first < end:
                loops_for(sizeof(floating)).split_row(
                    source + first * C, phases.width * C, (end - first + phases.width - 1) // phases.width, C, plane,
                    planes + (h % phases.height * phases.width + phase) * C * plane
                    + h // phases.height * plane_row + (first + g.left) // phases.width)
        h = next_row(g, h + 1, at.count)


cdef Py_ssize_t image_blocks(const geometry *g, Py_ssize_t positions) noexcept nogil:
    """Blocks of images with a partial weight gradient each, where an image has so many positions.

    More would let more threads work, and cost memory and a longer final sum; so a block has at least so many positions.
    """
    return max(1, min(min(g.images, MOST_BLOCKS), g.images * positions // BLOCK_POSITIONS))


cdef void move_sums(floating *sums, floating *totals, Py_ssize_t count) noexcept nogil:
    """Add sums to totals, and begin them again."""
    cdef Py_ssize_t i
    for i in range(count):
        totals[i] += sums[i]
        sums[i] = 0


cdef Py_ssize_t aligned(Py_ssize_t size) noexcept nogil:
    """Elements, rounded up to whole cache lines."""
    return (size + 15) // 16 * 16


cdef Py_ssize_t table_room(Py_ssize_t entries, floating kind) noexcept nogil:
    """Elements in whose place a table of so many integers fits; `kind` only carries the type."""
    return aligned(entries * <Py_ssize_t>sizeof(Py_ssize_t) // <Py_ssize_t>sizeof(floating))


cdef Py_ssize_t spare_size(const geometry *g) noexcept nogil:
    return 0 if g.places == NULL else g.width * g.channels


cdef pooled_gradient windows_of(
    const geometry *g, Py_ssize_t rows, Py_ssize_t weights_row, floating *lists, Py_ssize_t entries,
) noexcept nogil:
    """The windows of `rows` output rows; `lists` has room for so many entries, and the ends of a row's lists."""
    cdef pooled_gradient p
    p.windows, p.window_columns = (rows + g.pool_height - 1) // g.pool_height, g.columns // g.pool_width
    p.height, p.width = g.pool_height, g.pool_width
    p.channels = g.filters
    p.position_column = g.column_stride * g.channels
    p.tile_row = g.tile_width * g.channels
    p.position_row = g.row_stride * p.tile_row
    p.filter_rows, p.columns = g.filter_height, g.filter_width * g.channels
    p.weights_row = weights_row
    p.gradients = lists
    p.offsets = <Py_ssize_t *>(lists + aligned(entries))
    p.ends = p.offsets + entries
    return p


cdef Py_ssize_t lists_size(const geometry *g, Py_ssize_t entries, floating kind) noexcept nogil:
    """Room for the lists of `windows_of`; `kind` only carries the type."""
    return aligned(entries) + table_room[floating](entries + g.columns, kind)
