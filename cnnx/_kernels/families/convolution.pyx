"""Convolution of NHWC images: forward, input gradient, weight gradient.

Tiled im2col without the copies. The matrix of columns is never written out: a tile, the few image rows that a band of
output rows needs, stays in cache, and gemm.h reads its columns through strides (tiles.pyx).

forward          output[band, F]  = columns[band, K]    . W[K, F]          correlation.pyx
input gradient   the same, of the output gradient spread by the stride, with the flipped weights
                 or, straight from a pooled gradient, the weights below it  scatter.pyx
weight gradient  W[K, F] = sum of columns[band, K]^T . grad[band, F]       weight_gradient.pyx
                 or, of few weights, from planes or from pooled windows    plane_gradient.pyx, window_gradient.pyx
3x3 filters      all three with fewer products, where channels are many     winograd.pyx

K = filter_height * filter_width * channels. Bands and blocks depend on the shapes alone.

Where ReLU and a max pooling of windows that do not overlap follow, the forward pass writes only the pooled rows, with
the place of each maximum if it is asked for, and both gradients are taken from these. What lies between is never in
memory. Most of it would be zero and is passed over, which saves more than Winograd's products: so these gradients are
those of a convolution and a pooling one by one but for rounding, while all other fused kernels give the same bits.
"""

from libc.stdint cimport uint8_t, uintptr_t

from cnnx._kernels.products.correlation cimport correlate, pack_filters, packed_size
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport CLOSED, in_use, loops_for
from cnnx._kernels.ground.parallel cimport allocate, release
from cnnx._kernels.products.scatter cimport scatter, scatters_in_cache
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape
from cnnx._kernels.products.tiles cimport geometry, measure
from cnnx._kernels.products.weight_gradient cimport weight_gradient
from cnnx._kernels.products.winograd cimport (
    transform_filters, transformed_size, winograd, winograd_is_faster, winograd_weight_gradient,
)

# Elements of a padded image; to have room for more is a mistake, and their number in bytes overflows soon after.
cdef Py_ssize_t LARGEST_TILE = 1 << 48

cdef enum:
    LINE = 64  # bytes of a cache line


cdef struct pair:
    Py_ssize_t height, width


cdef pair as_pair(values) except *:
    cdef pair p
    p.height, p.width = values[0], values[1]
    return p


cdef pair size_of(const Py_ssize_t *images) noexcept nogil:
    cdef pair p
    p.height, p.width = images[1], images[2]
    return p


cdef pair ONE
ONE.height = ONE.width = 1


cdef bint is_window(pair pool) noexcept nogil:
    """Whether each place has a byte of its own; the sides first, for their product may overflow."""
    return 1 <= pool.height < CLOSED and 1 <= pool.width < CLOSED and pool.height * pool.width < CLOSED


cdef bint reaches_too_far(
    const Py_ssize_t *x, const Py_ssize_t *W, pair size, pair stride, pair padding, pair dilation,
) noexcept nogil:
    """Whether a padded image may have more than LARGEST_TILE elements; doubles do not overflow."""
    cdef double elements = max(W[2], W[3])
    elements *= <double>x[1] + padding.height + <double>size.height * stride.height + <double>W[0] * dilation.height
    elements *= <double>x[2] + padding.width + <double>size.width * stride.width + <double>W[1] * dilation.width
    return elements > LARGEST_TILE


cdef int check(
    const char *name, const Py_ssize_t *x, const Py_ssize_t *W, Py_ssize_t filters, const Py_ssize_t *out,
    pair stride, pair padding, pair dilation, pair size, pair pool, const Py_ssize_t *argmax,
) except -1:
    """Shapes that fit together: a kernel trusts them without bounds checks."""
    cdef bint fits = (
        min(stride.height, stride.width) >= 1 and min(padding.height, padding.width) >= 0
        and min(dilation.height, dilation.width) >= 1
        and is_window(pool)
        and min(min(W[0], W[1]), min(W[2], W[3])) >= 1 and W[2] == x[3] and W[3] == out[3] and filters == out[3]
        and x[0] == out[0] and min(x[1], x[2]) >= 1 and min(out[1], out[2]) >= 1
        and (argmax == NULL or same_shape(argmax, out, 4))
        and out[1] == size.height // pool.height and out[2] == size.width // pool.width
    )
    if not fits:
        raise ValueError(
            f"{name.decode()}: shapes do not fit: images {as_tuple(x, 4)}, weights {as_tuple(W, 4)}, {filters} biases, "
            f"outputs {as_tuple(out, 4)}, stride {stride.height, stride.width}, "
            f"padding {padding.height, padding.width}, dilation {dilation.height, dilation.width}, "
            f"size {size.height, size.width}, pooling {pool.height, pool.width}, "
            f"argmax {None if argmax == NULL else as_tuple(argmax, 4)}")
    if reaches_too_far(x, W, size, stride, padding, dilation):
        raise ValueError(
            f"{name.decode()}: stride {stride.height, stride.width}, padding {padding.height, padding.width} or "
            f"dilation {dilation.height, dilation.width} reaches too far beyond images {as_tuple(x, 4)}")
    return 0


