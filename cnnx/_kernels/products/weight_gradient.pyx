"""The gradient of a convolution's weights and biases.

W[K, F] = sum of columns[band, K]^T . grad[band, F]     task: a block of images

From a pooled gradient, the windows that have one are listed and added straight to the sums; with few weights, they are
walked without a list (window_gradient.pyx). Without pooling, few filters and channels are taken from planes
(plane_gradient.pyx).
"""

from cython.parallel cimport prange, threadid
from libc.string cimport memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.gemm cimport (
    cut_panels, multiply, multiply_grid, pack_panel, panel_columns, panel_offset, panel_width, panels,
)
from cnnx._kernels.ground.instruction_sets cimport loops_for, pooled_gradient, product
from cnnx._kernels.ground.parallel cimport allocate, deal, release, shares, take, tasks_for_product, threads_for_product
from cnnx._kernels.products.plane_gradient cimport gradient_by_planes, plane_gradient
from cnnx._kernels.products.tiles cimport (
    FEWEST_TASKS, band_rows, bands, geometry, image_blocks, lines, lists_size, pooled_offset, tile_size, view_tile,
    windows_of,
)
from cnnx._kernels.products.window_gradient cimport gradient_by_windows, window_gradient

# Bytes. A tile of a few channels and a panel of the gradients of its positions stay in the first-level cache.
cdef enum:
    GRADIENT_TILE = 18432
    GRADIENT_CHANNELS = 32
    GRADIENT_POSITIONS = 128
    # Gradients are read where they lie, instead of from panels, for so few weights of a filter.
    FEW_WEIGHTS = 32


cdef void pooled_band(
    geometry g, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count, Py_ssize_t first_filter, Py_ssize_t end_filter,
    const floating *grad, const floating *columns, floating *W_sums, floating *b_sums, floating *lists,
) noexcept nogil:
    """The sums of one band and some filters straight from the pooled gradient."""
    cdef Py_ssize_t f, pooled = pooled_offset(g, image, first)
    cdef pooled_gradient p = windows_of(g, count, lists, g.band * g.columns + 1)
    for f in range(first_filter, end_filter):
        loops_for(sizeof(floating)).pooled_weights(
            &p, grad + pooled + f, g.places + pooled + f, columns,
            W_sums + f * g.filter_height * p.columns, b_sums + f)


