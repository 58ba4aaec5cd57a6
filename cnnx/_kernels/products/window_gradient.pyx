"""The gradient of a convolution's weights and biases, where these are few and a max pooling follows.

W[t, f] = sum over windows of x[window's place + t] grad[window, f]     task: some filters and a block of images

Each window is added where it lies, with its filter's sums in registers.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for
from cnnx._kernels.ground.loops cimport window_band
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, threads_for_product
from cnnx._kernels.products.tiles cimport (
    LONGEST, aligned, band, band_of, bands, even_rows, fill_planes, geometry, image_blocks, move_sums, pair,
    pooled_offset,
    tile_size, with_bands, with_copies,
)

cdef enum:
    MANY_WEIGHTS = 200
    TILE = 24576  # bytes, which stay in the first-level cache
    PLACES = 256  # values of a byte


cdef struct window_sums:
    geometry g
    geometry read               # the images, whose rows are copied as those of a single channel
    window_band windows
    Py_ssize_t cells[PLACES]    # of a window, by their place
    const void *x
    const void *grad
    const uint8_t *places
    void *partial
    Py_ssize_t further          # where a block has more than LONGEST positions: so far from the sums are their totals
    Py_ssize_t blocks, sums     # of images, and how far their sums are apart
    Py_ssize_t parts            # of the filters, a task each


cdef bint gradient_by_windows(const geometry *g) noexcept nogil:
    """Whether the windows are walked; with many weights listing them is worth it (weight_gradient.pyx)."""
    return (
        g.pool_height * g.pool_width > 1 and g.filter_height * g.filter_width * g.channels < MANY_WEIGHTS
    )


cdef window_band lay_out(const geometry *g, Py_ssize_t itemsize, Py_ssize_t *cells) noexcept nogil:
    cdef window_band p
    cdef Py_ssize_t place, lanes = in_use().vector_bytes // itemsize, x_column = g.column_stride * g.channels
    p.filters, p.filter_rows, p.filter_columns = g.filters, g.filter_height, g.filter_width * g.channels
    p.sums_row = (p.filter_columns + lanes - 1) // lanes * lanes
    p.x_row = g.tile_width * g.channels
    p.x_stride, p.x_line = x_column * g.pool_width, g.row_stride * p.x_row * g.pool_height
    p.cells = cells
    memset(cells, 0, PLACES * sizeof(Py_ssize_t))
    for place in range(g.pool_height * g.pool_width):
        cells[place] = place // g.pool_width * g.row_stride * p.x_row + place % g.pool_width * x_column
    p.rows, p.columns = 0, g.columns // g.pool_width
    p.grad_stride, p.grad_line = g.filters, p.columns * g.filters
    return p


cdef geometry single_channel(geometry g) noexcept nogil:
    g.width, g.left, g.tile_width, g.channels = g.width * g.channels, g.left * g.channels, g.tile_width * g.channels, 1
    return g


cdef void add_part(const void *job, Py_ssize_t task, floating *tile) noexcept nogil:
    """A block of images and a part of the filters.

    The margins of a tile stay as they are from image to image, if it has whole images.
    """
    cdef const window_sums *s = <const window_sums *>job
    cdef const geometry *g = &s.g
    cdef Py_ssize_t block = task // s.parts, part = task % s.parts, number, pooled
    cdef Py_ssize_t begin = g.images * block // s.blocks * bands(g), end = g.images * (block + 1) // s.blocks * bands(g)
    cdef Py_ssize_t filter = g.filters * part // s.parts, size = g.filter_height * s.windows.sums_row
    cdef floating *sums = <floating *>s.partial + block * s.sums
    cdef floating *b_sums = sums + g.filters * size
    cdef Py_ssize_t summed = 0
    cdef window_band p = s.windows
    cdef band at
    p.filters = g.filters * (part + 1) // s.parts - filter
    for number in range(begin, end):
        at = band_of(g, number)
        if number == begin or bands(g) > 1:
            memset(tile, 0, tile_size(&s.read, 1) * sizeof(floating))
        fill_planes(&s.read, <const floating *>s.x, at, pair(1, 1), 0, s.read.tile_width, tile, <floating *>NULL)
        pooled = pooled_offset(g, at.image, at.first) + filter
        p.rows = at.count // g.pool_height
        loops_for(sizeof(floating)).window_gradient(
            &p, <const floating *>s.grad + pooled, s.places + pooled, tile, sums + filter * size, b_sums + filter)
        summed += at.count * g.columns
        if s.further and (summed >= LONGEST or number == end - 1):
            move_sums(sums + filter * size, sums + s.further + filter * size, p.filters * size)
            move_sums(b_sums + filter, b_sums + s.further + filter, p.filters)
            summed = 0


cdef int window_gradient(
    const geometry *g, Py_ssize_t positions, const floating *x, const floating *grad, const uint8_t *places,
    floating *W_grad, floating *b_grad,
) except -1 nogil:
    """What `weight_gradient` computes, window by window; `positions` are those of a convolution without pooling."""
    # Vectors may read past a filter row: past the last row of an image only where there is room.
    cdef geometry copied = with_copies(g[0])
    cdef Py_ssize_t line_bytes = g.row_stride * copied.tile_width * g.channels * <Py_ssize_t>sizeof(floating)
    cdef window_sums s
    s.g = with_bands(copied, even_rows(g, TILE // line_bytes, g.pool_height))
    s.read, s.windows = single_channel(s.g), lay_out(&s.g, sizeof(floating), s.cells)
    s.x, s.grad, s.places, s.blocks = x, grad, places, image_blocks(g, positions)
    # With the totals.
    s.sums = aligned(g.filters * (g.filter_height * s.windows.sums_row + 1))
    # With few blocks, several threads share one: each has some of the filters, and a copy of the tile.
    cdef int threads = threads_for_product(
        s.blocks * g.filters,
        2.0 * g.images * positions * g.filters * g.filter_height * s.windows.filter_columns)
    s.parts = min(g.filters, (2 * threads + s.blocks - 1) // s.blocks)
    cdef Py_ssize_t private = aligned(tile_size(&s.g, g.channels) + 2 * in_use().vector_bytes)
    cdef Py_ssize_t all_sums = s.blocks * s.sums
    s.further = all_sums if g.images * positions // s.blocks > LONGEST else 0
    cdef Py_ssize_t shared = all_sums + s.further
    cdef floating *partial = <floating *>allocate((shared + threads * private) * <Py_ssize_t>sizeof(floating))
    memset(partial, 0, shared * sizeof(floating))
    s.partial = partial
    for_each_task(add_part[floating], &s, s.blocks * s.parts, threads, partial + shared, private)
    add_blocks(&s, partial + s.further, W_grad, b_grad)
    release(partial)
    return 0


cdef void add_blocks(
    const window_sums *s, const floating *partial, floating *W_grad, floating *b_grad,
) noexcept nogil:
    """The blocks' sums in the order of the images, turned from filter by filter to filters side by side."""
    cdef Py_ssize_t block, f, i, k, F = s.g.filters, rows = s.g.filter_height, columns = s.windows.filter_columns
    cdef Py_ssize_t row = s.windows.sums_row
    cdef const floating *source
    memset(W_grad, 0, rows * columns * F * sizeof(floating))
    memset(b_grad, 0, F * sizeof(floating))
    for block in range(s.blocks):
        source = partial + block * s.sums
        for f in range(F):
            for i in range(rows):
                for k in range(columns):
                    W_grad[(i * columns + k) * F + f] += source[(f * rows + i) * row + k]
            b_grad[f] += source[F * rows * row + f]
