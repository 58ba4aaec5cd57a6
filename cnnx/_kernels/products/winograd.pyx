"""Convolution with small square filters by Winograd's products (winograd.h), of which there are two to four times
fewer: for 3x3 filters and 4x4 outputs 36 instead of 144.

A line is a row of tiles, each with 4x4, 3x3 or 2x2 outputs. For each of the 36 or 16 elements e of a tile

forward          products_e[tiles, F] = pixels_e[tiles, C] . filters_e[C, F]                task: some lines
weight gradient  sums_e[C, F]         = sum of pixels_e[tiles, C]^T . gradients_e[tiles, F]   task: a block of lines

and the transforms around these products are done in a thread's cache. A tile's arithmetic is the same whatever lines
are taken together. An infinite pixel makes all outputs of its tiles NaN, also those whose own filter does not see it.

Filters of more than 4x4 taps are a sum of pieces of 3x3 or 4x4, each of which meets the pixels that lie below it. Their
products are summed before they are transformed: the pixels below a piece are like more channels.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for
from cnnx._kernels.ground.loops cimport filter_piece, product
from cnnx._kernels.ground.parallel cimport (
    allocate, for_each_task, release, tasks_for_product, threads_for, threads_for_product,
)
from cnnx._kernels.products.correlation cimport pool_band
from cnnx._kernels.products.gemm cimport (
    bias_room, cut_panels, multiply, padded_columns, panel_columns, panel_offset, panel_width, panels, widen_bias,
)
from cnnx._kernels.products.tiles cimport (
    FEWEST_TASKS, LONGEST, aligned, band, geometry, measure, nhwc, pair, sliding, tile_rows, view_tile, with_copies,
)

cdef enum:
    # Of a piece's side; it has 3x3 taps, or 4x4 where outputs are 3x3.
    LARGEST_PIECE = 4
    LARGEST_FILTER = 8
    MOST_PIECES = 9
    # Bytes of both sides of a task's products, which share the second-level cache with an element's filters.
    CACHED = 393216
    # Bytes of filters that every thread may read for a few tiles.
    CACHED_FILTERS = 262144
    # With many channels a thread takes more than its cache holds: fewer tiles would not be worth reading all filters,
    FEWEST_TILES = 32
    # and in the weight gradient, all sums, which are written, too. Of more tiles, a sum would lose digits.
    TO_SUM = 64
    # Elements of a cache line, or two; vectors write past a matrix's end.
    SLACK = 16
    # Fewer channels or filters than these, and the transforms cost more than they save: vectors are mostly empty.
    FEWEST_CHANNELS = 8
    FEWEST_OF_WIDE = 12     # with vectors of WIDE bytes,
    FEWEST_OF_PIECES = 16   # and with filters of several pieces
    WIDE = 64
    FEWEST_OF_GRADIENT = 6  # channels, which are no vectors there
    MOST_BLOCKS = 8  # each has a gradient of its own: of 128 by 128 channels, 600 KB
    BLOCK_TILES = 128

# Of those that it takes without transforms, so many that these are worth it.
cdef double MOST_PRODUCTS = 0.7


cdef struct tiling:
    # Images in whole tiles.
    geometry p
    Py_ssize_t side             # outputs of a tile: side x side
    Py_ssize_t elements         # of a tile
    Py_ssize_t lines, tiles     # of an image, of a line
    Py_ssize_t pieces           # of a filter's side


cdef bint by_tiles(const geometry *g) noexcept nogil:
    """Whether filters are small squares and meet the pixels one by one."""
    return (
        g.filter_height == g.filter_width and 3 <= g.filter_height <= LARGEST_FILTER
        and g.row_stride == 1 and g.column_stride == 1 and g.row_dilation == 1 and g.column_dilation == 1
        and g.row_spread == 1 and g.column_spread == 1 and g.rows > 1 and g.columns > 1 and g.places == NULL
    )


cdef Py_ssize_t fewest_filters(const geometry *g) noexcept nogil:
    if in_use().vector_bytes < WIDE:
        return FEWEST_CHANNELS
    return FEWEST_OF_PIECES if g.filter_height > LARGEST_PIECE else FEWEST_OF_WIDE


cdef bint winograd_is_faster(const geometry *g) noexcept nogil:
    """It is the same for the outputs of a convolution with and without pooling, which must not differ."""
    return (
        by_tiles(g) and min(g.channels, g.filters) >= fewest_filters(g)
        and products_of_tiles(g, tile_side(g)) <= MOST_PRODUCTS * products_of_outputs(g)
    )


cdef bint winograd_gradient_is_faster(const geometry *g) noexcept nogil:
    """Of the weights.

    In images no larger than the filter some weights meet a pixel or two. Where these are zero, so is the gradient, but
    the transforms would leave a rounding error of it, which optimizers such as Adam turn into whole steps.
    """
    cdef pair outputs = all_outputs(g)
    cdef double direct = <double>g.filter_height * g.filter_width * outputs.height * outputs.width
    return (
        by_tiles(g) and min(g.height, g.width) > g.filter_height
        and g.channels >= FEWEST_OF_GRADIENT and g.filters >= fewest_filters(g)
        and products_of_tiles(g, tile_side(g)) <= MOST_PRODUCTS * direct
    )


cdef Py_ssize_t in_parts(Py_ssize_t size, Py_ssize_t part) noexcept nogil:
    """How many parts hold so much."""
    return (size + part - 1) // part


cdef Py_ssize_t taps_of(Py_ssize_t side) noexcept nogil:
    """Of a piece's side."""
    return LARGEST_PIECE if side == 3 else 3


