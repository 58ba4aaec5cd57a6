"""The input gradient of a convolution straight from a pooled gradient.

Few positions have a gradient, one of each window at most: each of them adds its filter's weights to the image below.
The sums lie in a tile, a whole padded image, for as long as that stays in cache.
"""

from cython.parallel cimport prange, threadid
from libc.string cimport memcpy, memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.gemm cimport cut_panels, panels
from cnnx._kernels.ground.instruction_sets cimport loops_for, pooled_gradient
from cnnx._kernels.ground.parallel cimport allocate, deal, release, shares, take, threads_for_product
from cnnx._kernels.products.tiles cimport geometry, lines, lists_size, windows_of

cdef enum:
    SCATTERED_TILE = 262144  # bytes


cdef bint scatters_in_cache(geometry g, floating kind) noexcept nogil:
    # `kind` only carries the type.
    return scattered_rows(g) * scattered_columns(g) * g.channels * sizeof(floating) <= SCATTERED_TILE


cdef void scatter_image(
    geometry g, const floating *grad, const floating *weights, Py_ssize_t weights_row, Py_ssize_t image,
    floating *out, floating *tile, Py_ssize_t tile_rows, floating *lists,
) noexcept nogil:
    """One image's gradient from its pooled output gradient, through a tile that has room for the padding."""
    cdef Py_ssize_t h, row, size = g.width * g.channels
    cdef pooled_gradient p = windows_of(g, g.rows, lists, g.columns // g.pool_width * g.filters + 1)
    cdef Py_ssize_t pooled = image * p.windows * p.window_columns * g.filters
    p.weights_row = weights_row
    memset(tile, 0, tile_rows * p.tile_row * sizeof(floating))
    loops_for(sizeof(floating)).pooled_inputs(&p, grad + pooled, g.places + pooled, weights, tile)
    out += image * g.height * size
    for h in range(g.height):
        row = h + g.top
        if row < tile_rows:
            memcpy(out + h * size, tile + row * p.tile_row + g.left * g.channels, size * sizeof(floating))
        else:
            memset(out + h * size, 0, size * sizeof(floating))


cdef int scatter(geometry g, const floating *grad, const floating *W, floating *out) except -1 nogil:
    """The input gradient straight from a pooled gradient: `g` is the geometry of the forward pass.

    Each position that has a gradient adds its filter's weights to the window below it. The tile is a padded image.
    """
    cdef panels cut = cut_panels[floating](1, g.filter_width * g.channels, 0)
    cdef Py_ssize_t size = g.filter_width * g.channels, row = (size + cut.lanes - 1) // cut.lanes * cut.lanes
    cdef Py_ssize_t tile_rows = scattered_rows(g)
    cdef Py_ssize_t f, k, i
    g.tile_width = scattered_columns(g)
    cdef Py_ssize_t tile_room = lines(tile_rows * g.tile_width * g.channels + cut.lanes)
    cdef Py_ssize_t lists_room = lists_size[floating](g, g.columns // g.pool_width * g.filters + 1, 0)
    cdef Py_ssize_t shared = lines(g.filters * g.filter_height * row)
    cdef Py_ssize_t windows = g.rows // g.pool_height * (g.columns // g.pool_width)
    cdef int threads = threads_for_product(g.images, 2.0 * g.images * windows * g.filters * g.filter_height * size)
    cdef floating *weights = <floating *>allocate(
        (shared + threads * (tile_room + lists_room)) * <Py_ssize_t>sizeof(floating))
    cdef floating *mine
    cdef Py_ssize_t image, turn
    cdef shares dealt
    memset(weights, 0, shared * sizeof(floating))
    for i in range(g.filter_height):
        for k in range(size):
            for f in range(g.filters):
                weights[(f * g.filter_height + i) * row + k] = W[(i * size + k) * g.filters + f]
    deal(&dealt, g.images, threads)
    for turn in prange(g.images, num_threads=threads, schedule="dynamic"):
        image = take(&dealt, threadid())
        mine = weights + shared + threadid() * (tile_room + lists_room)
        scatter_image(g, grad, <const floating *>weights, row, image, out, mine, tile_rows, mine + tile_room)
    release(weights)
    return 0


cdef Py_ssize_t scattered_rows(geometry g) noexcept nogil:
    return (g.rows - 1) * g.row_stride + g.filter_height


cdef Py_ssize_t scattered_columns(geometry g) noexcept nogil:
    """Of the padded image, as far as either the windows or the image reach."""
    return max(g.width + g.left, (g.columns - 1) * g.column_stride + g.filter_width)
