"""The product of a convolution position by position, for many images at once.

out[:, position, F] = sum over the taps that fall into the image of x[:, pixel, C] . W[tap, C, F]
task: a row of positions of a block of images

Beside the other products (correlation.pyx), which read padded tiles, nothing is multiplied with the zeros around an
image and between spread pixels: in the input gradient of a stride of two they are three of four. The rows of a product
are one position of many images; the columns of a filter row that fall into the image are one run, for taps are packed
in the order of their distance from a pixel, modulo the spread.

Where filters would leave much of a vector empty, the product is turned over: its columns, and the lanes of a vector, are
images, whose pixels are transposed into a tile, and its rows are the filters, which are read where they lie.
"""

from libc.string cimport memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for
from cnnx._kernels.ground.loops cimport product
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, tasks_for_product, threads_for_product
from cnnx._kernels.products.gemm cimport (
    bias_room, cut_panels, multiply, pack_panel, panel_columns, panel_offset, panel_width, panels, widen_bias,
)
from cnnx._kernels.products.tiles cimport FEWEST_TASKS, aligned, geometry, table_room
from cnnx._kernels.products.winograd cimport winograd_is_faster

cdef enum:
    MOST_IMAGES = 48    # of a task: so often a weight is used once it is in cache
    FEWEST_IMAGES = 6
    TURNED_TILE = 262144  # bytes, which stay in the second-level cache

# Of all taps, those that meet pixels: with more of them the other products, whose blocks are fuller, are faster.
cdef double MOST_TAPS = 0.8


cdef struct line:
    # The taps, in one direction, that meet pixels: the first one, and the first pixel; they go on by the spread, and by one.
    Py_ssize_t tap, pixel, count


cdef struct positions:
    geometry g
    panels cut
    const void *x
    const void *filters
    const void *bias    # or NULL; in whole vectors, if the product is not turned over
    bint relu
    void *out
    Py_ssize_t blocks   # of images
    # Turned over: `filters` is W.
    bint flipped
    Py_ssize_t bands, tile_rows     # of positions, and rows of pixels behind one


