"""Convolution with 3x3 filters by Winograd's products: 16 instead of 36 for 2x2 outputs (winograd.h).

A line is a row of tiles, each with 2x2 outputs. For each of the 16 elements e of a tile

forward          products_e[tiles, F] = pixels_e[tiles, C] . filters_e[C, F]                task: some lines
weight gradient  sums_e[C, F]         = sum of pixels_e[tiles, C]^T . gradients_e[tiles, F]   task: a block of lines

and the transforms around these products are done in a thread's cache. A tile's arithmetic is the same whatever lines
are taken together. An infinite pixel makes all outputs of its tiles NaN, also those whose own window it is not in.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from cnnx._kernels.products.correlation cimport pool_band
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.gemm cimport (
    bias_room, cut_panels, multiply, padded_columns, panel_columns, panel_offset, panel_width, panels, widen_bias,
)
from cnnx._kernels.ground.instruction_sets cimport loops_for, product
from cnnx._kernels.ground.parallel cimport (
    allocate, deal, release, shares, take, tasks_for_product, threads_for, threads_for_product,
)
from cnnx._kernels.products.tiles cimport FEWEST_TASKS, geometry, lines, measure, view_tile

cdef enum:
    ELEMENTS = 16
    TAPS = 9
    # Bytes of both sides of a task's products, which share the second-level cache with an element's filters.
    CACHED = 393216
    # Bytes of filters that every thread may read for a few tiles.
    CACHED_FILTERS = 262144
    # With many channels a thread takes more than its cache holds: fewer tiles would not be worth reading all filters.
    FEWEST_TILES = 32
    # Matrices of a size that is a power of two would push each other out of the cache; vectors write past their ends.
    SLACK = 16
    # Fewer channels or filters than these, and the transforms cost more than they save.
    FEWEST_CHANNELS = 24
    # In smaller images some weights meet a pixel or two. Where these are zero, so is the gradient, but the transforms would
    # leave a rounding error of it, which optimizers such as Adam turn into whole steps.
    SMALLEST_IMAGE = 4
    MOST_BLOCKS = 8  # each has a gradient of its own: of 128 by 128 channels, 600 KB
    BLOCK_TILES = 128


cdef bint winograd_is_faster(geometry g) noexcept nogil:
    """It is the same for a convolution with and without pooling, whose results must not differ."""
    return (
        g.filter_height == 3 and g.filter_width == 3 and g.row_stride == 1 and g.column_stride == 1
        and g.row_dilation == 1 and g.column_dilation == 1 and g.row_spread == 1 and g.column_spread == 1
        and g.rows > 1 and g.columns > 1 and min(g.height, g.width) >= SMALLEST_IMAGE
        and min(g.channels, g.filters) >= FEWEST_CHANNELS
    )


cdef Py_ssize_t in_twos(Py_ssize_t size) noexcept nogil:
    return (size + 1) // 2


cdef geometry padded(
    geometry g, Py_ssize_t height, Py_ssize_t width, Py_ssize_t channels, Py_ssize_t filter_size,
) noexcept nogil:
    """Images whose rows and columns are enough for whole tiles under a filter of that size."""
    cdef geometry p = measure(
        g.images, height, width, channels, filter_size, filter_size, 2 * in_twos(g.rows), 2 * in_twos(g.columns),
        g.filters, 1, 1, 1, 1, g.top if filter_size > 1 else 0, g.left if filter_size > 1 else 0, 1, 1)
    # A vector reads past the last channel of a pixel: past the last pixel of an image only where there is room.
    if not p.copied and channels % SLACK:
        p.copied, p.tile_width = True, p.columns - 1 + p.window_width
    return p


cdef Py_ssize_t image_lines(geometry p) noexcept nogil:
    return p.rows // 2


cdef Py_ssize_t line_tiles(geometry p) noexcept nogil:
    return p.columns // 2


cdef Py_ssize_t rows_room(geometry p, Py_ssize_t count) noexcept nogil:
    """Elements of the buffer for the rows behind so many lines."""
    return lines((2 * count - 1 + p.window_height) * p.tile_width * p.channels + SLACK) if p.copied else 0


cdef Py_ssize_t plane_size(Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    return lines(rows * columns) + SLACK


cdef Py_ssize_t lines_at_a_time(Py_ssize_t tiles, Py_ssize_t columns, Py_ssize_t itemsize) noexcept nogil:
    return max(max(1, FEWEST_TILES // tiles), CACHED // (ELEMENTS * tiles * columns * itemsize))


cdef struct stretch:
    # Neighbouring lines of one image.
    Py_ssize_t image, first, count


cdef stretch stretch_of(geometry p, Py_ssize_t line, Py_ssize_t end) noexcept nogil:
    """From a line of all images on, as far as its image goes, and not to `end`."""
    cdef stretch at
    at.image, at.first = line // image_lines(p), line % image_lines(p)
    at.count = min(end - line, image_lines(p) - at.first)
    return at


cdef void transform_pixels(
    geometry p, const floating *x, stretch at, floating *pixels, Py_ssize_t plane, floating *rows,
) noexcept nogil:
    cdef Py_ssize_t i, row = p.tile_width * p.channels, tiles = line_tiles(p)
    cdef const floating *seen = view_tile(
        p, x, at.image, 2 * at.first, 2 * at.count, 0, p.channels, rows, <floating *>NULL)
    for i in range(at.count):
        loops_for(sizeof(floating)).winograd_pixels(
            tiles, p.channels, seen + 2 * i * row, row, pixels + i * tiles * p.channels, plane)


cdef void transform_lines(
    geometry p, const floating *x, Py_ssize_t begin, Py_ssize_t end, floating *pixels, Py_ssize_t plane, floating *rows,
) noexcept nogil:
    """The pixels of lines begin .. end of all images."""
    cdef Py_ssize_t line = begin
    cdef stretch at
    while line < end:
        at = stretch_of(p, line, end)
        transform_pixels(p, x, at, pixels + (line - begin) * line_tiles(p) * p.channels, plane, rows)
        line += at.count


cdef void multiply_element(
    panels cut, Py_ssize_t tiles, const floating *pixels, const floating *filters, floating *products,
) noexcept nogil:
    cdef Py_ssize_t panel, run = 0
    cdef product q
    q.runs, q.depth, q.a_depth, q.a_runs, q.b_runs = 1, cut.depth, 1, &run, &run
    q.c_row, q.bias, q.accumulate, q.relu = padded_columns(cut), NULL, False, False
    for panel in range(cut.count):
        q.columns = q.b_depth = panel_width(cut, panel)
        multiply(
            q, tiles, cut.depth, pixels, filters + panel_offset(cut, panel), products + panel * 2 * cut.lanes)


cdef void write_lines(
    geometry g, geometry p, Py_ssize_t width, const floating *products, Py_ssize_t plane, const floating *bias,
    bint relu, floating *out, uint8_t *argmax, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t unit, floating *outputs,
) noexcept nogil:
    """The outputs of lines begin .. end of all images, whose products these are; to be pooled, in `outputs` first."""
    cdef Py_ssize_t tiles = line_tiles(p), line = begin, count, i
    cdef stretch at
    while line < end:
        at = stretch_of(p, line, end)
        count = min(at.count, unit)
        if not g.pools:
            outputs = out + (at.image * g.rows + 2 * at.first) * g.columns * g.filters
        for i in range(count):
            loops_for(sizeof(floating)).winograd_outputs(
                tiles, g.filters, width, products + (line - begin + i) * tiles * width, plane, bias,
                relu and not g.pools, g.rows - 2 * (at.first + i), g.columns,
                outputs + 2 * i * g.columns * g.filters, g.columns * g.filters)
        if g.pools:
            pool_band(
                g, at.image, 2 * at.first, min(2 * count, g.rows - 2 * at.first), outputs, g.filters, relu, out, argmax)
        line += count


cdef Py_ssize_t transformed_size(geometry g, floating kind) noexcept nogil:
    """Elements of the filters as `winograd` takes them; `kind` only carries the type."""
    return ELEMENTS * plane_size(1, cut_panels[floating](g.channels, g.filters, kind).size)


cdef void transform_filters(geometry g, const floating *W, floating *filters) noexcept nogil:
    cdef panels cut = cut_panels[floating](g.channels, g.filters, 0)
    cdef Py_ssize_t panel
    for panel in prange(
        cut.count, num_threads=threads_for(cut.count, ELEMENTS * cut.size), schedule="static",
    ):
        loops_for(sizeof(floating)).winograd_filters(
            g.channels, panel_columns(cut, panel), panel_width(cut, panel), W + panel * 2 * cut.lanes, g.filters,
            g.channels * g.filters, filters + panel_offset(cut, panel), plane_size(1, cut.size))


cdef int winograd(
    geometry g, const floating *x, const floating *filters, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil:
    """What `correlate` computes, from transformed filters."""
    cdef geometry p = padded(g, g.height, g.width, g.channels, 3)
    cdef panels cut = cut_panels[floating](g.channels, g.filters, 0)
    cdef Py_ssize_t tiles = line_tiles(p), all_lines = g.images * image_lines(p)
    # Lines that hold whole rows of windows.
    cdef Py_ssize_t unit = in_twos(g.pool_height) if g.pool_height % 2 == 0 else g.pool_height
    unit = min(unit, image_lines(p)) if g.pools else 1
    cdef Py_ssize_t units = (image_lines(p) + unit - 1) // unit * g.images
    cdef double operations = 2.0 * all_lines * tiles * ELEMENTS * g.channels * g.filters
    cdef Py_ssize_t most = lines_at_a_time(tiles, g.channels + padded_columns(cut), sizeof(floating))
    # Three phases, each of which should be worth a thread.
    cdef int threads = threads_for_product(units, operations / 2)
    cdef Py_ssize_t transformed_bytes = transformed_size[floating](g, 0) * <Py_ssize_t>sizeof(floating)
    cdef Py_ssize_t tasks
    most = max(1, most // unit)
    # Lines are neighbours there, and a vector past the last channel would reach into another thread's.
    if threads > 1 and units <= 2 * most and g.channels % SLACK == 0 and transformed_bytes > CACHED_FILTERS:
        return by_elements(g, p, cut, x, filters, bias, relu, out, argmax, unit, units, threads)
    tasks = (units + most - 1) // most
    if threads > 1:
        tasks = max(tasks, tasks_for_product(min(units, <Py_ssize_t>FEWEST_TASKS), operations))
    return by_lines(g, p, cut, x, filters, bias, relu, out, argmax, unit, units, tasks, threads)


cdef int by_lines(
    geometry g, geometry p, panels cut, const floating *x, const floating *filters, const floating *bias, bint relu,
    floating *out, uint8_t *argmax, Py_ssize_t unit, Py_ssize_t units, Py_ssize_t tasks, int threads,
) except -1 nogil:
    """A task is some lines, with all elements of their tiles."""
    cdef Py_ssize_t tiles = line_tiles(p), width = padded_columns(cut), most = (units + tasks - 1) // tasks * unit
    cdef Py_ssize_t pixels_plane = plane_size(most * tiles, g.channels), products_plane = plane_size(most * tiles, width)
    cdef Py_ssize_t rows_size = rows_room(p, min(most, image_lines(p)))
    cdef Py_ssize_t private = ELEMENTS * (pixels_plane + products_plane) + rows_size + outputs_size(g, unit)
    cdef floating *wide_bias = <floating *>allocate((bias_room(cut) + threads * private) * <Py_ssize_t>sizeof(floating))
    cdef floating *pixels
    cdef floating *products
    cdef floating *rows
    cdef Py_ssize_t task, turn, element, begin, end
    cdef shares dealt
    widen_bias(cut, bias, wide_bias)
    deal(&dealt, tasks, threads)
    for turn in prange(tasks, num_threads=threads, schedule="dynamic"):
        task = take(&dealt, threadid())
        begin, end = line_of(p, unit, units * task // tasks), line_of(p, unit, units * (task + 1) // tasks)
        pixels = wide_bias + bias_room(cut) + threadid() * private
        products = pixels + ELEMENTS * pixels_plane
        rows = products + ELEMENTS * products_plane
        transform_lines(p, x, begin, end, pixels, pixels_plane, rows)
        for element in range(ELEMENTS):
            multiply_element(
                cut, (end - begin) * tiles, <const floating *>pixels + element * pixels_plane,
                filters + element * plane_size(1, cut.size), products + element * products_plane)
        write_lines(
            g, p, width, <const floating *>products, products_plane, <const floating *>wide_bias, relu, out, argmax,
            begin, end, unit, rows + rows_size)
    release(wide_bias)
    return 0


cdef int by_elements(
    geometry g, geometry p, panels cut, const floating *x, const floating *filters, const floating *bias, bint relu,
    floating *out, uint8_t *argmax, Py_ssize_t unit, Py_ssize_t units, int threads,
) except -1 nogil:
    """For few tiles and many filters, a task is one element of all: a thread that read all filters would do little
    else."""
    cdef Py_ssize_t width = padded_columns(cut), tiles = g.images * image_lines(p) * line_tiles(p)
    cdef Py_ssize_t pixels_plane = plane_size(tiles, g.channels), products_plane = plane_size(tiles, width)
    cdef Py_ssize_t rows_size = rows_room(p, unit), private = rows_size + outputs_size(g, unit)
    cdef floating *pixels = <floating *>allocate(
        (ELEMENTS * (pixels_plane + products_plane) + bias_room(cut) + threads * private) * <Py_ssize_t>sizeof(floating))
    cdef floating *products = pixels + ELEMENTS * pixels_plane
    cdef floating *wide_bias = products + ELEMENTS * products_plane
    cdef floating *mine = wide_bias + bias_room(cut)
    cdef Py_ssize_t task, begin, end
    widen_bias(cut, bias, wide_bias)
    for task in prange(units, num_threads=threads, schedule="static"):
        begin, end = line_of(p, unit, task), line_of(p, unit, task + 1)
        transform_lines(
            p, x, begin, end, pixels + begin * line_tiles(p) * g.channels, pixels_plane, mine + threadid() * private)
    for task in prange(ELEMENTS, num_threads=threads, schedule="static"):
        multiply_element(
            cut, tiles, <const floating *>pixels + task * pixels_plane, filters + task * plane_size(1, cut.size),
            products + task * products_plane)
    for task in prange(units, num_threads=threads, schedule="static"):
        begin, end = line_of(p, unit, task), line_of(p, unit, task + 1)
        write_lines(
            g, p, width, <const floating *>products + begin * line_tiles(p) * width, products_plane,
            <const floating *>wide_bias, relu, out, argmax, begin, end, unit, mine + threadid() * private + rows_size)
    release(pixels)
    return 0


cdef Py_ssize_t outputs_size(geometry g, Py_ssize_t unit) noexcept nogil:
    """Elements of the rows that a thread has before they are pooled."""
    return lines(2 * unit * g.columns * g.filters) if g.pools else 0


cdef Py_ssize_t line_of(geometry p, Py_ssize_t unit, Py_ssize_t number) noexcept nogil:
    """The first line of a unit; an image's last one may have fewer lines."""
    cdef Py_ssize_t units = (image_lines(p) + unit - 1) // unit
    return number // units * image_lines(p) + number % units * unit


