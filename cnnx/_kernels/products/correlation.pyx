"""The product of a convolution's tiles and weights: the forward pass, and the input gradient with flipped weights.

output[band, F] = columns[band, K] . W[K, F]     task: a band of one image

With few filters a vector of filters would be mostly empty. Then the product is turned over: the tile is a plane
for each channel, and a vector holds neighbouring positions.

Where ReLU and a max pooling of windows that do not overlap follow, a band of output rows stays in registers or in
a thread's buffer, and only the pooled rows are written, with the place of each maximum.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for, place_at
from cnnx._kernels.ground.loops cimport product
from cnnx._kernels.ground.parallel cimport (
    allocate, for_each_task, release, tasks_for_product, threads_for, threads_for_product,
)
from cnnx._kernels.products.gemm cimport (
    bias_room, cut_panels, multiply, multiply_grid, pack_panel, padded_columns, panel_columns, panel_offset,
    panel_width, panels, widen_bias,
)
from cnnx._kernels.products.tiles cimport (
    FEWEST_TASKS, aligned, band, band_of, bands, even_rows, fill_planes, geometry, pooled_offset, runs_in_row,
    spare_size, table_room, tile_rows, tile_size, view_tile, with_bands, with_copies,
)

# Bytes. A tile shares the second-level cache with a panel of weights.
cdef enum:
    FORWARD_TILE = 98304
    POOLED_BAND = 49152


cdef struct correlation:
    geometry g
    panels cut
    const void *x
    const void *filters
    const void *bias        # in whole vectors, or NULL
    void *out
    uint8_t *argmax
    bint relu
    Py_ssize_t tile_room, spare_room, rows_room     # a thread's buffers; tables of runs follow


cdef bint pools_in_registers(const geometry *g) noexcept nogil:
    return g.pools and g.pool_height == 2 and g.pool_width == 2


cdef void correlate_band(const void *job, Py_ssize_t task, floating *memory) noexcept nogil:
    """Output rows of one band of one image, through a thread's rows if they are to be pooled."""
    cdef const correlation *c = <const correlation *>job
    cdef const geometry *g = &c.g
    cdef const panels *cut = &c.cut
    cdef band at = band_of(g, task)
    cdef Py_ssize_t row_size = g.tile_width * g.channels, row_runs = runs_in_row(g), i, panel
    cdef floating *rows = memory + c.tile_room + c.spare_room
    cdef Py_ssize_t *runs = <Py_ssize_t *>(rows + c.rows_room)
    cdef Py_ssize_t *packed_runs = runs + g.filter_height * row_runs
    cdef const floating *columns = view_tile(
        g, <const floating *>c.x, at, 0, g.channels, memory, memory + c.tile_room)
    cdef const floating *packed
    cdef bint in_registers = pools_in_registers(g)
    cdef product p
    p.runs, p.depth = g.filter_height * row_runs, g.filter_width // row_runs * g.channels
    p.a_runs, p.a_depth, p.b_runs = runs, 1, packed_runs
    p.accumulate, p.relu = False, c.relu and (in_registers or not g.pools)
    p.c_row = padded_columns(cut[0]) if g.pools and not in_registers else g.filters
    if not g.pools:
        rows = <floating *>c.out + (at.image * g.rows + at.first) * g.columns * g.filters
    for panel in range(cut.count):
        p.columns = panel_width(cut[0], panel) if g.pools and not in_registers else panel_columns(cut[0], panel)
        p.b_depth = panel_width(cut[0], panel)
        for i in range(p.runs):
            runs[i] = i // row_runs * g.row_dilation * row_size + i % row_runs * g.column_dilation * g.channels
            packed_runs[i] = i * p.depth * p.b_depth
        p.bias = NULL
        if c.bias != NULL:
            p.bias = <const floating *>c.bias + panel * 2 * cut.lanes
        packed = <const floating *>c.filters + panel_offset(cut[0], panel)
        if in_registers:
            pool_products(c, at, &p, columns, packed, panel * 2 * cut.lanes)
        else:
            multiply_grid(
                p, at.count, g.columns, g.row_stride * row_size, g.column_stride * g.channels, columns, packed,
                rows + panel * 2 * cut.lanes)
    if g.pools and not in_registers:
        pool_band(g, at, <const floating *>rows, p.c_row, c.relu, <floating *>c.out, c.argmax)


