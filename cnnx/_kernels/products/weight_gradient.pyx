"""The gradient of a convolution's weights and biases.

W[K, F] = sum of columns[band, K]^T . grad[band, F]     task: a block of images

From a pooled gradient, the windows that have one are listed and added straight to the sums; with few weights, they are
walked without a list (window_gradient.pyx). Without pooling, few filters and channels are taken from planes
(plane_gradient.pyx), and many with 3x3 filters by Winograd's products (winograd.pyx).
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport loops_for
from cnnx._kernels.ground.loops cimport pooled_gradient, product
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, tasks_for_product, threads_for_product
from cnnx._kernels.products.gemm cimport (
    cut_panels, multiply, multiply_grid, pack_panel, panel_columns, panel_offset, panel_width, panels,
)
from cnnx._kernels.products.plane_gradient cimport gradient_by_planes, plane_gradient
from cnnx._kernels.products.tiles cimport (
    FEWEST_TASKS, LONGEST, aligned, band, band_of, bands, even_rows, geometry, image_blocks, lists_size, move_sums, pair,
    pooled_offset, table_room, tile_rows, tile_size, view_tile, windows_of, with_bands, with_copies,
)
from cnnx._kernels.products.window_gradient cimport gradient_by_windows, window_gradient
from cnnx._kernels.products.winograd cimport winograd_is_faster, winograd_weight_gradient

# Bytes. A tile of a few channels and a panel of the gradients of its positions stay in the first-level cache.
cdef enum:
    GRADIENT_TILE = 18432
    GRADIENT_CHANNELS = 32
    GRADIENT_POSITIONS = 128
    # Gradients are read where they lie, instead of from panels, for so few weights of a filter.
    FEW_WEIGHTS = 32
    # Of small images, several are one band: so many bytes of tiles, which stay in the second-level cache.
    SEVERAL_TILES = 131072
    SEVERAL_POSITIONS = 256


cdef struct weight_sums:
    geometry g
    panels cut
    const void *x
    const void *grad
    const uint8_t *places       # NULL where the gradient is not a pooled one
    void *partial               # for each block its sums, filter by filter of a pooled gradient, else in panels
    void *totals                # those of LONGEST positions each, where a block has more, or NULL
    Py_ssize_t blocks, sums     # blocks of images, and how far their sums are apart
    Py_ssize_t parts            # of the panels, a task each
    Py_ssize_t together         # images, whose bands are taken at a time; of several bands, one
    Py_ssize_t tile_room, right_room    # a thread's buffers; tables of runs follow


cdef struct part:
    # Some panels, and their filters.
    Py_ssize_t begin, end
    Py_ssize_t first_filter, end_filter


cdef part part_of(const weight_sums *s, Py_ssize_t number) noexcept nogil:
    cdef part p
    p.begin, p.end = s.cut.count * number // s.parts, s.cut.count * (number + 1) // s.parts
    p.first_filter, p.end_filter = p.begin * 2 * s.cut.lanes, min(s.cut.columns, p.end * 2 * s.cut.lanes)
    return p


cdef void add_part(const void *job, Py_ssize_t task, floating *tile) noexcept nogil:
    """Gradients of some filters' weights and biases, summed over a block of images."""
    cdef const weight_sums *s = <const weight_sums *>job
    cdef const geometry *g = &s.g
    cdef Py_ssize_t block = task // s.parts, F = g.filters, position, f, summed = 0
    cdef Py_ssize_t number = g.images * block // s.blocks * bands(g), images
    cdef Py_ssize_t end = g.images * (block + 1) // s.blocks * bands(g)
    cdef part p = part_of(s, task % s.parts)
    cdef floating *sums = <floating *>s.partial + block * s.sums
    cdef floating *b_sums = sums + s.cut.size
    cdef floating *totals = <floating *>s.totals + block * s.sums if s.totals != NULL else NULL
    cdef const floating *grad
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
            continue
        grad = <const floating *>s.grad + (at.image * g.rows + at.first) * g.columns * F
        for position in range(images * at.count * g.columns):
            for f in range(p.first_filter, p.end_filter):
                b_sums[f] += grad[position * F + f]
        if in_place(g, &s.cut):
            add_in_place(s, at, images, p, grad, sums, tile)
        else:
            add_packed(s, at, images, p, grad, sums, tile)
    if totals != NULL:
        move_part(s, p, totals, sums)