cdef void weight_gradient_lines(
    geometry p, geometry h, const floating *x, const floating *grad, panels cut, Py_ssize_t begin, Py_ssize_t end,
    floating *sums, Py_ssize_t sums_plane, floating *b_sums, floating *pixels, Py_ssize_t pixels_plane,
    floating *gradients, Py_ssize_t gradients_plane, floating *rows,
) noexcept nogil:
    """Lines begin .. end of all images, added to the sums."""
    cdef Py_ssize_t tiles = line_tiles(p), line = begin, row = h.tile_width * h.channels, run = 0
    cdef Py_ssize_t all_tiles = (end - begin) * tiles
    cdef Py_ssize_t element, panel, width, i, position, f
    cdef stretch at
    cdef const floating *seen
    cdef product q
    while line < end:
        at = stretch_of(p, line, end)
        transform_pixels(p, x, at, pixels + (line - begin) * tiles * p.channels, pixels_plane, rows)
        seen = view_tile(h, grad, at.image, 2 * at.first, 2 * at.count, 0, h.channels, rows, <floating *>NULL)
        for i in range(2 * at.count):
            for position in range(h.columns):
                for f in range(h.channels):
                    b_sums[f] += seen[i * row + position * h.channels + f]
        for i in range(at.count):
            for panel in range(cut.count):
                width = panel_width(cut, panel)
                loops_for(sizeof(floating)).winograd_gradients(
                    tiles, h.channels, width, seen + 2 * i * row + panel * 2 * cut.lanes, row,
                    gradients + panel * 2 * cut.lanes * all_tiles + (line - begin + i) * tiles * width,
                    gradients_plane)
        line += at.count
    q.runs, q.depth, q.a_depth, q.a_runs, q.b_runs = 1, all_tiles, p.channels, &run, &run
    q.bias, q.accumulate, q.relu = NULL, True, False
    for element in range(ELEMENTS):
        for panel in range(cut.count):
            q.columns = q.b_depth = q.c_row = panel_width(cut, panel)
            multiply(
                q, p.channels, 1, <const floating *>pixels + element * pixels_plane,
                <const floating *>gradients + element * gradients_plane + panel * 2 * cut.lanes * all_tiles,
                sums + element * sums_plane + panel_offset(cut, panel))