cdef geometry forward_geometry(
    const Py_ssize_t *x, const Py_ssize_t *W, const Py_ssize_t *out,
    pair stride, pair padding, pair dilation, pair pool,
) noexcept nogil:
    """Convolution outputs that no window covers are not computed: their gradient is zero."""
    cdef geometry g = measure(
        x[0], x[1], x[2], x[3], W[0], W[1], out[1] * pool.height, out[2] * pool.width, out[3],
        stride.height, stride.width, dilation.height, dilation.width, padding.height, padding.width, 1, 1)
    g.pool_height, g.pool_width = pool.height, pool.width
    return g


cdef geometry backward_geometry(
    const Py_ssize_t *x, const Py_ssize_t *W, const Py_ssize_t *out,
    pair stride, pair padding, pair dilation, pair pool,
) noexcept nogil:
    """That of the convolution with the flipped weights that takes the gradient of `out` back to `x`."""
    cdef geometry g = measure(
        out[0], out[1] * pool.height, out[2] * pool.width, out[3], W[0], W[1], x[1], x[2], x[3],
        1, 1, dilation.height, dilation.width,
        (W[0] - 1) * dilation.height - padding.height, (W[1] - 1) * dilation.width - padding.width,
        stride.height, stride.width)
    g.pool_height, g.pool_width = pool.height, pool.width
    return g


cdef Py_ssize_t filters_size(geometry g, bint fast, floating kind) noexcept nogil:
    """Elements of the filters as the products take them; none where that is W itself. `kind` only carries the type."""
    return transformed_size(g, kind) if fast else packed_size(g, kind)


cdef void prepare_filters(geometry g, bint fast, const floating *W, floating *filters) noexcept nogil:
    if fast:
        transform_filters(g, W, filters)
    else:
        pack_filters(g, W, filters)


cdef floating *from_line(bytearray memory, floating kind) noexcept:
    """Where its first whole cache line begins."""
    return <floating *>((<uintptr_t><char *>memory + LINE - 1) // LINE * LINE)


cdef const floating *prepared_filters(geometry g, const floating *W, dict prepared) except? NULL:
    """Filters prepared once, where `prepared` is given; it belongs to one W in memory that cannot be written.

    An entry stays as long as that, and is made for one size of vectors.
    """
    cdef bint fast = winograd_is_faster(g)
    cdef Py_ssize_t size
    if prepared is None:
        return NULL
    size = filters_size(g, fast, W[0])
    if size == 0:
        return NULL
    memory = prepared.get(in_use().vector_bytes)
    if memory is None:
        memory = bytearray(size * sizeof(floating) + LINE)
        prepare_filters(g, fast, W, from_line(memory, W[0]))
        # Another thread may have been faster.
        memory = prepared.setdefault(in_use().vector_bytes, memory)
    return from_line(memory, W[0])


cdef int convolve(
    geometry g, bint fast, const floating *x, const floating *W, const floating *filters, const floating *b, bint relu,
    floating *out, uint8_t *argmax,
) except -1 nogil:
    """`filters` is W as `prepare_filters` leaves it, or NULL."""
    cdef floating *own = NULL
    cdef Py_ssize_t size = filters_size(g, fast, W[0])
    if filters == NULL and size > 0:
        own = <floating *>allocate(size * sizeof(floating))
        prepare_filters(g, fast, W, own)
        filters = own
    try:
        if fast:
            winograd(g, x, filters, b, relu, out, argmax)
        else:
            correlate(g, x, W if filters == NULL else filters, b, relu, out, argmax)
    finally:
        if own != NULL:
            release(own)
    return 0


cdef _forward(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] W, const floating[::1] b,
    pair stride, pair padding, pair dilation, bint relu, floating[:, :, :, ::1] out, dict prepared,
):
    cdef pair size = size_of(out.shape)
    check(
        "convolution_forward", x.shape, W.shape, b.shape[0], out.shape, stride, padding, dilation, size, ONE, NULL)
    cdef geometry g = forward_geometry(x.shape, W.shape, out.shape, stride, padding, dilation, ONE)
    if x.shape[0] == 0:
        return
    cdef const floating *filters = prepared_filters(g, &W[0, 0, 0, 0], prepared)
    with nogil:
        convolve(
            g, winograd_is_faster(g), &x[0, 0, 0, 0], &W[0, 0, 0, 0], filters, &b[0], relu, &out[0, 0, 0, 0], NULL)


