"""Convolution of NHWC images: forward, input gradient, weight gradient.

Tiled im2col without the copies. In an NHWC image the columns of a filter row, (column, channel), are
neighbours in memory, and the next output position's columns begin one stride further: they overlap. So
the matrix of columns is never written out. A tile, the few image rows that a band of output rows needs,
is copied once with its zero padding into a buffer that stays in cache, and gemm.h reads its columns
through strides. Images that need no padding are read where they lie.

forward          output[band, F]  = columns[band, K]    . W[K, F]          task: a band of one image
input gradient   the same, of the output gradient spread by the stride, with the flipped weights
weight gradient  W[K, F] = sum of columns[band, K]^T . grad[band, F]       task: a block of images

K = filter_height * filter_width * channels. Bands and blocks depend on the shapes alone.

With dilation the pixels under a filter lie apart, and each of them is read where it lies: no zeros come between the
weights. A filter row stays whole where only rows lie apart; where columns do, the product takes pixel after pixel.

With few filters, or few columns in a filter row, a vector of filters would be mostly empty. Then the product
is turned over: forward, the tile is a plane for each channel and a vector holds neighbouring positions; for
the weight gradient a vector holds a filter row.

Where ReLU and a max pooling of windows that do not overlap follow, a band of output rows stays in a thread's
buffer and only the pooled rows are written, with the place of each maximum; the gradient's rows are spread
out again from these when a tile or a band asks for them. What lies between is never in memory.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from cnnx._kernels.floating cimport floating
from cnnx._kernels.gemm cimport (
    cut_panels, multiply, multiply_grid, pack_panel, padded_columns, panel_columns, panel_offset, panel_width, panels,
)
from cnnx._kernels.instruction_sets cimport CLOSED, in_use, loops_for, pooled_gradient, product
from cnnx._kernels.parallel cimport allocate, release, tasks_for, threads_for
from cnnx._kernels.shapes cimport as_tuple, same_shape

# Bytes. Forward, a tile shares the second-level cache with a panel of weights. For the weight gradient, a tile of
# a few channels and a panel of the gradients of its positions stay in the first-level cache.
cdef enum:
    FORWARD_TILE = 98304
    POOLED_BAND = 49152
    GRADIENT_TILE = 18432
    GRADIENT_CHANNELS = 32
    GRADIENT_POSITIONS = 128
    # With few columns in a filter row a tile is small; a band is whole windows of the usual poolings.
    TURNED_TILE = 65536
    SCATTERED_TILE = 262144
    MANY_WEIGHTS = 64
    TURNED_BAND = 12
    # A few images are cut into so many bands that several threads have work.
    FEWEST_TASKS = 8

# Elements of a padded image; to have room for more is a mistake, and their number in bytes overflows soon after.
cdef Py_ssize_t LARGEST_TILE = 1 << 48

# Blocks of images with a partial weight gradient each. More would let more threads work, and cost memory
# and a longer final sum; so a block also has at least so many positions.
cdef enum:
    MOST_BLOCKS = 16
    BLOCK_POSITIONS = 2048


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
    const uint8_t *places                           # where an image read is a pooled gradient: its maxima


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
    g.places = NULL
    return g


cdef Py_ssize_t band_rows(geometry g, Py_ssize_t most, Py_ssize_t window) noexcept nogil:
    """At most `most` output rows at a time, in bands of whole windows of rows that differ little."""
    cdef Py_ssize_t count, windows = g.rows // window
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


cdef void correlate_band(
    geometry g, const floating *x, panels cut, const floating *packed, const floating *bias, bint relu,
    floating *out, uint8_t *argmax, Py_ssize_t task, floating *tile, floating *spare, floating *rows,
    Py_ssize_t *runs,
) noexcept nogil:
    """Output rows of one band of one image, into `out` or, to be pooled, into `rows`."""
    cdef Py_ssize_t image = task // bands(g), first = (task % bands(g)) * g.band
    cdef Py_ssize_t count = min(g.band, g.rows - first)
    cdef Py_ssize_t row_size = g.tile_width * g.channels
    cdef Py_ssize_t i, oh, panel
    cdef const floating *columns = view_tile(g, x, image, first, count, 0, g.channels, tile, spare)
    cdef product p
    cdef Py_ssize_t row_runs = runs_in_row(g)
    cdef Py_ssize_t *packed_runs = runs + g.filter_height * row_runs
    p.runs, p.depth = g.filter_height * row_runs, g.filter_width // row_runs * g.channels
    p.a_runs, p.a_depth = runs, 1
    p.b_runs = packed_runs
    p.accumulate, p.relu = False, relu and argmax == NULL
    if argmax == NULL:
        p.c_row = g.filters
        rows = out + (image * g.rows + first) * g.columns * g.filters
    else:
        p.c_row = padded_columns(cut)
    cdef bint in_registers = argmax != NULL and pools_in_registers(g)
    cdef Py_ssize_t pooled_row = g.columns // g.pool_width * g.filters
    cdef Py_ssize_t pooled = (image * g.rows + first) // g.pool_height * pooled_row
    if in_registers:
        p.a_row, p.c_row, p.relu = g.column_stride * g.channels, g.filters, relu
    for panel in range(cut.count):
        p.columns = panel_width(cut, panel) if argmax != NULL and not in_registers else panel_columns(cut, panel)
        p.b_depth = panel_width(cut, panel)
        for i in range(p.runs):
            runs[i] = i // row_runs * g.row_dilation * row_size + i % row_runs * g.column_dilation * g.channels
            packed_runs[i] = i * p.depth * p.b_depth
        p.bias = NULL if bias == NULL else <const void *>(bias + panel * 2 * cut.lanes)
        if in_registers:
            for oh in range(count // 2):
                loops_for(sizeof(floating)).pool_block(
                    g.columns // 2, &p, g.row_stride * row_size, columns + 2 * oh * g.row_stride * row_size,
                    packed + panel_offset(cut, panel), out + pooled + oh * pooled_row + panel * 2 * cut.lanes,
                    argmax + pooled + oh * pooled_row + panel * 2 * cut.lanes)
            continue
        multiply_grid(
            p, count, g.columns, g.row_stride * row_size, g.column_stride * g.channels, columns,
            packed + panel_offset(cut, panel), rows + panel * 2 * cut.lanes)
    if argmax != NULL and not in_registers:
        pool_band(g, image, first, count, rows, p.c_row, relu, out, argmax)


cdef bint pools_in_registers(geometry g) noexcept nogil:
    return g.pool_height == 2 and g.pool_width == 2


cdef void pool_band(
    geometry g, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count, const floating *rows, Py_ssize_t channels,
    bint relu, floating *out, uint8_t *argmax,
) noexcept nogil:
    """The largest of each window of a band's rows, whose positions are `channels` apart."""
    cdef Py_ssize_t oh, pooled_columns = g.columns // g.pool_width
    cdef Py_ssize_t pooled = (image * g.rows + first) // g.pool_height * pooled_columns * g.filters
    for oh in range(0, count // g.pool_height):
        loops_for(sizeof(floating)).max_row(
            rows + oh * g.pool_height * g.columns * channels, g.pool_height, g.pool_width, g.columns * channels,
            g.pool_width, pooled_columns, channels, g.filters, relu, out + pooled, argmax + pooled)
        pooled += pooled_columns * g.filters


cdef void fill_planes(
    geometry g, const floating *x, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count,
    Py_ssize_t plane, Py_ssize_t plane_row, floating *planes, floating *spare,
) noexcept nogil:
    """The padded rows behind output rows first .. first + count, a plane for each channel."""
    cdef Py_ssize_t origin = first * g.row_stride - g.top, C = g.channels
    cdef Py_ssize_t h, w, c, begin = max(0, -g.left), end = min(g.width, g.tile_width - g.left)
    cdef const floating *source
    cdef floating *row
    for h in range((count - 1) * g.row_stride + g.window_height):
        if g.row_dilation > 1 and not is_read(g, h, count):
            continue
        for c in range(C):
            memset(planes + c * plane + h * plane_row, 0, plane_row * sizeof(floating))
        if 0 <= origin + h < g.height and begin < end:
            source = image_row(g, x, image, origin + h, spare)
            if C == 1:
                memcpy(planes + h * plane_row + g.left + begin, source + begin, (end - begin) * sizeof(floating))
                continue
            for c in range(C):
                row = planes + c * plane + h * plane_row + g.left
                for w in range(begin, end):
                    row[w] = source[w * C + c]


cdef void correlate_planes(
    geometry g, const floating *x, panels cut, const floating *W, const floating *bias, bint relu,
    floating *out, uint8_t *argmax, Py_ssize_t task, floating *tile, floating *spare, floating *rows,
    Py_ssize_t *runs,
) noexcept nogil:
    """`correlate_band` with few filters: the product's rows are filters, its columns are positions."""
    cdef Py_ssize_t image = task // bands(g), first = (task % bands(g)) * g.band
    cdef Py_ssize_t count = min(g.band, g.rows - first), F = g.filters, wide = 2 * cut.lanes
    cdef Py_ssize_t plane_row = plane_row_size(g, cut)
    cdef Py_ssize_t plane = ((g.band - 1) * g.row_stride + g.window_height) * plane_row
    cdef Py_ssize_t i, j, f, oh, ow, position, block
    cdef Py_ssize_t positions = (g.columns + wide - 1) // wide, pooled_row, pooled
    cdef Py_ssize_t *plane_runs = runs + g.filter_height * g.filter_width
    cdef floating *turned = tile + g.channels * plane  # one block, filter by filter
    cdef floating *target
    cdef floating value
    cdef product p
    fill_planes(g, x, image, first, count, plane, plane_row, tile, spare)
    # The sums are in the order of (i, j, c), as where the product is not turned.
    if g.channels == 1:
        p.runs, p.depth, p.a_depth, p.b_depth = g.filter_height, g.filter_width, F, g.column_dilation
        for i in range(g.filter_height):
            runs[i] = i * g.filter_width * F
            plane_runs[i] = i * g.row_dilation * plane_row
    else:
        p.runs, p.depth, p.a_depth, p.b_depth = g.filter_height * g.filter_width, g.channels, F, plane
        for i in range(g.filter_height):
            for j in range(g.filter_width):
                runs[i * g.filter_width + j] = (i * g.filter_width + j) * g.channels * F
                plane_runs[i * g.filter_width + j] = i * g.row_dilation * plane_row + j * g.column_dilation
    p.a_runs, p.b_runs = runs, plane_runs
    p.bias, p.columns = NULL, wide
    if argmax != NULL and pools_in_registers(g):
        p.bias, p.relu, p.c_row = <const void *>bias, relu, F
        pooled_row = g.columns // 2 * F
        pooled = (image * g.rows + first) // 2 * pooled_row
        for oh in range(count // 2):
            loops_for(sizeof(floating)).pool_planes(
                F, g.columns // 2, &p, g.row_stride * plane_row, W, tile + 2 * oh * g.row_stride * plane_row,
                out + pooled + oh * pooled_row, argmax + pooled + oh * pooled_row)
        return
    if argmax != NULL:
        # A plane for each filter.
        p.accumulate, p.relu, p.c_row = False, False, g.band * positions * wide
        for oh in range(count):
            for position in range(positions):
                multiply(
                    p, F, 1, W, tile + oh * g.row_stride * plane_row + position * wide,
                    rows + (oh * positions + position) * wide)
        pool_planes(g, image, first, count, rows, positions * wide, bias, relu, out, argmax)
        return
    p.accumulate, p.relu, p.c_row = True, relu, wide
    out += (image * g.rows + first) * g.columns * F
    for oh in range(count):
        for position in range(positions):
            ow = position * wide
            # A bias belongs to a row here: the product is added to it.
            for f in range(F):
                value = 0 if bias == NULL else bias[f]
                for i in range(wide):
                    turned[f * wide + i] = value
            multiply(p, F, 1, W, tile + oh * g.row_stride * plane_row + ow, turned)
            block = min(wide, g.columns - ow)
            for f in range(F):
                target = out + (oh * g.columns + ow) * F + f
                for i in range(block):
                    target[i * F] = turned[f * wide + i]


cdef void pool_planes(
    geometry g, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count, const floating *rows, Py_ssize_t row_step,
    const floating *bias, bint relu, floating *out, uint8_t *argmax,
) noexcept nogil:
    """The largest of each window of a band's rows, plus the bias, where each filter has a plane."""
    cdef Py_ssize_t oh, f, pooled_columns = g.columns // g.pool_width
    cdef Py_ssize_t pooled = (image * g.rows + first) // g.pool_height * pooled_columns * g.filters
    for oh in range(0, count // g.pool_height):
        for f in range(g.filters):
            loops_for(sizeof(floating)).max_plane_row(
                rows + (f * g.band + oh * g.pool_height) * row_step, g.pool_height, g.pool_width, row_step,
                pooled_columns, NULL if bias == NULL else bias + f, relu, g.filters,
                out + pooled + f, argmax + pooled + f)
        pooled += pooled_columns * g.filters


cdef bint few_filters(geometry g) noexcept nogil:
    """Whether positions fill vectors better than filters do."""
    return (
        g.filters <= in_use().wide_rows and g.column_stride == 1 and g.row_spread == 1 and g.column_spread == 1
        and g.columns >= 8
    )


cdef Py_ssize_t plane_row_size(geometry g, panels cut) noexcept nogil:
    """Columns of a plane's row: the last vector of positions is read whole, for every column of the filter."""
    cdef Py_ssize_t wide = 2 * cut.lanes
    return max(g.tile_width, (g.columns + wide - 1) // wide * wide + g.window_width - 1)


cdef Py_ssize_t lines(Py_ssize_t size) noexcept nogil:
    """Rounded up to whole cache lines."""
    return (size + 15) // 16 * 16


cdef Py_ssize_t spare_size(geometry g) noexcept nogil:
    return 0 if g.places == NULL else g.width * g.channels


cdef int correlate(
    geometry g, const floating *x, const floating *W, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil:
    """out[n, oh, ow, f] = bias[f] + the sum over i, j, c of W[i, j, c, f] times
    x[n, oh*stride + i*dilation - top, ow*stride + j*dilation - left, c], then ReLU, and pooled where `argmax` is given.
    """
    cdef panels cut = cut_panels[floating](g.filter_height * g.filter_width * g.channels, g.filters, 0)
    cdef Py_ssize_t widened = cut.count * 2 * cut.lanes
    cdef Py_ssize_t row_bytes = g.tile_width * g.channels * sizeof(floating)
    cdef Py_ssize_t most = (FORWARD_TILE // row_bytes - g.window_height + 1) // g.row_stride
    cdef bint turned = few_filters(g)
    if turned:
        g.tile_width = g.columns - 1 + g.window_width
    cdef Py_ssize_t pooled_row = 0
    if argmax != NULL and not pools_in_registers(g):
        pooled_row = g.columns * padded_columns(cut)
        if turned:
            pooled_row = (g.columns + 2 * cut.lanes - 1) // (2 * cut.lanes) * 2 * cut.lanes * g.filters
        most = min(most, POOLED_BAND // (pooled_row * <Py_ssize_t>sizeof(floating)))
    cdef double operations = 2.0 * g.images * g.rows * g.columns * g.filters * cut.depth
    cdef Py_ssize_t wanted = (tasks_for(FEWEST_TASKS, operations) + g.images - 1) // g.images
    most = min(most, (g.rows + wanted - 1) // wanted)
    g.band = band_rows(g, most, 1 if argmax == NULL else g.pool_height)
    cdef Py_ssize_t tasks = g.images * bands(g), task, panel
    cdef int threads = threads_for(tasks, operations)
    cdef Py_ssize_t tile_room = lines(tile_size(g, g.channels)), spare_room = lines(spare_size(g))
    cdef Py_ssize_t tables = 2 * g.filter_height * (g.filter_width if turned else runs_in_row(g))
    if turned:
        tile_room = lines(
            ((g.band - 1) * g.row_stride + g.window_height) * plane_row_size(g, cut) * g.channels
            + g.filters * 2 * cut.lanes)
    cdef Py_ssize_t rows_room = lines(g.band * pooled_row)
    cdef Py_ssize_t private = (
        (tile_room + spare_room + rows_room) * sizeof(floating) + lines(tables) * sizeof(Py_ssize_t))
    cdef Py_ssize_t shared = lines(cut.size + widened) * sizeof(floating)
    cdef char *memory = <char *>allocate(shared + threads * private)
    cdef floating *packed = <floating *>memory
    cdef floating *wide_bias = packed + cut.size
    cdef floating *mine
    if bias == NULL:
        wide_bias = NULL
    else:
        memset(wide_bias, 0, widened * sizeof(floating))
        memcpy(wide_bias, bias, g.filters * sizeof(floating))
    if not turned:
        for panel in prange(cut.count, num_threads=threads_for(cut.count, cut.size), schedule="static"):
            pack_panel(W, g.filters, 1, cut, panel, packed + panel_offset(cut, panel))
    for task in prange(tasks, num_threads=threads, schedule="dynamic"):
        mine = <floating *>(memory + shared + threadid() * private)
        if turned:
            correlate_planes(
                g, x, cut, W, wide_bias, relu, out, argmax, task, mine, mine + tile_room,
                mine + tile_room + spare_room, <Py_ssize_t *>(mine + tile_room + spare_room + rows_room))
        else:
            correlate_band(
                g, x, cut, packed, wide_bias, relu, out, argmax, task, mine, mine + tile_room,
                mine + tile_room + spare_room, <Py_ssize_t *>(mine + tile_room + spare_room + rows_room))
    release(memory)
    return 0


cdef void scatter_image(
    geometry g, const floating *grad, const floating *weights, Py_ssize_t weights_row, Py_ssize_t image,
    floating *out, floating *tile, Py_ssize_t tile_rows, floating *lists,
) noexcept nogil:
    """One image's gradient from its pooled output gradient, through a tile that has room for the padding."""
    cdef Py_ssize_t h, row, size = g.width * g.channels
    cdef pooled_gradient p = windows_of(g, g.rows, lists, g.columns // g.pool_width * g.filters + 1)
    cdef Py_ssize_t pooled = image * p.windows * p.window_columns * g.filters
    p.weights_row = weights_row
    memset(tile, 0, tile_rows * p.tile_row * sizeof(floating))
    loops_for(sizeof(floating)).pooled_inputs(&p, grad + pooled, g.places + pooled, weights, tile)
    out += image * g.height * size
    for h in range(g.height):
        row = h + g.top
        if row < tile_rows:
            memcpy(out + h * size, tile + row * p.tile_row + g.left * g.channels, size * sizeof(floating))
        else:
            memset(out + h * size, 0, size * sizeof(floating))


cdef int scatter(geometry g, const floating *grad, const floating *W, floating *out) except -1 nogil:
    """The input gradient straight from a pooled gradient: `g` is the geometry of the forward pass.

    Each position that has a gradient adds its filter's weights to the window below it. The tile is a padded image.
    """
    cdef panels cut = cut_panels[floating](1, g.filter_width * g.channels, 0)
    cdef Py_ssize_t size = g.filter_width * g.channels, row = (size + cut.lanes - 1) // cut.lanes * cut.lanes
    cdef Py_ssize_t tile_rows = scattered_rows(g)
    cdef Py_ssize_t f, k, i
    g.tile_width = scattered_columns(g)
    cdef Py_ssize_t tile_room = lines(tile_rows * g.tile_width * g.channels + cut.lanes)
    cdef Py_ssize_t lists_room = lists_size[floating](g, g.columns // g.pool_width * g.filters + 1, 0)
    cdef Py_ssize_t shared = lines(g.filters * g.filter_height * row)
    cdef Py_ssize_t windows = g.rows // g.pool_height * (g.columns // g.pool_width)
    cdef int threads = threads_for(g.images, 2.0 * g.images * windows * g.filters * g.filter_height * size)
    cdef floating *weights = <floating *>allocate(
        (shared + threads * (tile_room + lists_room)) * <Py_ssize_t>sizeof(floating))
    cdef floating *mine
    cdef Py_ssize_t image
    memset(weights, 0, shared * sizeof(floating))
    for i in range(g.filter_height):
        for k in range(size):
            for f in range(g.filters):
                weights[(f * g.filter_height + i) * row + k] = W[(i * size + k) * g.filters + f]
    for image in prange(g.images, num_threads=threads, schedule="dynamic"):
        mine = weights + shared + threadid() * (tile_room + lists_room)
        scatter_image(g, grad, <const floating *>weights, row, image, out, mine, tile_rows, mine + tile_room)
    release(weights)
    return 0


cdef Py_ssize_t scattered_rows(geometry g) noexcept nogil:
    return (g.rows - 1) * g.row_stride + g.filter_height


cdef Py_ssize_t scattered_columns(geometry g) noexcept nogil:
    """Of the padded image, as far as either the windows or the image reach."""
    return max(g.width + g.left, (g.columns - 1) * g.column_stride + g.filter_width)


cdef void flip_weights(geometry g, const floating *W, floating *flipped) noexcept nogil:
    """flipped[i, j, f, c] = W[last - i, last - j, c, f], where `g` is the geometry of the flipped product."""
    cdef Py_ssize_t taps = g.filter_height * g.filter_width, size = g.channels * g.filters, tap, f, c
    for tap in range(taps):
        for f in range(g.channels):
            for c in range(g.filters):
                flipped[tap * size + f * g.filters + c] = W[(taps - 1 - tap) * size + c * g.channels + f]


cdef const floating *spread_band(
    geometry g, const floating *grad, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count, floating *spread,
) noexcept nogil:
    """Rows first .. first + count of a pooled gradient, spread out."""
    cdef Py_ssize_t row, pooled, pooled_columns = g.columns // g.pool_width
    for row in range(first, first + count):
        pooled = (image * (g.rows // g.pool_height) + row // g.pool_height) * pooled_columns * g.filters
        loops_for(sizeof(floating)).spread_row(
            grad + pooled, g.places + pooled, pooled_columns, g.pool_width, row % g.pool_height * g.pool_width,
            g.filters, spread + (row - first) * g.columns * g.filters)
    return spread


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
    p.gradients = lists
    p.offsets = <Py_ssize_t *>(lists + lines(entries))
    p.ends = p.offsets + entries
    return p


cdef Py_ssize_t lists_size(geometry g, Py_ssize_t entries, floating kind) noexcept nogil:
    """Room for the lists of `windows_of`; `kind` only carries the type."""
    return lines(entries) + lines((entries + g.columns) * <Py_ssize_t>sizeof(Py_ssize_t) // <Py_ssize_t>sizeof(floating))


cdef void pooled_band(
    geometry g, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count, Py_ssize_t first_filter, Py_ssize_t end_filter,
    const floating *grad, const floating *columns, floating *W_sums, floating *b_sums, floating *lists,
) noexcept nogil:
    """The sums of one band and some filters straight from the pooled gradient."""
    cdef Py_ssize_t F = g.filters, f
    cdef pooled_gradient p = windows_of(g, count, lists, g.band * g.columns + 1)
    cdef Py_ssize_t pooled = (
        image * (g.rows // g.pool_height) + first // g.pool_height) * p.window_columns * F
    for f in range(first_filter, end_filter):
        loops_for(sizeof(floating)).pooled_weights(
            &p, grad + pooled + f, g.places + pooled + f, columns,
            W_sums + f * g.filter_height * p.columns, b_sums + f)


cdef void weight_gradient_block(
    geometry g, const floating *x, const floating *grad, panels cut, Py_ssize_t begin, Py_ssize_t end,
    Py_ssize_t first_panel, Py_ssize_t end_panel,
    floating *W_sums, floating *b_sums, floating *tile, floating *right, floating *spread, Py_ssize_t *runs,
) noexcept nogil:
    """Gradients of some filters' weights, in panels, and of their biases, summed over images begin .. end.

    The left operand is the transposed matrix of columns: one channel at many positions. With many
    channels those are far apart, often by a power of two, and would push each other out of the cache;
    so a tile holds few channels, side by side. The gradients are copied into panels for the same reason.
    """
    cdef Py_ssize_t C = g.channels, F = g.filters
    cdef Py_ssize_t groups = (C + GRADIENT_CHANNELS - 1) // GRADIENT_CHANNELS
    cdef Py_ssize_t image, band, first, count, position, f, i, j, panel, width, group, channel, channels, pixel
    cdef const floating *columns
    cdef const floating *band_grad
    cdef floating *panel_grad
    cdef floating *panel_sums
    cdef panels band_cut
    cdef geometry plain = g  # the image is one; only the gradient is pooled
    cdef product p
    plain.places = NULL
    cdef Py_ssize_t first_filter = first_panel * 2 * cut.lanes, end_filter = min(F, end_panel * 2 * cut.lanes)
    cdef Py_ssize_t begin_sums = panel_offset(cut, first_panel)
    cdef Py_ssize_t end_sums = cut.size if end_panel == cut.count else panel_offset(cut, end_panel)
    memset(W_sums + begin_sums, 0, (end_sums - begin_sums) * sizeof(floating))
    memset(b_sums + first_filter, 0, (end_filter - first_filter) * sizeof(floating))
    cdef bint turned = few_columns(g, cut)
    cdef bint pooled = by_windows(g, turned)
    cdef Py_ssize_t *right_runs = runs + g.band
    p.depth, p.a_runs, p.b_runs = g.columns, runs, right_runs
    p.accumulate, p.relu, p.bias = True, False, NULL
    for image in range(begin, end):
        for band in range(bands(g)):
            first = band * g.band
            count = min(g.band, g.rows - first)
            if pooled:
                columns = view_tile(plain, x, image, first, count, 0, C, tile, <floating *>NULL)
                pooled_band(
                    g, image, first, count, first_filter, end_filter, grad, columns, W_sums, b_sums, right)
                continue
            if g.places == NULL:
                band_grad = grad + (image * g.rows + first) * g.columns * F
            else:
                band_grad = spread_band(g, grad, image, first, count, spread)
            for position in range(count * g.columns):
                for f in range(first_filter, end_filter):
                    b_sums[f] += band_grad[position * F + f]
            p.runs = count
            if turned:
                columns = view_tile(plain, x, image, first, count, 0, C, tile, <floating *>NULL)
                p.a_depth, p.b_depth = F, g.column_stride * C
                p.columns, p.c_row = g.filter_width * C, g.filter_height * g.filter_width * C
                for i in range(count):
                    runs[i] = i * g.columns * F
                    right_runs[i] = i * g.row_stride * g.tile_width * C
                for i in range(g.filter_height):
                    multiply(
                        p, F, 1, band_grad, columns + i * g.row_dilation * g.tile_width * C, W_sums + i * p.columns)
                continue
            band_cut = cut_panels[floating](count * g.columns, F, 0)
            for panel in range(first_panel, end_panel):
                pack_panel(band_grad, F, 1, band_cut, panel, right + panel_offset(band_cut, panel))
            for group in range(groups):
                channel = C * group // groups
                channels = C * (group + 1) // groups - channel
                columns = view_tile(plain, x, image, first, count, channel, channels, tile, <floating *>NULL)
                p.a_depth = g.column_stride * channels
                for i in range(count):
                    runs[i] = i * g.row_stride * g.tile_width * channels
                for panel in range(first_panel, end_panel):
                    panel_grad = right + panel_offset(band_cut, panel)
                    width = panel_width(cut, panel)
                    panel_sums = W_sums + panel_offset(cut, panel) + channel * width
                    p.columns, p.c_row, p.b_depth = width, width, width
                    for i in range(count):
                        right_runs[i] = i * g.columns * width
                    for i in range(g.filter_height):
                        if groups == 1 and g.column_dilation == 1:
                            multiply(
                                p, g.filter_width * C, 1, columns + i * g.row_dilation * g.tile_width * C, panel_grad,
                                panel_sums + i * g.filter_width * C * width)
                        else:
                            for j in range(g.filter_width):
                                pixel = i * g.row_dilation * g.tile_width + j * g.column_dilation
                                multiply(
                                    p, channels, 1, columns + pixel * channels, panel_grad,
                                    panel_sums + (i * g.filter_width + j) * C * width)


cdef bint few_columns(geometry g, panels cut) noexcept nogil:
    """Whether a filter row fills vectors better than the filters do."""
    return (
        g.filters <= in_use().wide_rows and g.column_dilation == 1 and g.filter_width * g.channels <= 2 * cut.lanes
    )


cdef bint by_windows(geometry g, bint turned) noexcept nogil:
    """Whether the sums are taken straight from a pooled gradient: with few weights, listing it costs more."""
    return (
        g.places != NULL and (g.band % g.pool_height == 0 or g.rows <= g.band)
        and (turned or g.filter_height * g.filter_width * g.channels >= MANY_WEIGHTS)
    )


cdef Py_ssize_t even_band(geometry g, Py_ssize_t rows, Py_ssize_t most) noexcept nogil:
    """At most `most` of all the `rows`, in bands of an even number, which hold whole windows of the usual pooling."""
    cdef Py_ssize_t count
    if rows <= most:
        return rows
    most = max(2, most // 2 * 2)
    count = (rows + most - 1) // most
    return ((rows + count - 1) // count + 1) // 2 * 2


cdef int weight_gradient(
    geometry g, Py_ssize_t all_rows, Py_ssize_t all_columns, const floating *x, const floating *grad,
    floating *W_grad, floating *b_grad,
) except -1 nogil:
    """The work is cut as for all the convolution's outputs, of which a pooling may not cover the last ones:
    these have no gradient, and leaving them out changes no bit."""
    cdef Py_ssize_t depth = g.filter_height * g.filter_width * g.channels, F = g.filters
    cdef panels cut = cut_panels[floating](depth, F, 0)
    cdef Py_ssize_t most_channels = min(g.channels, GRADIENT_CHANNELS)
    cdef bint turned = few_columns(g, cut)
    # Vectors may read past a filter row: past the last row of an image only where there is room.
    g.copied = g.copied or g.channels > GRADIENT_CHANNELS or turned or g.places != NULL
    if g.copied:
        g.tile_width = (g.columns - 1) * g.column_stride + g.window_width
    cdef Py_ssize_t row_bytes = (
        ((all_columns - 1) * g.column_stride + g.window_width) * most_channels * sizeof(floating))
    g.band = even_band(
        g, all_rows, min(GRADIENT_TILE // (row_bytes * g.row_stride), GRADIENT_POSITIONS // all_columns))
    if turned:
        g.band = min(all_rows, max(1, TURNED_TILE // (row_bytes * g.row_stride * TURNED_BAND)) * TURNED_BAND)
    cdef Py_ssize_t positions = all_rows * all_columns
    cdef Py_ssize_t blocks = max(1, min(
        min(g.images, MOST_BLOCKS), g.images * positions // BLOCK_POSITIONS))
    cdef double operations = 2.0 * g.images * positions * F * depth
    cdef bint pooled = by_windows(g, turned)
    # With few blocks, several threads share one: each has some of the filters, and a copy of the tile.
    cdef Py_ssize_t parts = 1 if turned or g.places != NULL and not pooled else min(
        cut.count, (tasks_for(FEWEST_TASKS, operations) + blocks - 1) // blocks)
    cdef int threads = threads_for(blocks * parts, operations)
    cdef Py_ssize_t sums = lines(cut.size + F), task, block, part
    cdef Py_ssize_t tile_room = lines(tile_size(g, g.channels if pooled else most_channels) + 2 * cut.lanes)
    cdef Py_ssize_t right_room = lines(cut_panels[floating](g.band * g.columns, F, 0).size)
    if pooled:
        right_room = lists_size[floating](g, g.band * g.columns + 1, 0)
    cdef Py_ssize_t spread_room = 0 if g.places == NULL else lines(g.band * g.columns * F)
    cdef Py_ssize_t private = (
        (tile_room + right_room + spread_room) * sizeof(floating) + lines(2 * g.band) * sizeof(Py_ssize_t))
    cdef char *memory = <char *>allocate(blocks * sums * sizeof(floating) + threads * private)
    cdef floating *partial = <floating *>memory
    cdef floating *mine
    for task in prange(blocks * parts, num_threads=threads, schedule="dynamic"):
        mine = <floating *>(memory + blocks * sums * sizeof(floating) + threadid() * private)
        block, part = task // parts, task % parts
        weight_gradient_block(
            g, x, grad, cut, g.images * block // blocks, g.images * (block + 1) // blocks,
            cut.count * part // parts, cut.count * (part + 1) // parts,
            partial + block * sums, partial + block * sums + cut.size,
            mine, mine + tile_room, mine + tile_room + right_room,
            <Py_ssize_t *>(mine + tile_room + right_room + spread_room))
    add_blocks(cut, turned or pooled, partial, blocks, sums, W_grad, b_grad)
    release(memory)
    return 0


cdef void add_blocks(
    panels cut, bint turned, const floating *partial, Py_ssize_t blocks, Py_ssize_t sums,
    floating *W_grad, floating *b_grad,
) noexcept nogil:
    """The blocks' sums in the order of the images, out of their panels or turned back."""
    cdef Py_ssize_t block, panel, columns, width, k, j
    cdef const floating *source
    cdef floating *row
    cdef floating value
    for block in range(blocks):
        for panel in range(0 if turned else cut.count):
            source = partial + block * sums + panel_offset(cut, panel)
            columns, width = panel_columns(cut, panel), panel_width(cut, panel)
            for k in range(cut.depth):
                row = W_grad + k * cut.columns + panel * 2 * cut.lanes
                if block == 0:
                    for j in range(columns):
                        row[j] = source[k * width + j]
                else:
                    for j in range(columns):
                        row[j] += source[k * width + j]
        if turned:
            source = partial + block * sums
            for k in range(cut.depth):
                for j in range(cut.columns):
                    value = source[j * cut.depth + k]
                    W_grad[k * cut.columns + j] = value if block == 0 else W_grad[k * cut.columns + j] + value
        source = partial + block * sums + cut.size
        for j in range(cut.columns):
            b_grad[j] = source[j] if block == 0 else b_grad[j] + source[j]


cdef struct pair:
    Py_ssize_t height, width


cdef pair as_pair(values) except *:
    cdef pair p
    p.height, p.width = values[0], values[1]
    return p


cdef pair ONE
ONE.height = ONE.width = 1


cdef bint reaches_too_far(
    const Py_ssize_t *x, const Py_ssize_t *W, pair size, pair stride, pair padding, pair dilation,
) noexcept nogil:
    """Whether a padded image may have more than LARGEST_TILE elements; doubles do not overflow."""
    cdef double elements = max(W[2], W[3])
    elements *= <double>x[1] + padding.height + <double>size.height * stride.height + <double>W[0] * dilation.height
    elements *= <double>x[2] + padding.width + <double>size.width * stride.width + <double>W[1] * dilation.width
    return elements > LARGEST_TILE


cdef int check(
    const char *name, const Py_ssize_t *x, const Py_ssize_t *W, Py_ssize_t filters, const Py_ssize_t *out,
    pair stride, pair padding, pair dilation, pair size, pair pool, const Py_ssize_t *argmax,
) except -1:
    """Shapes that fit together: a kernel trusts them without bounds checks."""
    cdef bint fits = (
        min(stride.height, stride.width) >= 1 and min(padding.height, padding.width) >= 0
        and min(dilation.height, dilation.width) >= 1
        and 1 <= pool.height < CLOSED and 1 <= pool.width < CLOSED and pool.height * pool.width < CLOSED
        and min(min(W[0], W[1]), min(W[2], W[3])) >= 1 and W[2] == x[3] and W[3] == out[3] and filters == out[3]
        and x[0] == out[0] and min(x[1], x[2]) >= 1 and min(out[1], out[2]) >= 1
        and (argmax == NULL or same_shape(argmax, out, 4))
        and out[1] == size.height // pool.height and out[2] == size.width // pool.width
    )
    if not fits:
        raise ValueError(
            f"{name.decode()}: shapes do not fit: images {as_tuple(x, 4)}, weights {as_tuple(W, 4)}, {filters} biases, "
            f"outputs {as_tuple(out, 4)}, stride {stride.height, stride.width}, "
            f"padding {padding.height, padding.width}, dilation {dilation.height, dilation.width}, "
            f"size {size.height, size.width}, pooling {pool.height, pool.width}, "
            f"argmax {None if argmax == NULL else as_tuple(argmax, 4)}")
    if reaches_too_far(x, W, size, stride, padding, dilation):
        raise ValueError(
            f"{name.decode()}: stride {stride.height, stride.width}, padding {padding.height, padding.width} or "
            f"dilation {dilation.height, dilation.width} reaches too far beyond images {as_tuple(x, 4)}")
    return 0


cdef geometry forward_geometry(
    const Py_ssize_t *x, const Py_ssize_t *W, const Py_ssize_t *out, pair stride, pair padding, pair dilation, pair pool,
) noexcept nogil:
    """Convolution outputs that no window covers are not computed: their gradient is zero."""
    cdef geometry g = measure(
        x[0], x[1], x[2], x[3], W[0], W[1], out[1] * pool.height, out[2] * pool.width, out[3],
        stride.height, stride.width, dilation.height, dilation.width, padding.height, padding.width, 1, 1)
    g.pool_height, g.pool_width = pool.height, pool.width
    return g


cdef geometry backward_geometry(
    const Py_ssize_t *x, const Py_ssize_t *W, const Py_ssize_t *out, pair stride, pair padding, pair dilation, pair pool,
) noexcept nogil:
    """That of the convolution with the flipped weights that takes the gradient of `out` back to `x`."""
    cdef geometry g = measure(
        out[0], out[1] * pool.height, out[2] * pool.width, out[3], W[0], W[1], x[1], x[2], x[3],
        1, 1, dilation.height, dilation.width,
        (W[0] - 1) * dilation.height - padding.height, (W[1] - 1) * dilation.width - padding.width,
        stride.height, stride.width)
    g.pool_height, g.pool_width = pool.height, pool.width
    return g


cdef _forward(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] W, const floating[::1] b,
    pair stride, pair padding, pair dilation, bint relu, floating[:, :, :, ::1] out,
):
    cdef pair size
    size.height, size.width = out.shape[1], out.shape[2]
    check(
        "convolution_forward", x.shape, W.shape, b.shape[0], out.shape, stride, padding, dilation, size, ONE, NULL)
    cdef geometry g = forward_geometry(x.shape, W.shape, out.shape, stride, padding, dilation, ONE)
    if x.shape[0] == 0:
        return
    with nogil:
        correlate(g, &x[0, 0, 0, 0], &W[0, 0, 0, 0], &b[0], relu, &out[0, 0, 0, 0], NULL)


cdef _pool_forward(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] W, const floating[::1] b,
    pair stride, pair padding, pair size, pair pool, bint relu, floating[:, :, :, ::1] out,
    uint8_t[:, :, :, ::1] argmax,
):
    check(
        "convolution_pool_forward", x.shape, W.shape, b.shape[0], out.shape, stride, padding, ONE, size, pool,
        argmax.shape)
    cdef geometry g = forward_geometry(x.shape, W.shape, out.shape, stride, padding, ONE, pool)
    if x.shape[0] == 0:
        return
    with nogil:
        correlate(
            g, &x[0, 0, 0, 0], &W[0, 0, 0, 0], &b[0], relu, &out[0, 0, 0, 0], &argmax[0, 0, 0, 0])


cdef int input_gradient(geometry g, const floating *grad, const floating *W, floating *out) except -1 nogil:
    """The convolution of the gradient with the flipped weights."""
    cdef floating *flipped = <floating *>allocate(
        g.filter_height * g.filter_width * g.channels * g.filters * sizeof(floating))
    try:
        flip_weights(g, W, flipped)
        correlate(g, grad, flipped, <const floating *>NULL, False, out, NULL)
    finally:
        release(flipped)
    return 0


cdef _input_gradient(
    const floating[:, :, :, ::1] grad, const floating[:, :, :, ::1] W, pair stride, pair padding, pair dilation,
    floating[:, :, :, ::1] out,
):
    cdef pair size
    size.height, size.width = grad.shape[1], grad.shape[2]
    check(
        "convolution_input_gradient", out.shape, W.shape, W.shape[3], grad.shape, stride, padding, dilation, size,
        ONE, NULL)
    cdef geometry g = backward_geometry(out.shape, W.shape, grad.shape, stride, padding, dilation, ONE)
    if grad.shape[0] == 0:
        return
    with nogil:
        input_gradient(g, &grad[0, 0, 0, 0], &W[0, 0, 0, 0], &out[0, 0, 0, 0])


cdef _pool_input_gradient(
    const floating[:, :, :, ::1] grad, const uint8_t[:, :, :, ::1] argmax, const floating[:, :, :, ::1] W,
    pair stride, pair padding, pair size, pair pool, floating[:, :, :, ::1] out,
):
    check(
        "convolution_pool_input_gradient", out.shape, W.shape, W.shape[3], grad.shape, stride, padding, ONE,
        size, pool, argmax.shape)
    cdef geometry g = forward_geometry(out.shape, W.shape, grad.shape, stride, padding, ONE, pool)
    if grad.shape[0] == 0:
        return
    cdef const uint8_t *places = &argmax[0, 0, 0, 0]
    if scattered_rows(g) * scattered_columns(g) * g.channels * sizeof(floating) <= SCATTERED_TILE:
        g.places = places
        with nogil:
            scatter(g, &grad[0, 0, 0, 0], &W[0, 0, 0, 0], &out[0, 0, 0, 0])
        return
    g = backward_geometry(out.shape, W.shape, grad.shape, stride, padding, ONE, pool)
    g.places, g.copied, g.tile_width = places, True, g.columns - 1 + g.filter_width
    with nogil:
        input_gradient(g, &grad[0, 0, 0, 0], &W[0, 0, 0, 0], &out[0, 0, 0, 0])


cdef _weight_gradient(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] grad, pair stride, pair padding, pair dilation,
    floating[:, :, :, ::1] W_grad, floating[::1] b_grad,
):
    cdef pair size
    size.height, size.width = grad.shape[1], grad.shape[2]
    check(
        "convolution_weight_gradient", x.shape, W_grad.shape, b_grad.shape[0], grad.shape, stride, padding, dilation,
        size, ONE, NULL)
    cdef geometry g = forward_geometry(x.shape, W_grad.shape, grad.shape, stride, padding, dilation, ONE)
    if x.shape[0] == 0:
        W_grad[...] = 0
        b_grad[...] = 0
        return
    with nogil:
        weight_gradient(
            g, size.height, size.width, &x[0, 0, 0, 0], &grad[0, 0, 0, 0], &W_grad[0, 0, 0, 0], &b_grad[0])


cdef _pool_weight_gradient(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] grad, const uint8_t[:, :, :, ::1] argmax,
    pair stride, pair padding, pair size, pair pool, floating[:, :, :, ::1] W_grad, floating[::1] b_grad,
):
    check(
        "convolution_pool_weight_gradient", x.shape, W_grad.shape, b_grad.shape[0], grad.shape, stride, padding,
        ONE, size, pool, argmax.shape)
    cdef geometry g = forward_geometry(x.shape, W_grad.shape, grad.shape, stride, padding, ONE, pool)
    if x.shape[0] == 0:
        W_grad[...] = 0
        b_grad[...] = 0
        return
    g.places = &argmax[0, 0, 0, 0]
    with nogil:
        weight_gradient(
            g, size.height, size.width, &x[0, 0, 0, 0], &grad[0, 0, 0, 0], &W_grad[0, 0, 0, 0], &b_grad[0])


def convolution_forward(x, W, b, stride, padding, dilation, relu, out):
    if out.dtype.char == "f":
        _forward[float](x, W, b, as_pair(stride), as_pair(padding), as_pair(dilation), relu, out)
    else:
        _forward[double](x, W, b, as_pair(stride), as_pair(padding), as_pair(dilation), relu, out)


def convolution_pool_forward(x, W, b, stride, padding, size, pool_size, relu, out, argmax):
    if out.dtype.char == "f":
        _pool_forward[float](
            x, W, b, as_pair(stride), as_pair(padding), as_pair(size), as_pair(pool_size), relu, out, argmax)
    else:
        _pool_forward[double](
            x, W, b, as_pair(stride), as_pair(padding), as_pair(size), as_pair(pool_size), relu, out, argmax)


def convolution_input_gradient(grad, W, stride, padding, dilation, out):
    if out.dtype.char == "f":
        _input_gradient[float](grad, W, as_pair(stride), as_pair(padding), as_pair(dilation), out)
    else:
        _input_gradient[double](grad, W, as_pair(stride), as_pair(padding), as_pair(dilation), out)


def convolution_pool_input_gradient(grad, argmax, W, stride, padding, size, pool_size, out):
    if out.dtype.char == "f":
        _pool_input_gradient[float](
            grad, argmax, W, as_pair(stride), as_pair(padding), as_pair(size), as_pair(pool_size), out)
    else:
        _pool_input_gradient[double](
            grad, argmax, W, as_pair(stride), as_pair(padding), as_pair(size), as_pair(pool_size), out)


def convolution_weight_gradient(x, grad, stride, padding, dilation, W_grad, b_grad):
    if W_grad.dtype.char == "f":
        _weight_gradient[float](x, grad, as_pair(stride), as_pair(padding), as_pair(dilation), W_grad, b_grad)
    else:
        _weight_gradient[double](x, grad, as_pair(stride), as_pair(padding), as_pair(dilation), W_grad, b_grad)


def convolution_pool_weight_gradient(x, grad, argmax, stride, padding, size, pool_size, W_grad, b_grad):
    if W_grad.dtype.char == "f":
        _pool_weight_gradient[float](
            x, grad, argmax, as_pair(stride), as_pair(padding), as_pair(size), as_pair(pool_size), W_grad, b_grad)
    else:
        _pool_weight_gradient[double](
            x, grad, argmax, as_pair(stride), as_pair(padding), as_pair(size), as_pair(pool_size), W_grad, b_grad)
