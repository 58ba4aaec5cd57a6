"""The gradient of a convolution's weights and biases, where filters and channels are few.

W[t, f] = sum over positions of x[position + t] grad[position, f]     task: a block of images

A vector of filters, or of a filter row's columns, would be mostly empty. So images and gradients are laid into planes,
one for each channel and each filter, and a vector holds neighbouring positions. The bias is the weight of one more
plane, whose pixels are ones.
"""

from libc.string cimport memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for
from cnnx._kernels.ground.loops cimport plane_band
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, threads_for_product
from cnnx._kernels.products.tiles cimport (
    aligned, band, band_of, bands, fill_planes, geometry, image_blocks, measure, nhwc, pair, sliding, table_room,
    tile_rows, with_bands, with_copies,
)

cdef enum:
    PLANES = 32768  # bytes of a band's planes, which stay in the first-level cache
    FEWEST_COLUMNS = 8
    MOST_FILTERS = 3
    MOST_PAIRS = 9  # of channels and filters


cdef struct layout:
    # Planes of a band: rows of the images' and of the gradients', and how far apart planes are.
    Py_ssize_t row, plane, grad_row, grad_plane
    Py_ssize_t lanes, taps  # with the bias's


cdef struct plane_sums:
    geometry g
    geometry h                  # of the gradient as images that are read pixel by pixel
    layout p
    const void *x
    const void *grad
    const Py_ssize_t *offsets   # where each weight's pixels begin
    void *partial
    Py_ssize_t blocks, sums     # of images, and how far their sums are apart
    Py_ssize_t planes_room


cdef bint gradient_by_planes(const geometry *g) noexcept nogil:
    """Whether positions fill vectors better than filters and the columns of a filter row do."""
    return (
        g.filters <= MOST_FILTERS and g.filters * g.channels <= MOST_PAIRS and g.column_stride == 1
        and g.columns >= FEWEST_COLUMNS
    )


cdef layout lay_out(const geometry *g, Py_ssize_t itemsize) noexcept nogil:
    cdef layout p
    p.lanes = in_use().vector_bytes // itemsize
    p.taps = g.filter_height * g.filter_width * g.channels + 1
    p.grad_row = (g.columns + p.lanes - 1) // p.lanes * p.lanes
    # The last vector of positions is read whole, for every column of the filter.
    p.row = p.grad_row + g.span_width - 1
    p.plane = tile_rows(g, g.band_rows) * p.row
    p.grad_plane = g.band_rows * p.grad_row
    return p


cdef void list_taps(const geometry *g, const layout *p, Py_ssize_t *offsets) noexcept nogil:
    """Where each weight's pixels begin, in the order of the weights, and last the bias's ones."""
    cdef Py_ssize_t i, j, c
    for i in range(g.filter_height):
        for j in range(g.filter_width):
            for c in range(g.channels):
                offsets[(i * g.filter_width + j) * g.channels + c] = (
                    c * p.plane + i * g.row_dilation * p.row + j * g.column_dilation)
    offsets[p.taps - 1] = g.channels * p.plane


