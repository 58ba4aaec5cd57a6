"""Convolution of NHWC images: forward, input gradient, weight gradient.

Tiled im2col without the copies. The matrix of columns is never written out: a tile, the few image rows that a band of
output rows needs, stays in cache, and gemm.h reads its columns through strides (tiles.pyx).

forward          output[band, F]  = columns[band, K]    . W[K, F]          correlation.pyx
input gradient   the same, of the output gradient spread by the stride, with the flipped weights
                 or, straight from a pooled gradient, the weights below it  scatter.pyx
weight gradient  W[K, F] = sum of columns[band, K]^T . grad[band, F]       weight_gradient.pyx
                 or, of few weights, from planes or from pooled windows    plane_gradient.pyx, window_gradient.pyx
square filters   all three with fewer products, where channels are many     winograd.pyx

K = filter_height * filter_width * channels. Bands and blocks depend on the shapes alone.

Where ReLU and a max pooling of windows that do not overlap follow, the forward pass writes only the pooled rows, with
the place of each maximum if it is asked for, and both gradients are taken from these. What lies between is never in
memory. Most of it would be zero and is passed over, which saves more than Winograd's products: so these gradients are
those of a convolution and a pooling one by one but for rounding, while all other fused kernels give the same bits.
"""

from libc.stdint cimport uint8_t

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport CLOSED, loops_for
from cnnx._kernels.ground.parallel cimport allocate, release
from cnnx._kernels.ground.prepared cimport find, from_cache_line, keep, room_for
from cnnx._kernels.ground.program cimport job_function, perform
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape
from cnnx._kernels.products.correlation cimport correlate, pack_filters, packed_size
from cnnx._kernels.products.positions cimport correlate_positions, positions_are_faster
from cnnx._kernels.products.scatter cimport scatter, scatter_is_faster
from cnnx._kernels.products.tiles cimport (
    call, geometry, measure, nhwc, pair, pooled, reading_pooled, sliding, too_far, unpooled, with_pooling,
)
from cnnx._kernels.products.weight_gradient cimport weight_gradient
from cnnx._kernels.products.winograd cimport transform_filters, transformed_size, winograd, winograd_is_faster

# Elements of a padded image, or so many times those of the image or of the outputs, if that is more: room for more
# would be a mistake. As in checks/geometry.py.
cdef double LARGEST_TILE = 1 << 28
cdef double LARGEST_GROWTH = 64
# What an index can hold, for each of 4096 threads.
cdef double LARGEST_INDEX = 1 << 44

cdef pair ONE = pair(1, 1)


cdef bint is_window(pair pool) noexcept nogil:
    """Whether each place has a byte of its own; the sides first, for their product may overflow."""
    return 1 <= pool.height < CLOSED and 1 <= pool.width < CLOSED and pool.height * pool.width < CLOSED


cdef bint reaches_too_far(const call *c) noexcept nogil:
    """Whether a padded image may have too many elements; doubles do not overflow."""
    cdef double channels = max(c.W[2], c.W[3]), image = <double>c.x[1] * c.x[2], reach, output
    output = <double>c.size.height * c.size.width
    reach = <double>c.x[1] + c.padding.height + <double>c.size.height * c.stride.height
    reach += <double>c.W[0] * c.dilation.height
    reach *= <double>c.x[2] + c.padding.width + <double>c.size.width * c.stride.width + <double>c.W[1] * c.dilation.width
    return channels * reach > min(
        max(LARGEST_TILE, LARGEST_GROWTH * channels * max(image, output)), LARGEST_INDEX)


cdef int check(const call *c, Py_ssize_t biases, const Py_ssize_t *argmax) except -1:
    """Shapes that fit together: a kernel trusts them without bounds checks."""
    cdef const Py_ssize_t *x = c.x
    cdef const Py_ssize_t *W = c.W
    cdef const Py_ssize_t *out = c.out
    cdef bint fits = (
        min(c.stride.height, c.stride.width) >= 1 and min(c.padding.height, c.padding.width) >= 0
        and min(c.dilation.height, c.dilation.width) >= 1
        and is_window(c.pool)
        and min(min(W[0], W[1]), min(W[2], W[3])) >= 1 and W[2] == x[3] and W[3] == out[3] and biases == out[3]
        and x[0] == out[0] and min(x[1], x[2]) >= 1 and min(out[1], out[2]) >= 1
        and (argmax == NULL or same_shape(argmax, out, 4))
        and out[1] == c.size.height // c.pool.height and out[2] == c.size.width // c.pool.width
    )
    if not fits:
        raise ValueError(
            f"{c.name.decode()}: shapes do not fit: images {as_tuple(x, 4)}, weights {as_tuple(W, 4)}, "
            f"{biases} biases, outputs {as_tuple(out, 4)}, stride {c.stride.height, c.stride.width}, "
            f"padding {c.padding.height, c.padding.width}, dilation {c.dilation.height, c.dilation.width}, "
            f"size {c.size.height, c.size.width}, pooling {c.pool.height, c.pool.width}, "
            f"argmax {None if argmax == NULL else as_tuple(argmax, 4)}")
    if reaches_too_far(c):
        raise too_far(c)
    return 0


