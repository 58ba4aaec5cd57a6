"""The gradient of a convolution's weights and biases.

W[K, F] = sum of columns[band, K]^T . grad[band, F]     task: a block of images, or some filters of one

Where that leaves less of the vectors empty, the product is turned over: grad[band, F]^T . columns[band, K].

From a pooled gradient, the windows that have one are listed and added straight to the sums; with few weights, they are
walked without a list (window_gradient.pyx). Without pooling, few filters and channels are taken from planes
(plane_gradient.pyx), and many with square filters by Winograd's products (winograd.pyx).
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport loops_for
from cnnx._kernels.ground.loops cimport pooled_gradient, product
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, tasks_for_product, threads_for_product
from cnnx._kernels.products.gemm cimport (
    cut_panels, multiply, multiply_grid, pack_panel, padded_columns, panel_columns, panel_offset, panel_width, panels,
)
from cnnx._kernels.products.plane_gradient cimport gradient_by_planes, plane_gradient
from cnnx._kernels.products.tiles cimport (
    FEWEST_TASKS, LONGEST, aligned, band, band_of, bands, even_rows, geometry, image_blocks, lists_size, move_sums, pair,
    pooled_offset, table_room, tile_rows, tile_size, view_tile, windows_of, with_bands, with_copies, with_filter_rows,
)
from cnnx._kernels.products.window_gradient cimport gradient_by_windows, window_gradient
from cnnx._kernels.products.winograd cimport winograd_gradient_is_faster, winograd_weight_gradient

# Bytes. A tile of a few channels and a panel of the gradients of its positions stay in the first-level cache.
cdef enum:
    GRADIENT_TILE = 49152
    GRADIENT_CHANNELS = 32
    GRADIENT_POSITIONS = 256
    # Gradients are read where they lie, instead of from panels, for so few weights of a filter.
    FEW_WEIGHTS = 32
    # Of small images, several are one band: so many bytes of tiles, which stay in the second-level cache.
    SEVERAL_TILES = 131072
    SEVERAL_POSITIONS = 256
    FEWEST_FILTERS = 8  # of a part
    ROW_PARTS = 4  # at most: each packs the gradient


cdef struct weight_sums:
    geometry g
    panels cut                  # of the sums, weights x filters
    const void *x
    const void *grad
    const uint8_t *places       # NULL where the gradient is not a pooled one
    bint by_filter              # whether sums lie filter by filter, with `sums_row` for a filter's row; else in panels
    Py_ssize_t sums_row
    void *partial               # sums of each block
    void *totals                # those of LONGEST positions each, where a block has more, or NULL
    Py_ssize_t blocks, size, sums   # blocks of images, their sums without the biases', and how far these are apart
    Py_ssize_t channels         # of a tile, at most
    Py_ssize_t parts, row_parts # of a block's sums, a task each; and those of the same filters
    Py_ssize_t together         # images, whose bands are taken at a time; of several bands, one
    Py_ssize_t tile_room, right_room    # a thread's buffers; tables of runs follow


cdef struct part:
    # Some panels and their filters, with all rows of these, or one panel with some of them; where their sums lie.
    geometry g      # of a convolution with these rows
    Py_ssize_t begin, end
    Py_ssize_t first_filter, end_filter
    Py_ssize_t first_row
    Py_ssize_t offset, size


cdef part part_of(const weight_sums *s, Py_ssize_t number) noexcept nogil:
    cdef part p
    cdef Py_ssize_t parts = s.parts // s.row_parts, of = number // s.row_parts, rows = number % s.row_parts
    cdef Py_ssize_t end_row = s.g.filter_height * (rows + 1) // s.row_parts
    cdef Py_ssize_t row = s.sums_row if s.by_filter else s.g.filter_width * s.g.channels, width
    p.first_row = s.g.filter_height * rows // s.row_parts
    p.g = with_filter_rows(s.g, p.first_row, end_row)
    if s.by_filter:
        p.begin = p.end = 0
        p.first_filter, p.end_filter = s.g.filters * of // parts, s.g.filters * (of + 1) // parts
        p.offset, p.size = (
            p.first_filter * s.g.filter_height * row, (p.end_filter - p.first_filter) * s.g.filter_height * row)
        return p
    p.begin, p.end = s.cut.count * of // parts, s.cut.count * (of + 1) // parts
    p.first_filter, p.end_filter = p.begin * 2 * s.cut.lanes, min(s.cut.columns, p.end * 2 * s.cut.lanes)
    width = panel_width(s.cut, p.end - 1)
    p.offset = panel_offset(s.cut, p.begin) + p.first_row * row * width
    p.size = panel_offset(s.cut, p.end - 1) + end_row * row * width - p.offset
    return p


cdef void add_part(const void *job, Py_ssize_t task, floating *tile) noexcept nogil:
    """Gradients of some filters' weights and biases, summed over a block of images."""
    cdef const weight_sums *s = <const weight_sums *>job
    cdef const geometry *g = &s.g
    cdef Py_ssize_t block = task // s.parts, images, summed = 0
    cdef Py_ssize_t number = g.images * block // s.blocks * bands(g)
    cdef Py_ssize_t end = g.images * (block + 1) // s.blocks * bands(g)
    cdef part p = part_of(s, task % s.parts)
    cdef floating *sums = <floating *>s.partial + block * s.sums
    cdef floating *totals = <floating *>s.totals + block * s.sums if s.totals != NULL else NULL
    cdef band at
    clear_part(s, p, sums)
    if totals != NULL:
        clear_part(s, p, totals)
    while number < end:
        at, images = band_of(g, number), min(s.together, end - number)
        number += images
        if totals != NULL and summed >= LONGEST:
            move_part(s, p, sums, totals)
            summed = 0
        summed += images * at.count * g.columns
        if s.places != NULL:
            add_listed(s, at, p, sums, tile)
        else:
            add_band(s, at, images, p, sums, tile)
    if totals != NULL:
        move_part(s, p, totals, sums)