cdef void add_block(const void *job, Py_ssize_t block, floating *planes) noexcept nogil:
    """The sums of a block of images."""
    cdef const plane_sums *s = <const plane_sums *>job
    cdef const geometry *g = &s.g
    cdef const layout *p = &s.p
    cdef floating *gradients = planes + s.planes_room
    cdef floating *sums = <floating *>s.partial + block * s.sums
    cdef Py_ssize_t number, i
    cdef band at
    cdef plane_band q
    q.columns, q.taps, q.grad_row, q.grad_plane = p.grad_row, p.taps, p.grad_row, p.grad_plane
    q.x_row = g.row_stride * p.row
    memset(sums, 0, s.sums * sizeof(floating))
    memset(planes, 0, g.channels * p.plane * sizeof(floating))
    memset(gradients, 0, g.filters * p.grad_plane * sizeof(floating))
    for i in range(p.plane):
        planes[g.channels * p.plane + i] = 1
    for number in range(g.images * block // s.blocks * bands(g), g.images * (block + 1) // s.blocks * bands(g)):
        at = band_of(g, number)
        if bands(g) > 1:
            memset(planes, 0, g.channels * p.plane * sizeof(floating))
        fill_planes(g, <const floating *>s.x, at, pair(1, 1), p.plane, p.row, planes, <floating *>NULL)
        fill_planes(
            &s.h, <const floating *>s.grad, at, pair(1, 1), p.grad_plane, p.grad_row, gradients, <floating *>NULL)
        q.rows = at.count
        loops_for(sizeof(floating)).plane_gradient(g.filters, &q, planes, s.offsets, gradients, sums)


cdef geometry pixel_by_pixel(const geometry *g) noexcept nogil:
    """Of the gradient, as images that a filter of one pixel reads."""
    cdef nhwc grad = nhwc(g.images, g.rows, g.columns, g.filters)
    cdef pair one = pair(1, 1)
    return measure(grad, grad, sliding(one, one, one, pair(0, 0), one))


cdef geometry cut_bands(const geometry *g, Py_ssize_t itemsize) noexcept nogil:
    """As many rows as the first-level cache holds planes of."""
    cdef layout p = lay_out(g, itemsize)
    cdef Py_ssize_t row_bytes = (g.row_stride * (g.channels + 1) * p.row + g.filters * p.grad_row) * itemsize
    return with_bands(with_copies(g[0]), min(g.rows, max(1, PLANES // row_bytes)))


cdef int plane_gradient(
    const geometry *g, const floating *x, const floating *grad, floating *W_grad, floating *b_grad,
) except -1 nogil:
    """What `weight_gradient` computes, from planes."""
    cdef Py_ssize_t positions = g.rows * g.columns
    cdef plane_sums s
    s.g, s.h, s.x, s.grad = cut_bands(g, sizeof(floating)), pixel_by_pixel(g), x, grad
    s.p = lay_out(&s.g, sizeof(floating))
    s.blocks, s.sums = image_blocks(g, positions), g.filters * s.p.taps * s.p.lanes
    s.planes_room = aligned((g.channels + 1) * s.p.plane)
    cdef int threads = threads_for_product(s.blocks, 2.0 * g.images * positions * g.filters * s.p.taps)
    cdef Py_ssize_t private = s.planes_room + aligned(g.filters * s.p.grad_plane)
    cdef Py_ssize_t offsets_room = table_room[floating](s.p.taps, 0)
    cdef floating *memory = <floating *>allocate(
        (offsets_room + s.blocks * s.sums + threads * private) * <Py_ssize_t>sizeof(floating))
    cdef floating *partial = memory + offsets_room
    list_taps(&s.g, &s.p, <Py_ssize_t *>memory)
    s.offsets, s.partial = <Py_ssize_t *>memory, partial
    for_each_task(add_block[floating], &s, s.blocks, threads, partial + s.blocks * s.sums, private)
    add_blocks(&s, <const floating *>partial, W_grad, b_grad)
    release(memory)
    return 0


cdef void add_blocks(
    const plane_sums *s, const floating *partial, floating *W_grad, floating *b_grad,
) noexcept nogil:
    """The lanes of each sum, and the blocks' sums in the order of the images."""
    cdef Py_ssize_t block, f, t, lane
    cdef const layout *p = &s.p
    cdef const floating *lanes
    cdef floating total
    for f in range(s.g.filters):
        for t in range(p.taps):
            total = 0
            for block in range(s.blocks):
                lanes = partial + block * s.sums + (f * p.taps + t) * p.lanes
                for lane in range(p.lanes):
                    total += lanes[lane]
            if t == p.taps - 1:
                b_grad[f] = total
            else:
                W_grad[t * s.g.filters + f] = total
