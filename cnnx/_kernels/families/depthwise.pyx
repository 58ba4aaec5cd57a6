"""Depthwise convolution of NHWC images: each channel has filters of its own, and no sum runs over channels.

An output is a sum of few products, one for each tap of the filter, so memory and the edges of images matter as much as
arithmetic. Images are read where they lie. The taps that fall into the image are the same for whole runs
of neighbouring positions: those are found once for each call, and depthwise.h takes a run at a time with its
taps alone, so that no zeros are read or written around an image.

forward          taps of output oh at rows oh*stride - padding + i*dilation                 task: a band of an image
input gradient   taps of pixel h at output rows (h + padding - i*dilation) / stride, where
                 that is whole: a run is every stride-th pixel                              task: a band of an image
weight gradient  the taps of the forward pass, summed over rectangles of positions          task: a block of images

With a multiplier m, output channel c*m + k reads channel c. The image rows that a band needs are copied with every
channel repeated m times, or a row of the input gradient is folded, and all else is as with a multiplier of 1.

Bands, blocks and runs depend on the shapes alone.
"""

from libc.string cimport memset

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport loops_for
from cnnx._kernels.ground.loops cimport depthwise_taps
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, threads_for
from cnnx._kernels.ground.program cimport job_function, perform
from cnnx._kernels.ground.shapes cimport as_tuple
from cnnx._kernels.products.tiles cimport LONGEST, aligned, call, move_sums, too_far, unpooled

cdef Py_ssize_t FARTHEST = 1 << 60

cdef enum:
    BAND = 16384            # elements of a band's outputs, about
    TILE = 24576            # elements of the repeated rows behind a band, about
    GRADIENT_BAND = 16384   # elements of a band of gradients
    MOST_BLOCKS = 16        # blocks of images with a partial weight gradient each,
    BLOCK_POSITIONS = 2048  # of at least so many positions


cdef struct axis:
    # Tap t of position o reads source (o*stride + offset + t*dilation) / spread, where that is whole and inside. A
    # position's taps are walked so that their sources ascend.
    Py_ssize_t sources, positions, taps
    Py_ssize_t stride, offset, dilation, spread
    Py_ssize_t tap_stride, source_stride    # from one tap of a position to the next, and from its source to the next


cdef struct run:
    # Positions first, first + spread, ... read the same taps; `source` is that of the first position's first tap.
    Py_ssize_t first, count
    Py_ssize_t tap, taps, source


cdef struct geometry:
    Py_ssize_t images, channels, multiplier     # channels of filters, with the multiplier
    bint repeated, folded                       # channels of the image read, and of the image written, are fewer
    axis rows, columns


