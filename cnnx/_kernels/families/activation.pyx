"""Activations, element by element. A task is a run of elements."""

from libc.string cimport memset

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.elementwise cimport for_each_run, run_function
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for
from cnnx._kernels.ground.parallel cimport add_parts, allocate, for_each_task, release, threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, positions, same_shape


cdef extern from "activation.h" nogil:
    enum activation:
        SIGMOID, LEAKY_RELU, ELU, GELU, SILU, TANH, SOFTPLUS, HARD_SWISH

    ctypedef struct activation_rows:
        run_function forward, backward

    const activation_rows *rows_of(activation which, Py_ssize_t vector_bytes, size_t itemsize) noexcept nogil


cdef enum:
    RUN = 16384
    OPERATIONS = 10     # of one activation with an exponential, roughly
    ROW = 64            # a row of positions has at least so many elements,
    PARTS = 32          # and sums over positions have at most so many parts


cdef void relu_run(
    const floating *x, const floating *unused, floating *out, Py_ssize_t count, double p, double q,
) noexcept nogil:
    loops_for(sizeof(floating)).relu_row(x, out, count)


cdef void gate_run(
    const floating *grad, const floating *y, floating *out, Py_ssize_t count, double p, double q,
) noexcept nogil:
    loops_for(sizeof(floating)).gate_row(grad, y, out, count)


def relu_forward(x, out):
    for_each_run("relu_forward", x, None, out, <run_function>relu_run[float], <run_function>relu_run[double])


def relu_backward(grad, y, out):
    for_each_run("relu_backward", grad, y, out, <run_function>gate_run[float], <run_function>gate_run[double])


# -- A slope for each channel ---------------------------------------------------------------------------
# An array is seen as rows of at least ROW elements that hold whole positions, so that inner loops are long
# where channels are few.

cdef struct prelu:
    const void *grad
    const void *x
    const void *slopes          # of a row
    void *out
    Py_ssize_t size, width, channels    # elements in all and of a row, and channels of a position
    Py_ssize_t share                    # elements of a task: whole rows
    double *totals                      # of each task