cdef void clear_part(const weight_sums *s, part p, floating *sums) noexcept nogil:
    memset(sums + p.offset, 0, p.size * sizeof(floating))
    if p.first_row == 0:
        memset(sums + s.size + p.first_filter, 0, (p.end_filter - p.first_filter) * sizeof(floating))


cdef void move_part(const weight_sums *s, part p, floating *sums, floating *totals) noexcept nogil:
    move_sums(sums + p.offset, totals + p.offset, p.size)
    if p.first_row == 0:
        move_sums(sums + s.size + p.first_filter, totals + s.size + p.first_filter, p.end_filter - p.first_filter)


cdef void add_listed(const weight_sums *s, band at, part p, floating *sums, floating *tile) noexcept nogil:
    """The sums of one band straight from the pooled gradient."""
    cdef const geometry *g = &s.g
    cdef const floating *columns = view_tile(
        g, <const floating *>s.x, at, 0, g.channels, tile, <floating *>NULL)
    cdef Py_ssize_t f, pooled = pooled_offset(g, at.image, at.first)
    cdef pooled_gradient windows = windows_of(
        g, at.count, 0, tile + s.tile_room, g.band_rows * g.columns + 1)
    for f in range(p.first_filter, p.end_filter):
        loops_for(sizeof(floating)).pooled_weight_gradient(
            &windows, <const floating *>s.grad + pooled + f, s.places + pooled + f, columns,
            sums + f * g.filter_height * s.sums_row, sums + s.size + f)


cdef void add_band(
    const weight_sums *s, band at, Py_ssize_t images, part p, floating *sums, floating *tile,
) noexcept nogil:
    """The sums of one band, of some images, from a gradient that is not a pooled one."""
    cdef const geometry *g = &s.g
    cdef Py_ssize_t positions = images * at.count * g.columns, F = g.filters
    cdef const floating *grad = <const floating *>s.grad + (at.image * g.rows + at.first) * g.columns * F
    if p.first_row == 0:
        loops_for(sizeof(floating)).position_sums(
            positions, p.end_filter - p.first_filter, grad + p.first_filter, F, sums + s.size + p.first_filter)
    if s.by_filter:
        add_turned(s, at, images, p, grad, sums, tile)
        return
    cdef bint last = at.image + images == g.images and at.first + at.count == g.rows
    if last and not packs_gradient(&s.cut) and F % s.cut.lanes:
        # Vectors may read past a position's last filter: past that of all positions only where there is room.
        memcpy(tile + s.tile_room, grad, positions * F * sizeof(floating))
        grad = tile + s.tile_room
    add_panels(s, at, images, p, grad, sums, tile)


cdef bint packs_gradient(const panels *cut) noexcept nogil:
    """Whether copying the gradients into panels is worth it, instead of reading them where they lie."""
    return cut.count > 1 and cut.depth > FEW_WEIGHTS


