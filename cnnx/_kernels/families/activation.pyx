"""Activations, element by element. A task is a run of elements."""

from libc.string cimport memset

from cnnx._kernels.families.channels cimport (
    BLOCK, TASKS, channel_pass, fill_sums, fold, pass_function, reserve, run_pass, run_tasks, share_out, spread,
)
from cnnx._kernels.ground.elementwise cimport for_each_run, run_function
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for
from cnnx._kernels.ground.parallel cimport release


cdef extern from "activation.h" nogil:
    enum activation:
        SIGMOID, LEAKY_RELU, ELU, GELU, SILU, TANH, SOFTPLUS, HARD_SWISH

    ctypedef struct activation_rows:
        run_function forward, backward

    const activation_rows *rows_of(activation which, Py_ssize_t vector_bytes, size_t itemsize) noexcept nogil


cdef enum:
    OPERATIONS = 10     # of one activation with an exponential, roughly


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


cdef void prelu_task(const void *job, Py_ssize_t block, floating *unused) noexcept nogil:
    cdef const channel_pass *p = <const channel_pass *>job
    cdef Py_ssize_t start = block * p.r.block, end = min(start + p.r.block, p.r.size)
    while start < end:
        prelu_row(
            <const floating *>p.x.first + start, <const floating *>p.shared, <floating *>p.out.first + start,
            min(p.r.width, end - start))
        start += p.r.width


cdef int prelu(channel_pass *p, const floating *x) except -1 nogil:
    spread(<const floating *>p.numbers[0], p.r, <floating *>reserve(p, p.r.blocks, 1, 0, 1, 0))
    run_tasks(prelu_task[floating], p)
    release(p.sums)
    return 0


def prelu_forward(x, slope, out):
    run_pass(
        "prelu_forward", (x,), (out,), (slope,), (), <pass_function>prelu[float], <pass_function>prelu[double])


cdef void prelu_backward_task(const void *job, Py_ssize_t task, floating *row) noexcept nogil:
    """`row` holds the sums of a block."""
    cdef const channel_pass *p = <const channel_pass *>job
    cdef Py_ssize_t start = task * p.r.share, stop = min(p.r.size, start + p.r.share), end
    cdef double *sums = p.sums + task * p.own
    memset(sums, 0, p.own * sizeof(double))
    while start < stop:
        memset(row, 0, p.r.width * sizeof(floating))
        end = min(stop, start + p.r.block)
        while start < end:
            prelu_backward_row(
                <const floating *>p.grad.first + start, <const floating *>p.x.first + start,
                <const floating *>p.shared, row, <floating *>p.out.first + start if p.out.first else NULL,
                min(p.r.width, end - start))
            start += p.r.width
        fold(row, p.r, sums)


cdef int prelu_gradients(channel_pass *p, const floating *x) except -1 nogil:
    cdef Py_ssize_t width = p.r.width
    # Tasks of equal numbers of rows, of which a block has only one where channels are many.
    p.r.block = max(BLOCK // width, <Py_ssize_t>1) * width
    share_out(&p.r, ((p.r.size + width - 1) // width + TASKS - 1) // TASKS * width)
    spread(<const floating *>p.numbers[0], p.r, <floating *>reserve(p, p.r.tasks, 2, 1, 1, 1))
    run_tasks(prelu_backward_task[floating], p)
    fill_sums(p, <floating *>p.numbers[1])
    release(p.sums)
    return 0


def prelu_backward(grad, x, slope, slope_grad, out):
    run_pass(
        "prelu_backward", (x, grad), () if out is None else (out,), (slope,), (slope_grad,),
        <pass_function>prelu_gradients[float], <pass_function>prelu_gradients[double])


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