cdef void pool_products(
    const correlation *c, band at, product *p, const floating *columns, const floating *packed, Py_ssize_t filter,
) noexcept nogil:
    """Products of a band and a panel, whose first filter this is, pooled where they are."""
    cdef const geometry *g = &c.g
    cdef Py_ssize_t oh, pooled, line = g.row_stride * g.tile_width * g.channels
    p.a_row = g.column_stride * g.channels
    for oh in range(0, at.count, 2):
        pooled = pooled_offset(g, at.image, at.first + oh) + filter
        loops_for(sizeof(floating)).pool_block(
            g.columns // 2, p, line, columns + oh * line, packed, <floating *>c.out + pooled,
            place_at(c.argmax, pooled))


cdef void pool_band(
    const geometry *g, band at, const floating *rows, Py_ssize_t channels, bint relu, floating *out, uint8_t *argmax,
) noexcept nogil:
    """The largest of each window of a band's rows, whose positions are `channels` apart."""
    cdef Py_ssize_t window, oh, pooled
    for window in range(at.count // g.pool_height):
        oh = window * g.pool_height
        pooled = pooled_offset(g, at.image, at.first + oh)
        loops_for(sizeof(floating)).max_row(
            rows + oh * g.columns * channels, g.pool_height, g.pool_width, g.columns * channels,
            g.pool_width, g.columns // g.pool_width, channels, g.filters, relu, out + pooled, place_at(argmax, pooled))


cdef void correlate_planes(const void *job, Py_ssize_t task, floating *tile) noexcept nogil:
    """`correlate_band` with few filters: the product's rows are filters, its columns are positions."""
    cdef const correlation *c = <const correlation *>job
    cdef const geometry *g = &c.g
    cdef band at = band_of(g, task)
    cdef Py_ssize_t plane_row = plane_row_size(g, c.cut.lanes), plane = tile_rows(g, g.band_rows) * plane_row
    cdef Py_ssize_t F = g.filters, i, j
    cdef floating *rows = tile + c.tile_room + c.spare_room
    cdef Py_ssize_t *runs = <Py_ssize_t *>(rows + c.rows_room)
    cdef Py_ssize_t *plane_runs = runs + g.filter_height * g.filter_width
    cdef product p
    if bands(g) > 1:
        # At once: the margins of each row alone would take longer than all of it.
        memset(tile, 0, g.channels * plane * sizeof(floating))
    fill_planes(g, <const floating *>c.x, at, plane, plane_row, tile, tile + c.tile_room)
    # The sums are in the order of (i, j, c), as where the product is not turned.
    p.a_runs, p.a_depth, p.b_runs = runs, F, plane_runs
    if g.channels == 1:
        p.runs, p.depth, p.b_depth = g.filter_height, g.filter_width, g.column_dilation
        for i in range(g.filter_height):
            runs[i] = i * g.filter_width * F
            plane_runs[i] = i * g.row_dilation * plane_row
    else:
        p.runs, p.depth, p.b_depth = g.filter_height * g.filter_width, g.channels, plane
        for i in range(g.filter_height):
            for j in range(g.filter_width):
                runs[i * g.filter_width + j] = (i * g.filter_width + j) * g.channels * F
                plane_runs[i * g.filter_width + j] = i * g.row_dilation * plane_row + j * g.column_dilation
    if pools_in_registers(g):
        pool_planes(c, at, &p, plane_row, <const floating *>tile)
    else:
        multiply_planes(c, at, p, plane_row, <const floating *>tile, rows)


cdef void pool_planes(
    const correlation *c, band at, product *p, Py_ssize_t plane_row, const floating *tile,
) noexcept nogil:
    """The product of a band, pooled where it is."""
    cdef const geometry *g = &c.g
    cdef Py_ssize_t oh, pooled, line = g.row_stride * plane_row
    p.bias, p.relu, p.c_row = c.bias, c.relu, g.filters
    for oh in range(0, at.count, 2):
        pooled = pooled_offset(g, at.image, at.first + oh)
        loops_for(sizeof(floating)).pool_planes(
            g.filters, g.columns // 2, p, line, <const floating *>c.filters, tile + oh * line,
            <floating *>c.out + pooled, place_at(c.argmax, pooled))


cdef void multiply_planes(
    const correlation *c, band at, product p, Py_ssize_t plane_row, const floating *tile, floating *rows,
) noexcept nogil:
    """The product of a band, filter by filter in `rows` first: of all rows to be pooled, else of one."""
    cdef const geometry *g = &c.g
    cdef Py_ssize_t wide = positions_at_a_time(g, c.cut.lanes), oh, position
    cdef Py_ssize_t positions = (g.columns + wide - 1) // wide, row_size = positions * wide
    cdef floating *out = <floating *>c.out + (at.image * g.rows + at.first) * g.columns * g.filters
    p.columns, p.bias, p.accumulate, p.relu = wide, NULL, False, False
    p.c_row = g.band_rows * row_size if g.pools else row_size
    for oh in range(at.count):
        for position in range(positions):
            multiply(
                p, g.filters, 1, <const floating *>c.filters, tile + oh * g.row_stride * plane_row + position * wide,
                rows + position * wide)
        if g.pools:
            rows += row_size
        else:
            loops_for(sizeof(floating)).merge_row(
                rows, g.columns, g.filters, row_size, c.bias, c.relu, out + oh * g.columns * g.filters)
    if g.pools:
        max_planes(c, at, <const floating *>rows - at.count * row_size, row_size)


cdef void max_planes(const correlation *c, band at, const floating *rows, Py_ssize_t row_size) noexcept nogil:
    """The largest of each window of a band's rows, plus the bias, where each filter has a plane."""
    cdef const geometry *g = &c.g
    cdef Py_ssize_t window, oh, f, pooled
    cdef const floating *bias
    for window in range(at.count // g.pool_height):
        oh = window * g.pool_height
        pooled = pooled_offset(g, at.image, at.first + oh)
        bias = <const floating *>c.bias
        for f in range(g.filters):
            loops_for(sizeof(floating)).max_plane_row(
                rows + (f * g.band_rows + oh) * row_size, g.pool_height, g.pool_width, row_size,
                g.columns // g.pool_width, bias, c.relu, g.filters, <floating *>c.out + pooled + f,
                place_at(c.argmax, pooled + f))
            if bias != NULL:
                bias += 1


cdef bint few_filters(const geometry *g) noexcept nogil:
    """Whether positions fill vectors better than filters do."""
    return (
        g.filters <= in_use().wide_rows and g.column_stride == 1 and g.row_spread == 1 and g.column_spread == 1
        and g.columns >= 8
    )


cdef Py_ssize_t positions_at_a_time(const geometry *g, Py_ssize_t lanes) noexcept nogil:
    """In a block: two vectors, or for the sums of a single filter, which wait for each other, four or eight."""
    cdef Py_ssize_t vectors = 2
    if g.filters == 1:
        while vectors < 8 and g.columns > vectors * lanes:
            vectors *= 2
    return vectors * lanes


cdef Py_ssize_t whole_blocks(const geometry *g, Py_ssize_t lanes) noexcept nogil:
    """Positions of a row in whole blocks."""
    cdef Py_ssize_t wide = positions_at_a_time(g, lanes)
    return (g.columns + wide - 1) // wide * wide


cdef Py_ssize_t plane_row_size(const geometry *g, Py_ssize_t lanes) noexcept nogil:
    """Columns of a plane's row: the last vector of positions is read whole, for every column of the filter."""
    return max(g.tile_width, whole_blocks(g, lanes) + g.span_width - 1)


cdef panels cut_filters(const geometry *g, floating kind) noexcept nogil:
    return cut_panels[floating](g.filter_height * g.filter_width * g.channels, g.filters, kind)


cdef Py_ssize_t packed_size(const geometry *g, floating kind) noexcept nogil:
    """Elements of the filters as `correlate` takes them, which is W as it is where they are few: none."""
    return 0 if few_filters(g) else cut_filters(g, kind).size


cdef struct packing:
    panels cut
    const void *W
    void *packed


cdef void pack_one_panel(const void *job, Py_ssize_t panel, floating *memory) noexcept nogil:
    cdef const packing *p = <const packing *>job
    pack_panel(
        <const floating *>p.W, p.cut.columns, 1, p.cut, panel, <floating *>p.packed + panel_offset(p.cut, panel))


cdef void pack_filters(const geometry *g, const floating *W, floating *packed) noexcept nogil:
    cdef packing p
    p.cut, p.W, p.packed = cut_filters[floating](g, 0), W, packed
    for_each_task(pack_one_panel[floating], &p, p.cut.count, threads_for(p.cut.count, p.cut.size), packed, 0)


cdef geometry cut_bands(const geometry *g, Py_ssize_t row_room, double operations, floating kind) noexcept nogil:
    """As many rows as caches hold, and few enough for all threads; `row_room` is a row's before it is pooled, or 0."""
    cdef Py_ssize_t itemsize = sizeof(floating), row_bytes = g.tile_width * g.channels * itemsize
    cdef Py_ssize_t most = (FORWARD_TILE // row_bytes - g.span_height + 1) // g.row_stride
    cdef Py_ssize_t wanted = (tasks_for_product(FEWEST_TASKS, operations) + g.images - 1) // g.images
    if row_room:
        most = min(most, POOLED_BAND // (row_room * itemsize))
    most = min(most, (g.rows + wanted - 1) // wanted)
    return with_bands(g[0], even_rows(g, most, g.pool_height if g.pools else 1))


cdef int correlate(
    const geometry *g, const floating *x, const floating *filters, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil:
    """From packed filters, or from W where they are few:

    out[n, oh, ow, f] = bias[f] + the sum over i, j, c of W[i, j, c, f] times
    x[n, oh*stride + i*dilation - top, ow*stride + j*dilation - left, c], then ReLU, and pooled if `g.pools`; `argmax`
    may be NULL.
    """
    cdef panels cut = cut_filters[floating](g, 0)
    cdef bint turned = few_filters(g), keeps_band = g.pools and not pools_in_registers(g)
    # Elements of a row of outputs before it is pooled or, turned over, written.
    cdef Py_ssize_t row_room = whole_blocks(g, cut.lanes) * g.filters if turned else g.columns * padded_columns(cut)
    cdef double operations = 2.0 * g.images * g.rows * g.columns * g.filters * cut.depth
    cdef geometry cut_up = cut_bands[floating](g, row_room if keeps_band else 0, operations, 0)
    cdef correlation c
    c.g = with_copies(cut_up) if turned else cut_up
    c.cut, c.x, c.filters, c.bias, c.relu, c.out, c.argmax = cut, x, filters, NULL, relu, out, argmax
    c.spare_room = aligned(spare_size(g))
    c.rows_room = aligned(row_room * (cut_up.band_rows if keeps_band else 1 if turned else 0))
    cdef Py_ssize_t plane_size = tile_rows(&c.g, c.g.band_rows) * plane_row_size(&c.g, cut.lanes)
    cdef Py_ssize_t tables = 2 * g.filter_height * (g.filter_width if turned else runs_in_row(g))
    c.tile_room = aligned(plane_size * g.channels if turned else tile_size(&c.g, g.channels))
    cdef Py_ssize_t private = c.tile_room + c.spare_room + c.rows_room + table_room[floating](tables, 0)
    cdef Py_ssize_t tasks = g.images * bands(&c.g), thread
    cdef int threads = threads_for_product(tasks, operations)
    cdef floating *memory = <floating *>allocate(
        (bias_room(cut) + threads * private) * <Py_ssize_t>sizeof(floating))
    cdef floating *buffers = memory + bias_room(cut)
    if bias != NULL:
        widen_bias(cut, bias, memory)
        c.bias = memory
    if turned and bands(&c.g) == 1:
        # The margins of all images; those of several bands differ.
        for thread in range(threads):
            memset(buffers + thread * private, 0, c.tile_room * sizeof(floating))
    if turned:
        for_each_task(correlate_planes[floating], &c, tasks, threads, buffers, private)
    else:
        for_each_task(correlate_band[floating], &c, tasks, threads, buffers, private)
    release(memory)
    return 0