cdef bint turns(const geometry *g, const panels *cut, Py_ssize_t lanes) noexcept nogil:
    """Whether the columns of a filter's row fill vectors so much better than filters do.

    That needs copies of tiles, and in return none of the gradient; and a single vector of filters keeps no block busy.
    """
    cdef Py_ssize_t row = (g.filter_width * g.channels + lanes - 1) // lanes, filters = (g.filters + lanes - 1) // lanes
    cdef double least = 1.2 if filters > 1 else 0.95 if g.copied else 1.01
    return g.column_dilation == 1 and least * g.filters * g.filter_height * row < <double>cut.depth * filters


cdef Py_ssize_t image_stride(const geometry *g, Py_ssize_t channels) noexcept nogil:
    """From the tile of an image to that of the next one."""
    return tile_size(g, channels) if g.copied else g.height * g.width * g.channels


cdef const floating *view_tiles(
    const weight_sums *s, const geometry *g, band at, Py_ssize_t images, Py_ssize_t channel, Py_ssize_t channels,
    floating *tile,
) noexcept nogil:
    """`view_tile` of each of some images."""
    cdef Py_ssize_t image, stride = image_stride(g, channels)
    cdef const floating *first = view_tile(
        g, <const floating *>s.x, at, channel, channels, tile, <floating *>NULL)
    for image in range(1, images):
        at.image += 1
        view_tile(g, <const floating *>s.x, at, channel, channels, tile + image * stride, <floating *>NULL)
    return first


cdef product running_sums(
    const weight_sums *s, const geometry *g, band at, Py_ssize_t images, Py_ssize_t channels, Py_ssize_t filters, Py_ssize_t columns,
    floating *tile,
) noexcept nogil:
    """A product over a band's positions, with so many channels and filters side by side, added to what is there."""
    cdef Py_ssize_t *runs = <Py_ssize_t *>(tile + s.tile_room + s.right_room)
    cdef Py_ssize_t *right_runs = runs + s.together * g.band_rows
    cdef Py_ssize_t row, i, image, x_image = image_stride(g, channels), x_row = g.row_stride * g.tile_width * channels
    cdef product q
    q.runs, q.depth, q.a_depth = images * at.count, g.columns, g.column_stride * channels
    if g.columns == 1:
        # Neighbours in the other direction, or the images.
        q.runs, q.depth, q.a_depth = images, at.count, x_row
        if at.count == 1:
            q.runs, q.depth, q.a_depth = 1, images, x_image
    for i in range(q.runs):
        image = i if g.columns == 1 else i // at.count
        row = 0 if g.columns == 1 else i % at.count
        runs[i] = image * x_image + row * x_row
        right_runs[i] = i * q.depth * filters
    q.a_runs, q.b_runs, q.a_row, q.a_rows, q.b_depth = runs, right_runs, 0, NULL, filters
    q.columns = q.c_row = columns
    q.accumulate, q.relu, q.bias = True, False, NULL
    return q


cdef void add_turned(
    const weight_sums *s, band at, Py_ssize_t images, part p, const floating *grad, floating *sums, floating *tile,
) noexcept nogil:
    """The sums of one band with filters in the rows of the product, and the columns of a filter's row in its columns."""
    cdef const geometry *g = &p.g
    cdef Py_ssize_t i, panel, row = g.filter_width * g.channels, filter = g.filter_height * s.sums_row
    cdef panels cut = cut_panels[floating](0, row, 0)
    cdef const floating *columns = view_tiles(s, g, at, images, 0, g.channels, tile)
    cdef product q = running_sums(s, g, at, images, g.channels, g.filters, 0, tile)
    q.a_runs, q.b_runs = q.b_runs, q.a_runs
    q.a_depth, q.b_depth = q.b_depth, q.a_depth
    q.c_row = filter
    for i in range(g.filter_height):
        for panel in range(cut.count):
            q.columns = panel_width(cut, panel)
            multiply(
                q, p.end_filter - p.first_filter, 1, grad + p.first_filter,
                columns + i * g.row_dilation * g.tile_width * g.channels + panel * 2 * cut.lanes,
                sums + p.offset + i * s.sums_row + panel * 2 * cut.lanes)


