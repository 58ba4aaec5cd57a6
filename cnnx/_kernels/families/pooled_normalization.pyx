"""Batch normalization, perhaps ReLU, and max pooling of windows that do not overlap, as one: between them nothing is
written.

Forward, a row of windows is normalized in a thread's buffer, and pooled there; a maximum that ReLU has closed is marked
in its place, so that its gradient goes nowhere. Backward, the pooled gradient is spread out in such a buffer, a block at a
time, where sums or the input gradient need it. Blocks, sums and values are those of the kernels one by one.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from cnnx._kernels.families.channels cimport (
    channel_pass, cut_rows, fill_sums, fold, reserve, rows, run_tasks,
)
from cnnx._kernels.families.normalization cimport (
    BETA_GRAD, GAMMA_GRAD, INV_STD, LANES, spread_numbers, spread_slopes,
)
from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport CLOSED, loops_for
from cnnx._kernels.ground.parallel cimport release
from cnnx._kernels.ground.program cimport job_function, perform
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape


cdef enum:
    PART = 4096         # elements that are in the first-level cache together with others
    SWEEP_ROWS = 16     # as in normalization_rows.h, or a multiple


cdef struct pooled_pass:
    channel_pass p              # first, for a pass takes it as its job
    Py_ssize_t height, width    # of an image, in rows and in elements of a row
    Py_ssize_t rows, columns    # windows of an image
    Py_ssize_t filter_height, filter_width
    Py_ssize_t part             # elements of a block that are spread out at a time
    const void *source          # pooled gradients
    void *pooled
    void *places                # or NULL


cdef pooled_pass measure(
    const char *name, Py_ssize_t[4] x, Py_ssize_t[4] pooled, filter_size, floating kind,
) except *:
    """Shapes that fit together: a kernel trusts them without bounds checks. `kind` only carries the type."""
    cdef pooled_pass q
    cdef Py_ssize_t sweep
    q.height, q.width, q.rows, q.columns = x[1], x[2] * x[3], pooled[1], pooled[2]
    q.filter_height, q.filter_width = filter_size
    if (
        min(q.filter_height, q.filter_width) < 1 or q.filter_height > q.height or q.filter_width > x[2]
        or q.filter_height * q.filter_width >= CLOSED or x[0] != pooled[0] or x[3] != pooled[3]
        or min(q.rows, min(q.columns, x[3])) < 1
        or q.rows * q.filter_height > q.height or q.columns * q.filter_width > x[2]
    ):
        raise ValueError(
            f"{name.decode()}: shapes do not fit: images {as_tuple(x, 4)}, outputs {as_tuple(pooled, 4)}, "
            f"window {filter_size}")
    q.p.r = cut_rows(x[0] * q.height * q.width, x[3], LANES)
    # Whole sweeps of rows, so that sums are added as in a block; several rows of images, for it touches two in part.
    sweep = SWEEP_ROWS * q.p.r.width
    q.part = (max(<Py_ssize_t>PART, 4 * q.width) + sweep - 1) // sweep * sweep
    q.p.x.itemsize, q.p.own, q.p.relu, q.source, q.pooled, q.places = sizeof(floating), 0, False, NULL, NULL, NULL
    return q


cdef int take_numbers(const char *name, channel_pass *p, tuple statistics, tuple affine, floating kind) except -1:
    """The memory of mean, inverse deviation, gamma and beta, which the caller keeps alive."""
    cdef const floating[::1] numbers
    cdef Py_ssize_t i = 0
    for pair in (statistics, affine):
        first, second = pair
        for numbers in (first, second):
            if numbers.shape[0] != p.r.channels:
                raise ValueError(f"{name.decode()}: sizes do not fit: {p.r.channels} channels, {numbers.shape[0]} numbers")
            p.numbers[i] = <void *>&numbers[0]
            i += 1
    return 0


cdef void *take_places(const char *name, Py_ssize_t[4] pooled, argmax) except? NULL:
    cdef const uint8_t[:, :, :, ::1] places = argmax
    if not same_shape(places.shape, pooled, 4):
        raise ValueError(
            f"{name.decode()}: shapes do not fit: outputs {as_tuple(pooled, 4)}, argmax {as_tuple(places.shape, 4)}")
    return <void *>&places[0, 0, 0, 0] if pooled[0] else NULL


# -- Forward ------------------------------------------------------------------------------------------

cdef void forward_task(const void *job, Py_ssize_t task, floating *buffer) noexcept nogil:
    """A row of windows."""
    cdef const pooled_pass *q = <const pooled_pass *>job
    cdef Py_ssize_t channels = q.p.r.channels, out = task * q.columns * channels
    cdef Py_ssize_t first = (task // q.rows * q.height + task % q.rows * q.filter_height) * q.width
    loops_for(sizeof(floating)).normalize_rows(
        q.filter_height * q.width, q.p.r.width, <const floating *>q.p.x.first + first, q.p.shared, False, buffer)
    loops_for(sizeof(floating)).max_row(
        buffer, q.filter_height, q.filter_width, q.width, q.filter_width, q.columns, channels, channels, q.p.relu,
        <floating *>q.pooled + out, <uint8_t *>q.places + out if q.places else NULL)


cdef Py_ssize_t rows_for(const pooled_pass *q, Py_ssize_t elements) noexcept nogil:
    """As many rows of numbers have room for so many elements."""
    return (elements + q.p.r.width - 1) // q.p.r.width


cdef int do_forward(const void *job, const floating *unused) except -1 nogil:
    cdef pooled_pass q = (<const pooled_pass *>job)[0]
    cdef Py_ssize_t tasks = q.p.r.size // (q.height * q.width) * q.rows
    spread_numbers(
        &q.p, <floating *>reserve(&q.p, tasks, 3, 0, 3, rows_for(&q, q.filter_height * q.width)))
    run_tasks(forward_task[floating], &q.p)
    release(q.p.sums)
    return 0


@by_dtype
def batch_norm_pool_forward(
    const floating[:, :, :, ::1] x, tuple statistics, tuple affine, filter_size, bint relu,
    floating[:, :, :, ::1] out, argmax,
):
    cdef pooled_pass q = measure[floating]("batch_norm_pool_forward", x.shape, out.shape, filter_size, 0)
    cdef const void **arrays[7]
    cdef int i
    take_numbers[floating]("batch_norm_pool_forward", &q.p, statistics, affine, 0)
    if argmax is not None:
        q.places = take_places("batch_norm_pool_forward", out.shape, argmax)
    if x.shape[0] == 0:
        return
    q.p.x.first, q.pooled, q.p.relu = <char *>&x[0, 0, 0, 0], &out[0, 0, 0, 0], relu
    arrays[0], arrays[1], arrays[2] = <const void **>&q.p.x.first, <const void **>&q.pooled, <const void **>&q.places
    for i in range(4):
        arrays[3 + i] = <const void **>&q.p.numbers[i]
    perform(<job_function>do_forward[floating], &q, sizeof(pooled_pass), arrays, 7, (x, statistics, affine))


# -- Gradients ----------------------------------------------------------------------------------------

cdef const floating *spread_part(
    const pooled_pass *q, Py_ssize_t start, Py_ssize_t end, floating *buffer,
) noexcept nogil:
    """The gradients of a part, in the buffer; the rows of images that it begins and ends in are spread as a whole."""
    cdef Py_ssize_t channels = q.p.r.channels, first = start // q.width, row, h, window, covered
    cdef floating *to = buffer
    covered = q.columns * q.filter_width * channels
    for row in range(first, (end - 1) // q.width + 1):
        h = row % q.height
        if h < q.rows * q.filter_height:
            window = (row // q.height * q.rows + h // q.filter_height) * q.columns * channels
            loops_for(sizeof(floating)).spread_row(
                <const floating *>q.source + window, <const uint8_t *>q.places + window, q.columns, q.filter_width,
                h % q.filter_height * q.filter_width, channels, to)
            memset(to + covered, 0, (q.width - covered) * sizeof(floating))
        else:
            memset(to, 0, q.width * sizeof(floating))
        to += q.width
    return buffer + (start - first * q.width)


cdef Py_ssize_t part_rows(const pooled_pass *q) noexcept nogil:
    """Rows of numbers that have room for the rows of images that a part touches."""
    return rows_for(q, (q.part // q.width + 2) * q.width)


cdef void parameter_gradient_task(const void *job, Py_ssize_t task, floating *totals) noexcept nogil:
    """Sums of g and of g * (x - mean)."""
    cdef const pooled_pass *q = <const pooled_pass *>job
    cdef rows r = q.p.r
    cdef Py_ssize_t start = task * r.share, stop = min(start + r.share, r.size), end, size
    cdef double *sums = q.p.sums + task * q.p.own
    memset(sums, 0, q.p.own * sizeof(double))
    while start < stop:
        end = min(start + r.block, stop)
        memset(totals, 0, 2 * r.width * sizeof(floating))
        while start < end:
            size = min(q.part, end - start)
            loops_for(sizeof(floating)).add_gradients(
                size, r.width, spread_part(q, start, start + size, totals + 2 * r.width),
                <const floating *>q.p.x.first + start, q.p.shared, False, totals)
            start += size
        fold(<const floating *>totals, r, sums)
        fold(<const floating *>(totals + r.width), r, sums + r.channels)


cdef int parameter_gradient(pooled_pass *q, floating kind) except -1 nogil:
    cdef channel_pass *p = &q.p
    cdef Py_ssize_t c
    spread_numbers(p, <floating *>reserve(p, p.r.tasks, 3, 2, 3, 2 + part_rows(q)))
    run_tasks(parameter_gradient_task[floating], p)
    fill_sums(p, <floating *>p.numbers[BETA_GRAD])
    for c in range(p.r.channels):
        (<floating *>p.numbers[GAMMA_GRAD])[c] = <floating>(
            p.sums[p.r.channels + c] * (<const floating *>p.numbers[INV_STD])[c])
    release(p.sums)
    return 0


cdef void input_gradient_task(const void *job, Py_ssize_t block, floating *buffer) noexcept nogil:
    cdef const pooled_pass *q = <const pooled_pass *>job
    cdef Py_ssize_t start = block * q.p.r.block, end = min(start + q.p.r.block, q.p.r.size), size
    while start < end:
        size = min(q.part, end - start)
        loops_for(sizeof(floating)).normalization_gradient_rows(
            size, q.p.r.width, spread_part(q, start, start + size, buffer), <const floating *>q.p.x.first + start,
            q.p.shared, False, <floating *>q.p.out.first + start)
        start += size


cdef int input_gradient(pooled_pass *q, floating kind) except -1 nogil:
    cdef channel_pass *p = &q.p
    cdef floating *to = <floating *>reserve(p, p.r.blocks, 3, 0, 5, part_rows(q))
    spread_numbers(p, to)
    # The memory of the first thread is free until then.
    spread_slopes(p, to + 5 * p.r.width, to + 3 * p.r.width)
    run_tasks(input_gradient_task[floating], p)
    release(p.sums)
    return 0


cdef pooled_pass gradients_of(
    const char *name, const floating[:, :, :, ::1] grad, argmax, const floating[:, :, :, ::1] x, tuple statistics,
    tuple affine, filter_size,
) except *:
    """What both gradients are made of, checked."""
    cdef pooled_pass q = measure[floating](name, x.shape, grad.shape, filter_size, 0)
    take_numbers[floating](name, &q.p, statistics, affine, 0)
    q.places = take_places(name, grad.shape, argmax)
    if x.shape[0]:
        q.p.x.first, q.source = <char *>&x[0, 0, 0, 0], &grad[0, 0, 0, 0]
    return q


@by_dtype
def batch_norm_pool_parameter_gradient(
    const floating[:, :, :, ::1] grad, argmax, const floating[:, :, :, ::1] x, tuple statistics, tuple affine,
    filter_size, floating[::1] gamma_grad, floating[::1] beta_grad,
):
    cdef pooled_pass q = gradients_of[floating](
        "batch_norm_pool_parameter_gradient", grad, argmax, x, statistics, affine, filter_size)
    if gamma_grad.shape[0] != x.shape[3] or beta_grad.shape[0] != x.shape[3]:
        raise ValueError(
            f"batch_norm_pool_parameter_gradient: sizes do not fit: {x.shape[3]}, {gamma_grad.shape[0]}, "
            f"{beta_grad.shape[0]}")
    q.p.numbers[GAMMA_GRAD], q.p.numbers[BETA_GRAD] = &gamma_grad[0], &beta_grad[0]
    with nogil:
        parameter_gradient[floating](&q, 0)


@by_dtype
def batch_norm_pool_input_gradient(
    const floating[:, :, :, ::1] grad, argmax, const floating[:, :, :, ::1] x, tuple statistics, tuple affine,
    filter_size, tuple gradients, floating[:, :, :, ::1] out,
):
    cdef const floating[::1] gamma_grad, beta_grad
    cdef pooled_pass q = gradients_of[floating](
        "batch_norm_pool_input_gradient", grad, argmax, x, statistics, affine, filter_size)
    gamma_grad, beta_grad = gradients
    if (
        gamma_grad.shape[0] != x.shape[3] or beta_grad.shape[0] != x.shape[3]
        or as_tuple(x.shape, 4) != as_tuple(out.shape, 4)
    ):
        raise ValueError(
            f"batch_norm_pool_input_gradient: shapes do not fit: {as_tuple(x.shape, 4)}, {as_tuple(out.shape, 4)}, "
            f"{gamma_grad.shape[0]}, {beta_grad.shape[0]}")
    if x.shape[0] == 0:
        return
    q.p.numbers[GAMMA_GRAD], q.p.numbers[BETA_GRAD] = <void *>&gamma_grad[0], <void *>&beta_grad[0]
    q.p.out.first = <char *>&out[0, 0, 0, 0]
    with nogil:
        input_gradient[floating](&q, 0)
