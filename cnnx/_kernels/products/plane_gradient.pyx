"""The gradient of a convolution's weights and biases, where filters and channels are few.

W[t, f] = sum over positions of x[position + t] grad[position, f]     task: a block of images

A vector of filters, or of a filter row's columns, would be mostly empty. So images and gradients are laid into planes,
one for each channel and each filter, and a vector holds neighbouring positions. The bias is the weight of one more
plane, whose pixels are ones.
"""

from cython.parallel cimport prange, threadid
from libc.string cimport memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for, plane_band
from cnnx._kernels.ground.parallel cimport allocate, deal, release, shares, take, threads_for_product
from cnnx._kernels.products.tiles cimport bands, fill_planes, geometry, image_blocks, lines, measure

cdef enum:
    PLANES = 32768  # bytes of a band's planes, which stay in the first-level cache
    FEWEST_COLUMNS = 8


cdef struct layout:
    # Planes of a band: rows of the images' and of the gradients', and how far apart planes are.
    Py_ssize_t row, plane, grad_row, grad_plane
    Py_ssize_t lanes, taps  # with the bias's


cdef bint gradient_by_planes(geometry g, Py_ssize_t itemsize) noexcept nogil:
    """Whether no pooling follows, and positions fill vectors better than filters and the columns of a filter row do."""
    return (
        g.places == NULL
        and g.filters <= in_use().wide_rows and g.column_stride == 1 and g.columns >= FEWEST_COLUMNS
        and g.filter_width * g.channels <= 2 * in_use().vector_bytes // itemsize
    )


cdef layout lay_out(geometry g, Py_ssize_t itemsize) noexcept nogil:
    cdef layout p
    p.lanes = in_use().vector_bytes // itemsize
    p.taps = g.filter_height * g.filter_width * g.channels + 1
    p.grad_row = (g.columns + p.lanes - 1) // p.lanes * p.lanes
    # The last vector of positions is read whole, for every column of the filter.
    p.row = p.grad_row + g.window_width - 1
    p.plane = ((g.band - 1) * g.row_stride + g.window_height) * p.row
    p.grad_plane = g.band * p.grad_row
    return p


cdef void list_taps(geometry g, layout p, Py_ssize_t *offsets) noexcept nogil:
    """Where each weight's pixels begin, in the order of the weights, and last the bias's ones."""
    cdef Py_ssize_t i, j, c
    for i in range(g.filter_height):
        for j in range(g.filter_width):
            for c in range(g.channels):
                offsets[(i * g.filter_width + j) * g.channels + c] = (
                    c * p.plane + i * g.row_dilation * p.row + j * g.column_dilation)
    offsets[p.taps - 1] = g.channels * p.plane


cdef void plane_gradient_block(
    geometry g, geometry h, layout p, const floating *x, const floating *grad, Py_ssize_t begin, Py_ssize_t end,
    const Py_ssize_t *offsets, floating *sums, floating *planes, floating *gradients,
) noexcept nogil:
    """Images begin .. end; `h` is the geometry of the gradient as images that are read pixel by pixel."""
    cdef Py_ssize_t image, band, first, i
    cdef plane_band q
    q.columns, q.taps, q.grad_row, q.grad_plane = p.grad_row, p.taps, p.grad_row, p.grad_plane
    q.x_row = g.row_stride * p.row
    memset(sums, 0, g.filters * p.taps * p.lanes * sizeof(floating))
    memset(planes, 0, g.channels * p.plane * sizeof(floating))
    memset(gradients, 0, g.filters * p.grad_plane * sizeof(floating))
    for i in range(p.plane):
        planes[g.channels * p.plane + i] = 1
    for image in range(begin, end):
        for band in range(bands(g)):
            first = band * g.band
            q.rows = min(g.band, g.rows - first)
            if bands(g) > 1:
                memset(planes, 0, g.channels * p.plane * sizeof(floating))
            fill_planes(g, x, image, first, q.rows, p.plane, p.row, planes, <floating *>NULL)
            fill_planes(h, grad, image, first, q.rows, p.grad_plane, p.grad_row, gradients, <floating *>NULL)
            loops_for(sizeof(floating)).plane_weights(g.filters, &q, planes, offsets, gradients, sums)


cdef int plane_gradient(
    geometry g, const floating *x, const floating *grad, floating *W_grad, floating *b_grad,
) except -1 nogil:
    """What `weight_gradient` computes, from planes."""
    cdef geometry h = measure(
        g.images, g.rows, g.columns, g.filters, 1, 1, g.rows, g.columns, g.filters, 1, 1, 1, 1, 0, 0, 1, 1)
    g.tile_width = g.columns - 1 + g.window_width
    cdef layout p = lay_out(g, sizeof(floating))
    cdef Py_ssize_t row_bytes = (
        (g.row_stride * (g.channels + 1) * p.row + g.filters * p.grad_row) * <Py_ssize_t>sizeof(floating))
    g.band = min(g.rows, max(1, PLANES // row_bytes))
    p = lay_out(g, sizeof(floating))
    cdef Py_ssize_t positions = g.rows * g.columns
    cdef Py_ssize_t blocks = image_blocks(g.images, positions), block, turn
    cdef shares dealt
    cdef double operations = 2.0 * g.images * positions * g.filters * p.taps
    cdef int threads = threads_for_product(blocks, operations)
    cdef Py_ssize_t sums = g.filters * p.taps * p.lanes
    cdef Py_ssize_t planes_room = lines((g.channels + 1) * p.plane), gradients_room = lines(g.filters * p.grad_plane)
    cdef Py_ssize_t private = planes_room + gradients_room
    cdef Py_ssize_t offsets_bytes = lines(p.taps) * <Py_ssize_t>sizeof(Py_ssize_t)
    cdef Py_ssize_t *offsets = <Py_ssize_t *>allocate(
        offsets_bytes + (blocks * sums + threads * private) * <Py_ssize_t>sizeof(floating))
    cdef floating *partial = <floating *>(<char *>offsets + offsets_bytes)
    cdef floating *mine
    list_taps(g, p, offsets)
    deal(&dealt, blocks, threads)
    for turn in prange(blocks, num_threads=threads, schedule="dynamic"):
        block = take(&dealt, threadid())
        mine = partial + blocks * sums + threadid() * private
        plane_gradient_block(
            g, h, p, x, grad, g.images * block // blocks, g.images * (block + 1) // blocks, offsets,
            partial + block * sums, mine, mine + planes_room)
    add_blocks(g, p, partial, blocks, sums, W_grad, b_grad)
    release(offsets)
    return 0


cdef void add_blocks(
    geometry g, layout p, const floating *partial, Py_ssize_t blocks, Py_ssize_t sums, floating *W_grad,
    floating *b_grad,
) noexcept nogil:
    """The lanes of each sum, and the blocks' sums in the order of the images."""
    cdef Py_ssize_t block, f, t, lane
    cdef const floating *lanes
    cdef floating total
    for f in range(g.filters):
        for t in range(p.taps):
            total = 0
            for block in range(blocks):
                lanes = partial + block * sums + (f * p.taps + t) * p.lanes
                for lane in range(p.lanes):
                    total += lanes[lane]
            if t == p.taps - 1:
                b_grad[f] = total
            else:
                W_grad[t * g.filters + f] = total
