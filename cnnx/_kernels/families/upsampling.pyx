"""Upsampling of NHWC images by whole factors: pixels repeated, or interpolated.

A task is one row of the input, with all outputs of the nearest mode that it becomes; one row of the output; or, where
outputs overlap in the gradient, one image, whose gradient is summed in the order of its output positions.
"""

from cython.parallel cimport prange
from libc.string cimport memcpy, memset

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport allocate, release, threads_for
from cnnx._kernels.ground.shapes cimport as_tuple


cdef struct geometry:
    Py_ssize_t images, height, width, channels
    Py_ssize_t rows, columns    # that a pixel becomes


cdef struct place:
    # An output position lies between two pixels, `way` of the distance from the first; here are their offsets.
    Py_ssize_t first, second
    double way


cdef geometry measure(const char *name, Py_ssize_t[4] small, Py_ssize_t[4] large) except *:
    cdef geometry g
    g.images, g.height, g.width, g.channels = small[0], small[1], small[2], small[3]
    if (
        min(g.height, min(g.width, g.channels)) < 1 or large[0] != g.images or large[3] != g.channels
        or large[1] < g.height or large[1] % g.height or large[2] < g.width or large[2] % g.width
    ):
        raise ValueError(f"{name.decode()}: shapes do not fit: {as_tuple(small, 4)}, {as_tuple(large, 4)}")
    g.rows, g.columns = large[1] // g.height, large[2] // g.width
    return g


cdef double operations(geometry g) noexcept nogil:
    return <double>g.images * g.height * g.width * g.channels * g.rows * g.columns


# -- Nearest ------------------------------------------------------------------------------------------

cdef void repeat_row(geometry g, const floating *x, floating *out) noexcept nogil:
    cdef Py_ssize_t C = g.channels, row = g.width * g.columns * C, w, j, c, i
    cdef floating *to = out
    for w in range(g.width):
        for j in range(g.columns):
            for c in range(C):
                to[c] = x[c]
            to += C
        x += C
    for i in range(1, g.rows):
        memcpy(out + i * row, out, row * sizeof(floating))


cdef void sum_row(geometry g, const floating *grad, floating *out) noexcept nogil:
    cdef Py_ssize_t C = g.channels, row = g.width * g.columns * C, i, w, j, c
    cdef const floating *cell = grad
    cdef floating *to
    memset(out, 0, g.width * C * sizeof(floating))
    for i in range(g.rows):
        to = out
        for w in range(g.width):
            for j in range(g.columns):
                for c in range(C):
                    to[c] += cell[c]
                cell += C
            to += C