cdef Py_ssize_t elements_of(Py_ssize_t side) noexcept nogil:
    return (side + taps_of(side) - 1) * (side + taps_of(side) - 1)


cdef pair all_outputs(const geometry *g) noexcept nogil:
    """With those that a pooling behind leaves out."""
    return pair(
        max(1, g.height + 2 * g.top - g.filter_height + 1), max(1, g.width + 2 * g.left - g.filter_width + 1))


cdef double products_of_tiles(const geometry *g, Py_ssize_t side) noexcept nogil:
    """Of an image, for a channel and a filter."""
    cdef pair outputs = all_outputs(g)
    cdef Py_ssize_t pieces = in_parts(g.filter_height, taps_of(side))
    return (
        <double>elements_of(side) * pieces * pieces * in_parts(outputs.height, side) * in_parts(outputs.width, side))


cdef Py_ssize_t tile_side(const geometry *g) noexcept nogil:
    """Outputs of a tile's side: those with the fewest products, with the part of the last tiles that nobody wants."""
    cdef Py_ssize_t best = 2
    if products_of_tiles(g, 4) < products_of_tiles(g, best):
        best = 4
    if products_of_tiles(g, 3) < products_of_tiles(g, best):
        best = 3
    return best


cdef double taps_inside(Py_ssize_t size, Py_ssize_t padding, Py_ssize_t outputs) noexcept nogil:
    """Of a line of outputs that see `size` pixels each, those that are no padding."""
    cdef Py_ssize_t outside = max(0, min(padding, outputs))
    return max(1.0, <double>outputs * size - outside * (2 * padding - outside + 1))


cdef double products_of_outputs(const geometry *g) noexcept nogil:
    """Without transforms, which leave the padding out."""
    cdef pair outputs = all_outputs(g)
    return taps_inside(g.filter_height, g.top, outputs.height) * taps_inside(g.filter_width, g.left, outputs.width)


cdef tiling whole_tiles(const geometry *g, nhwc x, Py_ssize_t filter_size, pair padding) noexcept nogil:
    """Images whose rows and columns are enough for whole tiles under a filter of that size."""
    cdef pair one = pair(1, 1), filters = pair(filter_size, filter_size)
    cdef tiling t
    t.side = tile_side(g)
    t.elements, t.pieces = elements_of(t.side), in_parts(g.filter_height, taps_of(t.side))
    t.lines, t.tiles = in_parts(g.rows, t.side), in_parts(g.columns, t.side)
    t.p = measure(
        x, nhwc(g.images, t.side * t.lines, t.side * t.tiles, g.filters), sliding(filters, one, one, padding, one))
    # A vector reads past the last channel of a pixel: past the last pixel of an image only where there is room.
    if not t.p.copied and x.channels % SLACK:
        t.p = with_copies(t.p)
    return t


