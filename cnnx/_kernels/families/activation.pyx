"""Activations, element by element. A task is a run of elements."""

from cython.parallel cimport prange
from libc.string cimport memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops as loops_table, loops_for
from cnnx._kernels.ground.parallel cimport allocate, release, threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape


cdef extern from "activation.h" nogil:
    enum activation:
        SIGMOID, LEAKY_RELU, ELU, GELU, SILU, TANH, SOFTPLUS, HARD_SWISH

    ctypedef struct activation_rows:
        void (*forward)(const void *x, void *out, Py_ssize_t count, double a, double b) noexcept nogil
        void (*backward)(
            const void *grad, const void *kept, void *out, Py_ssize_t count, double a, double b) noexcept nogil

    const activation_rows *rows_of(activation which, Py_ssize_t vector_bytes, size_t itemsize) noexcept nogil


cdef enum:
    RUN = 16384
    OPERATIONS = 10     # of one activation with an exponential, roughly
    ROW = 64            # a row of positions has at least so many elements,
    PARTS = 32          # and sums over positions have at most so many parts


cdef _relu_forward(const floating[::1] x, floating[::1] out):
    cdef Py_ssize_t size = x.shape[0], tasks = (size + RUN - 1) // RUN, task
    if size != out.shape[0]:
        raise ValueError(f"relu_forward: sizes do not fit: {size}, {out.shape[0]}")
    if size == 0:
        return
    cdef const floating *from_x = &x[0]
    cdef floating *to_out = &out[0]
    cdef const loops_table *loops = loops_for(sizeof(floating))
    for task in prange(tasks, num_threads=threads_for(tasks, size), schedule="static", nogil=True):
        loops.relu_row(from_x + task * RUN, to_out + task * RUN, min(<Py_ssize_t>RUN, size - task * RUN))


cdef _relu_backward(const floating[::1] grad, const floating[::1] y, floating[::1] out):
    cdef Py_ssize_t size = y.shape[0], tasks = (size + RUN - 1) // RUN, task
    if size != out.shape[0] or size != grad.shape[0]:
        raise ValueError(f"relu_backward: sizes do not fit: {grad.shape[0]}, {size}, {out.shape[0]}")
    if size == 0:
        return
    cdef const floating *from_grad = &grad[0]
    cdef const floating *from_y = &y[0]
    cdef floating *to_out = &out[0]
    cdef const loops_table *loops = loops_for(sizeof(floating))
    if tasks == 1:
        # Without the region of a single thread, which takes a microsecond.
        loops.gate_row(from_grad, from_y, to_out, size)
        return
    for task in prange(tasks, num_threads=threads_for(tasks, size), schedule="static", nogil=True):
        loops.gate_row(
            from_grad + task * RUN, from_y + task * RUN, to_out + task * RUN,
            min(<Py_ssize_t>RUN, size - task * RUN))


cdef _forward(
    const char *name, activation which, const floating[::1] x, double a, double b, floating[::1] out,
):
    cdef Py_ssize_t size = x.shape[0], tasks = (size + RUN - 1) // RUN, task
    if size != out.shape[0]:
        raise ValueError(f"{name.decode()}: sizes do not fit: {size}, {out.shape[0]}")
    if size == 0:
        return
    cdef const floating *from_x = &x[0]
    cdef floating *to_out = &out[0]
    cdef const activation_rows *rows = rows_of(which, in_use().vector_bytes, sizeof(floating))
    for task in prange(
        tasks, num_threads=threads_for(tasks, <double>OPERATIONS * size), schedule="static", nogil=True,
    ):
        rows.forward(from_x + task * RUN, to_out + task * RUN, min(<Py_ssize_t>RUN, size - task * RUN), a, b)


