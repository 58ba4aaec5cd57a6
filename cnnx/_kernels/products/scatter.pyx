"""The input gradient of a convolution straight from a pooled gradient.

Few positions have a gradient, one of each window at most: each of them adds its filter's weights to the image below.
The sums lie in a tile, a whole padded image, for as long as that stays in cache.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for
from cnnx._kernels.ground.loops cimport pooled_gradient
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, threads_for_product
from cnnx._kernels.products.tiles cimport aligned, geometry, lists_size, tile_rows, windows_of

cdef enum:
    SCATTERED_TILE = 262144  # bytes
    FEW_VECTORS = 5


cdef struct scattering:
    geometry g
    const void *grad
    const uint8_t *places
    const void *weights         # each filter's by itself, with rows of whole vectors
    Py_ssize_t weights_row
    void *out
    Py_ssize_t entries          # of a list, at most
    Py_ssize_t tile_room


cdef geometry whole_images(geometry g) noexcept nogil:
    """With tiles that are padded images, as wide as either the windows or the image reach."""
    g.copied, g.tile_width = True, max(g.width + g.left, (g.columns - 1) * g.column_stride + g.filter_width)
    return g


cdef bint scatter_is_faster(const geometry *g, floating kind) noexcept nogil:
    """Than the product over the gradient spread out, if the tile stays in cache; `kind` only carries the type.

    A position's filters are added one after the other: with few vectors of weights each waits for the one before."""
    cdef geometry h = whole_images(g[0])
    cdef Py_ssize_t few = FEW_VECTORS * in_use().vector_bytes // <Py_ssize_t>sizeof(floating)
    if g.filter_height * g.filter_width * g.channels < few and g.row_stride == 1 and g.column_stride == 1:
        return False
    return tile_rows(&h, h.rows) * h.tile_width * h.channels * sizeof(floating) <= SCATTERED_TILE


cdef void scatter_image(const void *job, Py_ssize_t image, floating *tile) noexcept nogil:
    """One image's gradient from its pooled output gradient, through a tile that has room for the padding."""
    cdef const scattering *s = <const scattering *>job
    cdef const geometry *g = &s.g
    cdef Py_ssize_t h, row, size = g.width * g.channels, rows = tile_rows(g, g.rows)
    cdef pooled_gradient p = windows_of(g, g.rows, s.weights_row, tile + s.tile_room, s.entries)
    cdef Py_ssize_t pooled = image * p.windows * p.window_columns * g.filters
    cdef floating *out = <floating *>s.out + image * g.height * size
    memset(tile, 0, rows * p.tile_row * sizeof(floating))
    loops_for(sizeof(floating)).pooled_input_gradient(
        &p, <const floating *>s.grad + pooled, s.places + pooled, s.weights, tile)
    for h in range(g.height):
        row = h + g.top
        if row < rows:
            memcpy(out + h * size, tile + row * p.tile_row + g.left * g.channels, size * sizeof(floating))
        else:
            memset(out + h * size, 0, size * sizeof(floating))


cdef void turn_weights(const geometry *g, const floating *W, Py_ssize_t row, floating *weights) noexcept nogil:
    """From filters side by side to filter by filter, whose rows are filled up with zeros."""
    cdef Py_ssize_t f, k, i, size = g.filter_width * g.channels
    memset(weights, 0, g.filters * g.filter_height * row * sizeof(floating))
    for i in range(g.filter_height):
        for k in range(size):
            for f in range(g.filters):
                weights[(f * g.filter_height + i) * row + k] = W[(i * size + k) * g.filters + f]


cdef int scatter(
    const geometry *g, const floating *grad, const uint8_t *places, const floating *W, floating *out,
) except -1 nogil:
    """The input gradient straight from a pooled gradient: `g` is the geometry of the forward pass.

    Each position that has a gradient adds its filter's weights to the pixels below it. The tile is a padded image.
    """
    cdef Py_ssize_t lanes = in_use().vector_bytes // <Py_ssize_t>sizeof(floating), size = g.filter_width * g.channels
    cdef Py_ssize_t windows = g.rows // g.pool_height * (g.columns // g.pool_width)
    cdef scattering s
    s.g, s.grad, s.places, s.out = whole_images(g[0]), grad, places, out
    s.weights_row = (size + lanes - 1) // lanes * lanes
    s.entries = g.columns // g.pool_width * g.filters + 1
    s.tile_room = aligned(tile_rows(g, g.rows) * s.g.tile_width * g.channels + lanes)
    cdef Py_ssize_t private = s.tile_room + lists_size[floating](g, s.entries, 0)
    cdef Py_ssize_t shared = aligned(g.filters * g.filter_height * s.weights_row)
    cdef int threads = threads_for_product(g.images, 2.0 * g.images * windows * g.filters * g.filter_height * size)
    cdef floating *weights = <floating *>allocate((shared + threads * private) * <Py_ssize_t>sizeof(floating))
    turn_weights(g, W, s.weights_row, weights)
    s.weights = weights
    for_each_task(scatter_image[floating], &s, g.images, threads, weights + shared, private)
    release(weights)
    return 0