@by_dtype
def nearest_upsample_forward(const floating[:, :, :, ::1] x, floating[:, :, :, ::1] out):
    cdef geometry g = measure("nearest_upsample_forward", x.shape, out.shape)
    cdef Py_ssize_t task, tasks = g.images * g.height, size = g.width * g.channels
    if tasks == 0:
        return
    cdef const floating *from_x = &x[0, 0, 0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    for task in prange(tasks, num_threads=threads_for(tasks, operations(g)), schedule="static", nogil=True):
        repeat_row(g, from_x + task * size, to_out + task * size * g.rows * g.columns)


@by_dtype
def nearest_upsample_backward(const floating[:, :, :, ::1] grad, floating[:, :, :, ::1] out):
    cdef geometry g = measure("nearest_upsample_backward", out.shape, grad.shape)
    cdef Py_ssize_t task, tasks = g.images * g.height, size = g.width * g.channels
    if tasks == 0:
        return
    cdef const floating *from_grad = &grad[0, 0, 0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    for task in prange(tasks, num_threads=threads_for(tasks, operations(g)), schedule="static", nogil=True):
        sum_row(g, from_grad + task * size * g.rows * g.columns, to_out + task * size)


# -- Bilinear -----------------------------------------------------------------------------------------

cdef void locate(Py_ssize_t size, Py_ssize_t factor, Py_ssize_t step, place *places) noexcept nogil:
    """Where the outputs along an axis of `size` pixels lie, which are `step` elements apart."""
    cdef Py_ssize_t i, first
    cdef double at
    for i in range(size * factor):
        at = max((i + 0.5) / factor - 0.5, 0.0)
        first = <Py_ssize_t>at
        places[i].first = first * step
        places[i].second = min(first + 1, size - 1) * step
        places[i].way = at - first


cdef place *located(geometry g) except NULL:
    """The places of the rows, and after them those of the columns."""
    cdef place *places = <place *>allocate((g.height * g.rows + g.width * g.columns) * sizeof(place))
    locate(g.height, g.rows, g.width * g.channels, places)
    locate(g.width, g.columns, g.channels, places + g.height * g.rows)
    return places


cdef void interpolate_row(
    geometry g, const floating *image, const place *row, const place *columns, floating *out,
) noexcept nogil:
    cdef Py_ssize_t C = g.channels, ow, c
    cdef const floating *upper = image + row.first
    cdef const floating *lower = image + row.second
    cdef floating down = <floating>row.way, up = 1 - down, along, back
    cdef const floating *a
    cdef const floating *b
    cdef const floating *d
    cdef const floating *e
    for ow in range(g.width * g.columns):
        a, b = upper + columns[ow].first, upper + columns[ow].second
        d, e = lower + columns[ow].first, lower + columns[ow].second
        along = <floating>columns[ow].way
        back = 1 - along
        for c in range(C):
            out[c] = (a[c] * up + d[c] * down) * back + (b[c] * up + e[c] * down) * along
        out += C


cdef void add_scaled(const floating *x, floating scale, Py_ssize_t count, floating *out) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        out[i] += x[i] * scale


cdef void distribute_image(
    geometry g, const floating *grad, const place *rows, const place *columns, floating *row, floating *out,
) noexcept nogil:
    """`row` is room for one row of pixels: what a row of outputs sends to the two rows of pixels that it lies between."""
    cdef Py_ssize_t C = g.channels, size = g.width * g.channels, oh, ow
    cdef floating down, along
    memset(out, 0, g.height * size * sizeof(floating))
    for oh in range(g.height * g.rows):
        memset(row, 0, size * sizeof(floating))
        for ow in range(g.width * g.columns):
            along = <floating>columns[ow].way
            add_scaled(grad, 1 - along, C, row + columns[ow].first)
            add_scaled(grad, along, C, row + columns[ow].second)
            grad += C
        down = <floating>rows[oh].way
        add_scaled(<const floating *>row, 1 - down, size, out + rows[oh].first)
        add_scaled(<const floating *>row, down, size, out + rows[oh].second)


@by_dtype
def bilinear_upsample_forward(const floating[:, :, :, ::1] x, floating[:, :, :, ::1] out):
    cdef geometry g = measure("bilinear_upsample_forward", x.shape, out.shape)
    cdef Py_ssize_t rows = g.height * g.rows, task, tasks = g.images * rows
    if tasks == 0:
        return
    cdef const floating *from_x = &x[0, 0, 0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    cdef place *places = located(g)
    for task in prange(tasks, num_threads=threads_for(tasks, 4 * operations(g)), schedule="static", nogil=True):
        interpolate_row(
            g, from_x + task // rows * g.height * g.width * g.channels, places + task % rows, places + rows,
            to_out + task * g.width * g.columns * g.channels)
    release(places)


@by_dtype
def bilinear_upsample_backward(const floating[:, :, :, ::1] grad, floating[:, :, :, ::1] out):
    cdef geometry g = measure("bilinear_upsample_backward", out.shape, grad.shape)
    cdef Py_ssize_t image, size = g.height * g.width * g.channels
    if g.images == 0:
        return
    cdef const floating *from_grad = &grad[0, 0, 0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    cdef place *places = located(g)
    cdef floating *rows
    try:
        rows = <floating *>allocate(g.images * g.width * g.channels * sizeof(floating))
    except MemoryError:
        release(places)
        raise
    for image in prange(
        g.images, num_threads=threads_for(g.images, 4 * operations(g)), schedule="static", nogil=True,
    ):
        distribute_image(
            g, from_grad + image * size * g.rows * g.columns, places, places + g.height * g.rows,
            rows + image * g.width * g.channels, to_out + image * size)
    release(rows)
    release(places)


# -- The door -----------------------------------------------------------------------------------------
