"""The product of a convolution's tiles and weights: the forward pass, and the input gradient with flipped weights.

output[band, F] = columns[band, K] . W[K, F]     task: a band of one image

With few filters a vector of filters would be mostly empty. Then the product is turned over: the tile is a plane
for each channel, and a vector holds neighbouring positions.

Where ReLU and a max pooling of windows that do not overlap follow, a band of output rows stays in registers or in
a thread's buffer, and only the pooled rows are written, with the place of each maximum.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport uint8_t
from libc.string cimport memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.gemm cimport (
    bias_room, cut_panels, multiply, multiply_grid, pack_panel, padded_columns, panel_columns, panel_offset, panel_width,
    panels, widen_bias,
)
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for, place_at, product
from cnnx._kernels.ground.parallel cimport (
    allocate, deal, release, shares, take, tasks_for_product, threads_for, threads_for_product,
)
from cnnx._kernels.products.tiles cimport (
    FEWEST_TASKS, band_rows, bands, fill_planes, geometry, lines, pooled_offset, runs_in_row, spare_size, tile_size,
    view_tile,
)

# Bytes. A tile shares the second-level cache with a panel of weights.
cdef enum:
    FORWARD_TILE = 98304
    POOLED_BAND = 49152


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
    p.accumulate, p.relu = False, relu and not g.pools
    if not g.pools:
        p.c_row = g.filters
        rows = out + (image * g.rows + first) * g.columns * g.filters
    else:
        p.c_row = padded_columns(cut)
    cdef bint in_registers = pools_in_registers(g)
    cdef Py_ssize_t pooled
    if in_registers:
        p.a_row, p.c_row, p.relu = g.column_stride * g.channels, g.filters, relu
    for panel in range(cut.count):
        p.columns = panel_width(cut, panel) if g.pools and not in_registers else panel_columns(cut, panel)
        p.b_depth = panel_width(cut, panel)
        for i in range(p.runs):
            runs[i] = i // row_runs * g.row_dilation * row_size + i % row_runs * g.column_dilation * g.channels
            packed_runs[i] = i * p.depth * p.b_depth
        p.bias = NULL if bias == NULL else <const void *>(bias + panel * 2 * cut.lanes)
        if in_registers:
            for oh in range(0, count, 2):
                pooled = pooled_offset(g, image, first + oh) + panel * 2 * cut.lanes
                loops_for(sizeof(floating)).pool_block(
                    g.columns // 2, &p, g.row_stride * row_size, columns + oh * g.row_stride * row_size,
                    packed + panel_offset(cut, panel), out + pooled, place_at(argmax, pooled))
            continue
        multiply_grid(
            p, count, g.columns, g.row_stride * row_size, g.column_stride * g.channels, columns,
            packed + panel_offset(cut, panel), rows + panel * 2 * cut.lanes)
    if g.pools and not in_registers:
        pool_band(g, image, first, count, rows, p.c_row, relu, out, argmax)


cdef bint pools_in_registers(geometry g) noexcept nogil:
    return g.pools and g.pool_height == 2 and g.pool_width == 2


cdef void pool_band(
    geometry g, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count, const floating *rows, Py_ssize_t channels,
    bint relu, floating *out, uint8_t *argmax,
) noexcept nogil:
    """The largest of each window of a band's rows, whose positions are `channels` apart."""
    cdef Py_ssize_t window, oh, pooled
    for window in range(count // g.pool_height):
        oh = window * g.pool_height
        pooled = pooled_offset(g, image, first + oh)
        loops_for(sizeof(floating)).max_row(
            rows + oh * g.columns * channels, g.pool_height, g.pool_width, g.columns * channels,
            g.pool_width, g.columns // g.pool_width, channels, g.filters, relu, out + pooled, place_at(argmax, pooled))


cdef void correlate_planes(
    geometry g, const floating *x, panels cut, const floating *W, const floating *bias, bint relu,
    floating *out, uint8_t *argmax, Py_ssize_t task, floating *tile, floating *spare, floating *rows,
    Py_ssize_t *runs,
) noexcept nogil:
    """`correlate_band` with few filters: the product's rows are filters, its columns are positions.

    What does not stay in registers is in `rows` first, filter by filter: of a band to be pooled, else of one row.
    """
    cdef Py_ssize_t image = task // bands(g), first = (task % bands(g)) * g.band
    cdef Py_ssize_t count = min(g.band, g.rows - first), F = g.filters, wide = positions_at_a_time(g, cut)
    cdef Py_ssize_t plane_row = plane_row_size(g, cut)
    cdef Py_ssize_t plane = ((g.band - 1) * g.row_stride + g.window_height) * plane_row
    cdef Py_ssize_t i, j, oh, position
    cdef Py_ssize_t positions = (g.columns + wide - 1) // wide, pooled
    cdef Py_ssize_t *plane_runs = runs + g.filter_height * g.filter_width
    cdef product p
    if bands(g) > 1:
        # At once: the margins of each row alone would take longer than all of it.
        memset(tile, 0, g.channels * plane * sizeof(floating))
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
    if pools_in_registers(g):
        p.bias, p.relu, p.c_row = <const void *>bias, relu, F
        for oh in range(0, count, 2):
            pooled = pooled_offset(g, image, first + oh)
            loops_for(sizeof(floating)).pool_planes(
                F, g.columns // 2, &p, g.row_stride * plane_row, W, tile + oh * g.row_stride * plane_row,
                out + pooled, place_at(argmax, pooled))
        return
    if g.pools:
        # A plane for each filter.
        p.accumulate, p.relu, p.c_row = False, False, g.band * positions * wide
        for oh in range(count):
            for position in range(positions):
                multiply(
                    p, F, 1, W, tile + oh * g.row_stride * plane_row + position * wide,
                    rows + (oh * positions + position) * wide)
        pool_planes(g, image, first, count, rows, positions * wide, bias, relu, out, argmax)
        return
    p.accumulate, p.relu, p.c_row = False, False, positions * wide
    out += (image * g.rows + first) * g.columns * F
    for oh in range(count):
        for position in range(positions):
            multiply(p, F, 1, W, tile + oh * g.row_stride * plane_row + position * wide, rows + position * wide)
        loops_for(sizeof(floating)).merge_row(
            rows, g.columns, F, positions * wide, bias, relu, out + oh * g.columns * F)


cdef void pool_planes(
    geometry g, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count, const floating *rows, Py_ssize_t row_step,
    const floating *bias, bint relu, floating *out, uint8_t *argmax,
) noexcept nogil:
    """The largest of each window of a band's rows, plus the bias, where each filter has a plane."""
    cdef Py_ssize_t window, oh, f, pooled
    for window in range(count // g.pool_height):
        oh = window * g.pool_height
        pooled = pooled_offset(g, image, first + oh)
        for f in range(g.filters):
            loops_for(sizeof(floating)).max_plane_row(
                rows + (f * g.band + oh) * row_step, g.pool_height, g.pool_width, row_step,
                g.columns // g.pool_width, NULL if bias == NULL else bias + f, relu, g.filters,
                out + pooled + f, place_at(argmax, pooled + f))


cdef bint few_filters(geometry g) noexcept nogil:
    """Whether positions fill vectors better than filters do."""
    return (
        g.filters <= in_use().wide_rows and g.column_stride == 1 and g.row_spread == 1 and g.column_spread == 1
        and g.columns >= 8
    )


cdef Py_ssize_t positions_at_a_time(geometry g, panels cut) noexcept nogil:
    """In a block: two vectors, or for the sums of a single filter, which wait for each other, four or eight."""
    cdef Py_ssize_t vectors = 2
    if g.filters == 1:
        while vectors < 8 and g.columns > vectors * cut.lanes:
            vectors *= 2
    return vectors * cut.lanes


cdef Py_ssize_t whole_blocks(geometry g, panels cut) noexcept nogil:
    """Positions of a row in whole blocks."""
    cdef Py_ssize_t wide = positions_at_a_time(g, cut)
    return (g.columns + wide - 1) // wide * wide


cdef Py_ssize_t plane_row_size(geometry g, panels cut) noexcept nogil:
    """Columns of a plane's row: the last vector of positions is read whole, for every column of the filter."""
    return max(g.tile_width, whole_blocks(g, cut) + g.window_width - 1)


cdef panels cut_filters(geometry g, floating kind) noexcept nogil:
    return cut_panels[floating](g.filter_height * g.filter_width * g.channels, g.filters, kind)


cdef Py_ssize_t packed_size(geometry g, floating kind) noexcept nogil:
    """Elements of the filters as `correlate` takes them, which is W as it is where they are few: none."""
    return 0 if few_filters(g) else cut_filters(g, kind).size


cdef void pack_filters(geometry g, const floating *W, floating *packed) noexcept nogil:
    cdef panels cut = cut_filters[floating](g, 0)
    cdef Py_ssize_t panel
    for panel in prange(cut.count, num_threads=threads_for(cut.count, cut.size), schedule="static"):
        pack_panel(W, g.filters, 1, cut, panel, packed + panel_offset(cut, panel))


cdef void correlate_task(
    geometry g, const floating *x, panels cut, const floating *filters, const floating *bias, bint relu,
    floating *out, uint8_t *argmax, Py_ssize_t task, bint turned, char *memory, Py_ssize_t tile_room,
    Py_ssize_t spare_room, Py_ssize_t rows_room,
) noexcept nogil:
    """A band, in a thread's own memory."""
    cdef floating *tile = <floating *>memory
    cdef floating *spare = tile + tile_room
    cdef floating *rows = spare + spare_room
    cdef Py_ssize_t *runs = <Py_ssize_t *>(rows + rows_room)
    if turned:
        correlate_planes(g, x, cut, filters, bias, relu, out, argmax, task, tile, spare, rows, runs)
    else:
        correlate_band(g, x, cut, filters, bias, relu, out, argmax, task, tile, spare, rows, runs)


cdef int correlate(
    geometry g, const floating *x, const floating *filters, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil:
    """From packed filters, or from W where they are few:

    out[n, oh, ow, f] = bias[f] + the sum over i, j, c of W[i, j, c, f] times
    x[n, oh*stride + i*dilation - top, ow*stride + j*dilation - left, c], then ReLU, and pooled if `g.pools`; `argmax` may be NULL.
    """
    cdef panels cut = cut_filters[floating](g, 0)
    cdef Py_ssize_t row_bytes = g.tile_width * g.channels * sizeof(floating)
    cdef Py_ssize_t most = (FORWARD_TILE // row_bytes - g.window_height + 1) // g.row_stride
    cdef bint turned = few_filters(g)
    if turned:
        g.tile_width = g.columns - 1 + g.window_width
    # Elements of a row of outputs before it is pooled or, turned over, written.
    cdef Py_ssize_t row_room = g.columns * padded_columns(cut)
    if turned:
        row_room = whole_blocks(g, cut) * g.filters
    cdef bint keeps_band = g.pools and not pools_in_registers(g)
    if keeps_band:
        most = min(most, POOLED_BAND // (row_room * <Py_ssize_t>sizeof(floating)))
    cdef double operations = 2.0 * g.images * g.rows * g.columns * g.filters * cut.depth
    cdef Py_ssize_t wanted = (tasks_for_product(FEWEST_TASKS, operations) + g.images - 1) // g.images
    most = min(most, (g.rows + wanted - 1) // wanted)
    g.band = band_rows(g, most, g.pool_height if g.pools else 1)
    cdef Py_ssize_t tasks = g.images * bands(g), task, turn, thread
    cdef shares dealt
    cdef int threads = threads_for_product(tasks, operations)
    cdef Py_ssize_t tile_room = lines(tile_size(g, g.channels)), spare_room = lines(spare_size(g))
    cdef Py_ssize_t tables = 2 * g.filter_height * (g.filter_width if turned else runs_in_row(g))
    if turned:
        tile_room = lines(
            ((g.band - 1) * g.row_stride + g.window_height) * plane_row_size(g, cut) * g.channels)
    cdef Py_ssize_t rows_room = lines(row_room * (g.band if keeps_band else 1 if turned else 0))
    cdef Py_ssize_t private = (
        (tile_room + spare_room + rows_room) * sizeof(floating) + lines(tables) * sizeof(Py_ssize_t))
    cdef Py_ssize_t shared = bias_room(cut) * sizeof(floating)
    cdef char *memory = <char *>allocate(shared + threads * private)
    cdef floating *wide_bias = <floating *>memory
    if bias == NULL:
        wide_bias = NULL
    else:
        widen_bias(cut, bias, wide_bias)
    if turned and bands(g) == 1:
        # The margins of all images; those of several bands differ.
        for thread in range(threads):
            memset(memory + shared + thread * private, 0, tile_room * sizeof(floating))
    if threads == 1:
        # Without the region of a single thread, which takes as long as a small layer.
        for task in range(tasks):
            correlate_task(
                g, x, cut, filters, wide_bias, relu, out, argmax, task, turned, memory + shared, tile_room, spare_room,
                rows_room)
    else:
        deal(&dealt, tasks, threads)
        for turn in prange(tasks, num_threads=threads, schedule="dynamic"):
            task = take(&dealt, threadid())
            correlate_task(
                g, x, cut, filters, wide_bias, relu, out, argmax, task, turned,
                memory + shared + threadid() * private, tile_room, spare_room, rows_room)
    release(memory)
    return 0