cdef void weight_gradient_block(
    geometry g, const floating *x, const floating *grad, panels cut, Py_ssize_t begin, Py_ssize_t end,
    Py_ssize_t first_panel, Py_ssize_t end_panel,
    floating *W_sums, floating *b_sums, floating *tile, floating *right, Py_ssize_t *runs,
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
    cdef Py_ssize_t *right_runs = runs + g.band
    p.depth, p.a_runs, p.b_runs = g.columns, runs, right_runs
    p.accumulate, p.relu, p.bias = True, False, NULL
    for image in range(begin, end):
        for band in range(bands(g)):
            first = band * g.band
            count = min(g.band, g.rows - first)
            if g.places != NULL:
                columns = view_tile(plain, x, image, first, count, 0, C, tile, <floating *>NULL)
                pooled_band(
                    g, image, first, count, first_filter, end_filter, grad, columns, W_sums, b_sums, right)
                continue
            band_grad = grad + (image * g.rows + first) * g.columns * F
            for position in range(count * g.columns):
                for f in range(first_filter, end_filter):
                    b_sums[f] += band_grad[position * F + f]
            p.runs = count
            if in_place(g, cut):
                columns = view_tile(plain, x, image, first, count, 0, C, tile, <floating *>NULL)
                p.a_depth, p.b_depth = g.column_stride * C, F
                for i in range(count):
                    runs[i] = i * g.row_stride * g.tile_width * C
                    right_runs[i] = i * g.columns * F
                for panel in range(first_panel, end_panel):
                    p.columns = p.c_row = panel_width(cut, panel)
                    multiply_grid(
                        p, g.filter_height, g.filter_width * C, g.row_dilation * g.tile_width * C, 1, columns,
                        band_grad + panel * 2 * cut.lanes, W_sums + panel_offset(cut, panel))
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


cdef bint in_place(geometry g, panels cut) noexcept nogil:
    """Whether copying the gradients into panels would cost more than it saves; all filters fill whole vectors."""
    return cut.depth <= FEW_WEIGHTS and cut.columns % cut.lanes == 0 and g.column_dilation == 1


cdef int weight_gradient(
    geometry g, Py_ssize_t all_rows, Py_ssize_t all_columns, const floating *x, const floating *grad,
    floating *W_grad, floating *b_grad,
) except -1 nogil:
    """The work is cut as for all the convolution's outputs, of which a pooling may not cover the last ones:
    these have no gradient, and leaving them out changes no bit."""
    if gradient_by_windows(g):
        return window_gradient(g, all_rows * all_columns, x, grad, W_grad, b_grad)
    if gradient_by_planes(g, sizeof(floating)):
        return plane_gradient(g, x, grad, W_grad, b_grad)
    cdef Py_ssize_t depth = g.filter_height * g.filter_width * g.channels, F = g.filters
    cdef panels cut = cut_panels[floating](depth, F, 0)
    cdef Py_ssize_t most_channels = min(g.channels, GRADIENT_CHANNELS)
    # Vectors may read past a filter row: past the last row of an image only where there is room.
    g.copied = g.copied or g.channels > GRADIENT_CHANNELS or g.places != NULL
    if g.copied:
        g.tile_width = (g.columns - 1) * g.column_stride + g.window_width
    cdef Py_ssize_t row_bytes = (
        ((all_columns - 1) * g.column_stride + g.window_width) * most_channels * sizeof(floating))
    cdef bint pooled = g.places != NULL
    g.band = band_rows(
        g, min(GRADIENT_TILE // (row_bytes * g.row_stride), GRADIENT_POSITIONS // all_columns), g.pool_height)
    cdef Py_ssize_t positions = all_rows * all_columns
    cdef Py_ssize_t blocks = image_blocks(g.images, positions)
    cdef double operations = 2.0 * g.images * positions * F * depth
    # With few blocks, several threads share one: each has some of the filters, and a copy of the tile.
    cdef Py_ssize_t parts = min(
        cut.count, (tasks_for_product(FEWEST_TASKS, operations) + blocks - 1) // blocks)
    cdef int threads = threads_for_product(blocks * parts, operations)
    cdef Py_ssize_t sums = lines(cut.size + F), task, turn, block, part
    cdef shares dealt
    cdef Py_ssize_t tile_room = lines(tile_size(g, g.channels if pooled else most_channels) + 2 * cut.lanes)
    cdef Py_ssize_t right_room = lines(cut_panels[floating](g.band * g.columns, F, 0).size)
    if pooled:
        right_room = lists_size[floating](g, g.band * g.columns + 1, 0)
    cdef Py_ssize_t private = (tile_room + right_room) * sizeof(floating) + lines(2 * g.band) * sizeof(Py_ssize_t)
    cdef char *memory = <char *>allocate(blocks * sums * sizeof(floating) + threads * private)
    cdef floating *partial = <floating *>memory
    cdef floating *mine
    deal(&dealt, blocks * parts, threads)
    for turn in prange(blocks * parts, num_threads=threads, schedule="dynamic"):
        task = take(&dealt, threadid())
        mine = <floating *>(memory + blocks * sums * sizeof(floating) + threadid() * private)
        block, part = task // parts, task % parts
        weight_gradient_block(
            g, x, grad, cut, g.images * block // blocks, g.images * (block + 1) // blocks,
            cut.count * part // parts, cut.count * (part + 1) // parts,
            partial + block * sums, partial + block * sums + cut.size,
            mine, mine + tile_room, <Py_ssize_t *>(mine + tile_room + right_room))
    add_blocks(cut, pooled, partial, blocks, sums, W_grad, b_grad)
    release(memory)
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
