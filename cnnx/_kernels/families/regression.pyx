"""Losses of regression, each a penalty f(r) of a residual and its slope f'(r). One thread goes through a batch."""

from libc.math cimport fabs

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.lanes cimport LANES, sum_of_lanes
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape

cdef enum error:
    SQUARED
    ABSOLUTE
    HUBER


cdef inline double penalty(error kind, double r, double delta) noexcept nogil:
    cdef double distance = fabs(r), near
    if kind == SQUARED:
        return r * r
    if kind == ABSOLUTE:
        return distance
    near = delta if distance > delta else distance
    # near^2 / 2 where it is the distance itself, else delta (distance - delta / 2).
    return near * (distance - near / 2)


cdef inline floating slope(error kind, floating r, floating delta) noexcept nogil:
    """NaN, which no comparison holds for, stays."""
    if kind == SQUARED:
        return 2 * r
    if kind == ABSOLUTE:
        return 1 if r > 0 else -1 if r < 0 else r
    return delta if r > delta else -delta if r < -delta else r


cdef double mean_penalty(
    error kind, const floating *x, const floating *targets, double delta, Py_ssize_t outputs,
) noexcept nogil:
    cdef Py_ssize_t k = 0, l
    cdef floating r
    cdef double sums[LANES]
    for l in range(LANES):
        sums[l] = 0
    while k + LANES <= outputs:
        for l in range(LANES):
            r = x[k + l] - targets[k + l]
            sums[l] += penalty(kind, r, delta)
        k += LANES
    for l in range(outputs - k):
        r = x[k + l] - targets[k + l]
        sums[l] += penalty(kind, r, delta)
    return sum_of_lanes(sums) / outputs


cdef void slopes(
    error kind, const floating *x, const floating *targets, floating delta, floating *out, Py_ssize_t size,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating count = <floating>size
    for i in range(size):
        out[i] = slope(kind, x[i] - targets[i], delta) / count


cdef _forward(
    str name, error kind, const floating[:, ::1] x, const floating[:, ::1] targets, floating delta,
    floating[::1] losses,
):
    cdef Py_ssize_t n, N = x.shape[0], K = x.shape[1]
    if not same_shape(targets.shape, x.shape, 2) or losses.shape[0] != N or K < 1:
        raise ValueError(
            f"{name}: shapes do not fit: {as_tuple(x.shape, 2)}, {as_tuple(targets.shape, 2)}, {(losses.shape[0],)}")
    with nogil:
        for n in range(N):
            losses[n] = <floating>mean_penalty(kind, &x[n, 0], &targets[n, 0], delta, K)


cdef _backward(
    str name, error kind, const floating[:, ::1] x, const floating[:, ::1] targets, floating delta,
    floating[:, ::1] out,
):
    cdef Py_ssize_t size = x.shape[0] * x.shape[1]
    if not same_shape(targets.shape, x.shape, 2) or not same_shape(out.shape, x.shape, 2):
        raise ValueError(
            f"{name}: shapes do not fit: {as_tuple(x.shape, 2)}, {as_tuple(targets.shape, 2)}, "
            f"{as_tuple(out.shape, 2)}")
    if size:
        slopes(kind, &x[0, 0], &targets[0, 0], delta, &out[0, 0], size)


cdef forward(str name, error kind, x, targets, delta, losses):
    if losses.dtype.char == "f":
        _forward[float](name, kind, x, targets, delta, losses)
    else:
        _forward[double](name, kind, x, targets, delta, losses)


cdef backward(str name, error kind, x, targets, delta, out):
    if out.dtype.char == "f":
        _backward[float](name, kind, x, targets, delta, out)
    else:
        _backward[double](name, kind, x, targets, delta, out)


def squared_error_forward(x, targets, losses):
    forward("squared_error_forward", SQUARED, x, targets, 0, losses)


def squared_error_backward(x, targets, out):
    backward("squared_error_backward", SQUARED, x, targets, 0, out)


def absolute_error_forward(x, targets, losses):
    forward("absolute_error_forward", ABSOLUTE, x, targets, 0, losses)


def absolute_error_backward(x, targets, out):
    backward("absolute_error_backward", ABSOLUTE, x, targets, 0, out)


def huber_forward(x, targets, delta, losses):
    forward("huber_forward", HUBER, x, targets, delta, losses)


def huber_backward(x, targets, delta, out):
    backward("huber_backward", HUBER, x, targets, delta, out)


def absolute_errors(predictions, targets, out):
    forward("absolute_errors", ABSOLUTE, predictions, targets, 0, out)