cdef int winograd_weight_gradient(
    geometry g, const floating *x, const floating *grad, floating *W_grad, floating *b_grad,
) except -1 nogil:
    """What `weight_gradient` computes: blocks of lines each have a gradient, and these are added in their order."""
    cdef geometry p = padded(g, g.height, g.width, g.channels, 3), h = padded(g, g.rows, g.columns, g.filters, 1)
    cdef panels cut = cut_panels[floating](g.channels, g.filters, 0)
    cdef Py_ssize_t C = g.channels, F = g.filters, tiles = line_tiles(p), width = padded_columns(cut)
    cdef Py_ssize_t all_lines = g.images * image_lines(p)
    cdef Py_ssize_t blocks = max(1, min(min(all_lines, MOST_BLOCKS), all_lines * tiles // BLOCK_TILES))
    cdef Py_ssize_t most = min(
        (all_lines + blocks - 1) // blocks, lines_at_a_time(tiles, C + width, sizeof(floating)))
    cdef int threads = threads_for_product(blocks, 2.0 * all_lines * tiles * ELEMENTS * C * F)
    cdef Py_ssize_t partial_size = lines(TAPS * C * F + F)
    cdef Py_ssize_t sums_plane = plane_size(1, cut.size)
    cdef Py_ssize_t pixels_plane = plane_size(most * tiles, C), gradients_plane = plane_size(most * tiles, width)
    cdef Py_ssize_t rows_size = max(
        rows_room(p, min(most, image_lines(p))), rows_room(h, min(most, image_lines(p))))
    cdef Py_ssize_t private = (
        ELEMENTS * (sums_plane + pixels_plane + gradients_plane) + rows_size)
    cdef floating *partial = <floating *>allocate(
        (blocks * partial_size + threads * private) * <Py_ssize_t>sizeof(floating))
    cdef Py_ssize_t block, turn, i
    cdef shares dealt
    deal(&dealt, blocks, threads)
    for turn in prange(blocks, num_threads=threads, schedule="dynamic"):
        block = take(&dealt, threadid())
        weight_gradient_block(
            p, h, x, grad, cut, all_lines * block // blocks, all_lines * (block + 1) // blocks, most,
            partial + block * partial_size, partial + blocks * partial_size + threadid() * private,
            sums_plane, pixels_plane, gradients_plane)
    memcpy(W_grad, partial, TAPS * C * F * sizeof(floating))
    memcpy(b_grad, partial + TAPS * C * F, F * sizeof(floating))
    for block in range(1, blocks):
        for i in range(TAPS * C * F):
            W_grad[i] += partial[block * partial_size + i]
        for i in range(F):
            b_grad[i] += partial[block * partial_size + TAPS * C * F + i]
    release(partial)
    return 0


cdef void weight_gradient_block(
    geometry p, geometry h, const floating *x, const floating *grad, panels cut, Py_ssize_t begin, Py_ssize_t end,
    Py_ssize_t most, floating *partial, floating *sums, Py_ssize_t sums_plane, Py_ssize_t pixels_plane,
    Py_ssize_t gradients_plane,
) noexcept nogil:
    """The gradients of weights and biases from lines begin .. end, in working memory that begins with the sums."""
    cdef floating *pixels = sums + ELEMENTS * sums_plane
    cdef floating *gradients = pixels + ELEMENTS * pixels_plane
    cdef floating *rows = gradients + ELEMENTS * gradients_plane
    cdef floating *b_sums = partial + TAPS * cut.depth * cut.columns
    cdef Py_ssize_t line = begin, panel
    memset(sums, 0, ELEMENTS * sums_plane * sizeof(floating))
    memset(b_sums, 0, cut.columns * sizeof(floating))
    while line < end:
        weight_gradient_lines(
            p, h, x, grad, cut, line, min(line + most, end), sums, sums_plane, b_sums, pixels, pixels_plane,
            gradients, gradients_plane, rows)
        line += most
    for panel in range(cut.count):
        loops_for(sizeof(floating)).winograd_weights(
            cut.depth, panel_columns(cut, panel), panel_width(cut, panel), sums + panel_offset(cut, panel), sums_plane,
            partial + panel * 2 * cut.lanes, cut.columns, cut.depth * cut.columns)