cdef _pool_forward(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] W, const floating[::1] b,
    pair stride, pair padding, pair size, pair pool, bint relu, floating[:, :, :, ::1] out,
    uint8_t[:, :, :, ::1] argmax, dict prepared,
):
    check(
        "convolution_pool_forward", x.shape, W.shape, b.shape[0], out.shape, stride, padding, ONE, size, pool,
        NULL if argmax is None else argmax.shape)
    cdef geometry g = forward_geometry(x.shape, W.shape, out.shape, stride, padding, ONE, pool)
    g.pools = True
    if x.shape[0] == 0:
        return
    cdef const floating *filters = prepared_filters(g, &W[0, 0, 0, 0], prepared)
    cdef uint8_t *places = NULL if argmax is None else &argmax[0, 0, 0, 0]
    with nogil:
        convolve(
            g, winograd_is_faster(g), &x[0, 0, 0, 0], &W[0, 0, 0, 0], filters, &b[0], relu, &out[0, 0, 0, 0],
            places)


cdef void flip_weights(geometry g, const floating *W, floating *flipped) noexcept nogil:
    """flipped[i, j, f, c] = W[last - i, last - j, c, f], where `g` is the geometry of the flipped product."""
    cdef Py_ssize_t taps = g.filter_height * g.filter_width, size = g.channels * g.filters, tap
    for tap in range(taps):
        loops_for(sizeof(floating)).transpose(
            W + (taps - 1 - tap) * size, g.channels, g.filters, g.channels, flipped + tap * size, g.filters)


cdef int input_gradient(
    geometry g, bint fast, const floating *grad, const floating *W, floating *out,
) except -1 nogil:
    """The convolution of the gradient with the flipped weights."""
    cdef floating *flipped = <floating *>allocate(
        g.filter_height * g.filter_width * g.channels * g.filters * sizeof(floating))
    try:
        flip_weights(g, W, flipped)
        convolve(
            g, fast, grad, flipped, <const floating *>NULL, <const floating *>NULL,
            False, out, NULL)
    finally:
        release(flipped)
    return 0


cdef _input_gradient(
    const floating[:, :, :, ::1] grad, const floating[:, :, :, ::1] W, pair stride, pair padding, pair dilation,
    floating[:, :, :, ::1] out,
):
    cdef pair size = size_of(grad.shape)
    check(
        "convolution_input_gradient", out.shape, W.shape, W.shape[3], grad.shape, stride, padding, dilation, size,
        ONE, NULL)
    cdef geometry g = backward_geometry(out.shape, W.shape, grad.shape, stride, padding, dilation, ONE)
    if grad.shape[0] == 0:
        return
    with nogil:
        input_gradient(g, winograd_is_faster(g), &grad[0, 0, 0, 0], &W[0, 0, 0, 0], &out[0, 0, 0, 0])


cdef _pool_input_gradient(
    const floating[:, :, :, ::1] grad, const uint8_t[:, :, :, ::1] argmax, const floating[:, :, :, ::1] W,
    pair stride, pair padding, pair size, pair pool, floating[:, :, :, ::1] out,
):
    check(
        "convolution_pool_input_gradient", out.shape, W.shape, W.shape[3], grad.shape, stride, padding, ONE,
        size, pool, argmax.shape)
    cdef geometry g = forward_geometry(out.shape, W.shape, grad.shape, stride, padding, ONE, pool)
    if grad.shape[0] == 0:
        return
    cdef const uint8_t *places = &argmax[0, 0, 0, 0]
    if scatters_in_cache[floating](g, 0):
        g.places = places
        with nogil:
            scatter(g, &grad[0, 0, 0, 0], &W[0, 0, 0, 0], &out[0, 0, 0, 0])
        return
    g = backward_geometry(out.shape, W.shape, grad.shape, stride, padding, ONE, pool)
    g.places, g.copied, g.tile_width = places, True, g.columns - 1 + g.filter_width
    with nogil:
        input_gradient(g, False, &grad[0, 0, 0, 0], &W[0, 0, 0, 0], &out[0, 0, 0, 0])