cdef tiling tiles_of_images(const geometry *g) noexcept nogil:
    cdef Py_ssize_t taps = taps_of(tile_side(g))
    return whole_tiles(
        g, nhwc(g.images, g.height, g.width, g.channels), in_parts(g.filter_height, taps) * taps, pair(g.top, g.left))


cdef Py_ssize_t all_pieces(const tiling *t) noexcept nogil:
    return t.pieces * t.pieces


cdef panels cut_pieces(const geometry *g, floating kind) noexcept nogil:
    """Filters whose pieces follow each other as channels do. `kind` only carries the type."""
    cdef Py_ssize_t pieces = in_parts(g.filter_height, taps_of(tile_side(g)))
    return cut_panels[floating](pieces * pieces * g.channels, g.filters, kind)


cdef filter_piece piece_of(const geometry *g, Py_ssize_t piece) noexcept nogil:
    """Of all filters, where each row of taps follows the one before."""
    cdef filter_piece p
    cdef Py_ssize_t taps = taps_of(tile_side(g)), pieces = in_parts(g.filter_height, taps)
    p.rows = min(taps, g.filter_height - piece // pieces * taps)
    p.columns = min(taps, g.filter_width - piece % pieces * taps)
    p.channels, p.channel = g.channels, g.filters
    p.tap = g.channels * g.filters
    p.tap_row = g.filter_width * p.tap
    return p


cdef Py_ssize_t piece_offset(const geometry *g, Py_ssize_t piece) noexcept nogil:
    """Where its first tap lies among all weights."""
    cdef Py_ssize_t taps = taps_of(tile_side(g)), pieces = in_parts(g.filter_height, taps)
    return (piece // pieces * g.filter_width + piece % pieces) * taps * g.channels * g.filters


cdef tiling tiles_of_gradient(const geometry *g) noexcept nogil:
    """Of the output gradient, whose pixels a tile reads without those around them."""
    return whole_tiles(g, nhwc(g.images, g.rows, g.columns, g.filters), 1, pair(0, 0))


cdef Py_ssize_t all_lines(const tiling *t) noexcept nogil:
    return t.p.images * t.lines


cdef Py_ssize_t rows_room(const tiling *t, Py_ssize_t count) noexcept nogil:
    """Elements of the buffer for the rows behind so many lines, which are not more than an image's."""
    count = min(count, t.lines)
    return aligned(tile_rows(&t.p, t.side * count) * t.p.tile_width * t.p.channels + SLACK) if t.p.copied else 0


cdef Py_ssize_t plane_size(Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """An odd number of cache lines: a tile's elements, so far apart, do not push each other out of the cache."""
    return (in_parts(rows * columns + SLACK, SLACK) | 1) * SLACK


cdef Py_ssize_t lines_at_a_time(
    const tiling *t, Py_ssize_t fewest, Py_ssize_t columns, Py_ssize_t itemsize,
) noexcept nogil:
    """As many as the cache holds; but with at least the `fewest` tiles."""
    return max(max(1, fewest // t.tiles), CACHED // (t.elements * t.tiles * columns * itemsize))


cdef band lines_of(const tiling *t, Py_ssize_t line, Py_ssize_t end) noexcept nogil:
    """From a line of all images on, as far as its image goes, and not to `end`."""
    cdef band at
    at.image, at.first = line // t.lines, line % t.lines
    at.count = min(end - line, t.lines - at.first)
    return at


cdef band rows_of(const tiling *t, band at) noexcept nogil:
    """The output rows of some lines."""
    return band(at.image, t.side * at.first, t.side * at.count)


cdef Py_ssize_t pixels_plane(const tiling *t, Py_ssize_t piece_size) noexcept nogil:
    """Elements of an element's transformed pixels, below all pieces."""
    return piece_size if t.pieces == 1 else plane_size(all_pieces(t), piece_size)


cdef void transform_pixels(
    const tiling *t, const floating *x, band at, floating *pixels, Py_ssize_t piece_size, floating *rows,
) noexcept nogil:
    """Those below each piece have a matrix of their own in each element's plane."""
    cdef Py_ssize_t i, piece, taps = taps_of(t.side), row = t.p.tile_width * t.p.channels
    cdef Py_ssize_t plane = pixels_plane(t, piece_size)
    cdef const floating *seen = view_tile(&t.p, x, rows_of(t, at), 0, t.p.channels, rows, <floating *>NULL)
    cdef const floating *below
    for piece in range(all_pieces(t)):
        below = seen + taps * (piece // t.pieces * row + piece % t.pieces * t.p.channels)
        for i in range(at.count):
            loops_for(sizeof(floating)).winograd_pixels(
                t.side, t.tiles, t.p.channels, below + t.side * i * row, row,
                pixels + piece * piece_size + i * t.tiles * t.p.channels, plane)


# -- Forward ------------------------------------------------------------------------------------------

cdef struct winograd_product:
    geometry g
    tiling t                    # of the images
    panels cut
    const void *x
    const void *filters
    const void *bias            # in whole vectors
    void *out
    uint8_t *argmax
    bint relu
    Py_ssize_t unit, units      # lines that hold whole rows of windows, and how many of these there are
    Py_ssize_t tasks            # into which the units are cut
    Py_ssize_t pixels_piece, products_plane
    void *pixels                # all of them, where a task is one element
    void *products


cdef Py_ssize_t line_of(const winograd_product *j, Py_ssize_t number) noexcept nogil:
    """The first line of a unit; an image's last one may have fewer lines."""
    cdef Py_ssize_t units = j.units // j.g.images
    return number // units * j.t.lines + number % units * j.unit


cdef void transform_lines(
    const winograd_product *j, Py_ssize_t begin, Py_ssize_t end, floating *pixels, floating *rows,
) noexcept nogil:
    """The pixels of lines begin .. end of all images."""
    cdef Py_ssize_t line = begin
    cdef band at
    while line < end:
        at = lines_of(&j.t, line, end)
        transform_pixels(
            &j.t, <const floating *>j.x, at, pixels + (line - begin) * j.t.tiles * j.g.channels, j.pixels_piece, rows)
        line += at.count


cdef void multiply_element(
    const winograd_product *j, Py_ssize_t element, Py_ssize_t tiles, const floating *pixels, floating *products,
) noexcept nogil:
    cdef const panels *cut = &j.cut
    cdef Py_ssize_t panel, piece, pieces = all_pieces(&j.t), channels = j.g.channels
    cdef Py_ssize_t[MOST_PIECES] runs, filter_runs
    cdef const floating *filters = <const floating *>j.filters + element * plane_size(1, cut.size)
    cdef product q
    q.runs, q.depth, q.a_depth, q.a_runs, q.b_runs = pieces, channels, 1, runs, filter_runs
    q.c_row, q.bias, q.accumulate, q.relu = padded_columns(cut[0]), NULL, False, False
    pixels += element * pixels_plane(&j.t, j.pixels_piece)
    products += element * j.products_plane
    for panel in range(cut.count):
        q.columns = q.b_depth = panel_width(cut[0], panel)
        for piece in range(pieces):
            runs[piece], filter_runs[piece] = piece * j.pixels_piece, piece * channels * q.b_depth
        multiply(
            q, tiles, channels, pixels, filters + panel_offset(cut[0], panel), products + panel * 2 * cut.lanes)


cdef void write_lines(
    const winograd_product *j, Py_ssize_t begin, Py_ssize_t end, const floating *products, floating *outputs,
) noexcept nogil:
    """The outputs of lines begin .. end of all images, whose products these are; to be pooled, in `outputs` first."""
    cdef const geometry *g = &j.g
    cdef Py_ssize_t tiles = j.t.tiles, side = j.t.side, width = padded_columns(j.cut), row = g.columns * g.filters
    cdef Py_ssize_t line = begin, i
    cdef band at
    while line < end:
        at = lines_of(&j.t, line, min(end, line + j.unit))
        if not g.pools:
            outputs = <floating *>j.out + (at.image * g.rows + side * at.first) * row
        for i in range(at.count):
            loops_for(sizeof(floating)).winograd_outputs(
                side, tiles, g.filters, width, products + (line - begin + i) * tiles * width, j.products_plane, j.bias,
                j.relu and not g.pools, g.rows - side * (at.first + i), g.columns, outputs + side * i * row, row)
        line += at.count
        if g.pools:
            at = rows_of(&j.t, at)
            at.count = min(at.count, g.rows - at.first)
            pool_band(g, at, <const floating *>outputs, g.filters, j.relu, <floating *>j.out, j.argmax)


cdef Py_ssize_t transformed_size(const geometry *g, floating kind) noexcept nogil:
    """Elements of the filters as `winograd` takes them; `kind` only carries the type."""
    return elements_of(tile_side(g)) * plane_size(1, cut_pieces[floating](g, kind).size)


cdef struct transform:
    geometry g
    panels cut
    const void *W
    void *filters


cdef void transform_panel(const void *job, Py_ssize_t panel, floating *memory) noexcept nogil:
    cdef const transform *t = <const transform *>job
    cdef const panels *cut = &t.cut
    cdef Py_ssize_t piece, width = panel_width(cut[0], panel)
    cdef filter_piece p
    for piece in range(cut.depth // t.g.channels):
        p = piece_of(&t.g, piece)
        loops_for(sizeof(floating)).winograd_filters(
            tile_side(&t.g), &p, panel_columns(cut[0], panel), width,
            <const floating *>t.W + piece_offset(&t.g, piece) + panel * 2 * cut.lanes,
            <floating *>t.filters + panel_offset(cut[0], panel) + piece * t.g.channels * width,
            plane_size(1, cut.size))


cdef void transform_filters(const geometry *g, const floating *W, floating *filters) noexcept nogil:
    cdef transform t
    t.g, t.cut, t.W, t.filters = g[0], cut_pieces[floating](g, 0), W, filters
    cdef int threads = threads_for(t.cut.count, transformed_size[floating](g, 0))
    for_each_task(transform_panel[floating], &t, t.cut.count, threads, filters, 0)


cdef Py_ssize_t lines_of_windows(Py_ssize_t height, Py_ssize_t side) noexcept nogil:
    """The fewest that hold whole rows of windows."""
    cdef Py_ssize_t lines = 1
    while lines * side % height:
        lines += 1
    return lines


cdef int winograd(
    const geometry *g, const floating *x, const floating *filters, const floating *bias, bint relu, floating *out,
    uint8_t *argmax,
) except -1 nogil:
    """What `correlate` computes, from transformed filters."""
    cdef winograd_product j
    j.g, j.t, j.cut = g[0], tiles_of_images(g), cut_pieces[floating](g, 0)
    j.x, j.filters, j.out, j.argmax, j.relu = x, filters, out, argmax, relu
    j.unit = min(lines_of_windows(g.pool_height, j.t.side), j.t.lines) if g.pools else 1
    j.units = in_parts(j.t.lines, j.unit) * g.images
    cdef double operations = 2.0 * all_tiles(&j) * j.t.elements * j.cut.depth * g.filters
    cdef Py_ssize_t most = lines_at_a_time(&j.t, FEWEST_TILES, j.cut.depth + padded_columns(j.cut), sizeof(floating))
    # Three phases, each of which should be worth a thread.
    cdef int threads = threads_for_product(j.units, operations / 2)
    cdef Py_ssize_t transformed_bytes = transformed_size[floating](g, 0) * <Py_ssize_t>sizeof(floating)
    most = max(1, most // j.unit)
    j.tasks = in_parts(j.units, most)
    # Lines are neighbours there, and a vector past the last channel would reach into another thread's.
    if threads > 1 and j.units <= 2 * most and g.channels % SLACK == 0 and transformed_bytes > CACHED_FILTERS:
        return by_elements(&j, bias, threads)
    if threads > 1:
        j.tasks = max(j.tasks, tasks_for_product(min(j.units, <Py_ssize_t>FEWEST_TASKS), operations))
    return by_lines(&j, bias, threads)


cdef Py_ssize_t pixels_size(const winograd_product *j) noexcept nogil:
    """Elements of the transformed pixels."""
    return j.t.elements * pixels_plane(&j.t, j.pixels_piece)


cdef Py_ssize_t outputs_size(const winograd_product *j) noexcept nogil:
    """Elements of the rows that a thread has before they are pooled."""
    return aligned(j.t.side * j.unit * j.g.columns * j.g.filters) if j.g.pools else 0


cdef int by_lines(winograd_product *j, const floating *bias, int threads) except -1 nogil:
    """A task is some lines, with all elements of their tiles."""
    cdef Py_ssize_t most = most_lines(j), tiles = most * j.t.tiles
    j.pixels_piece, j.products_plane = plane_size(tiles, j.g.channels), plane_size(tiles, padded_columns(j.cut))
    cdef Py_ssize_t private = (
        pixels_size(j) + j.t.elements * j.products_plane + rows_room(&j.t, most) + outputs_size(j))
    cdef floating *memory = <floating *>allocate(
        (bias_room(j.cut) + threads * private) * <Py_ssize_t>sizeof(floating))
    widen_bias(j.cut, bias, memory)
    j.bias = memory
    for_each_task(multiply_lines[floating], j, j.tasks, threads, memory + bias_room(j.cut), private)
    release(memory)
    return 0


cdef Py_ssize_t most_lines(const winograd_product *j) noexcept nogil:
    """Of a task."""
    return in_parts(j.units, j.tasks) * j.unit


cdef void multiply_lines(const void *job, Py_ssize_t task, floating *pixels) noexcept nogil:
    cdef const winograd_product *j = <const winograd_product *>job
    cdef Py_ssize_t begin = line_of(j, j.units * task // j.tasks), end = line_of(j, j.units * (task + 1) // j.tasks)
    cdef Py_ssize_t element
    cdef floating *products = pixels + pixels_size(j)
    cdef floating *rows = products + j.t.elements * j.products_plane
    transform_lines(j, begin, end, pixels, rows)
    for element in range(j.t.elements):
        multiply_element(j, element, (end - begin) * j.t.tiles, <const floating *>pixels, products)
    write_lines(j, begin, end, <const floating *>products, rows + rows_room(&j.t, most_lines(j)))


cdef int by_elements(winograd_product *j, const floating *bias, int threads) except -1 nogil:
    """For few tiles and many filters, a task is one element of all: a thread that read all filters would do little
    else."""
    cdef Py_ssize_t tiles = all_tiles(j)
    j.pixels_piece, j.products_plane = plane_size(tiles, j.g.channels), plane_size(tiles, padded_columns(j.cut))
    cdef Py_ssize_t shared = bias_room(j.cut) + pixels_size(j) + j.t.elements * j.products_plane
    cdef Py_ssize_t private = rows_room(&j.t, j.unit) + outputs_size(j)
    cdef floating *memory = <floating *>allocate((shared + threads * private) * <Py_ssize_t>sizeof(floating))
    cdef floating *pixels = memory + bias_room(j.cut)
    widen_bias(j.cut, bias, memory)
    j.bias, j.pixels, j.products = memory, pixels, pixels + pixels_size(j)
    for_each_task(transform_unit[floating], j, j.units, threads, memory + shared, private)
    for_each_task(multiply_all_tiles[floating], j, j.t.elements, threads, memory + shared, private)
    for_each_task(write_unit[floating], j, j.units, threads, memory + shared, private)
    release(memory)
    return 0


cdef Py_ssize_t all_tiles(const winograd_product *j) noexcept nogil:
    return all_lines(&j.t) * j.t.tiles


cdef void transform_unit(const void *job, Py_ssize_t task, floating *rows) noexcept nogil:
    cdef const winograd_product *j = <const winograd_product *>job
    cdef Py_ssize_t begin = line_of(j, task)
    transform_lines(
        j, begin, line_of(j, task + 1), <floating *>j.pixels + begin * j.t.tiles * j.g.channels, rows)


cdef void multiply_all_tiles(const void *job, Py_ssize_t element, floating *memory) noexcept nogil:
    cdef const winograd_product *j = <const winograd_product *>job
    multiply_element(j, element, all_tiles(j), <const floating *>j.pixels, <floating *>j.products)


cdef void write_unit(const void *job, Py_ssize_t task, floating *rows) noexcept nogil:
    cdef const winograd_product *j = <const winograd_product *>job
    cdef Py_ssize_t begin = line_of(j, task)
    write_lines(
        j, begin, line_of(j, task + 1),
        <const floating *>j.products + begin * j.t.tiles * padded_columns(j.cut), rows + rows_room(&j.t, j.unit))


# -- The weight gradient ------------------------------------------------------------------------------

cdef struct winograd_sums:
    geometry g
    tiling t, h                 # of the images and of the output gradient
    panels cut
    const void *x
    const void *grad
    void *partial               # for each block the gradients of weights and biases
    Py_ssize_t blocks, sums     # of lines, and how far their gradients are apart
    Py_ssize_t lines            # at a time
    Py_ssize_t sums_plane, pixels_piece, gradients_plane


cdef void add_block(const void *job, Py_ssize_t block, floating *sums) noexcept nogil:
    """The gradients of weights and biases from a block of lines, in working memory that begins with the sums."""
    cdef const winograd_sums *s = <const winograd_sums *>job
    cdef const panels *cut = &s.cut
    cdef Py_ssize_t lines = all_lines(&s.t), end = lines * (block + 1) // s.blocks
    cdef Py_ssize_t line = lines * block // s.blocks, panel, piece, width
    cdef floating *W_sums = <floating *>s.partial + block * s.sums
    cdef floating *b_sums = W_sums + weights(&s.g)
    cdef filter_piece p
    memset(sums, 0, s.t.elements * s.sums_plane * sizeof(floating))
    memset(b_sums, 0, padded_columns(cut[0]) * sizeof(floating))
    while line < end:
        add_lines(s, line, min(line + s.lines, end), sums, b_sums)
        line += s.lines
    for panel in range(cut.count):
        width = panel_width(cut[0], panel)
        for piece in range(all_pieces(&s.t)):
            p = piece_of(&s.g, piece)
            loops_for(sizeof(floating)).winograd_weights(
                s.t.side, &p, panel_columns(cut[0], panel), width,
                sums + panel_offset(cut[0], panel) + piece * s.g.channels * width, s.sums_plane,
                W_sums + piece_offset(&s.g, piece) + panel * 2 * cut.lanes)


cdef Py_ssize_t weights(const geometry *g) noexcept nogil:
    return g.filter_height * g.filter_width * g.channels * g.filters


cdef void add_lines(
    const winograd_sums *s, Py_ssize_t begin, Py_ssize_t end, floating *sums, floating *b_sums,
) noexcept nogil:
    """Lines begin .. end of all images, added to the sums, which buffers for both sides' tiles and for rows follow."""
    cdef Py_ssize_t tiles = s.t.tiles, together = (end - begin) * tiles, line = begin, element, panel
    cdef floating *pixels = sums + s.t.elements * s.sums_plane
    cdef floating *gradients = pixels + s.t.elements * pixels_plane(&s.t, s.pixels_piece)
    cdef floating *rows = gradients + s.t.elements * s.gradients_plane
    cdef band at
    while line < end:
        at = lines_of(&s.t, line, end)
        transform_pixels(
            &s.t, <const floating *>s.x, at, pixels + (line - begin) * tiles * s.g.channels, s.pixels_piece, rows)
        transform_gradients(s, at, together, gradients, (line - begin) * tiles, b_sums, rows)
        line += at.count
    for element in range(s.t.elements):
        for panel in range(s.cut.count):
            add_products(
                s, together, panel, <const floating *>pixels + element * pixels_plane(&s.t, s.pixels_piece),
                <const floating *>gradients + element * s.gradients_plane + panel * 2 * s.cut.lanes * together,
                sums + element * s.sums_plane + panel_offset(s.cut, panel))


cdef void add_products(
    const winograd_sums *s, Py_ssize_t tiles, Py_ssize_t panel, const floating *pixels, const floating *gradients,
    floating *sums,
) noexcept nogil:
    """Of an element, in sums of few tiles each, which lose fewer digits than one of all."""
    cdef Py_ssize_t channels = s.g.channels, parts = in_parts(tiles, TO_SUM), part, piece, first, run = 0
    cdef product q
    q.runs, q.a_depth, q.a_runs, q.b_runs = 1, channels, &run, &run
    q.bias, q.accumulate, q.relu = NULL, True, False
    q.columns = q.b_depth = q.c_row = panel_width(s.cut, panel)
    for part in range(parts):
        first = tiles * part // parts
        q.depth = tiles * (part + 1) // parts - first
        for piece in range(all_pieces(&s.t)):
            multiply(
                q, channels, 1, pixels + piece * s.pixels_piece + first * channels, gradients + first * q.b_depth,
                sums + piece * channels * q.b_depth)


cdef void transform_gradients(
    const winograd_sums *s, band at, Py_ssize_t together, floating *gradients, Py_ssize_t tile, floating *b_sums,
    floating *rows,
) noexcept nogil:
    """Some lines of one image from a tile on, in panels of so many `together`; their sums are the biases' gradient."""
    cdef const tiling *h = &s.h
    cdef Py_ssize_t row = h.p.tile_width * h.p.channels, i, panel, width, first
    cdef const floating *seen = view_tile(
        &h.p, <const floating *>s.grad, rows_of(h, at), 0, h.p.channels, rows, <floating *>NULL)
    for i in range(at.count):
        for panel in range(s.cut.count):
            width, first = panel_width(s.cut, panel), panel * 2 * s.cut.lanes
            loops_for(sizeof(floating)).winograd_gradients(
                h.side, h.tiles, h.p.channels, width, seen + h.side * i * row + first, row,
                gradients + first * together + (tile + i * h.tiles) * width, s.gradients_plane, b_sums + first)


cdef int winograd_weight_gradient(
    const geometry *g, const floating *x, const floating *grad, floating *W_grad, floating *b_grad,
) except -1 nogil:
    """What `weight_gradient` computes: blocks of lines each have a gradient, and these are added in their order."""
    cdef winograd_sums s
    s.g, s.t, s.h, s.cut = g[0], tiles_of_images(g), tiles_of_gradient(g), cut_pieces[floating](g, 0)
    s.x, s.grad = x, grad
    cdef Py_ssize_t C = g.channels, F = g.filters, W = weights(g), tiles = s.t.tiles, width = padded_columns(s.cut)
    cdef Py_ssize_t lines = all_lines(&s.t), block, i
    s.blocks = max(1, min(min(lines, MOST_BLOCKS), lines * tiles // BLOCK_TILES))
    s.blocks = max(s.blocks, min(lines, lines * tiles // LONGEST))  # long sums in one number lose digits
    s.sums = aligned(W + width)
    s.lines = min(in_parts(lines, s.blocks), lines_at_a_time(&s.t, TO_SUM, s.cut.depth + width, sizeof(floating)))
    s.sums_plane = plane_size(1, s.cut.size)
    s.pixels_piece, s.gradients_plane = plane_size(s.lines * tiles, C), plane_size(s.lines * tiles, width)
    cdef Py_ssize_t private = (
        s.t.elements * (s.sums_plane + pixels_plane(&s.t, s.pixels_piece) + s.gradients_plane)
        + max(rows_room(&s.t, s.lines), rows_room(&s.h, s.lines)))
    cdef int threads = threads_for_product(s.blocks, 2.0 * lines * tiles * s.t.elements * s.cut.depth * F)
    cdef floating *partial = <floating *>allocate(
        (s.blocks * s.sums + threads * private) * <Py_ssize_t>sizeof(floating))
    s.partial = partial
    for_each_task(add_block[floating], &s, s.blocks, threads, partial + s.blocks * s.sums, private)
    memcpy(W_grad, partial, W * sizeof(floating))
    memcpy(b_grad, partial + W, F * sizeof(floating))
    for block in range(1, s.blocks):
        for i in range(W):
            W_grad[i] += partial[block * s.sums + i]
        for i in range(F):
            b_grad[i] += partial[block * s.sums + W + i]
    release(partial)
    return 0
