"""Upsampling of NHWC images by whole factors: pixels repeated, or interpolated.

A task is one row of the input, with all outputs of the nearest mode that it becomes; one row of the output; or, where
outputs overlap in the gradient, one image, whose gradient is summed in the order of its output positions.
"""

from libc.string cimport memcpy, memset

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, threads_for
from cnnx._kernels.ground.program cimport job_function, perform
from cnnx._kernels.ground.shapes cimport as_tuple


cdef enum:
    LONGEST = 16384     # gradients that are added up in the array's own precision


cdef struct geometry:
    Py_ssize_t images, height, width, channels
    Py_ssize_t rows, columns    # that a pixel becomes


cdef struct place:
    # An output position lies between two pixels, `way` of the distance from the first; here are their offsets.
    Py_ssize_t first, second
    double way


cdef geometry measure(str name, Py_ssize_t[4] small, Py_ssize_t[4] large) except *:
    cdef geometry g
    g.images, g.height, g.width, g.channels = small[0], small[1], small[2], small[3]
    if (
        min(g.height, min(g.width, g.channels)) < 1 or large[0] != g.images or large[3] != g.channels
        or large[1] < g.height or large[1] % g.height or large[2] < g.width or large[2] % g.width
    ):
        raise ValueError(f"{name}: shapes do not fit: {as_tuple(small, 4)}, {as_tuple(large, 4)}")
    g.rows, g.columns = large[1] // g.height, large[2] // g.width
    return g


cdef struct upsampling:
    geometry g
    const void *source
    const place *places     # of the rows, and after them those of the columns; nearest has none
    void *out
    void *run               # a task
    Py_ssize_t tasks
    bint between            # pixels: tasks have the places of outputs, and each thread a row of pixels


cdef int do_upsampling(const void *job, const floating *unused) except -1 nogil:
    cdef upsampling u = (<const upsampling *>job)[0]
    cdef geometry g = u.g
    cdef Py_ssize_t positions = g.height * g.rows + g.width * g.columns, row = g.width * g.channels
    cdef double operations = (4.0 if u.between else 1.0) * g.images * g.height * row * g.rows * g.columns
    cdef int threads = threads_for(u.tasks, operations)
    cdef place *places = NULL
    if u.between:
        places = <place *>allocate(positions * sizeof(place) + threads * row * sizeof(floating))
        locate(g.height, g.rows, row, places)
        locate(g.width, g.columns, g.channels, places + g.height * g.rows)
    u.places = places
    for_each_task(
        <void (*)(const void *job, Py_ssize_t task, floating *memory) noexcept nogil>u.run, &u, u.tasks, threads,
        <floating *>(places + positions) if u.between else NULL, row)
    if u.between:
        release(places)
    return 0


cdef int upsample(
    void (*run)(const void *job, Py_ssize_t task, floating *memory) noexcept nogil, geometry g, Py_ssize_t tasks,
    const floating[:, :, :, ::1] source, floating[:, :, :, ::1] out, bint between=False,
) except -1:
    cdef upsampling u
    cdef const void **arrays[2]
    if tasks == 0:
        return 0
    u.g, u.source, u.places, u.out = g, &source[0, 0, 0, 0], NULL, &out[0, 0, 0, 0]
    u.run, u.tasks, u.between = <void *>run, tasks, between
    arrays[0], arrays[1] = &u.source, <const void **>&u.out
    return perform(<job_function>do_upsampling[floating], &u, sizeof(upsampling), arrays, 2, None)


# -- Nearest ------------------------------------------------------------------------------------------

cdef void repeat_row(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    cdef geometry g = (<const upsampling *>job).g
    cdef Py_ssize_t C = g.channels, row = g.width * g.columns * C, w, j, c, i
    cdef const floating *x = <const floating *>(<const upsampling *>job).source + task * g.width * C
    cdef floating *out = <floating *>(<const upsampling *>job).out + task * g.rows * row
    cdef floating *to = out
    for w in range(g.width):
        for j in range(g.columns):
            for c in range(C):
                to[c] = x[c]
            to += C
        x += C
    for i in range(1, g.rows):
        memcpy(out + i * row, out, row * sizeof(floating))


cdef void sum_large(geometry g, const floating *cells, floating *out) noexcept nogil:
    """The gradient of a row of pixels that have become so many each that their sum would lose digits."""
    cdef Py_ssize_t row = g.width * g.columns * g.channels, w, c, i, j
    cdef double total
    for w in range(g.width):
        for c in range(g.channels):
            total = 0
            for i in range(g.rows):
                for j in range(g.columns):
                    total += cells[i * row + (w * g.columns + j) * g.channels + c]
            out[w * g.channels + c] = <floating>total


cdef void sum_row(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    cdef geometry g = (<const upsampling *>job).g
    cdef Py_ssize_t C = g.channels, size = g.width * C, i, w, j, c
    cdef const floating *cell = <const floating *>(<const upsampling *>job).source + task * size * g.rows * g.columns
    cdef floating *out = <floating *>(<const upsampling *>job).out + task * size
    cdef floating *to
    if g.rows * g.columns > LONGEST:
        sum_large(g, cell, out)
        return
    memset(out, 0, size * sizeof(floating))
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
    upsample(repeat_row[floating], g, g.images * g.height, x, out)


@by_dtype
def nearest_upsample_backward(const floating[:, :, :, ::1] grad, floating[:, :, :, ::1] out):
    cdef geometry g = measure("nearest_upsample_backward", out.shape, grad.shape)
    upsample(sum_row[floating], g, g.images * g.height, grad, out)


# -- Bilinear -----------------------------------------------------------------------------------------

cdef void locate(Py_ssize_t size, Py_ssize_t factor, Py_ssize_t stride, place *places) noexcept nogil:
    """Where the outputs along an axis of `size` pixels lie, which are `stride` elements apart."""
    cdef Py_ssize_t i, first
    cdef double at
    for i in range(size * factor):
        at = max((i + 0.5) / factor - 0.5, 0.0)
        first = <Py_ssize_t>at
        places[i].first = first * stride
        places[i].second = min(first + 1, size - 1) * stride
        places[i].way = at - first


cdef void interpolate_row(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    cdef const upsampling *u = <const upsampling *>job
    cdef geometry g = u.g
    cdef Py_ssize_t C = g.channels, rows = g.height * g.rows, ow, c
    cdef const floating *image = <const floating *>u.source + task // rows * g.height * g.width * C
    cdef floating *out = <floating *>u.out + task * g.width * g.columns * C
    cdef const place *row = u.places + task % rows
    cdef const place *columns = u.places + rows
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


cdef void distribute_image(const void *job, Py_ssize_t image, floating *row) noexcept nogil:
    """`row` is room for a row of pixels: what a row of outputs sends to the two rows of pixels that it lies between."""
    cdef const upsampling *u = <const upsampling *>job
    cdef geometry g = u.g
    cdef Py_ssize_t C = g.channels, size = g.width * C, oh, ow
    cdef const floating *grad = <const floating *>u.source + image * g.height * size * g.rows * g.columns
    cdef floating *out = <floating *>u.out + image * g.height * size
    cdef const place *rows = u.places
    cdef const place *columns = u.places + g.height * g.rows
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
    upsample(interpolate_row[floating], g, g.images * g.height * g.rows, x, out, True)


@by_dtype
def bilinear_upsample_backward(const floating[:, :, :, ::1] grad, floating[:, :, :, ::1] out):
    cdef geometry g = measure("bilinear_upsample_backward", out.shape, grad.shape)
    upsample(distribute_image[floating], g, g.images, grad, out, True)
