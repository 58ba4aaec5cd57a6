"""Losses of regression, each a penalty f(r) of a residual and its slope f'(r)."""

from libc.math cimport fabs

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.elementwise cimport for_each_run, run_function
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.lanes cimport LANES, sum_of_lanes
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape

cdef enum error:
    SQUARED
    ABSOLUTE
    HUBER


# -- Penalties ----------------------------------------------------------------------------------------

cdef inline double penalty(error kind, double r, double delta) noexcept nogil:
    cdef double distance = fabs(r), near
    if kind == SQUARED:
        return r * r
    if kind == ABSOLUTE:
        return distance
    near = delta if distance > delta else distance
    # near^2 / 2 where it is the distance itself, else delta (distance - delta / 2).
    return near * (distance - near / 2)


cdef inline double mean_penalty(
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


cdef double loss(
    error kind, const floating *x, const floating *targets, double delta, Py_ssize_t outputs,
) noexcept nogil:
    """Of one example. Each kind is a constant where it is compiled, and its loop has no branch."""
    if kind == SQUARED:
        return mean_penalty(SQUARED, x, targets, delta, outputs)
    if kind == ABSOLUTE:
        return mean_penalty(ABSOLUTE, x, targets, delta, outputs)
    return mean_penalty(HUBER, x, targets, delta, outputs)


@by_dtype
def forward(
    const floating[:, ::1] x, const floating[:, ::1] targets, floating delta, floating[::1] losses, str name,
    error kind,
):
    cdef Py_ssize_t n, N = x.shape[0], K = x.shape[1]
    if not same_shape(targets.shape, x.shape, 2) or losses.shape[0] != N or K < 1:
        raise ValueError(
            f"{name}: shapes do not fit: {as_tuple(x.shape, 2)}, {as_tuple(targets.shape, 2)}, {(losses.shape[0],)}")
    with nogil:
        for n in range(N):
            losses[n] = <floating>loss(kind, &x[n, 0], &targets[n, 0], delta, K)


def squared_error_forward(x, targets, losses):
    forward(x, targets, 0, losses, "squared_error_forward", SQUARED)


def absolute_error_forward(x, targets, losses):
    forward(x, targets, 0, losses, "absolute_error_forward", ABSOLUTE)


def absolute_errors(predictions, targets, out):
    forward(predictions, targets, 0, out, "absolute_errors", ABSOLUTE)


def huber_forward(x, targets, delta, losses):
    forward(x, targets, delta, losses, "huber_forward", HUBER)


# -- Slopes -------------------------------------------------------------------------------------------

cdef void squared_slopes(
    const floating *x, const floating *targets, floating *out, Py_ssize_t count, double size, double unused,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating r
    for i in range(count):
        r = x[i] - targets[i]
        out[i] = (r + r) / <floating>size  # a factor of 2 would be a double


cdef void absolute_slopes(
    const floating *x, const floating *targets, floating *out, Py_ssize_t count, double size, double unused,
) noexcept nogil:
    """NaN, which is neither above nor below 0, stays."""
    cdef Py_ssize_t i
    cdef floating r, up = 1 / <floating>size, down = -up
    for i in range(count):
        r = x[i] - targets[i]
        r = up if r > 0 else r
        out[i] = down if r < 0 else r


cdef void huber_slopes(
    const floating *x, const floating *targets, floating *out, Py_ssize_t count, double size, double delta,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating r, high = <floating>delta, low = -high
    for i in range(count):
        r = x[i] - targets[i]
        r = low if r < low else r
        out[i] = (high if r > high else r) / <floating>size


def squared_error_backward(x, targets, out):
    for_each_run(
        "squared_error_backward", x, targets, out, <run_function>squared_slopes[float],
        <run_function>squared_slopes[double], x.size)


def absolute_error_backward(x, targets, out):
    for_each_run(
        "absolute_error_backward", x, targets, out, <run_function>absolute_slopes[float],
        <run_function>absolute_slopes[double], x.size)


def huber_backward(x, targets, double delta, out):
    for_each_run(
        "huber_backward", x, targets, out, <run_function>huber_slopes[float], <run_function>huber_slopes[double],
        x.size, delta)