cdef void add_panels(
    const weight_sums *s, band at, Py_ssize_t images, part p, const floating *grad, floating *sums, floating *tile,
) noexcept nogil:
    """The sums of one band with weights in the rows of the product and filters in its columns.

    The left operand is the transposed matrix of columns: one channel at many positions. With many
    channels those are far apart, often by a power of two, and would push each other out of the cache;
    so a tile holds few channels, side by side. The gradients are copied into panels for the same reason.
    """
    cdef const geometry *g = &p.g
    cdef Py_ssize_t C = g.channels, groups = (C + s.channels - 1) // s.channels
    cdef Py_ssize_t panel, width, group, channel, channels, filters
    cdef panels band_cut = cut_panels[floating](images * at.count * g.columns, g.filters, 0)
    cdef floating *packed = tile + s.tile_room
    cdef const floating *columns
    cdef const floating *right
    for panel in range(p.begin, p.end if packs_gradient(&s.cut) else p.begin):
        pack_panel(grad, g.filters, 1, band_cut, panel, packed + panel_offset(band_cut, panel))
    for group in range(groups):
        channel = C * group // groups
        channels = C * (group + 1) // groups - channel
        columns = view_tiles(s, g, at, images, channel, channels, tile)
        for panel in range(p.begin, p.end):
            width = filters = panel_width(s.cut, panel)
            right = packed + panel_offset(band_cut, panel)
            if not packs_gradient(&s.cut):
                filters, right = g.filters, grad + panel * 2 * s.cut.lanes
            multiply_taps(
                g, running_sums(s, g, at, images, channels, filters, width, tile), channels, columns, right,
                sums + panel_offset(s.cut, panel) + (p.first_row * g.filter_width * C + channel) * width)


cdef void multiply_taps(
    const geometry *g, product q, Py_ssize_t channels, const floating *columns, const floating *grad, floating *sums,
) noexcept nogil:
    """Some channels of all taps times a panel: all of them at once, where a row's pixels are neighbours."""
    cdef Py_ssize_t i, j, pixel, tap = g.channels * q.columns
    if channels == g.channels and g.column_dilation == 1:
        multiply_grid(
            q, g.filter_height, g.filter_width * channels, g.row_dilation * g.tile_width * channels, 1, columns, grad,
            sums)
        return
    for i in range(g.filter_height):
        for j in range(g.filter_width):
            pixel = i * g.row_dilation * g.tile_width + j * g.column_dilation
            multiply(
                q, channels, 1, columns + pixel * channels, grad, sums + (i * g.filter_width + j) * tap)


cdef Py_ssize_t channels_together(const geometry *g, bint by_filter) noexcept nogil:
    """Of a tile; one that each of several taps reads, or that is copied anyway, is small."""
    if by_filter or (g.filter_height * g.filter_width == 1 and not g.copied):
        return g.channels
    return min(g.channels, GRADIENT_CHANNELS)


