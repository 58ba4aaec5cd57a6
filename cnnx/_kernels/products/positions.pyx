"""The product of a convolution position by position, for many images at once.

out[:, position, F] = sum over the taps that fall into the image of x[:, pixel, C] . W[tap, C, F]
task: a row of positions of a block of images

Beside the other products (correlation.pyx), which read padded tiles, nothing is multiplied with the zeros around an
image and between spread pixels: in the input gradient of a stride of two they are three of four. The rows of a product
are one position of many images; the columns of a filter row that fall into the image are one run, for taps are packed
in the order of their distance from a pixel, modulo the spread.
"""

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use
from cnnx._kernels.ground.loops cimport product
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, threads_for_product
from cnnx._kernels.products.gemm cimport (
    bias_room, cut_panels, multiply, pack_panel, panel_columns, panel_offset, panel_width, panels, widen_bias,
)
from cnnx._kernels.products.tiles cimport FEWEST_TASKS, aligned, geometry, table_room

cdef enum:
    MOST_IMAGES = 48    # of a task: so often a weight is used once it is in cache
    FEWEST_IMAGES = 6


cdef struct line:
    # The taps, in one direction, that meet pixels: the first one, and the first pixel; they go on by the spread, and by one.
    Py_ssize_t tap, pixel, count


cdef struct positions:
    geometry g
    panels cut
    const void *x
    const void *filters
    const void *bias    # in whole vectors, or NULL
    bint relu
    void *out
    Py_ssize_t blocks   # of images


