"""Convolution of NHWC images: forward, input gradient, weight gradient.

Tiled im2col without the copies. In an NHWC image the columns of a filter row, (column, channel), are
neighbours in memory, and the next output position's columns begin one stride further: they overlap. So
the matrix of columns is never written out. A tile, the few image rows that a band of output rows needs,
is copied once with its zero padding into a buffer that stays in cache, and gemm.h reads its columns
through strides. Images that need no padding are read where they lie.

forward          output[band, F]  = columns[band, K]    . W[K, F]          task: a band of one image
input gradient   the same, of the output gradient spread by the stride, with the flipped weights
weight gradient  W[K, F] = sum of columns[band, K]^T . grad[band, F]       task: a block of images

K = filter_height * filter_width * channels. Bands and blocks depend on the shapes alone.
"""

from cython.parallel cimport prange, threadid
from libc.string cimport memcpy, memset

from cnnx._kernels.floating cimport floating
from cnnx._kernels.gemm cimport (
    cut_panels, multiply, pack_panel, panel_columns, panel_offset, panel_width, panels, product,
)
from cnnx._kernels.parallel cimport allocate, release, threads_for
from cnnx._kernels.shapes cimport as_tuple

# Bytes. Forward, a tile shares the second-level cache with a panel of weights. For the weight gradient, a tile of
# a few channels and a panel of the gradients of its positions stay in the first-level cache.
cdef enum:
    FORWARD_TILE = 98304
    GRADIENT_TILE = 18432
    GRADIENT_CHANNELS = 32
    GRADIENT_POSITIONS = 128

# Blocks of images with a partial weight gradient each. More would let more threads work, and cost memory
# and a longer final sum; so a block also has at least so many positions.
cdef enum:
    MOST_BLOCKS = 16
    BLOCK_POSITIONS = 2048


cdef struct geometry:
    Py_ssize_t images, height, width, channels      # what is read
    Py_ssize_t filter_height, filter_width
    Py_ssize_t rows, columns, filters               # what is written
    Py_ssize_t row_stride, column_stride
    Py_ssize_t top, left                            # padding; negative crops
    Py_ssize_t row_spread, column_spread            # distance of neighbouring pixels once zeros lie between
    Py_ssize_t tile_width                           # columns of the padded image that are read
    Py_ssize_t band                                 # output rows at a time
    bint copied                                     # False: read the image where it lies


cdef geometry measure(
    Py_ssize_t images, Py_ssize_t height, Py_ssize_t width, Py_ssize_t channels,
    Py_ssize_t filter_height, Py_ssize_t filter_width,
    Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t filters,
    Py_ssize_t row_stride, Py_ssize_t column_stride,
    Py_ssize_t top, Py_ssize_t left, Py_ssize_t row_spread, Py_ssize_t column_spread,
) noexcept nogil:
    cdef geometry g
    g.images, g.height, g.width, g.channels = images, height, width, channels
    g.filter_height, g.filter_width = filter_height, filter_width
    g.rows, g.columns, g.filters = rows, columns, filters
    g.row_stride, g.column_stride = row_stride, column_stride
    g.top, g.left = top, left
    g.row_spread, g.column_spread = row_spread, column_spread
    g.tile_width = (columns - 1) * column_stride + filter_width
    g.copied = not (
        top == 0 and left == 0 and row_spread == 1 and column_spread == 1
        and g.tile_width <= width and (rows - 1) * row_stride + filter_height <= height
    )
    if not g.copied:
        g.tile_width = width
    g.band = rows
    return g


cdef Py_ssize_t band_rows(geometry g, Py_ssize_t most) noexcept nogil:
    """At most `most` output rows at a time, in bands that differ little."""
    cdef Py_ssize_t count
    most = max(1, min(most, g.rows))
    count = (g.rows + most - 1) // most
    return (g.rows + count - 1) // count


cdef Py_ssize_t bands(geometry g) noexcept nogil:
    return (g.rows + g.band - 1) // g.band


cdef Py_ssize_t tile_size(geometry g, Py_ssize_t channels) noexcept nogil:
    if not g.copied:
        return 0
    return ((g.band - 1) * g.row_stride + g.filter_height) * g.tile_width * channels