cdef Py_ssize_t part_size(const weight_sums *s, part p) noexcept nogil:
    """Elements of its panels."""
    return (s.cut.size if p.end == s.cut.count else panel_offset(s.cut, p.end)) - panel_offset(s.cut, p.begin)


cdef void clear_part(const weight_sums *s, part p, floating *sums) noexcept nogil:
    memset(sums + panel_offset(s.cut, p.begin), 0, part_size(s, p) * sizeof(floating))
    memset(sums + s.cut.size + p.first_filter, 0, (p.end_filter - p.first_filter) * sizeof(floating))


cdef void move_part(const weight_sums *s, part p, floating *sums, floating *totals) noexcept nogil:
    cdef Py_ssize_t first = panel_offset(s.cut, p.begin), bias = s.cut.size + p.first_filter
    move_sums(sums + first, totals + first, part_size(s, p))
    move_sums(sums + bias, totals + bias, p.end_filter - p.first_filter)


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
            sums + f * g.filter_height * windows.columns, sums + s.cut.size + f)


cdef bint in_place(const geometry *g, const panels *cut) noexcept nogil:
    """Whether copying the gradients into panels would cost more than it saves; all filters fill whole vectors."""
    return cut.depth <= FEW_WEIGHTS and cut.columns % cut.lanes == 0 and g.column_dilation == 1


cdef Py_ssize_t image_stride(const geometry *g, Py_ssize_t channels) noexcept nogil:
    """From the tile of an image to that of the next one."""
    return tile_size(g, channels) if g.copied else g.height * g.width * g.channels


cdef const floating *view_tiles(
    const weight_sums *s, band at, Py_ssize_t images, Py_ssize_t channel, Py_ssize_t channels, floating *tile,
) noexcept nogil:
    """`view_tile` of each of some images."""
    cdef const geometry *g = &s.g
    cdef Py_ssize_t image, stride = image_stride(g, channels)
    cdef const floating *first = view_tile(
        g, <const floating *>s.x, at, channel, channels, tile, <floating *>NULL)
    for image in range(1, images):
        at.image += 1
        view_tile(g, <const floating *>s.x, at, channel, channels, tile + image * stride, <floating *>NULL)
    return first


cdef product running_sums(
    const weight_sums *s, band at, Py_ssize_t images, Py_ssize_t channels, Py_ssize_t filters, Py_ssize_t columns,
    floating *tile,
) noexcept nogil:
    """A product over a band's positions, with so many channels and filters side by side, added to what is there."""
    cdef const geometry *g = &s.g
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


cdef void add_in_place(
    const weight_sums *s, band at, Py_ssize_t images, part p, const floating *grad, floating *sums, floating *tile,
) noexcept nogil:
    """The sums of one band with the gradients where they lie."""
    cdef const geometry *g = &s.g
    cdef Py_ssize_t C = g.channels, panel
    cdef const floating *columns = view_tiles(s, at, images, 0, C, tile)
    for panel in range(p.begin, p.end):
        multiply_grid(
            running_sums(s, at, images, C, g.filters, panel_width(s.cut, panel), tile),
            g.filter_height, g.filter_width * C, g.row_dilation * g.tile_width * C, 1, columns,
            grad + panel * 2 * s.cut.lanes, sums + panel_offset(s.cut, panel))