cdef Py_ssize_t common_divisor(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """The greatest, by Euclid's algorithm."""
    while b:
        a, b = b, a % b
    return a


cdef axis make_axis(
    Py_ssize_t sources, Py_ssize_t positions, Py_ssize_t taps,
    Py_ssize_t stride, Py_ssize_t offset, Py_ssize_t dilation, Py_ssize_t spread,
) noexcept nogil:
    cdef axis a
    a.sources, a.positions, a.taps = sources, positions, taps
    a.stride, a.offset, a.dilation, a.spread = stride, offset, dilation, spread
    a.tap_stride = spread // common_divisor(spread, dilation if dilation > 0 else -dilation)
    a.source_stride = a.tap_stride * dilation // spread
    if a.tap_stride > taps:  # a position has one tap at most
        a.tap_stride = a.source_stride = 1
    if a.source_stride < 0:  # taken from the last tap on, sources come in the order of memory
        a.tap_stride, a.source_stride = -a.tap_stride, -a.source_stride
    return a


cdef run taps_at(axis a, Py_ssize_t position) noexcept nogil:
    """A run of one position."""
    cdef run r
    cdef Py_ssize_t t, source
    r.first, r.count, r.tap, r.taps, r.source = position, 1, 0, 0, 0
    for t in range(a.taps):
        source = position * a.stride + a.offset + t * a.dilation
        if source < 0 or source % a.spread or source // a.spread >= a.sources:
            continue
        if r.taps == 0 or a.tap_stride < 0:
            r.tap, r.source = t, source // a.spread
        r.taps += 1
    return r


cdef Py_ssize_t find_runs(axis a, run *runs) noexcept nogil:
    """All runs of an axis, of which there are at most as many as positions; returns their number."""
    cdef Py_ssize_t phase, position, n = 0
    cdef run r
    for phase in range(min(a.spread, a.positions)):
        position = phase
        while position < a.positions:
            r = taps_at(a, position)
            if position > phase and runs[n - 1].tap == r.tap and runs[n - 1].taps == r.taps:
                runs[n - 1].count += 1
            else:
                runs[n] = r
                n += 1
            position += a.spread
    return n


cdef depthwise_taps strides_of(const geometry *g, bint relu) noexcept nogil:
    cdef depthwise_taps p
    p.channels, p.rows, p.columns = g.channels, 0, 0
    p.x_row = g.rows.source_stride * g.columns.sources * g.channels
    p.x_column = g.columns.source_stride * g.channels
    p.w_row = g.rows.tap_stride * g.columns.taps * g.channels
    p.w_column = g.columns.tap_stride * g.channels
    p.x_stride, p.out_stride = g.columns.stride * g.channels, g.columns.spread * g.channels
    p.x_line, p.out_line = g.rows.stride * g.columns.sources * g.channels, g.columns.positions * g.channels
    p.relu = relu
    return p


cdef void take_taps(depthwise_taps *p, run row, run column) noexcept nogil:
    p.rows, p.columns = row.taps, column.taps
    if row.taps == 0 or column.taps == 0:
        p.rows = p.columns = 0


cdef void repeat_channels(
    const floating *x, Py_ssize_t size, Py_ssize_t multiplier, floating *out,
) noexcept nogil:
    cdef Py_ssize_t i, k
    for i in range(size):
        for k in range(multiplier):
            out[i * multiplier + k] = x[i]


cdef void fold_channels(
    const floating *x, Py_ssize_t size, Py_ssize_t multiplier, floating *out,
) noexcept nogil:
    cdef Py_ssize_t i, k
    cdef floating total
    for i in range(size):
        total = x[i * multiplier]
        for k in range(1, multiplier):
            total += x[i * multiplier + k]
        out[i] = total


cdef Py_ssize_t rows_behind(const axis *a, Py_ssize_t count) noexcept nogil:
    """Most rows of the image that `count` neighbouring output rows read."""
    return min(a.sources, (count - 1) * a.stride + (a.taps - 1) * a.dilation + 1)


cdef const floating *source_rows(
    const geometry *g, const floating *x, Py_ssize_t image, Py_ssize_t first, Py_ssize_t count, floating *tile,
    Py_ssize_t *origin,
) noexcept nogil:
    """An image with all filters' channels, from row `origin` on; copied as far as output rows need it."""
    cdef const axis *a = &g.rows
    cdef Py_ssize_t C = g.channels // g.multiplier, width = g.columns.sources, begin, end
    origin[0] = 0
    if not g.repeated:
        return x + image * a.sources * width * g.channels
    begin = max(0, first * a.stride + a.offset)
    end = min(a.sources, (first + count - 1) * a.stride + a.offset + (a.taps - 1) * a.dilation + 1)
    if begin < end:
        repeat_channels(x + (image * a.sources + begin) * width * C, (end - begin) * width * C, g.multiplier, tile)
    origin[0] = begin
    return tile


cdef Py_ssize_t band_rows(const geometry *g, Py_ssize_t elements) noexcept nogil:
    """Output rows at a time."""
    cdef Py_ssize_t most = elements // (g.columns.positions * g.channels)
    if g.repeated:
        most = min(
            most, (TILE // (g.columns.sources * g.channels) - (g.rows.taps - 1) * g.rows.dilation) // g.rows.stride)
    return max(1, min(most, g.rows.positions))


cdef Py_ssize_t repeated_room(const geometry *g, Py_ssize_t rows) noexcept nogil:
    """Elements of the copied image rows behind so many output rows."""
    return rows_behind(&g.rows, rows) * g.columns.sources * g.channels if g.repeated else 0


cdef struct correlation:
    geometry g
    const void *x
    const void *W
    const void *bias
    bint relu
    void *out
    const run *runs
    Py_ssize_t run_count
    Py_ssize_t band, bands  # rows of a band, and bands of an image


cdef void correlate_band(const void *job, Py_ssize_t task, floating *room) noexcept nogil:
    cdef const correlation *c = <const correlation *>job
    cdef const geometry *g = &c.g
    cdef Py_ssize_t image = task // c.bands, first = task % c.bands * c.band
    cdef Py_ssize_t count = min(c.band, g.rows.positions - first), origin, row
    cdef Py_ssize_t C = g.channels, size = g.columns.positions * C, kept = size // g.multiplier
    cdef const floating *pixels = source_rows(g, <const floating *>c.x, image, first, count, room, &origin)
    cdef floating *out = <floating *>c.out
    cdef depthwise_taps p = strides_of(g, c.relu)
    for row in range(first, first + count):
        if g.folded:
            correlate_row(c, &p, taps_at(g.rows, row), origin, pixels, room)
            fold_channels(<const floating *>room, kept, g.multiplier, out + (image * g.rows.positions + row) * kept)
        else:
            correlate_row(
                c, &p, taps_at(g.rows, row), origin, pixels, out + (image * g.rows.positions + row) * size)


cdef void correlate_row(
    const correlation *c, depthwise_taps *p, run taps, Py_ssize_t origin, const floating *pixels, floating *out,
) noexcept nogil:
    """One output row, from pixels whose first row is `origin`."""
    cdef const geometry *g = &c.g
    cdef Py_ssize_t C = g.channels, i
    cdef const floating *under
    for i in range(c.run_count):
        take_taps(p, taps, c.runs[i])
        under = pixels
        if p.rows:
            under = pixels + ((taps.source - origin) * g.columns.sources + c.runs[i].source) * C
        loops_for(sizeof(floating)).depthwise_row(
            c.runs[i].count, p, under, <const floating *>c.W + (taps.tap * g.columns.taps + c.runs[i].tap) * C,
            c.bias, out + c.runs[i].first * C)


cdef int correlate(
    const geometry *g, const floating *x, const floating *W, const floating *bias, bint relu, floating *out,
) except -1 nogil:
    """out[n, h, w, c] = bias[c] + sum of W[i, j, c] times the pixel of channel c under that tap; then ReLU."""
    cdef correlation c
    c.g, c.x, c.W, c.bias, c.relu, c.out = g[0], x, W, bias, relu, out
    c.band = band_rows(g, BAND)
    c.bands = (g.rows.positions + c.band - 1) // c.band
    cdef Py_ssize_t tasks = g.images * c.bands
    cdef int threads = threads_for(
        tasks, 2.0 * g.images * g.rows.positions * g.columns.positions * g.channels * g.rows.taps * g.columns.taps)
    cdef Py_ssize_t room = aligned(
        g.columns.positions * g.channels if g.folded else repeated_room(g, c.band))
    cdef floating *rooms = <floating *>allocate(
        threads * room * sizeof(floating) + g.columns.positions * sizeof(run))
    cdef run *runs = <run *>(rooms + threads * room)
    c.run_count, c.runs = find_runs(g.columns, runs), runs
    for_each_task(correlate_band[floating], &c, tasks, threads, rooms, room)
    release(rooms)
    return 0


cdef struct weight_sums:
    geometry g
    const void *x
    const void *grad
    void *partial               # for each block the gradients of weights and biases
    Py_ssize_t blocks, sums     # of images, and how far their gradients are apart
    Py_ssize_t size             # of the weights
    Py_ssize_t band             # rows, at most
    Py_ssize_t tile_room        # of a thread, and after it its sums
    const run *row_runs
    Py_ssize_t row_run_count
    const run *runs
    Py_ssize_t run_count


cdef void add_block(const void *job, Py_ssize_t block, floating *tile) noexcept nogil:
    """Sums over a block of images, a band of rows with the same taps at a time.

    Sums of LONGEST positions or more are added to those of the block: long sums in one number lose digits."""
    cdef const weight_sums *s = <const weight_sums *>job
    cdef const geometry *g = &s.g
    cdef Py_ssize_t image, first, last, count, i, size = s.size + g.channels, summed = 0
    cdef floating *totals = <floating *>s.partial + block * s.sums
    cdef floating *sums = tile + s.tile_room
    memset(totals, 0, size * sizeof(floating))
    memset(sums, 0, size * sizeof(floating))
    for image in range(g.images * block // s.blocks, g.images * (block + 1) // s.blocks):
        for i in range(s.row_run_count):
            first, last = s.row_runs[i].first, s.row_runs[i].first + s.row_runs[i].count
            while first < last:
                count = min(s.band, last - first)
                add_band(s, image, s.row_runs[i], first, count, sums, tile)
                first += count
                summed += count * g.columns.positions
                if summed >= LONGEST:
                    move_sums(sums, totals, size)
                    summed = 0
    move_sums(sums, totals, size)


cdef void add_band(
    const weight_sums *s, Py_ssize_t image, run row, Py_ssize_t first, Py_ssize_t count, floating *sums, floating *tile,
) noexcept nogil:
    """`count` output rows of a run."""
    cdef const geometry *g = &s.g
    cdef Py_ssize_t C = g.channels, origin, j
    cdef const floating *pixels = source_rows(g, <const floating *>s.x, image, first, count, tile, &origin)
    cdef const floating *under
    cdef const floating *grad = (
        <const floating *>s.grad + (image * g.rows.positions + first) * g.columns.positions * C)
    cdef depthwise_taps p = strides_of(g, False)
    origin -= row.source + (first - row.first) * g.rows.stride
    for j in range(s.run_count):
        take_taps(&p, row, s.runs[j])
        under = pixels
        if p.rows:
            under = pixels + (s.runs[j].source - origin * g.columns.sources) * C
        loops_for(sizeof(floating)).depthwise_weights(
            count, s.runs[j].count, &p, under, grad + s.runs[j].first * C,
            sums + (row.tap * g.columns.taps + s.runs[j].tap) * C, sums + s.size)


cdef int weight_gradient(
    const geometry *g, const floating *x, const floating *grad, floating *W_grad, floating *b_grad,
) except -1 nogil:
    cdef Py_ssize_t positions = g.rows.positions * g.columns.positions, block, i
    cdef weight_sums s
    s.g, s.x, s.grad, s.band = g[0], x, grad, band_rows(g, GRADIENT_BAND)
    s.size = g.rows.taps * g.columns.taps * g.channels
    s.sums = aligned(s.size + g.channels)  # so that no two threads write to one cache line
    s.blocks = max(1, min(min(g.images, MOST_BLOCKS), g.images * positions // BLOCK_POSITIONS))
    cdef int threads = threads_for(s.blocks, 2.0 * g.images * positions * s.size)
    s.tile_room = aligned(repeated_room(g, s.band))
    cdef Py_ssize_t room = s.tile_room + s.sums
    cdef floating *partial = <floating *>allocate(
        (s.blocks * s.sums + threads * room) * sizeof(floating)
        + (g.rows.positions + g.columns.positions) * sizeof(run))
    cdef floating *tiles = partial + s.blocks * s.sums
    cdef run *runs = <run *>(tiles + threads * room)
    s.partial, s.runs, s.run_count = partial, runs, find_runs(g.columns, runs)
    s.row_runs, s.row_run_count = runs + s.run_count, find_runs(g.rows, runs + s.run_count)
    for_each_task(add_block[floating], &s, s.blocks, threads, tiles, room)
    for block in range(1, s.blocks):
        for i in range(s.size + g.channels):
            partial[i] += partial[block * s.sums + i]
    for i in range(s.size):
        W_grad[i] = partial[i]
    for i in range(g.channels):
        b_grad[i] = partial[s.size + i]
    release(partial)
    return 0


# -- The door -----------------------------------------------------------------------------------------

cdef bint reaches_too_far(const call *c) noexcept nogil:
    """Whether the distance of two taps in memory may be more than FARTHEST; doubles do not overflow."""
    cdef double row = <double>max(c.x[2], c.out[2]) * c.out[3], rows, columns
    rows = <double>c.x[1] + c.padding.height + <double>c.out[1] * c.stride.height + <double>c.W[0] * c.dilation.height
    columns = <double>c.x[2] + c.padding.width + <double>c.out[2] * c.stride.width + <double>c.W[1] * c.dilation.width
    return rows * row > FARTHEST or columns * c.out[3] > FARTHEST


cdef int check(const call *c, Py_ssize_t biases) except -1:
    """Shapes that fit together: a kernel trusts them without bounds checks."""
    cdef const Py_ssize_t *x = c.x
    cdef const Py_ssize_t *W = c.W
    cdef const Py_ssize_t *out = c.out
    if (
        min(c.stride.height, c.stride.width) < 1 or min(c.padding.height, c.padding.width) < 0
        or min(c.dilation.height, c.dilation.width) < 1 or min(min(W[0], W[1]), min(W[2], W[3])) < 1
        or W[2] != x[3] or W[2] * W[3] != out[3] or biases != out[3] or x[0] != out[0]
        or min(min(x[1], x[2]), min(out[1], out[2])) < 1
    ):
        raise ValueError(
            f"{c.name.decode()}: shapes do not fit: images {as_tuple(x, 4)}, weights {as_tuple(W, 4)}, "
            f"{biases} biases, outputs {as_tuple(out, 4)}, stride {c.stride.height, c.stride.width}, "
            f"padding {c.padding.height, c.padding.width}, dilation {c.dilation.height, c.dilation.width}")
    if reaches_too_far(c):
        raise too_far(c)
    return 0


cdef geometry forward_geometry(const call *c) noexcept nogil:
    cdef geometry g
    g.images, g.channels, g.multiplier = c.x[0], c.out[3], c.W[3]
    g.repeated, g.folded = g.multiplier > 1, False
    g.rows = make_axis(c.x[1], c.out[1], c.W[0], c.stride.height, -c.padding.height, c.dilation.height, 1)
    g.columns = make_axis(c.x[2], c.out[2], c.W[1], c.stride.width, -c.padding.width, c.dilation.width, 1)
    return g


cdef geometry backward_geometry(const call *c) noexcept nogil:
    """From the outputs' gradient to that of the images."""
    cdef geometry g
    g.images, g.channels, g.multiplier = c.x[0], c.out[3], c.W[3]
    g.repeated, g.folded = False, g.multiplier > 1
    g.rows = make_axis(c.out[1], c.x[1], c.W[0], 1, c.padding.height, -c.dilation.height, c.stride.height)
    g.columns = make_axis(c.out[2], c.x[2], c.W[1], 1, c.padding.width, -c.dilation.width, c.stride.width)
    return g


cdef struct forward_job:
    geometry g
    const void *x
    const void *W
    const void *b
    bint relu
    void *out


cdef int do_forward(const void *job, const floating *unused) except -1 nogil:
    cdef const forward_job *j = <const forward_job *>job
    return correlate(
        &j.g, <const floating *>j.x, <const floating *>j.W, <const floating *>j.b, j.relu, <floating *>j.out)


@by_dtype
def depthwise_forward(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] W, const floating[::1] b, tuple window, bint relu,
    floating[:, :, :, ::1] out,
):
    cdef call c = unpooled("depthwise_forward", x.shape, W.shape, out.shape, window)
    check(&c, b.shape[0])
    if x.shape[0] == 0:
        return
    cdef forward_job j
    cdef const void **arrays[4]
    j.g, j.x, j.W, j.b, j.relu = forward_geometry(&c), &x[0, 0, 0, 0], &W[0, 0, 0, 0], &b[0], relu
    j.out = &out[0, 0, 0, 0]
    arrays[0], arrays[1], arrays[2], arrays[3] = &j.x, &j.W, &j.b, <const void **>&j.out
    perform(<job_function>do_forward[floating], &j, sizeof(forward_job), arrays, 4, None)


@by_dtype
def depthwise_input_gradient(
    const floating[:, :, :, ::1] grad, const floating[:, :, :, ::1] W, tuple window, floating[:, :, :, ::1] out,
):
    cdef call c = unpooled("depthwise_input_gradient", out.shape, W.shape, grad.shape, window)
    check(&c, grad.shape[3])
    if grad.shape[0] == 0:
        return
    cdef geometry g = backward_geometry(&c)
    with nogil:
        correlate(&g, &grad[0, 0, 0, 0], &W[0, 0, 0, 0], <const floating *>NULL, False, &out[0, 0, 0, 0])


@by_dtype
def depthwise_weight_gradient(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] grad, tuple window, floating[:, :, :, ::1] W_grad,
    floating[::1] b_grad,
):
    cdef call c = unpooled("depthwise_weight_gradient", x.shape, W_grad.shape, grad.shape, window)
    check(&c, b_grad.shape[0])
    if x.shape[0] == 0:
        W_grad[...] = 0
        b_grad[...] = 0
        return
    cdef geometry g = forward_geometry(&c)
    with nogil:
        weight_gradient(&g, &x[0, 0, 0, 0], &grad[0, 0, 0, 0], &W_grad[0, 0, 0, 0], &b_grad[0])