cdef nhwc inputs(const call *c) noexcept nogil:
    return nhwc(c.x[0], c.x[1], c.x[2], c.x[3])


cdef nhwc outputs(const call *c) noexcept nogil:
    """Those that the windows cover. The others are not computed: their gradient is zero."""
    return nhwc(c.out[0], c.out[1] * c.pool.height, c.out[2] * c.pool.width, c.out[3])


cdef geometry forward_geometry(const call *c) noexcept nogil:
    cdef pair filters = pair(c.W[0], c.W[1])
    return measure(inputs(c), outputs(c), sliding(filters, c.stride, c.dilation, c.padding, ONE))


cdef geometry backward_geometry(const call *c) noexcept nogil:
    """That of the convolution with the flipped weights that takes the outputs' gradient back to the inputs."""
    cdef pair filters = pair(c.W[0], c.W[1]), padding = pair(
        (c.W[0] - 1) * c.dilation.height - c.padding.height, (c.W[1] - 1) * c.dilation.width - c.padding.width)
    return measure(outputs(c), inputs(c), sliding(filters, ONE, c.dilation, padding, c.stride))


cdef Py_ssize_t filters_size(const geometry *g, floating kind) noexcept nogil:
    """Elements of the filters as the products take them; none where that is W itself. `kind` only carries the type."""
    return transformed_size(g, kind) if winograd_is_faster(g) else packed_size(g, kind)


cdef void prepare_filters(const geometry *g, const floating *W, floating *filters) noexcept nogil:
    if winograd_is_faster(g):
        transform_filters(g, W, filters)
    else:
        pack_filters(g, W, filters)


cdef const floating *prepared_filters(const geometry *g, const floating *W, dict prepared) except? NULL:
    """Filters prepared once, where `prepared` is given."""
    cdef Py_ssize_t size
    cdef const floating *filters
    if prepared is None:
        return NULL
    size = filters_size(g, W[0])
    if size == 0:
        return NULL
    filters = <const floating *>find(prepared)
    if filters == NULL:
        memory = room_for(size * sizeof(floating))
        prepare_filters(g, W, <floating *>from_cache_line(memory))
        filters = <const floating *>keep(prepared, memory)
    return filters


cdef int convolve(
    const geometry *g, const floating *x, const floating *W, const floating *filters, const floating *b, bint relu,
    floating *out, uint8_t *argmax,
) except -1 nogil:
    """`filters` is W as `prepare_filters` leaves it, or NULL."""
    cdef floating *own = NULL
    cdef Py_ssize_t size = filters_size(g, W[0])
    if filters == NULL and positions_are_faster(g):
        return correlate_positions(g, x, W, False, b, relu, out)
    if filters == NULL and size > 0:
        own = <floating *>allocate(size * sizeof(floating))
        prepare_filters(g, W, own)
        filters = own
    try:
        if winograd_is_faster(g):
            winograd(g, x, filters, b, relu, out, argmax)
        else:
            correlate(g, x, W if filters == NULL else filters, b, relu, out, argmax)
    finally:
        if own != NULL:
            release(own)
    return 0


cdef struct forward_job:
    geometry g
    const void *x
    const void *W
    const void *filters
    const void *b
    bint relu
    void *out
    uint8_t *argmax


cdef int do_forward(const void *job, const floating *unused) except -1 nogil:
    cdef const forward_job *j = <const forward_job *>job
    return convolve(
        &j.g, <const floating *>j.x, <const floating *>j.W, <const floating *>j.filters, <const floating *>j.b, j.relu,
        <floating *>j.out, j.argmax)


cdef int perform_forward(forward_job *j, const floating *W, dict prepared) except -1:
    cdef const void **arrays[5]
    j.W, j.filters = W, prepared_filters(&j.g, W, prepared)
    arrays[0], arrays[1], arrays[2] = &j.x, <const void **>&j.out, <const void **>&j.argmax
    arrays[3], arrays[4] = &j.W, &j.b
    return perform(<job_function>do_forward[floating], j, sizeof(forward_job), arrays, 5, None)


@by_dtype
def convolution_forward(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] W, const floating[::1] b, tuple window, bint relu,
    floating[:, :, :, ::1] out, dict prepared=None,
):
    cdef call c = unpooled("convolution_forward", x.shape, W.shape, out.shape, window)
    check(&c, b.shape[0], NULL)
    if x.shape[0] == 0:
        return
    cdef forward_job j
    j.g, j.x, j.b, j.relu = forward_geometry(&c), &x[0, 0, 0, 0], &b[0], relu
    j.out, j.argmax = &out[0, 0, 0, 0], NULL
    perform_forward(&j, &W[0, 0, 0, 0], prepared)