cdef geometry cut_bands(
    const geometry *g, pair size, Py_ssize_t channels, bint copied, Py_ssize_t itemsize,
) noexcept nogil:
    """As many rows as the first-level cache holds, with `channels` at a time."""
    cdef Py_ssize_t row_bytes = ((size.width - 1) * g.column_stride + g.span_width) * channels * itemsize
    cdef Py_ssize_t most = min(GRADIENT_TILE // (row_bytes * g.row_stride), GRADIENT_POSITIONS // size.width)
    return with_bands(with_copies(g[0]) if copied else g[0], even_rows(g, most, g.pool_height))


cdef Py_ssize_t images_together(const geometry *g, Py_ssize_t channels, Py_ssize_t itemsize) noexcept nogil:
    """How many images are one band, where each of them would be a small one."""
    if bands(g) > 1:
        return 1
    return max(1, min(
        SEVERAL_POSITIONS // (g.rows * g.columns),
        SEVERAL_TILES // (tile_rows(g, g.rows) * g.tile_width * channels * itemsize)))


cdef int weight_gradient(
    const geometry *g, pair size, const floating *x, const floating *grad, const uint8_t *places, floating *W_grad,
    floating *b_grad,
) except -1 nogil:
    """From the gradient of the outputs, or with `places` from that of the max pooling behind them.

    The work is cut as for all the convolution's outputs, their `size`, of which a pooling may not cover the last ones:
    these have no gradient, and leaving them out changes no bit."""
    cdef bint listed = places != NULL
    if not listed and winograd_gradient_is_faster(g):
        return winograd_weight_gradient(g, x, grad, W_grad, b_grad)
    if listed and gradient_by_windows(g):
        return window_gradient(g, size.height * size.width, x, grad, places, W_grad, b_grad)
    if not listed and gradient_by_planes(g):
        return plane_gradient(g, x, grad, W_grad, b_grad)
    cdef panels cut = cut_panels[floating](g.filter_height * g.filter_width * g.channels, g.filters, 0)
    cdef Py_ssize_t positions = size.height * size.width
    cdef double operations = 2.0 * g.images * positions * g.filters * cut.depth
    cdef bint turned = not listed and turns(g, &cut, cut.lanes)
    cdef weight_sums s
    s.cut, s.x, s.grad, s.places, s.by_filter = cut, x, grad, places, listed or turned
    s.channels = channels_together(g, s.by_filter)
    # Vectors may read past a filter row: past the last row of an image only where there is room.
    s.g = cut_bands(g, size, s.channels, g.copied or s.by_filter or s.channels < g.channels, sizeof(floating))
    s.together = 1 if listed else images_together(&s.g, s.channels, sizeof(floating))
    cut_sums(&s, positions, turned, operations, 0 * x[0])
    s.tile_room = aligned(s.together * tile_size(&s.g, s.channels) + 2 * cut.lanes)
    cdef Py_ssize_t band_positions = s.together * s.g.band_rows * g.columns
    s.right_room = aligned(cut_panels[floating](band_positions, g.filters, 0).size)
    if listed:
        s.right_room = lists_size[floating](g, band_positions + 1, 0)
    cdef Py_ssize_t private = s.tile_room + s.right_room + table_room[floating](2 * s.together * s.g.band_rows, 0)
    cdef int threads = threads_for_product(s.blocks * s.parts, operations)
    cdef Py_ssize_t all_sums = s.blocks * s.sums
    cdef bint long_sums = g.images * positions // s.blocks > LONGEST
    cdef floating *partial = <floating *>allocate(
        ((2 * all_sums if long_sums else all_sums) + threads * private) * <Py_ssize_t>sizeof(floating))
    s.partial, s.totals = partial + threads * private, partial + threads * private + all_sums if long_sums else NULL
    for_each_task(add_part[floating], &s, s.blocks * s.parts, threads, partial, private)
    add_blocks(&s, <floating *>s.partial, W_grad, b_grad)
    release(partial)
    return 0


cdef void cut_sums(
    weight_sums *s, Py_ssize_t positions, bint turned, double operations, floating kind,
) noexcept nogil:
    """Into blocks of images and, of few blocks, parts: then several threads share one, each with a copy of the tile.

    `kind` only carries the type."""
    cdef const geometry *g = &s.g
    cdef Py_ssize_t row = g.filter_width * g.channels
    s.sums_row = padded_columns(cut_panels[floating](0, row, kind)) if turned else row
    s.size = g.filters * g.filter_height * s.sums_row if s.by_filter else s.cut.size
    s.blocks, s.sums = image_blocks(g, positions), aligned(s.size + g.filters)
    cdef Py_ssize_t wanted = (tasks_for_product(FEWEST_TASKS, operations) + s.blocks - 1) // s.blocks
    s.parts, s.row_parts = min(s.cut.count, wanted), 1
    if s.by_filter:
        s.parts = min((g.filters + FEWEST_FILTERS - 1) // FEWEST_FILTERS, wanted)
    elif wanted > s.cut.count:
        s.row_parts = min(g.filter_height, (min(wanted, ROW_PARTS) + s.cut.count - 1) // s.cut.count)
        s.parts = s.cut.count * s.row_parts


cdef void add_blocks(const weight_sums *s, floating *partial, floating *W_grad, floating *b_grad) noexcept nogil:
    """The blocks' sums in the order of the images, out of their panels or, of each filter by itself, turned."""
    cdef const geometry *g = &s.g
    cdef Py_ssize_t block, i, panel, width, k, row = g.filter_width * g.channels
    for block in range(1, s.blocks):
        for i in range(s.size + g.filters):
            partial[i] += partial[block * s.sums + i]
    memcpy(b_grad, partial + s.size, g.filters * sizeof(floating))
    if s.by_filter:
        for i in range(g.filter_height):
            loops_for(sizeof(floating)).transpose(
                partial + i * s.sums_row, g.filter_height * s.sums_row, g.filters, row, W_grad + i * row * g.filters,
                g.filters)
        return
    for panel in range(s.cut.count):
        width = panel_width(s.cut, panel)
        for k in range(s.cut.depth):
            memcpy(
                W_grad + k * g.filters + panel * 2 * s.cut.lanes,
                partial + panel_offset(s.cut, panel) + k * width, panel_columns(s.cut, panel) * sizeof(floating))