cdef _backward(
    const char *name, activation which, const floating[::1] grad, const floating[::1] kept, double a, double b,
    floating[::1] out,
):
    cdef Py_ssize_t size = kept.shape[0], tasks = (size + RUN - 1) // RUN, task
    if size != out.shape[0] or size != grad.shape[0]:
        raise ValueError(f"{name.decode()}: sizes do not fit: {grad.shape[0]}, {size}, {out.shape[0]}")
    if size == 0:
        return
    cdef const floating *from_grad = &grad[0]
    cdef const floating *from_kept = &kept[0]
    cdef floating *to_out = &out[0]
    cdef const activation_rows *rows = rows_of(which, in_use().vector_bytes, sizeof(floating))
    for task in prange(
        tasks, num_threads=threads_for(tasks, <double>OPERATIONS * size), schedule="static", nogil=True,
    ):
        rows.backward(
            from_grad + task * RUN, from_kept + task * RUN, to_out + task * RUN,
            min(<Py_ssize_t>RUN, size - task * RUN), a, b)


# -- A slope for each channel ---------------------------------------------------------------------------
# An array is seen as rows of at least ROW elements that hold whole positions, so that inner loops are long
# where channels are few.

cdef Py_ssize_t row_width(Py_ssize_t channels) noexcept nogil:
    return (ROW + channels - 1) // channels * channels


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
    for i in range(count):
        below = slope[i] * grad[i]
        out[i] = grad[i] if x[i] > 0 else below
    for i in range(count):
        below = 0 if x[i] > 0 else x[i]
        total[i] += grad[i] * below