@by_dtype
def convolution_pool_forward(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] W, const floating[::1] b, tuple window, bint relu,
    floating[:, :, :, ::1] out, uint8_t[:, :, :, ::1] argmax, dict prepared=None,
):
    cdef call c = with_pooling("convolution_pool_forward", x.shape, W.shape, out.shape, window)
    check(&c, b.shape[0], NULL if argmax is None else argmax.shape)
    if x.shape[0] == 0:
        return
    cdef forward_job j
    j.g, j.x, j.b, j.relu = pooled(forward_geometry(&c), c.pool), &x[0, 0, 0, 0], &b[0], relu
    j.out, j.argmax = &out[0, 0, 0, 0], NULL if argmax is None else &argmax[0, 0, 0, 0]
    perform_forward(&j, &W[0, 0, 0, 0], prepared)


cdef int input_gradient(
    const geometry *g, const floating *grad, const floating *W, floating *out,
) except -1 nogil:
    """The convolution of the gradient with the flipped weights, whose geometry this is.

    flipped[i, j, f, c] = W[last - i, last - j, c, f]
    """
    cdef Py_ssize_t taps = g.filter_height * g.filter_width, size = g.channels * g.filters, tap
    if positions_are_faster(g):
        return correlate_positions(g, grad, W, True, <const floating *>NULL, False, out)
    cdef floating *flipped = <floating *>allocate(taps * size * sizeof(floating))
    try:
        for tap in range(taps):
            loops_for(sizeof(floating)).transpose(
                W + (taps - 1 - tap) * size, g.channels, g.filters, g.channels, flipped + tap * size, g.filters)
        convolve(
            g, grad, <const floating *>flipped, <const floating *>NULL, <const floating *>NULL, False, out, NULL)
    finally:
        release(flipped)
    return 0


cdef struct gradient_job:
    geometry g
    const void *grad
    const void *W
    void *out


cdef int do_input_gradient(const void *job, const floating *unused) except -1 nogil:
    cdef const gradient_job *j = <const gradient_job *>job
    return input_gradient(&j.g, <const floating *>j.grad, <const floating *>j.W, <floating *>j.out)


@by_dtype
def convolution_input_gradient(
    const floating[:, :, :, ::1] grad, const floating[:, :, :, ::1] W, tuple window, floating[:, :, :, ::1] out,
):
    cdef call c = unpooled("convolution_input_gradient", out.shape, W.shape, grad.shape, window)
    check(&c, W.shape[3], NULL)
    if grad.shape[0] == 0:
        return
    cdef gradient_job j = gradient_job(
        backward_geometry(&c), &grad[0, 0, 0, 0], &W[0, 0, 0, 0], &out[0, 0, 0, 0])
    cdef const void **arrays[3]
    arrays[0], arrays[1], arrays[2] = &j.grad, &j.W, <const void **>&j.out
    perform(<job_function>do_input_gradient[floating], &j, sizeof(gradient_job), arrays, 3, None)


@by_dtype
def convolution_pool_input_gradient(
    const floating[:, :, :, ::1] grad, const uint8_t[:, :, :, ::1] argmax, const floating[:, :, :, ::1] W,
    tuple window, floating[:, :, :, ::1] out,
):
    cdef call c = with_pooling("convolution_pool_input_gradient", out.shape, W.shape, grad.shape, window)
    check(&c, W.shape[3], argmax.shape)
    if grad.shape[0] == 0:
        return
    cdef const uint8_t *places = &argmax[0, 0, 0, 0]
    cdef geometry forward = pooled(forward_geometry(&c), c.pool)
    cdef geometry backward = reading_pooled(backward_geometry(&c), c.pool, places)
    with nogil:
        if scatter_is_faster[floating](&forward, 0):
            scatter(&forward, &grad[0, 0, 0, 0], places, &W[0, 0, 0, 0], &out[0, 0, 0, 0])
        else:
            input_gradient(&backward, &grad[0, 0, 0, 0], &W[0, 0, 0, 0], &out[0, 0, 0, 0])


@by_dtype
def convolution_weight_gradient(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] grad, tuple window, floating[:, :, :, ::1] W_grad,
    floating[::1] b_grad,
):
    cdef call c = unpooled("convolution_weight_gradient", x.shape, W_grad.shape, grad.shape, window)
    check(&c, b_grad.shape[0], NULL)
    cdef geometry g = forward_geometry(&c)
    if x.shape[0] == 0:
        W_grad[...] = 0
        b_grad[...] = 0
        return
    with nogil:
        weight_gradient(&g, c.size, &x[0, 0, 0, 0], &grad[0, 0, 0, 0], NULL, &W_grad[0, 0, 0, 0], &b_grad[0])


@by_dtype
def convolution_pool_weight_gradient(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] grad, const uint8_t[:, :, :, ::1] argmax,
    tuple window, floating[:, :, :, ::1] W_grad, floating[::1] b_grad,
):
    cdef call c = with_pooling("convolution_pool_weight_gradient", x.shape, W_grad.shape, grad.shape, window)
    check(&c, b_grad.shape[0], argmax.shape)
    cdef geometry g = pooled(forward_geometry(&c), c.pool)
    if x.shape[0] == 0:
        W_grad[...] = 0
        b_grad[...] = 0
        return
    with nogil:
        weight_gradient(
            &g, c.size, &x[0, 0, 0, 0], &grad[0, 0, 0, 0], &argmax[0, 0, 0, 0], &W_grad[0, 0, 0, 0], &b_grad[0])