cdef const floating *view_tile(
    geometry g, const floating *image, Py_ssize_t first, Py_ssize_t count,
    Py_ssize_t channel, Py_ssize_t channels, floating *tile,
) noexcept nogil:
    """Channels of the padded rows behind output rows first .. first + count, copied if they must be."""
    cdef Py_ssize_t origin = first * g.row_stride - g.top, row_size = g.tile_width * channels
    cdef Py_ssize_t h, w, source_row, begin, end
    cdef const floating *source
    cdef floating *row
    if not g.copied:
        return image + origin * g.width * g.channels
    # The source columns begin .. end fall into the tile.
    begin = 0 if g.left >= 0 else (-g.left + g.column_spread - 1) // g.column_spread
    end = (g.tile_width - g.left + g.column_spread - 1) // g.column_spread
    end = max(begin, min(end, g.width))
    for h in range((count - 1) * g.row_stride + g.filter_height):
        row = tile + h * row_size
        source_row = origin + h
        if source_row < 0 or source_row % g.row_spread or source_row // g.row_spread >= g.height or begin == end:
            memset(row, 0, row_size * sizeof(floating))
            continue
        source = image + (source_row // g.row_spread) * g.width * g.channels + channel
        if g.column_spread == 1:
            memset(row, 0, (begin + g.left) * channels * sizeof(floating))
            if channels == g.channels:
                memcpy(row + (begin + g.left) * channels, source + begin * channels,
                       (end - begin) * channels * sizeof(floating))
            else:
                for w in range(begin, end):
                    memcpy(row + (w + g.left) * channels, source + w * g.channels, channels * sizeof(floating))
            w = end + g.left
            memset(row + w * channels, 0, (g.tile_width - w) * channels * sizeof(floating))
        else:
            memset(row, 0, row_size * sizeof(floating))
            for w in range(begin, end):
                memcpy(row + (w * g.column_spread + g.left) * channels, source + w * g.channels,
                       channels * sizeof(floating))
    return tile


cdef void correlate_band(
    geometry g, const floating *x, panels cut, const floating *packed, const floating *bias,
    floating *out, Py_ssize_t task, floating *tile, Py_ssize_t *runs,
) noexcept nogil:
    """Output rows of one band of one image."""
    cdef Py_ssize_t image = task // bands(g), first = (task % bands(g)) * g.band
    cdef Py_ssize_t count = min(g.band, g.rows - first)
    cdef Py_ssize_t row_size = g.tile_width * g.channels
    cdef Py_ssize_t i, oh, panel
    cdef const floating *columns = view_tile(
        g, x + image * g.height * g.width * g.channels, first, count, 0, g.channels, tile)
    cdef product p
    out += (image * g.rows + first) * g.columns * g.filters
    for i in range(g.filter_height):
        runs[i] = i * row_size
    p.runs, p.depth = g.filter_height, g.filter_width * g.channels
    p.a_runs, p.a_depth = runs, 1
    p.c_row, p.accumulate = g.filters, False
    for panel in range(cut.count):
        p.columns = panel_columns(cut, panel)
        p.b_depth = panel_width(cut, panel)
        p.b_run = p.depth * p.b_depth
        p.bias = NULL if bias == NULL else bias + panel * 2 * cut.lanes
        for oh in range(count):
            multiply(
                p, g.columns, g.column_stride * g.channels,
                columns + oh * g.row_stride * row_size,
                packed + panel_offset(cut, panel),
                out + oh * g.columns * g.filters + panel * 2 * cut.lanes,
            )


cdef int correlate(
    geometry g, const floating *x, const floating *W, const floating *bias, floating *out,
) except -1 nogil:
    """out[n, oh, ow, f] = bias[f] + sum of x[n, oh*stride + i - top, ow*stride + j - left, c] W[i, j, c, f]."""
    cdef panels cut = cut_panels[floating](g.filter_height * g.filter_width * g.channels, g.filters, 0)
    cdef Py_ssize_t row_bytes = g.tile_width * g.channels * sizeof(floating)
    g.band = band_rows(g, (FORWARD_TILE // row_bytes - g.filter_height + 1) // g.row_stride)
    cdef Py_ssize_t tasks = g.images * bands(g), task, panel
    cdef int threads = threads_for(
        tasks, 2.0 * g.images * g.rows * g.columns * g.filters * cut.depth)
    cdef Py_ssize_t widened = cut.count * 2 * cut.lanes, tile_room = (tile_size(g, g.channels) + 15) // 16 * 16
    cdef Py_ssize_t private = tile_room * sizeof(floating) + (g.filter_height + 7) // 8 * 64
    cdef Py_ssize_t shared = ((cut.size + widened) * sizeof(floating) + 63) // 64 * 64
    cdef char *memory = <char *>allocate(shared + threads * private)
    cdef floating *packed = <floating *>memory
    cdef floating *wide_bias = packed + cut.size
    cdef char *mine
    if bias == NULL:
        wide_bias = NULL
    else:
        memset(wide_bias, 0, widened * sizeof(floating))
        memcpy(wide_bias, bias, g.filters * sizeof(floating))
    for panel in prange(cut.count, num_threads=threads_for(cut.count, cut.size), schedule="static"):
        pack_panel(W, g.filters, 1, cut, panel, packed + panel_offset(cut, panel))
    for task in prange(tasks, num_threads=threads, schedule="dynamic"):
        mine = memory + shared + threadid() * private
        correlate_band(
            g, x, cut, packed, wide_bias, out, task,
            <floating *>mine, <Py_ssize_t *>(mine + tile_room * sizeof(floating)))
    release(memory)
    return 0


cdef void flip_weights(geometry g, const floating *W, floating *flipped) noexcept nogil:
    """flipped[i, j, f, c] = W[last - i, last - j, c, f], where `g` is the geometry of the flipped product."""
    cdef Py_ssize_t taps = g.filter_height * g.filter_width, size = g.channels * g.filters, tap, f, c
    for tap in range(taps):
        for f in range(g.channels):
            for c in range(g.filters):
                flipped[tap * size + f * g.filters + c] = W[(taps - 1 - tap) * size + c * g.channels + f]


cdef void weight_gradient_block(
    geometry g, const floating *x, const floating *grad, panels cut, Py_ssize_t begin, Py_ssize_t end,
    floating *W_sums, floating *b_sums, floating *tile, floating *right, Py_ssize_t *runs,
) noexcept nogil:
    """Gradients of the weights, in panels, and of the biases, summed over images begin .. end.

    The left operand is the transposed matrix of columns: one channel at many positions. With many
    channels those are far apart, often by a power of two, and would push each other out of the cache;
    so a tile holds few channels, side by side. The gradients are copied into panels for the same reason.
    """
    cdef Py_ssize_t C = g.channels, F = g.filters
    cdef Py_ssize_t groups = (C + GRADIENT_CHANNELS - 1) // GRADIENT_CHANNELS
    cdef Py_ssize_t image, band, first, count, position, f, i, j, panel, width, group, channel, channels
    cdef const floating *columns
    cdef const floating *band_grad
    cdef floating *panel_grad
    cdef floating *panel_sums
    cdef panels band_cut
    cdef product p
    memset(W_sums, 0, cut.size * sizeof(floating))
    memset(b_sums, 0, F * sizeof(floating))
    p.depth, p.a_runs = g.columns, runs
    p.accumulate, p.bias = True, NULL
    for image in range(begin, end):
        for band in range(bands(g)):
            first = band * g.band
            count = min(g.band, g.rows - first)
            band_grad = grad + (image * g.rows + first) * g.columns * F
            for position in range(count * g.columns):
                for f in range(F):
                    b_sums[f] += band_grad[position * F + f]
            band_cut = cut_panels[floating](count * g.columns, F, 0)
            for panel in range(cut.count):
                pack_panel(band_grad, F, 1, band_cut, panel, right + panel_offset(band_cut, panel))
            p.runs = count
            for group in range(groups):
                channel = C * group // groups
                channels = C * (group + 1) // groups - channel
                columns = view_tile(g, x + image * g.height * g.width * C, first, count, channel, channels, tile)
                p.a_depth = g.column_stride * channels
                for i in range(count):
                    runs[i] = i * g.row_stride * g.tile_width * channels
                for panel in range(cut.count):
                    panel_grad = right + panel_offset(band_cut, panel)
                    width = panel_width(cut, panel)
                    panel_sums = W_sums + panel_offset(cut, panel) + channel * width
                    p.columns, p.c_row, p.b_depth, p.b_run = width, width, width, g.columns * width
                    for i in range(g.filter_height):
                        if groups == 1:
                            multiply(
                                p, g.filter_width * C, 1, columns + i * g.tile_width * C, panel_grad,
                                panel_sums + i * g.filter_width * C * width)
                        else:
                            for j in range(g.filter_width):
                                multiply(
                                    p, channels, 1, columns + (i * g.tile_width + j) * channels, panel_grad,
                                    panel_sums + (i * g.filter_width + j) * C * width)


cdef int weight_gradient(
    geometry g, const floating *x, const floating *grad, floating *W_grad, floating *b_grad,
) except -1 nogil:
    cdef Py_ssize_t depth = g.filter_height * g.filter_width * g.channels, F = g.filters
    cdef panels cut = cut_panels[floating](depth, F, 0)
    cdef Py_ssize_t most_channels = min(g.channels, GRADIENT_CHANNELS)
    g.copied = g.copied or g.channels > GRADIENT_CHANNELS
    if g.copied:
        g.tile_width = (g.columns - 1) * g.column_stride + g.filter_width
    cdef Py_ssize_t row_bytes = g.tile_width * most_channels * sizeof(floating)
    g.band = band_rows(g, min(GRADIENT_TILE // (row_bytes * g.row_stride), GRADIENT_POSITIONS // g.columns))
    cdef Py_ssize_t positions = g.rows * g.columns
    cdef Py_ssize_t blocks = max(1, min(
        min(g.images, MOST_BLOCKS), g.images * positions // BLOCK_POSITIONS))
    cdef int threads = threads_for(blocks, 2.0 * g.images * positions * F * depth)
    cdef Py_ssize_t sums = (cut.size + F + 15) // 16 * 16, block
    cdef Py_ssize_t tile_room = (tile_size(g, most_channels) + 15) // 16 * 16
    cdef Py_ssize_t right_room = cut_panels[floating](g.band * g.columns, F, 0).size
    cdef Py_ssize_t private = (tile_room + right_room) * sizeof(floating) + (g.band + 7) // 8 * 64
    cdef char *memory = <char *>allocate(blocks * sums * sizeof(floating) + threads * private)
    cdef floating *partial = <floating *>memory
    cdef floating *mine
    for block in prange(blocks, num_threads=threads, schedule="dynamic"):
        mine = <floating *>(memory + blocks * sums * sizeof(floating) + threadid() * private)
        weight_gradient_block(
            g, x, grad, cut, g.images * block // blocks, g.images * (block + 1) // blocks,
            partial + block * sums, partial + block * sums + cut.size,
            mine, mine + tile_room, <Py_ssize_t *>(mine + tile_room + right_room))
    add_blocks(cut, partial, blocks, sums, W_grad, b_grad)
    release(memory)
    return 0


cdef void add_blocks(
    panels cut, const floating *partial, Py_ssize_t blocks, Py_ssize_t sums, floating *W_grad, floating *b_grad,
) noexcept nogil:
    """The blocks' sums in the order of the images, out of their panels."""
    cdef Py_ssize_t block, panel, columns, width, k, j
    cdef const floating *source
    cdef floating *row
    for block in range(blocks):
        for panel in range(cut.count):
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
        source = partial + block * sums + cut.size
        for j in range(cut.columns):
            b_grad[j] = source[j] if block == 0 else b_grad[j] + source[j]


cdef int check(
    const char *name, Py_ssize_t[4] x, Py_ssize_t[4] W, Py_ssize_t filters, Py_ssize_t[4] out, stride, padding,
) except -1:
    """Shapes that fit together: a kernel trusts them without bounds checks."""
    if (
        stride[0] < 1 or stride[1] < 1 or padding[0] < 0 or padding[1] < 0
        or W[0] < 1 or W[1] < 1 or W[2] != x[3] or W[3] != out[3] or filters != out[3]
        or x[0] != out[0] or min(x[1], min(x[2], x[3])) < 1 or min(out[1], min(out[2], out[3])) < 1
    ):
        raise ValueError(
            f"{name.decode()}: shapes do not fit: images {as_tuple(x, 4)}, "
            f"weights {as_tuple(W, 4)}, {filters} biases, "
            f"outputs {as_tuple(out, 4)}, stride {stride}, padding {padding}")
    return 0


cdef _forward(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] W, const floating[::1] b,
    stride, padding, floating[:, :, :, ::1] out,
):
    check("convolution_forward", x.shape, W.shape, b.shape[0], out.shape, stride, padding)
    cdef geometry g = measure(
        x.shape[0], x.shape[1], x.shape[2], x.shape[3], W.shape[0], W.shape[1],
        out.shape[1], out.shape[2], out.shape[3], stride[0], stride[1], padding[0], padding[1], 1, 1)
    if x.shape[0] == 0:
        return
    with nogil:
        correlate(g, &x[0, 0, 0, 0], &W[0, 0, 0, 0], &b[0], &out[0, 0, 0, 0])


cdef _input_gradient(
    const floating[:, :, :, ::1] grad, const floating[:, :, :, ::1] W, stride, padding,
    floating[:, :, :, ::1] out,
):
    check("convolution_input_gradient", out.shape, W.shape, W.shape[3], grad.shape, stride, padding)
    cdef geometry g = measure(
        grad.shape[0], grad.shape[1], grad.shape[2], grad.shape[3], W.shape[0], W.shape[1],
        out.shape[1], out.shape[2], out.shape[3], 1, 1,
        W.shape[0] - 1 - padding[0], W.shape[1] - 1 - padding[1], stride[0], stride[1])
    cdef floating *flipped
    if grad.shape[0] == 0:
        return
    with nogil:
        flipped = <floating *>allocate(W.shape[0] * W.shape[1] * W.shape[2] * W.shape[3] * sizeof(floating))
        try:
            flip_weights(g, &W[0, 0, 0, 0], flipped)
            correlate(g, &grad[0, 0, 0, 0], flipped, <const floating *>NULL, &out[0, 0, 0, 0])
        finally:
            release(flipped)


cdef _weight_gradient(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] grad, stride, padding,
    floating[:, :, :, ::1] W_grad, floating[::1] b_grad,
):
    check("convolution_weight_gradient", x.shape, W_grad.shape, b_grad.shape[0], grad.shape, stride, padding)
    cdef geometry g = measure(
        x.shape[0], x.shape[1], x.shape[2], x.shape[3], W_grad.shape[0], W_grad.shape[1],
        grad.shape[1], grad.shape[2], grad.shape[3], stride[0], stride[1], padding[0], padding[1], 1, 1)
    if x.shape[0] == 0:
        W_grad[...] = 0
        b_grad[...] = 0
        return
    with nogil:
        weight_gradient(g, &x[0, 0, 0, 0], &grad[0, 0, 0, 0], &W_grad[0, 0, 0, 0], &b_grad[0])


def convolution_forward(x, W, b, stride, padding, out):
    if out.dtype.char == "f":
        _forward[float](x, W, b, stride, padding, out)
    else:
        _forward[double](x, W, b, stride, padding, out)


def convolution_input_gradient(grad, W, stride, padding, out):
    if out.dtype.char == "f":
        _input_gradient[float](grad, W, stride, padding, out)
    else:
        _input_gradient[double](grad, W, stride, padding, out)


def convolution_weight_gradient(x, grad, stride, padding, W_grad, b_grad):
    if W_grad.dtype.char == "f":
        _weight_gradient[float](x, grad, stride, padding, W_grad, b_grad)
    else:
        _weight_gradient[double](x, grad, stride, padding, W_grad, b_grad)