cdef void prelu_backward_part(
    const floating *grad, const floating *x, const floating *slope, Py_ssize_t size, Py_ssize_t width,
    Py_ssize_t channels, floating *row, double *total, floating *out,
) noexcept nogil:
    """A run of whole positions; `row` holds sums of up to RUN elements, which are added up in double precision."""
    cdef Py_ssize_t start = 0, end, i
    memset(total, 0, channels * sizeof(double))
    while start < size:
        memset(row, 0, width * sizeof(floating))
        end = min(size, start + max(RUN // width, <Py_ssize_t>1) * width)
        while start < end:
            prelu_backward_row(grad + start, x + start, slope, row, out + start, min(width, end - start))
            start += width
        for i in range(width):
            total[i % channels] += row[i]


cdef floating *repeated(const floating[::1] slope, Py_ssize_t width) except NULL:
    cdef Py_ssize_t i
    cdef floating *row = <floating *>allocate(width * sizeof(floating))
    for i in range(width):
        row[i] = slope[i % slope.shape[0]]
    return row


cdef _prelu_forward(const floating[:, ::1] x, const floating[::1] slope, floating[:, ::1] out):
    cdef Py_ssize_t channels = slope.shape[0], size = x.shape[0] * channels, width, count, start
    if x.shape[1] != channels or channels < 1 or not same_shape(x.shape, out.shape, 2):
        raise ValueError(
            f"prelu_forward: shapes do not fit: {as_tuple(x.shape, 2)}, slopes {channels}, "
            f"{as_tuple(out.shape, 2)}")
    if size == 0:
        return
    width = row_width(channels)
    cdef Py_ssize_t row, rows = (size + width - 1) // width
    cdef const floating *from_x = &x[0, 0]
    cdef floating *to_out = &out[0, 0]
    cdef floating *slopes = repeated(slope, width)
    for row in prange(rows, num_threads=threads_for(rows, size), schedule="static", nogil=True):
        prelu_row(
            from_x + row * width, <const floating *>slopes, to_out + row * width, min(width, size - row * width))
    release(slopes)


cdef _prelu_backward(
    const floating[:, ::1] grad, const floating[:, ::1] x, const floating[::1] slope, floating[::1] slope_grad,
    floating[:, ::1] out,
):
    cdef Py_ssize_t channels = slope.shape[0], size = x.shape[0] * channels, width, part, parts, share, c
    if (
        x.shape[1] != channels or channels < 1 or slope_grad.shape[0] != channels
        or not same_shape(x.shape, out.shape, 2) or not same_shape(x.shape, grad.shape, 2)
    ):
        raise ValueError(
            f"prelu_backward: shapes do not fit: {as_tuple(grad.shape, 2)}, {as_tuple(x.shape, 2)}, "
            f"slopes {channels}, {slope_grad.shape[0]}, {as_tuple(out.shape, 2)}")
    slope_grad[...] = 0
    if size == 0:
        return
    width = row_width(channels)
    # Whole rows, about RUN elements or more, in at most PARTS parts.
    share = max(max(RUN // width, <Py_ssize_t>1), ((size + width - 1) // width + PARTS - 1) // PARTS) * width
    parts = (size + share - 1) // share
    cdef const floating *from_grad = &grad[0, 0]
    cdef const floating *from_x = &x[0, 0]
    cdef floating *to_out = &out[0, 0]
    cdef floating *slopes = repeated(slope, width)
    cdef double *totals
    cdef floating *rows
    try:
        totals = <double *>allocate(parts * (channels * sizeof(double) + width * sizeof(floating)))
    except MemoryError:
        release(slopes)
        raise
    rows = <floating *>(totals + parts * channels)
    for part in prange(parts, num_threads=threads_for(parts, 2.0 * size), schedule="static", nogil=True):
        prelu_backward_part(
            from_grad + part * share, from_x + part * share, <const floating *>slopes,
            min(share, size - part * share), width, channels, rows + part * width, totals + part * channels,
            to_out + part * share)
    for c in range(channels):
        for part in range(1, parts):
            totals[c] += totals[part * channels + c]
        slope_grad[c] = <floating>totals[c]
    release(totals)
    release(slopes)


# -- The door -----------------------------------------------------------------------------------------

cdef forward(const char *name, activation which, x, out, double a=0, double b=0):
    if out.dtype.char == "f":
        _forward[float](name, which, x.reshape(-1), a, b, out.reshape(-1))
    else:
        _forward[double](name, which, x.reshape(-1), a, b, out.reshape(-1))


cdef backward(const char *name, activation which, grad, kept, out, double a=0, double b=0):
    if out.dtype.char == "f":
        _backward[float](name, which, grad.reshape(-1), kept.reshape(-1), a, b, out.reshape(-1))
    else:
        _backward[double](name, which, grad.reshape(-1), kept.reshape(-1), a, b, out.reshape(-1))


def relu_forward(x, out):
    if out.dtype.char == "f":
        _relu_forward[float](x.reshape(-1), out.reshape(-1))
    else:
        _relu_forward[double](x.reshape(-1), out.reshape(-1))


def relu_backward(grad, y, out):
    if out.dtype.char == "f":
        _relu_backward[float](grad.reshape(-1), y.reshape(-1), out.reshape(-1))
    else:
        _relu_backward[double](grad.reshape(-1), y.reshape(-1), out.reshape(-1))


def leaky_relu_forward(x, slope, out):
    forward("leaky_relu_forward", LEAKY_RELU, x, out, slope)


def leaky_relu_backward(grad, y, slope, out):
    backward("leaky_relu_backward", LEAKY_RELU, grad, y, out, slope)


def prelu_forward(x, slope, out):
    if out.dtype.char == "f":
        _prelu_forward[float](x.reshape(-1, x.shape[x.ndim - 1]), slope, out.reshape(-1, out.shape[out.ndim - 1]))
    else:
        _prelu_forward[double](x.reshape(-1, x.shape[x.ndim - 1]), slope, out.reshape(-1, out.shape[out.ndim - 1]))


def prelu_backward(grad, x, slope, slope_grad, out):
    channels = x.shape[x.ndim - 1]
    if out.dtype.char == "f":
        _prelu_backward[float](
            grad.reshape(-1, channels), x.reshape(-1, channels), slope, slope_grad, out.reshape(-1, channels))
    else:
        _prelu_backward[double](
            grad.reshape(-1, channels), x.reshape(-1, channels), slope, slope_grad, out.reshape(-1, channels))


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
