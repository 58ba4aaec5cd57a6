"""The product of a convolution's tiles and weights, where filters would leave vectors mostly empty.

sums[F, positions] = W[K, F]^T . columns[K, positions]     task: a band of one image

The product is turned over: the tile lies in planes, one for each channel, and a vector holds neighbouring positions. The
rows of a plane follow each other, and the positions of a band go through them as if rows had no ends: what is computed
between the last output of a row and the first one of the next is not used. With strides, every so many-th row and column
has planes of its own, in which the pixels of neighbouring outputs are neighbours.

Where 2x2 max pooling follows, its two lines of outputs have rows of their own in the same way, so that windows go
through them without an end. Other windows are pooled from a thread's sums.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for, place_at
from cnnx._kernels.ground.loops cimport plane_windows, product
from cnnx._kernels.ground.parallel cimport (
    allocate, for_each_task, release, tasks_for_product, threads_for_product,
)
from cnnx._kernels.products.gemm cimport cut_panels, multiply, padded_columns
from cnnx._kernels.products.tiles cimport (
    FEWEST_TASKS, aligned, band, band_of, bands, fill_planes, geometry, pair, pooled_offset, pools_in_registers,
    spare_size, table_room, tile_rows, with_bands, with_copies,
)

cdef enum:
    CACHED = 98304  # bytes of a band's planes and sums, which stay in the second-level cache
    SLACK = 16      # planes that are a power of two apart would push each other out of the first-level one
    # Multiply-adds in the time that a value takes on its way into a plane or out of one.
    MOVED = 16


cdef struct layout:
    pair phases                     # rows and columns with planes of their own
    Py_ssize_t row, plane           # elements of a plane's row, and from plane to plane
    Py_ssize_t lines                # of a band: output rows, or pairs of them that are pooled
    Py_ssize_t wide, sums           # positions at a time, and from the sums of one filter to the next one's


cdef struct plane_product:
    geometry g
    layout p
    const void *x
    const void *filters
    const void *bias                # or NULL
    void *out
    uint8_t *argmax
    bint relu
    Py_ssize_t *runs                # of the weights, and of the planes
    Py_ssize_t planes_room, spare_room


cdef Py_ssize_t rounded(Py_ssize_t size, Py_ssize_t unit) noexcept nogil:
    return (size + unit - 1) // unit * unit


cdef layout lay_out(const geometry *g, Py_ssize_t lanes) noexcept nogil:
    cdef layout p
    cdef bint paired = pools_in_registers(g)
    cdef Py_ssize_t rows
    p.phases = pair(2 * g.row_stride if paired else g.row_stride, g.column_stride)
    p.row = g.columns + (g.span_width - 1) // g.column_stride
    p.lines = g.band_rows
    rows = g.span_height - 1
    if paired:
        p.row += p.row % 2
        p.lines = g.band_rows // 2
        rows += g.row_stride
    p.plane = aligned((p.lines + rows // p.phases.height) * p.row) + SLACK
    p.wide = 2 * lanes
    while g.filters == 1 and p.wide < 8 * lanes and positions(g, &p, p.lines) > p.wide:
        p.wide *= 2     # the sums of a single filter wait for each other
    p.sums = rounded(positions(g, &p, p.lines), p.wide) + SLACK
    return p


cdef Py_ssize_t positions(const geometry *g, const layout *p, Py_ssize_t lines) noexcept nogil:
    """Of so many lines, from the first output to the last one."""
    return (lines - 1) * p.row + g.columns


cdef Py_ssize_t planes_size(const geometry *g, const layout *p) noexcept nogil:
    """The last vectors of positions are read whole."""
    return p.phases.height * p.phases.width * g.channels * p.plane + p.wide


cdef bint planes_are_faster(const geometry *g, floating kind) noexcept nogil:
    """Whether positions fill vectors so much better than filters do that it is worth laying everything into planes.

    `kind` only carries the type.
    """
    cdef Py_ssize_t K = g.filter_height * g.filter_width * g.channels
    cdef Py_ssize_t lanes = in_use().vector_bytes // <Py_ssize_t>sizeof(floating)
    cdef Py_ssize_t filled = padded_columns(cut_panels[floating](K, g.filters, kind))
    cdef geometry whole
    cdef layout p
    if g.row_spread > 1 or g.column_spread > 1 or g.filters == filled or g.filters > 2 * in_use().wide_rows:
        return False
    whole = cut_bands(g, lanes, 1, sizeof(floating))
    p = lay_out(&whole, lanes)
    cdef double computed = rounded(positions(&whole, &p, p.lines), p.wide), used = p.lines * g.columns
    return K * g.filters * computed / used + MOVED * (
        g.filters + g.channels * g.row_stride * g.column_stride) < K * filled


cdef geometry cut_bands(const geometry *g, Py_ssize_t lanes, Py_ssize_t wanted, Py_ssize_t itemsize) noexcept nogil:
    """Bands that the cache holds, of which an image has `wanted` or more, and whose positions fill most of the vectors."""
    cdef Py_ssize_t unit = g.pool_height if g.pools else 1
    cdef Py_ssize_t row = g.columns + (g.span_width - 1) // g.column_stride
    cdef Py_ssize_t pixels_row = row * g.column_stride * g.channels
    cdef Py_ssize_t sums_row = 0 if pools_in_registers(g) else row * g.filters
    cdef Py_ssize_t most = CACHED // itemsize - (g.span_height - g.row_stride) * pixels_row
    cdef Py_ssize_t rows, computed, best, fewest
    most = max(most // (pixels_row * g.row_stride + sums_row), 1)
    most = min(most, (g.rows + wanted - 1) // wanted)
    if most >= g.rows:
        return with_bands(g[0], g.rows)
    most = best = max(most // unit, 1)
    fewest = rounded(best * unit * row, 2 * lanes)
    for rows in range(most - 1, most // 2, -1):
        computed = rounded(rows * unit * row, 2 * lanes)
        if computed * best < fewest * rows:
            best, fewest = rows, computed
    return with_bands(g[0], best * unit)


# -- A task -------------------------------------------------------------------------------------------

cdef void multiply_planes(const void *job, Py_ssize_t task, floating *planes) noexcept nogil:
    """A band of one image."""
    cdef const plane_product *j = <const plane_product *>job
    cdef const geometry *g = &j.g
    cdef const layout *p = &j.p
    cdef band at = band_of(g, task)
    cdef Py_ssize_t taps = run_count(g, p), position
    cdef floating *spare = planes + j.planes_room
    cdef floating *sums = spare + j.spare_room
    cdef product q
    if bands(g) > 1:
        clear_margins(g, p, at, planes)
    fill_planes(g, <const floating *>j.x, at, p.phases, p.plane, p.row, planes, spare)
    # The sums are in the order of (i, j, c), as where the product is not turned.
    q.runs, q.a_runs, q.b_runs, q.a_depth = taps, j.runs, j.runs + taps, g.filters
    q.depth, q.b_depth = g.channels, p.plane
    if rows_are_runs(g, p):
        q.depth, q.b_depth = g.filter_width, g.column_dilation
    if pools_in_registers(g):
        pool_lines(j, at, q, <const floating *>planes)
        return
    q.columns, q.c_row, q.bias, q.accumulate, q.relu = p.wide, p.sums, NULL, False, False
    position = 0
    while position < positions(g, p, at.count):
        multiply(
            q, g.filters, 1, <const floating *>j.filters, <const floating *>planes + position, sums + position)
        position += p.wide
    if g.pools:
        max_planes(j, at, <const floating *>sums)
    else:
        merge_planes(j, at, <const floating *>sums)


cdef void clear_margins(const geometry *g, const layout *p, band at, floating *planes) noexcept nogil:
    """The rows of a band's tile above and below the image, where another band may have had pixels."""
    cdef Py_ssize_t h, plane, origin = at.first * g.row_stride - g.top, count = p.phases.width * g.channels
    for h in range(tile_rows(g, at.count)):
        if 0 <= origin + h < g.height:
            continue
        for plane in range(h % p.phases.height * count, (h % p.phases.height + 1) * count):
            memset(planes + plane * p.plane + h // p.phases.height * p.row, 0, p.row * sizeof(floating))


cdef void pool_lines(const plane_product *j, band at, product q, const floating *planes) noexcept nogil:
    """The products of a band, pooled where they are."""
    cdef Py_ssize_t first = pooled_offset(&j.g, at.image, at.first)
    cdef plane_windows w = plane_windows(at.count // 2, j.p.row // 2, j.g.columns // 2)
    q.bias, q.relu, q.c_row = j.bias, j.relu, j.g.filters
    loops_for(sizeof(floating)).pool_planes(
        j.g.filters, &w, &q, j.filters, planes, <floating *>j.out + first, place_at(j.argmax, first))


cdef void merge_planes(const plane_product *j, band at, const floating *sums) noexcept nogil:
    """The sums of a band, with bias and ReLU, to its outputs."""
    cdef const geometry *g = &j.g
    cdef floating *out = <floating *>j.out + (at.image * g.rows + at.first) * g.columns * g.filters
    cdef Py_ssize_t oh
    for oh in range(at.count):
        loops_for(sizeof(floating)).merge_row(
            sums + oh * j.p.row, g.columns, g.filters, j.p.sums, j.bias, j.relu, out + oh * g.columns * g.filters)


cdef void max_planes(const plane_product *j, band at, const floating *sums) noexcept nogil:
    """The largest of each window of a band's rows, plus the bias."""
    cdef const geometry *g = &j.g
    cdef Py_ssize_t window, oh, f, pooled
    cdef const floating *bias
    for window in range(at.count // g.pool_height):
        oh = window * g.pool_height
        pooled = pooled_offset(g, at.image, at.first + oh)
        for f in range(g.filters):
            bias = NULL if j.bias == NULL else <const floating *>j.bias + f
            loops_for(sizeof(floating)).max_plane_row(
                sums + f * j.p.sums + oh * j.p.row, g.pool_height, g.pool_width, j.p.row,
                g.columns // g.pool_width, bias, j.relu, g.filters, <floating *>j.out + pooled + f,
                place_at(j.argmax, pooled + f))


# -- All tasks ----------------------------------------------------------------------------------------

cdef bint rows_are_runs(const geometry *g, const layout *p) noexcept nogil:
    """Whether a filter's row is one run, or each of its pixels, whose channels lie in planes."""
    return g.channels == 1 and p.phases.width == 1


cdef Py_ssize_t run_count(const geometry *g, const layout *p) noexcept nogil:
    return g.filter_height if rows_are_runs(g, p) else g.filter_height * g.filter_width


cdef void list_runs(const geometry *g, const layout *p, Py_ssize_t *runs) noexcept nogil:
    """Where runs begin among the weights, and behind them among the planes, for each of the lines that are pooled."""
    cdef Py_ssize_t taps = run_count(g, p), in_row = taps // g.filter_height, line, tap, h, w, plane
    for tap in range(taps):
        runs[tap] = tap * (g.filter_width // in_row) * g.channels * g.filters
    for line in range(2 if pools_in_registers(g) else 1):
        for tap in range(taps):
            h = line * g.row_stride + tap // in_row * g.row_dilation
            w = tap % in_row * g.column_dilation
            plane = (h % p.phases.height * p.phases.width + w % p.phases.width) * g.channels
            runs[(line + 1) * taps + tap] = plane * p.plane + h // p.phases.height * p.row + w // p.phases.width


cdef int multiply_by_planes(
    const geometry *g, const floating *x, const floating *W, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil:
    """What `correlate` computes, from W as it is."""
    cdef Py_ssize_t lanes = in_use().vector_bytes // <Py_ssize_t>sizeof(floating), thread
    cdef double operations = 2.0 * g.images * g.rows * g.columns * g.filters * g.filter_height
    operations *= g.filter_width * g.channels
    cdef Py_ssize_t wanted = (tasks_for_product(FEWEST_TASKS, operations) + g.images - 1) // g.images
    cdef plane_product j
    j.g = with_copies(cut_bands(g, lanes, wanted, sizeof(floating)))
    j.p = lay_out(&j.g, lanes)
    j.x, j.filters, j.bias, j.relu, j.out, j.argmax = x, W, bias, relu, out, argmax
    j.planes_room, j.spare_room = aligned(planes_size(&j.g, &j.p)), aligned(spare_size(g))
    # Behind the last sums a vector is read whole.
    cdef Py_ssize_t private = j.planes_room + j.spare_room + aligned(g.filters * j.p.sums + lanes)
    cdef Py_ssize_t tables = table_room[floating](3 * run_count(g, &j.p), 0), tasks = g.images * bands(&j.g)
    cdef int threads = threads_for_product(tasks, operations)
    cdef floating *memory = <floating *>allocate((tables + threads * private) * <Py_ssize_t>sizeof(floating))
    j.runs = <Py_ssize_t *>memory
    list_runs(&j.g, &j.p, j.runs)
    for thread in range(threads):
        # The margins, which no image is written to.
        memset(memory + tables + thread * private, 0, j.planes_room * sizeof(floating))
    for_each_task(multiply_planes[floating], &j, tasks, threads, memory + tables, private)
    release(memory)
    return 0