cdef _weight_gradient(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] grad, pair stride, pair padding, pair dilation,
    floating[:, :, :, ::1] W_grad, floating[::1] b_grad,
):
    cdef pair size = size_of(grad.shape)
    check(
        "convolution_weight_gradient", x.shape, W_grad.shape, b_grad.shape[0], grad.shape, stride, padding, dilation,
        size, ONE, NULL)
    cdef geometry g = forward_geometry(x.shape, W_grad.shape, grad.shape, stride, padding, dilation, ONE)
    if x.shape[0] == 0:
        W_grad[...] = 0
        b_grad[...] = 0
        return
    with nogil:
        if winograd_is_faster(g):
            winograd_weight_gradient(
                g, &x[0, 0, 0, 0], &grad[0, 0, 0, 0], &W_grad[0, 0, 0, 0], &b_grad[0])
        else:
            weight_gradient(
                g, size.height, size.width, &x[0, 0, 0, 0], &grad[0, 0, 0, 0], &W_grad[0, 0, 0, 0], &b_grad[0])


cdef _pool_weight_gradient(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] grad, const uint8_t[:, :, :, ::1] argmax,
    pair stride, pair padding, pair size, pair pool, floating[:, :, :, ::1] W_grad, floating[::1] b_grad,
):
    check(
        "convolution_pool_weight_gradient", x.shape, W_grad.shape, b_grad.shape[0], grad.shape, stride, padding,
        ONE, size, pool, argmax.shape)
    cdef geometry g = forward_geometry(x.shape, W_grad.shape, grad.shape, stride, padding, ONE, pool)
    if x.shape[0] == 0:
        W_grad[...] = 0
        b_grad[...] = 0
        return
    g.places = &argmax[0, 0, 0, 0]
    with nogil:
        weight_gradient(
            g, size.height, size.width, &x[0, 0, 0, 0], &grad[0, 0, 0, 0], &W_grad[0, 0, 0, 0], &b_grad[0])


def convolution_forward(x, W, b, stride, padding, dilation, relu, out, prepared=None):
    if out.dtype.char == "f":
        _forward[float](x, W, b, as_pair(stride), as_pair(padding), as_pair(dilation), relu, out, prepared)
    else:
        _forward[double](x, W, b, as_pair(stride), as_pair(padding), as_pair(dilation), relu, out, prepared)


def convolution_pool_forward(x, W, b, stride, padding, size, pool_size, relu, out, argmax, prepared=None):
    if out.dtype.char == "f":
        _pool_forward[float](
            x, W, b, as_pair(stride), as_pair(padding), as_pair(size), as_pair(pool_size), relu, out, argmax, prepared)
    else:
        _pool_forward[double](
            x, W, b, as_pair(stride), as_pair(padding), as_pair(size), as_pair(pool_size), relu, out, argmax, prepared)


def convolution_input_gradient(grad, W, stride, padding, dilation, out):
    if out.dtype.char == "f":
        _input_gradient[float](grad, W, as_pair(stride), as_pair(padding), as_pair(dilation), out)
    else:
        _input_gradient[double](grad, W, as_pair(stride), as_pair(padding), as_pair(dilation), out)


def convolution_pool_input_gradient(grad, argmax, W, stride, padding, size, pool_size, out):
    if out.dtype.char == "f":
        _pool_input_gradient[float](
            grad, argmax, W, as_pair(stride), as_pair(padding), as_pair(size), as_pair(pool_size), out)
    else:
        _pool_input_gradient[double](
            grad, argmax, W, as_pair(stride), as_pair(padding), as_pair(size), as_pair(pool_size), out)


def convolution_weight_gradient(x, grad, stride, padding, dilation, W_grad, b_grad):
    if W_grad.dtype.char == "f":
        _weight_gradient[float](
            x, grad, as_pair(stride), as_pair(padding), as_pair(dilation), W_grad, b_grad)
    else:
        _weight_gradient[double](
            x, grad, as_pair(stride), as_pair(padding), as_pair(dilation), W_grad, b_grad)


def convolution_pool_weight_gradient(x, grad, argmax, stride, padding, size, pool_size, W_grad, b_grad):
    if W_grad.dtype.char == "f":
        _pool_weight_gradient[float](
            x, grad, argmax, as_pair(stride), as_pair(padding), as_pair(size), as_pair(pool_size), W_grad, b_grad)
    else:
        _pool_weight_gradient[double](
            x, grad, argmax, as_pair(stride), as_pair(padding), as_pair(size), as_pair(pool_size), W_grad, b_grad)