cdef void add_packed(
    const weight_sums *s, band at, Py_ssize_t images, part p, const floating *grad, floating *sums, floating *tile,
) noexcept nogil:
    """The sums of one band with copies of both sides.

    The left operand is the transposed matrix of columns: one channel at many positions. With many
    channels those are far apart, often by a power of two, and would push each other out of the cache;
    so a tile holds few channels, side by side. The gradients are copied into panels for the same reason.
    """
    cdef const geometry *g = &s.g
    cdef Py_ssize_t C = g.channels, groups = (C + GRADIENT_CHANNELS - 1) // GRADIENT_CHANNELS
    cdef Py_ssize_t panel, width, group, channel, channels
    cdef panels band_cut = cut_panels[floating](images * at.count * g.columns, g.filters, 0)
    cdef floating *right = tile + s.tile_room
    cdef const floating *columns
    for panel in range(p.begin, p.end):
        pack_panel(grad, g.filters, 1, band_cut, panel, right + panel_offset(band_cut, panel))
    for group in range(groups):
        channel = C * group // groups
        channels = C * (group + 1) // groups - channel
        columns = view_tiles(s, at, images, channel, channels, tile)
        for panel in range(p.begin, p.end):
            width = panel_width(s.cut, panel)
            multiply_taps(
                g, running_sums(s, at, images, channels, width, width, tile), channels, columns,
                <const floating *>right + panel_offset(band_cut, panel),
                sums + panel_offset(s.cut, panel) + channel * width)


cdef void multiply_taps(
    const geometry *g, product q, Py_ssize_t channels, const floating *columns, const floating *grad, floating *sums,
) noexcept nogil:
    """Some channels of all taps times a panel: a row of a filter at once, where its pixels are neighbours."""
    cdef Py_ssize_t i, j, pixel, tap = g.channels * q.columns
    for i in range(g.filter_height):
        pixel = i * g.row_dilation * g.tile_width
        if channels == g.channels and g.column_dilation == 1:
            multiply(q, g.filter_width * channels, 1, columns + pixel * channels, grad, sums + i * g.filter_width * tap)
            continue
        for j in range(g.filter_width):
            multiply(
                q, channels, 1, columns + (pixel + j * g.column_dilation) * channels, grad,
                sums + (i * g.filter_width + j) * tap)


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
    if not listed and winograd_is_faster(g):
        return winograd_weight_gradient(g, x, grad, W_grad, b_grad)
    if listed and gradient_by_windows(g):
        return window_gradient(g, size.height * size.width, x, grad, places, W_grad, b_grad)
    if not listed and gradient_by_planes(g, sizeof(floating)):
        return plane_gradient(g, x, grad, W_grad, b_grad)
    cdef panels cut = cut_panels[floating](g.filter_height * g.filter_width * g.channels, g.filters, 0)
    cdef Py_ssize_t most_channels = min(g.channels, GRADIENT_CHANNELS), positions = size.height * size.width
    cdef double operations = 2.0 * g.images * positions * g.filters * cut.depth
    cdef weight_sums s
    # Vectors may read past a filter row: past the last row of an image only where there is room.
    s.g = cut_bands(g, size, most_channels, g.copied or listed or g.channels > GRADIENT_CHANNELS, sizeof(floating))
    s.cut, s.x, s.grad, s.places = cut, x, grad, places
    s.blocks, s.sums = image_blocks(g, positions), aligned(cut.size + g.filters)
    # With few blocks, several threads share one: each has some of the filters, and a copy of the tile.
    s.parts = min(cut.count, (tasks_for_product(FEWEST_TASKS, operations) + s.blocks - 1) // s.blocks)
    s.together = 1 if listed else images_together(&s.g, most_channels, sizeof(floating))
    s.tile_room = aligned(s.together * tile_size(&s.g, g.channels if listed else most_channels) + 2 * cut.lanes)
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
    add_blocks(cut, listed, <const floating *>s.partial, s.blocks, s.sums, W_grad, b_grad)
    release(partial)
    return 0


cdef void add_blocks(
    panels cut, bint pooled, const floating *partial, Py_ssize_t blocks, Py_ssize_t sums,
    floating *W_grad, floating *b_grad,
) noexcept nogil:
    """The blocks' sums in the order of the images, out of their panels or, of each filter by itself, turned back."""
    cdef Py_ssize_t block, panel, columns, width, k, j
    cdef const floating *source
    cdef floating *row
    cdef floating value
    for block in range(blocks):
        for panel in range(0 if pooled else cut.count):
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
        if pooled:
            source = partial + block * sums
            for k in range(cut.depth):
                for j in range(cut.columns):
                    value = source[j * cut.depth + k]
                    W_grad[k * cut.columns + j] = value if block == 0 else W_grad[k * cut.columns + j] + value
        source = partial + block * sums + cut.size
        for j in range(cut.columns):
            b_grad[j] = source[j] if block == 0 else b_grad[j] + source[j]