cdef line columns_at(const geometry *g, Py_ssize_t column) noexcept nogil:
    """Of a filter's row: a run of neighbouring pixels."""
    cdef Py_ssize_t origin = column * g.column_stride - g.left, spread = g.column_spread
    cdef line found
    found.tap = max(0, -origin)
    found.tap += (spread - (origin + found.tap) % spread) % spread
    found.pixel = (origin + found.tap) // spread
    found.count = max(0, min((g.filter_width - found.tap + spread - 1) // spread, g.width - found.pixel))
    return found


cdef Py_ssize_t row_at(const geometry *g, Py_ssize_t row, Py_ssize_t i) noexcept nogil:
    """The image's row under a filter's, or -1."""
    cdef Py_ssize_t spread_row = row * g.row_stride - g.top + i * g.row_dilation
    if spread_row < 0 or spread_row % g.row_spread or spread_row // g.row_spread >= g.height:
        return -1
    return spread_row // g.row_spread


cdef Py_ssize_t rank(const geometry *g, Py_ssize_t tap) noexcept nogil:
    """Of a tap of a filter's row: those that meet neighbouring pixels follow each other."""
    cdef Py_ssize_t spread = g.column_spread, before = tap % spread, rest = g.filter_width % spread
    return before * (g.filter_width // spread) + min(before, rest) + tap // spread


cdef void multiply_row(const void *job, Py_ssize_t task, floating *memory) noexcept nogil:
    """One row of positions of a block of images."""
    cdef const positions *s = <const positions *>job
    cdef const geometry *g = &s.g
    cdef Py_ssize_t block = task // g.rows, row = task % g.rows, column, panel, i, r
    cdef Py_ssize_t image = g.images * block // s.blocks, images = g.images * (block + 1) // s.blocks - image
    cdef Py_ssize_t x_size = g.height * g.width * g.channels, out_size = g.rows * g.columns * g.filters
    cdef Py_ssize_t *a_runs = <Py_ssize_t *>memory
    cdef Py_ssize_t *b_runs = a_runs + g.filter_height
    cdef const floating *x = <const floating *>s.x + image * x_size
    cdef floating *out = <floating *>s.out + image * out_size + row * g.columns * g.filters
    cdef line at
    cdef product p
    p.a_runs, p.b_runs, p.a_depth, p.c_row, p.bias = a_runs, b_runs, 1, out_size, NULL
    p.accumulate, p.relu = False, s.relu
    for panel in range(s.cut.count):
        p.columns, p.b_depth = panel_columns(s.cut, panel), panel_width(s.cut, panel)
        if s.bias != NULL:
            p.bias = <const floating *>s.bias + panel * 2 * s.cut.lanes
        for column in range(g.columns):
            at = columns_at(g, column)
            p.runs, p.depth = 0, at.count * g.channels
            for i in range(g.filter_height if at.count > 0 else 0):
                r = row_at(g, row, i)
                if r >= 0:
                    a_runs[p.runs] = (r * g.width + at.pixel) * g.channels
                    b_runs[p.runs] = (i * g.filter_width + rank(g, at.tap)) * g.channels * p.b_depth
                    p.runs += 1
            multiply(
                p, images, x_size, x, <const floating *>s.filters + panel_offset(s.cut, panel),
                out + column * g.filters + panel * 2 * s.cut.lanes)


cdef void pack_taps(const geometry *g, panels cut, const floating *W, bint flipped, floating *packed) noexcept nogil:
    """`flipped` are the weights of the convolution whose input gradient this is: W[last - i, last - j, f, c]."""
    cdef Py_ssize_t size = g.channels * g.filters, i, j, tap, source, panel
    cdef panels tap_cut = cut_panels[floating](g.channels, g.filters, 0)
    for panel in range(cut.count):
        for i in range(g.filter_height):
            for j in range(g.filter_width):
                tap, source = i * g.filter_width + rank(g, j), i * g.filter_width + j
                if flipped:
                    source = taps(g) - 1 - source
                pack_panel(
                    W + source * size, 1 if flipped else g.filters, g.channels if flipped else 1, tap_cut, panel,
                    packed + panel_offset(cut, panel) + tap * g.channels * panel_width(cut, panel))


cdef void multiply_band(const void *job, Py_ssize_t task, floating *memory) noexcept nogil:
    """Some rows of positions, turned over, of as many images as a panel has columns."""
    cdef const positions *s = <const positions *>job
    cdef const geometry *g = &s.g
    cdef Py_ssize_t image = task // s.bands * 2 * s.cut.lanes, images = min(2 * s.cut.lanes, g.images - image)
    cdef Py_ssize_t first = g.rows * (task % s.bands) // s.bands, end = g.rows * (task % s.bands + 1) // s.bands
    cdef Py_ssize_t width = 2 * s.cut.lanes if images > s.cut.lanes else s.cut.lanes
    cdef Py_ssize_t x_row = g.width * g.channels, out_row = g.columns * g.filters
    cdef Py_ssize_t low = first_row(g, first), row, column
    cdef floating *sums = memory + s.tile_rows * x_row * 2 * s.cut.lanes
    cdef Py_ssize_t *a_runs = <Py_ssize_t *>(sums + aligned(out_row * 2 * s.cut.lanes))
    cdef product p
    p.a_runs, p.b_runs, p.b_depth, p.c_row, p.columns = a_runs, a_runs + taps(g), width, width, width
    p.a_depth, p.depth = 1 if s.flipped else g.filters, g.channels
    p.accumulate, p.relu, p.bias = False, False, NULL
    if images < width:
        # What lies in the other lanes is multiplied, too: some numbers would take very long.
        memset(memory, 0, s.tile_rows * x_row * width * sizeof(floating))
    for row in range(low, min(g.height, low + s.tile_rows)):
        loops_for(sizeof(floating)).transpose(
            <const floating *>s.x + (image * g.height + row) * x_row, g.height * x_row, images, x_row,
            memory + (row - low) * x_row * width, width)
    for row in range(first, end):
        for column in range(g.columns):
            p.runs = list_taps(s, row, column, low, width, a_runs)
            multiply(
                p, g.filters, g.channels if s.flipped else 1, <const floating *>s.filters, <const floating *>memory,
                sums + column * g.filters * width)
        if s.bias != NULL:
            add_bias(s, sums, width)
        loops_for(sizeof(floating)).transpose(
            sums, width, out_row, images, <floating *>s.out + (image * g.rows + row) * out_row, g.rows * out_row)


cdef void add_bias(const positions *s, floating *sums, Py_ssize_t width) noexcept nogil:
    """To a row of positions, filter by filter, before it is transposed; then ReLU."""
    cdef Py_ssize_t filters = s.g.filters, i, k
    cdef const floating *bias = <const floating *>s.bias
    cdef floating value
    for i in range(s.g.columns * filters):
        for k in range(width):
            value = sums[i * width + k] + bias[i % filters]
            sums[i * width + k] = 0 if s.relu and value <= 0 else value


cdef Py_ssize_t taps(const geometry *g) noexcept nogil:
    return g.filter_height * g.filter_width


cdef Py_ssize_t first_row(const geometry *g, Py_ssize_t row) noexcept nogil:
    """Of the pixels behind a row of positions, and those that follow it."""
    return (max(0, row * g.row_stride - g.top) + g.row_spread - 1) // g.row_spread


cdef Py_ssize_t list_taps(
    const positions *s, Py_ssize_t row, Py_ssize_t column, Py_ssize_t low, Py_ssize_t width, Py_ssize_t *a_runs,
) noexcept nogil:
    """A run for each tap that meets a pixel: where its weights lie, and its pixels in a tile from row `low` on."""
    cdef const geometry *g = &s.g
    cdef Py_ssize_t *b_runs = a_runs + taps(g)
    cdef Py_ssize_t i, j, r, tap, runs = 0
    cdef line at = columns_at(g, column)
    for i in range(g.filter_height):
        r = row_at(g, row, i)
        for j in range(at.count if r >= 0 else 0):
            tap = i * g.filter_width + at.tap + j * g.column_spread
            if s.flipped:
                tap = taps(g) - 1 - tap
            a_runs[runs] = tap * g.channels * g.filters
            b_runs[runs] = ((r - low) * g.width + at.pixel + j) * g.channels * width
            runs += 1
    return runs


cdef double meetings(
    Py_ssize_t pixels, Py_ssize_t spread, Py_ssize_t positions, Py_ssize_t stride, Py_ssize_t offset,
) noexcept nogil:
    """Positions at which a tap meets a pixel, in one direction; of stride and spread one is one."""
    cdef Py_ssize_t first = (max(0, -offset) + stride - 1) // stride, last = (pixels - 1) * spread - offset
    last = min(last // stride, positions - 1) if last >= 0 else -1
    if spread > 1:
        first, last = (first + offset + spread - 1) // spread, (last + offset) // spread if last >= first else -1
    return max(0, last - first + 1)


cdef double share_of_taps(const geometry *g) noexcept nogil:
    """That meet pixels, of all taps at all positions."""
    cdef Py_ssize_t i
    cdef double rows = 0, columns = 0
    for i in range(g.filter_height):
        rows += meetings(g.height, g.row_spread, g.rows, g.row_stride, i * g.row_dilation - g.top)
    for i in range(g.filter_width):
        columns += meetings(g.width, g.column_spread, g.columns, g.column_stride, i * g.column_dilation - g.left)
    return rows * columns / (<double>g.rows * g.columns * taps(g))


cdef bint turns(const geometry *g, Py_ssize_t lanes) noexcept nogil:
    """Whether images fill vectors so much better than filters do that it is worth transposing them."""
    cdef Py_ssize_t images = (g.images + lanes - 1) // lanes, filters = (g.filters + lanes - 1) // lanes
    cdef double depth = share_of_taps(g) * taps(g) * g.channels, pairs = <double>g.images * g.filters
    return g.images >= lanes and depth * (<double>g.images * filters - <double>images * g.filters) > pairs


cdef bint positions_are_faster(const geometry *g) noexcept nogil:
    if g.images < FEWEST_IMAGES or g.column_dilation > 1 or g.pools or g.places != NULL:
        return False
    return share_of_taps(g) < MOST_TAPS and not winograd_is_faster(g)


cdef int correlate_positions(
    const geometry *g, const floating *x, const floating *W, bint flipped, const floating *bias, bint relu,
    floating *out,
) except -1 nogil:
    """What `correlate` computes, from W as it is or from that of the convolution whose input gradient this is."""
    cdef positions s
    s.g, s.x, s.bias, s.relu, s.out, s.flipped = g[0], x, NULL, relu, out, flipped
    s.cut = cut_panels[floating](taps(g) * g.channels, g.filters, 0)
    cdef double operations = 2.0 * g.images * g.rows * g.columns * g.filters * s.cut.depth * share_of_taps(g)
    if turns(g, s.cut.lanes) and (bias != NULL or not relu):
        s.bias = bias
        return by_bands(&s, W, operations)
    cdef Py_ssize_t most = (g.images + in_use().wide_rows - 1) // in_use().wide_rows, size = aligned(s.cut.size)
    s.blocks = max((g.images + MOST_IMAGES - 1) // MOST_IMAGES, min(most, (FEWEST_TASKS + g.rows - 1) // g.rows))
    cdef int threads = threads_for_product(s.blocks * g.rows, operations)
    cdef Py_ssize_t private = table_room[floating](2 * g.filter_height, 0), shared = size + bias_room(s.cut)
    cdef floating *packed = <floating *>allocate((shared + threads * private) * <Py_ssize_t>sizeof(floating))
    if bias != NULL:
        widen_bias(s.cut, bias, packed + size)
        s.bias = packed + size
    pack_taps(g, s.cut, W, flipped, packed)
    s.filters = packed
    for_each_task(multiply_row[floating], &s, s.blocks * g.rows, threads, packed + shared, private)
    release(packed)
    return 0


cdef int by_bands(positions *s, const floating *W, double operations) except -1 nogil:
    """Turned over."""
    cdef const geometry *g = &s.g
    cdef Py_ssize_t panel = 2 * s.cut.lanes, row_bytes = g.width * g.channels * panel * <Py_ssize_t>sizeof(floating)
    cdef Py_ssize_t most = (TURNED_TILE // row_bytes * g.row_spread - g.span_height) // g.row_stride, tasks, band_rows
    s.filters, s.blocks = W, (g.images + panel - 1) // panel
    s.bands = (g.rows + max(1, most) - 1) // max(1, most)
    s.bands = max(s.bands, min(g.rows, tasks_for_product(FEWEST_TASKS, operations) // s.blocks))
    tasks, band_rows = s.blocks * s.bands, (g.rows + s.bands - 1) // s.bands
    s.tile_rows = min(g.height, ((band_rows - 1) * g.row_stride + g.span_height - 1) // g.row_spread + 1)
    cdef int threads = threads_for_product(tasks, operations)
    cdef Py_ssize_t private = (
        s.tile_rows * g.width * g.channels * panel + aligned(g.columns * g.filters * panel)
        + table_room[floating](2 * taps(g), 0))
    cdef floating *memory = <floating *>allocate(threads * private * <Py_ssize_t>sizeof(floating))
    for_each_task(multiply_band[floating], s, tasks, threads, memory, private)
    release(memory)
    return 0
