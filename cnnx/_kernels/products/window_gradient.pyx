"""The gradient of a convolution's weights and biases, where these are few and a max pooling follows.

W[t, f] = sum over windows of x[window's place + t] grad[window, f]     task: some filters and a block of images

Each window is added where it lies, with its filter's sums in registers.
"""

from cython.parallel cimport prange, threadid
from libc.string cimport memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for, window_band
from cnnx._kernels.ground.parallel cimport allocate, deal, release, shares, take, threads_for_product
from cnnx._kernels.products.tiles cimport band_rows, bands, fill_planes, geometry, image_blocks, lines, pooled_offset, tile_size

cdef enum:
    MANY_WEIGHTS = 200
    TILE = 24576  # bytes, which stay in the first-level cache


cdef bint gradient_by_windows(geometry g) noexcept nogil:
    """Whether a pooled gradient's windows are walked; with many weights listing them is worth it (weight_gradient.pyx)."""
    return (
        g.places != NULL and g.pool_height * g.pool_width > 1
        and g.filter_height * g.filter_width * g.channels < MANY_WEIGHTS
    )


cdef window_band lay_out(geometry g, Py_ssize_t itemsize) noexcept nogil:
    cdef window_band p
    cdef Py_ssize_t place, lanes = in_use().vector_bytes // itemsize, step = g.column_stride * g.channels
    p.filters, p.filter_rows, p.filter_columns = g.filters, g.filter_height, g.filter_width * g.channels
    p.sums_row = (p.filter_columns + lanes - 1) // lanes * lanes
    p.x_row = g.tile_width * g.channels
    p.x_step, p.x_line = step, g.row_stride * p.x_row
    memset(p.cells, 0, sizeof(p.cells))
    for place in range(g.pool_height * g.pool_width):
        p.cells[place] = place // g.pool_width * p.x_line + place % g.pool_width * step
    p.x_step *= g.pool_width
    p.x_line *= g.pool_height
    p.columns = g.columns // g.pool_width
    p.grad_step, p.grad_line = g.filters, p.columns * g.filters
    return p


cdef int window_gradient(
    geometry g, Py_ssize_t positions, const floating *x, const floating *grad, floating *W_grad, floating *b_grad,
) except -1 nogil:
    """What `weight_gradient` computes, window by window; `positions` are those of a convolution without pooling."""
    # Vectors may read past a filter row: past the last row of an image only where there is room.
    g.copied = True
    g.tile_width = (g.columns - 1) * g.column_stride + g.window_width
    cdef window_band laid_out = lay_out(g, sizeof(floating))
    g.band = band_rows(
        g, TILE // (g.row_stride * laid_out.x_row * <Py_ssize_t>sizeof(floating)), g.pool_height)
    cdef Py_ssize_t blocks = image_blocks(g.images, positions), task, turn
    cdef double operations = 2.0 * g.images * positions * g.filters * g.filter_height * laid_out.filter_columns
    # With few blocks, several threads share one: each has some of the filters, and a copy of the tile.
    cdef int threads = threads_for_product(blocks * g.filters, operations)
    cdef Py_ssize_t parts = min(g.filters, (2 * threads + blocks - 1) // blocks)
    cdef shares dealt
    # With the totals.
    cdef Py_ssize_t sums = lines(g.filters * (g.filter_height * laid_out.sums_row + 1))
    cdef Py_ssize_t private = lines(tile_size(g, g.channels) + 2 * in_use().vector_bytes)
    cdef floating *partial = <floating *>allocate((blocks * sums + threads * private) * <Py_ssize_t>sizeof(floating))
    memset(partial, 0, blocks * sums * sizeof(floating))
    deal(&dealt, blocks * parts, threads)
    for turn in prange(blocks * parts, num_threads=threads, schedule="dynamic"):
        task = take(&dealt, threadid())
        add_part(
            g, laid_out, x, grad, task // parts, blocks, task % parts, parts,
            partial + task // parts * sums, partial + blocks * sums + threadid() * private)
    add_blocks(g, laid_out.sums_row, partial, blocks, sums, W_grad, b_grad)
    release(partial)
    return 0


cdef geometry single_channel(geometry g) noexcept nogil:
    """The images, whose rows are copied as those of a single channel."""
    g.width, g.left, g.tile_width, g.channels = g.width * g.channels, g.left * g.channels, g.tile_width * g.channels, 1
    g.places = NULL
    return g


cdef void add_part(
    geometry g, window_band p, const floating *x, const floating *grad, Py_ssize_t block, Py_ssize_t blocks,
    Py_ssize_t part, Py_ssize_t parts, floating *sums, floating *tile,
) noexcept nogil:
    """A block of images and a part of the filters.

    The margins of a tile stay as they are from image to image, if it has whole images.
    """
    cdef geometry plain = single_channel(g)
    cdef Py_ssize_t image, band, first, count, pooled, size = g.filter_height * p.sums_row
    cdef Py_ssize_t begin = g.images * block // blocks, end = g.images * (block + 1) // blocks
    cdef Py_ssize_t filter = g.filters * part // parts
    cdef floating *totals = sums + g.filters * size + filter
    p.filters = g.filters * (part + 1) // parts - filter
    sums += filter * size
    for image in range(begin, end):
        for band in range(bands(g)):
            first = band * g.band
            count = min(g.band, g.rows - first)
            if image == begin or bands(g) > 1:
                memset(tile, 0, tile_size(plain, 1) * sizeof(floating))
            fill_planes(plain, x, image, first, count, 0, plain.tile_width, tile, <floating *>NULL)
            pooled = pooled_offset(g, image, first) + filter
            p.rows = count // g.pool_height
            loops_for(sizeof(floating)).window_weights(&p, grad + pooled, g.places + pooled, tile, sums, totals)


cdef void add_blocks(
    geometry g, Py_ssize_t sums_row, const floating *partial, Py_ssize_t blocks, Py_ssize_t sums,
    floating *W_grad, floating *b_grad,
) noexcept nogil:
    """The blocks' sums in the order of the images, turned from filter by filter to filters side by side."""
    cdef Py_ssize_t block, f, i, k, F = g.filters, rows = g.filter_height, columns = g.filter_width * g.channels
    cdef const floating *source
    memset(W_grad, 0, rows * columns * F * sizeof(floating))
    memset(b_grad, 0, F * sizeof(floating))
    for block in range(blocks):
        source = partial + block * sums
        for f in range(F):
            for i in range(rows):
                for k in range(columns):
                    W_grad[(i * columns + k) * F + f] += source[(f * rows + i) * sums_row + k]
            b_grad[f] += source[F * rows * sums_row + f]