cdef line columns_at(const geometry *g, Py_ssize_t column) noexcept nogil:
    """Of a filter's row: a run of neighbouring pixels."""
    cdef Py_ssize_t origin = column * g.column_stride - g.left, spread = g.column_spread
    cdef line found
    found.tap = max(0, -origin)
    found.tap += (spread - (origin + found.tap) % spread) % spread
    found.pixel = (origin + found.tap) // spread
    found.count = max(0, min((g.filter_width - found.tap + spread - 1) // spread, g.width - found.pixel))
    return found


cdef Py_ssize_t row_at(const geometry *g, Py_ssize_t row, Py_ssize_t i) noexcept nogil:
    """The image's row under a filter's, or -1."""
    cdef Py_ssize_t spread_row = row * g.row_stride - g.top + i * g.row_dilation
    if spread_row < 0 or spread_row % g.row_spread or spread_row // g.row_spread >= g.height:
        return -1
    return spread_row // g.row_spread


cdef Py_ssize_t rank(const geometry *g, Py_ssize_t tap) noexcept nogil:
    """Of a tap of a filter's row: those that meet neighbouring pixels follow each other."""
    cdef Py_ssize_t spread = g.column_spread, before = tap % spread, rest = g.filter_width % spread
    return before * (g.filter_width // spread) + min(before, rest) + tap // spread


cdef void multiply_row(const void *job, Py_ssize_t task, floating *memory) noexcept nogil:
    """One row of positions of a block of images."""
    cdef const positions *s = <const positions *>job
    cdef const geometry *g = &s.g
    cdef Py_ssize_t block = task // g.rows, row = task % g.rows, column, panel, i, r
    cdef Py_ssize_t image = g.images * block // s.blocks, images = g.images * (block + 1) // s.blocks - image
    cdef Py_ssize_t x_size = g.height * g.width * g.channels, out_size = g.rows * g.columns * g.filters
    cdef Py_ssize_t *a_runs = <Py_ssize_t *>memory
    cdef Py_ssize_t *b_runs = a_runs + g.filter_height
    cdef const floating *x = <const floating *>s.x + image * x_size
    cdef floating *out = <floating *>s.out + image * out_size + row * g.columns * g.filters
    cdef line at
    cdef product p
    p.a_runs, p.b_runs, p.a_depth, p.c_row, p.bias = a_runs, b_runs, 1, out_size, NULL
    p.accumulate, p.relu = False, s.relu
    for panel in range(s.cut.count):
        p.columns, p.b_depth = panel_columns(s.cut, panel), panel_width(s.cut, panel)
        if s.bias != NULL:
            p.bias = <const floating *>s.bias + panel * 2 * s.cut.lanes
        for column in range(g.columns):
            at = columns_at(g, column)
            p.runs, p.depth = 0, at.count * g.channels
            for i in range(g.filter_height if at.count > 0 else 0):
                r = row_at(g, row, i)
                if r >= 0:
                    a_runs[p.runs] = (r * g.width + at.pixel) * g.channels
                    b_runs[p.runs] = (i * g.filter_width + rank(g, at.tap)) * g.channels * p.b_depth
                    p.runs += 1
            multiply(
                p, images, x_size, x, <const floating *>s.filters + panel_offset(s.cut, panel),
                out + column * g.filters + panel * 2 * s.cut.lanes)


cdef void pack_taps(const geometry *g, panels cut, const floating *W, bint flipped, floating *packed) noexcept nogil:
    """`flipped` are the weights of the convolution whose input gradient this is: W[last - i, last - j, f, c]."""
    cdef Py_ssize_t taps = g.filter_height * g.filter_width, size = g.channels * g.filters, i, j, tap, source, panel
    cdef panels tap_cut = cut_panels[floating](g.channels, g.filters, 0)
    for panel in range(cut.count):
        for i in range(g.filter_height):
            for j in range(g.filter_width):
                tap, source = i * g.filter_width + rank(g, j), i * g.filter_width + j
                if flipped:
                    source = taps - 1 - source
                pack_panel(
                    W + source * size, 1 if flipped else g.filters, g.channels if flipped else 1, tap_cut, panel,
                    packed + panel_offset(cut, panel) + tap * g.channels * panel_width(cut, panel))


cdef double share_of_taps(const geometry *g) noexcept nogil:
    """That meet pixels, of all taps at all positions."""
    cdef Py_ssize_t row, column, i, rows = 0, columns = 0
    for row in range(g.rows):
        for i in range(g.filter_height):
            rows += row_at(g, row, i) >= 0
    for column in range(g.columns):
        columns += columns_at(g, column).count
    return <double>rows * columns / (<double>g.rows * g.filter_height * g.columns * g.filter_width)


cdef bint positions_are_faster(const geometry *g, Py_ssize_t itemsize) noexcept nogil:
    if g.images < FEWEST_IMAGES or g.column_dilation > 1 or g.pools or g.places != NULL:
        return False
    return share_of_taps(g) < 0.7


cdef int correlate_positions(
    const geometry *g, const floating *x, const floating *W, bint flipped, const floating *bias, bint relu,
    floating *out,
) except -1 nogil:
    """What `correlate` computes, from W as it is or from that of the convolution whose input gradient this is."""
    cdef panels cut = cut_panels[floating](g.filter_height * g.filter_width * g.channels, g.filters, 0)
    cdef Py_ssize_t most = (g.images + in_use().wide_rows - 1) // in_use().wide_rows
    cdef double operations = 2.0 * g.images * g.rows * g.columns * g.filters * cut.depth * share_of_taps(g)
    cdef positions s
    s.g, s.cut, s.x, s.bias, s.relu, s.out = g[0], cut, x, NULL, relu, out
    s.blocks = max((g.images + MOST_IMAGES - 1) // MOST_IMAGES, min(most, (FEWEST_TASKS + g.rows - 1) // g.rows))
    cdef int threads = threads_for_product(s.blocks * g.rows, operations)
    cdef Py_ssize_t private = table_room[floating](2 * g.filter_height, 0), shared = aligned(cut.size) + bias_room(cut)
    cdef floating *packed = <floating *>allocate((shared + threads * private) * <Py_ssize_t>sizeof(floating))
    if bias != NULL:
        widen_bias(cut, bias, packed + aligned(cut.size))
        s.bias = packed + aligned(cut.size)
    pack_taps(g, cut, W, flipped, packed)
    s.filters = packed
    for_each_task(multiply_row[floating], &s, s.blocks * g.rows, threads, packed + shared, private)
    release(packed)
    return 0
