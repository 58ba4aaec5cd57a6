"""The product of a convolution's tiles and weights: the forward pass, and the input gradient with flipped weights.

output[band, F] = columns[band, K] . W[K, F]     task: a band of one image, or some small images

Where filters would leave vectors mostly empty, the product is turned over (plane_product.pyx).

Where ReLU and a max pooling of windows that do not overlap follow, a band of output rows stays in registers or in
a thread's buffer, and only the pooled rows are written, with the place of each maximum.
"""

from libc.stdint cimport uint8_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport loops_for, place_at
from cnnx._kernels.ground.loops cimport product
from cnnx._kernels.ground.parallel cimport (
    allocate, for_each_task, release, tasks_for_product, threads_for, threads_for_product,
)
from cnnx._kernels.products.gemm cimport (
    bias_room, cut_panels, grid, multiply_points, pack_panel, padded_columns, panel_columns, panel_offset,
    panel_width, panels, widen_bias,
)
from cnnx._kernels.products.plane_product cimport multiply_by_planes, planes_are_faster
from cnnx._kernels.products.tiles cimport (
    FEWEST_TASKS, aligned, band, band_of, bands, even_rows, geometry, pooled_offset, pools_in_registers, runs_in_row,
    spare_size, table_room, tile_size, view_tile, with_bands,
)

cdef enum:
    # Bytes. A tile shares the second-level cache with a panel of weights.
    FORWARD_TILE = 98304
    POOLED_BAND = 49152
    # Images with fewer positions are taken together: blocks of a product are full, and weights are read for more of them.
    FEW_POSITIONS = 192


cdef struct correlation:
    geometry g
    panels cut
    const void *x
    const void *filters
    const void *bias        # in whole vectors, or NULL
    void *out
    uint8_t *argmax
    bint relu
    Py_ssize_t together     # images of a task; one, where they are cut into bands or pooled
    Py_ssize_t tile_room, spare_room, rows_room     # a thread's buffers; tables of runs follow


cdef void correlate_band(const void *job, Py_ssize_t task, floating *memory) noexcept nogil:
    """Output rows of one band of one image, through a thread's rows if they are to be pooled."""
    cdef const correlation *c = <const correlation *>job
    cdef const geometry *g = &c.g
    cdef const panels *cut = &c.cut
    cdef band at = band_of(g, task * c.together)
    cdef grid points = points_of(c, at)
    cdef Py_ssize_t row_size = g.tile_width * g.channels, row_runs = runs_in_row(g), i, panel
    cdef floating *rows = memory + c.tile_room + c.spare_room
    cdef Py_ssize_t *runs = <Py_ssize_t *>(rows + c.rows_room)
    cdef Py_ssize_t *packed_runs = runs + g.filter_height * row_runs
    cdef const floating *columns = view_tiles(c, at, points.count, memory)
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
            multiply_points(p, points, columns, packed, rows + panel * 2 * cut.lanes)
    if g.pools and not in_registers:
        pool_band(g, at, <const floating *>rows, p.c_row, c.relu, <floating *>c.out, c.argmax)


cdef grid points_of(const correlation *c, band at) noexcept nogil:
    """Where the positions of a task lie in its tiles."""
    cdef const geometry *g = &c.g
    cdef grid points
    points.count, points.rows, points.columns = min(c.together, g.images - at.image), at.count, g.columns
    points.stride = tile_size(g, g.channels) if g.copied else g.height * g.width * g.channels
    points.row_stride = g.row_stride * g.tile_width * g.channels
    points.column_stride = g.column_stride * g.channels
    return points


cdef const floating *view_tiles(const correlation *c, band at, Py_ssize_t images, floating *memory) noexcept nogil:
    """The tiles of so many images, one behind the other."""
    cdef const geometry *g = &c.g
    cdef Py_ssize_t size = tile_size(g, g.channels), i
    cdef const floating *first = view_tile(
        g, <const floating *>c.x, at, 0, g.channels, memory, memory + c.tile_room)
    for i in range(1, images if g.copied else 1):
        at.image += 1
        view_tile(g, <const floating *>c.x, at, 0, g.channels, memory + i * size, memory + c.tile_room)
    return first


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


cdef panels cut_filters(const geometry *g, floating kind) noexcept nogil:
    return cut_panels[floating](g.filter_height * g.filter_width * g.channels, g.filters, kind)


cdef Py_ssize_t packed_size(const geometry *g, floating kind) noexcept nogil:
    """Elements of the filters as `correlate` takes them, none where that is W as it is."""
    return 0 if planes_are_faster(g, kind) else cut_filters(g, kind).size


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


cdef Py_ssize_t images_together(const geometry *g, double operations, Py_ssize_t itemsize) noexcept nogil:
    """How many small images are a task; as many tasks as threads may want are left."""
    cdef Py_ssize_t bytes = (tile_size(g, g.channels) if g.copied else g.height * g.width * g.channels) * itemsize
    if g.pools or bands(g) > 1:
        return 1
    return max(1, min(
        min(FEW_POSITIONS // (g.rows * g.columns), FORWARD_TILE // bytes),
        g.images // tasks_for_product(FEWEST_TASKS, operations)))


cdef int correlate(
    const geometry *g, const floating *x, const floating *filters, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil:
    """From packed filters, or from W where `packed_size` says so:

    out[n, oh, ow, f] = bias[f] + the sum over i, j, c of W[i, j, c, f] times
    x[n, oh*stride + i*dilation - top, ow*stride + j*dilation - left, c], then ReLU, and pooled if `g.pools`; `argmax`
    may be NULL.
    """
    if planes_are_faster[floating](g, 0):
        return multiply_by_planes(g, x, filters, bias, relu, out, argmax)
    return correlate_tiles(g, x, filters, bias, relu, out, argmax)


cdef int correlate_tiles(
    const geometry *g, const floating *x, const floating *filters, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil:
    """What `correlate` computes, from packed filters."""
    cdef panels cut = cut_filters[floating](g, 0)
    # Elements of a row of outputs before it is pooled.
    cdef Py_ssize_t row_room = g.columns * padded_columns(cut) if g.pools and not pools_in_registers(g) else 0
    cdef double operations = 2.0 * g.images * g.rows * g.columns * g.filters * cut.depth
    cdef correlation c
    c.g = cut_bands[floating](g, row_room, operations, 0)
    c.cut, c.x, c.filters, c.bias, c.relu, c.out, c.argmax = cut, x, filters, NULL, relu, out, argmax
    c.together = images_together(&c.g, operations, sizeof(floating))
    c.spare_room, c.rows_room = aligned(spare_size(g)), aligned(row_room * c.g.band_rows)
    c.tile_room = aligned(c.together * tile_size(&c.g, g.channels))
    cdef Py_ssize_t tables = 2 * g.filter_height * runs_in_row(g)
    cdef Py_ssize_t private = c.tile_room + c.spare_room + c.rows_room + table_room[floating](tables, 0)
    cdef Py_ssize_t tasks = (g.images + c.together - 1) // c.together * bands(&c.g)
    cdef int threads = threads_for_product(tasks, operations)
    cdef floating *memory = <floating *>allocate(
        (bias_room(cut) + threads * private) * <Py_ssize_t>sizeof(floating))
    if bias != NULL:
        widen_bias(cut, bias, memory)
        c.bias = memory
    for_each_task(correlate_band[floating], &c, tasks, threads, memory + bias_room(cut), private)
    release(memory)
    return 0
