"""Losses of regression, each a penalty f(r) of a residual and its slope f'(r)."""

from libc.math cimport fabs

from cnnx._kernels.families.losses cimport example_function, for_each_example
from cnnx._kernels.ground.elementwise cimport for_each_run, run_function
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.lanes cimport LANES, sum_of_lanes

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
    error kind, const floating *x, const floating *targets, Py_ssize_t outputs, double delta,
) noexcept nogil:
    """Called with a constant for the kind, so that the loop has no branch."""
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


cdef double squared_example(
    const floating *x, const floating *targets, floating *none, Py_ssize_t outputs, Py_ssize_t batch, double delta,
) noexcept nogil:
    return mean_penalty(SQUARED, x, targets, outputs, delta)


cdef double absolute_example(
    const floating *x, const floating *targets, floating *none, Py_ssize_t outputs, Py_ssize_t batch, double delta,
) noexcept nogil:
    return mean_penalty(ABSOLUTE, x, targets, outputs, delta)


cdef double huber_example(
    const floating *x, const floating *targets, floating *none, Py_ssize_t outputs, Py_ssize_t batch, double delta,
) noexcept nogil:
    return mean_penalty(HUBER, x, targets, outputs, delta)


def squared_error_forward(x, targets, losses):
    for_each_example(
        "squared_error_forward", x, targets, None, losses, <example_function>squared_example[float],
        <example_function>squared_example[double], 2)


def absolute_error_forward(x, targets, losses):
    for_each_example(
        "absolute_error_forward", x, targets, None, losses, <example_function>absolute_example[float],
        <example_function>absolute_example[double], 2)


def absolute_errors(predictions, targets, out):
    for_each_example(
        "absolute_errors", predictions, targets, None, out, <example_function>absolute_example[float],
        <example_function>absolute_example[double], 2)


def huber_forward(x, targets, double delta, losses):
    for_each_example(
        "huber_forward", x, targets, None, losses, <example_function>huber_example[float],
        <example_function>huber_example[double], 2, delta)


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