cdef prelu rows_of_positions(Py_ssize_t positions, Py_ssize_t channels) noexcept nogil:
    """Tasks of about RUN elements or more, of which there are at most PARTS."""
    cdef prelu p
    memset(&p, 0, sizeof(prelu))
    p.size, p.channels, p.width = positions * channels, channels, (ROW + channels - 1) // channels * channels
    p.share = max(
        max(RUN // p.width, <Py_ssize_t>1), ((p.size + p.width - 1) // p.width + PARTS - 1) // PARTS) * p.width
    return p


cdef void prelu_row(const floating *x, const floating *slope, floating *out, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating below
    for i in range(count):
        below = slope[i] * x[i]
        out[i] = x[i] if x[i] > 0 else below


cdef void prelu_backward_row(
    const floating *grad, const floating *x, const floating *slope, floating *total, floating *out, Py_ssize_t count,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating below
    if out != NULL:
        for i in range(count):
            below = slope[i] * grad[i]
            out[i] = grad[i] if x[i] > 0 else below
    for i in range(count):
        below = 0 if x[i] > 0 else x[i]
        total[i] += grad[i] * below


cdef void prelu_task(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    cdef const prelu *p = <const prelu *>job
    cdef Py_ssize_t start = task * p.share, end = min(p.size, start + p.share)
    while start < end:
        prelu_row(
            <const floating *>p.x + start, <const floating *>p.slopes, <floating *>p.out + start,
            min(p.width, end - start))
        start += p.width


cdef void prelu_backward_task(const void *job, Py_ssize_t task, floating *row) noexcept nogil:
    """`row` holds sums of up to RUN elements, which are added up in double precision."""
    cdef const prelu *p = <const prelu *>job
    cdef Py_ssize_t start = task * p.share, stop = min(p.size, start + p.share), end, i
    cdef double *total = p.totals + task * p.channels
    memset(total, 0, p.channels * sizeof(double))
    while start < stop:
        memset(row, 0, p.width * sizeof(floating))
        end = min(stop, start + max(RUN // p.width, <Py_ssize_t>1) * p.width)
        while start < end:
            prelu_backward_row(
                <const floating *>p.grad + start, <const floating *>p.x + start, <const floating *>p.slopes, row,
                NULL if p.out == NULL else <floating *>p.out + start, min(p.width, end - start))
            start += p.width
        for i in range(p.width):
            total[i % p.channels] += row[i]


cdef void repeat(const floating[::1] slope, Py_ssize_t width, floating *row) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(width):
        row[i] = slope[i % slope.shape[0]]


@by_dtype
def prelu_forward(x, const floating[::1] slope, out):
    cdef const floating[:, ::1] X = positions(x)
    cdef floating[:, ::1] Y = positions(out)
    cdef Py_ssize_t channels = slope.shape[0]
    if X.shape[1] != channels or channels < 1 or not same_shape(X.shape, Y.shape, 2):
        raise ValueError(
            f"prelu_forward: shapes do not fit: {as_tuple(X.shape, 2)}, slopes {channels}, {as_tuple(Y.shape, 2)}")
    if X.shape[0] == 0:
        return
    cdef prelu p = rows_of_positions(X.shape[0], channels)
    cdef Py_ssize_t tasks = (p.size + p.share - 1) // p.share
    cdef floating *slopes = <floating *>allocate(p.width * sizeof(floating))
    p.x, p.slopes, p.out = &X[0, 0], slopes, &Y[0, 0]
    with nogil:
        repeat(slope, p.width, slopes)
        for_each_task(prelu_task[floating], &p, tasks, threads_for(tasks, p.size), <floating *>NULL, 0)
    release(slopes)


@by_dtype
def prelu_backward(grad, x, const floating[::1] slope, floating[::1] slope_grad, out):
    cdef const floating[:, ::1] G = positions(grad), X = positions(x)
    cdef floating[:, ::1] Y = None if out is None else positions(out)
    cdef Py_ssize_t channels = slope.shape[0], c
    if (
        X.shape[1] != channels or channels < 1 or slope_grad.shape[0] != channels
        or Y is not None and not same_shape(X.shape, Y.shape, 2) or not same_shape(X.shape, G.shape, 2)
    ):
        raise ValueError(
            f"prelu_backward: shapes do not fit: {as_tuple(G.shape, 2)}, {as_tuple(X.shape, 2)}, "
            f"slopes {channels}, {slope_grad.shape[0]}, {None if Y is None else as_tuple(Y.shape, 2)}")
    slope_grad[...] = 0
    if X.shape[0] == 0:
        return
    cdef prelu p = rows_of_positions(X.shape[0], channels)
    cdef Py_ssize_t tasks = (p.size + p.share - 1) // p.share
    cdef int threads = threads_for(tasks, 2.0 * p.size)
    p.totals = <double *>allocate(tasks * channels * sizeof(double) + (1 + threads) * p.width * sizeof(floating))
    cdef floating *slopes = <floating *>(p.totals + tasks * channels)
    p.grad, p.x, p.slopes, p.out = &G[0, 0], &X[0, 0], slopes, NULL if Y is None else &Y[0, 0]
    with nogil:
        repeat(slope, p.width, slopes)
        for_each_task(prelu_backward_task[floating], &p, tasks, threads, slopes + p.width, p.width)
        add_parts(p.totals, tasks, channels)
        for c in range(channels):
            slope_grad[c] = <floating>p.totals[c]
    release(p.totals)


# -- The others, whose loops are in activation_rows.h -------------------------------------------------

cdef const activation_rows *rows_in_use(activation which, size_t itemsize) noexcept nogil:
    return rows_of(which, in_use().vector_bytes, itemsize)


cdef forward(str name, activation which, x, out, double a=0, double b=0):
    for_each_run(
        name, x, None, out, rows_in_use(which, sizeof(float)).forward, rows_in_use(which, sizeof(double)).forward, a, b,
        OPERATIONS)


cdef backward(str name, activation which, grad, kept, out, double a=0, double b=0):
    for_each_run(
        name, grad, kept, out, rows_in_use(which, sizeof(float)).backward, rows_in_use(which, sizeof(double)).backward,
        a, b, OPERATIONS)


def leaky_relu_forward(x, slope, out):
    forward("leaky_relu_forward", LEAKY_RELU, x, out, slope)


def leaky_relu_backward(grad, y, slope, out):
    backward("leaky_relu_backward", LEAKY_RELU, grad, y, out, slope)


def elu_forward(x, alpha, scale, out):
    forward("elu_forward", ELU, x, out, alpha, scale)


def elu_backward(grad, y, alpha, scale, out):
    backward("elu_backward", ELU, grad, y, out, alpha, scale)


def gelu_forward(x, out):
    forward("gelu_forward", GELU, x, out)


def gelu_backward(grad, x, out):
    backward("gelu_backward", GELU, grad, x, out)


def silu_forward(x, out):
    forward("silu_forward", SILU, x, out)


def silu_backward(grad, x, out):
    backward("silu_backward", SILU, grad, x, out)


def sigmoid_forward(x, out):
    forward("sigmoid_forward", SIGMOID, x, out)


def sigmoid_backward(grad, y, out):
    backward("sigmoid_backward", SIGMOID, grad, y, out)


def tanh_forward(x, out):
    forward("tanh_forward", TANH, x, out)


def tanh_backward(grad, y, out):
    backward("tanh_backward", TANH, grad, y, out)


def softplus_forward(x, out):
    forward("softplus_forward", SOFTPLUS, x, out)


def softplus_backward(grad, y, out):
    backward("softplus_backward", SOFTPLUS, grad, y, out)


def hard_swish_forward(x, out):
    forward("hard_swish_forward", HARD_SWISH, x, out)


def hard_swish_backward(grad, x, out):
    backward("hard_swish_backward", HARD_SWISH, grad, x, out)
