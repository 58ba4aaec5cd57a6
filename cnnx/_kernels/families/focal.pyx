"""Focal loss, after softmax and after sigmoid.

Logarithms are taken of scores, not of probabilities, and so are finite where a probability underflows.
"""

from libc.math cimport exp, expf, expm1, fabs, log, log1p, log1pf, pow, powf

from cnnx._kernels.families.losses cimport example_function, for_each_example
from cnnx._kernels.families.softmax cimport exponentials
from cnnx._kernels.ground.argmax cimport argmax
from cnnx._kernels.ground.floating cimport floating

cdef enum:
    OPERATIONS = 60  # of two exponentials and a power, roughly


cdef inline double power(floating y, double gamma) noexcept nogil:
    """y^gamma; 2 is what most take."""
    if gamma == 2:
        return <double>y * y
    return powf(y, <float>gamma) if floating is float else pow(y, gamma)


# -- After softmax ------------------------------------------------------------------------------------

cdef inline double softmax_loss(double log_y, double gamma) noexcept nogil:
    """-(1 - y)^gamma log(y)."""
    return -power[double](-expm1(log_y), gamma) * log_y


cdef inline double softmax_slope(double y, double log_y, double gamma) noexcept nogil:
    """y times the derivative of that by y. log(y) / (1 - y) tends to -1 where y tends to 1."""
    cdef double rest = -expm1(log_y), ratio = log_y / rest if rest != 0 else -1
    return power[double](rest, gamma) * (gamma * y * ratio - 1)


cdef double softmax_forward_example(
    const floating *z, const floating *targets, floating *out, Py_ssize_t classes, Py_ssize_t batch, double gamma,
) noexcept nogil:
    """Probabilities into `out`; returns the loss."""
    cdef Py_ssize_t k
    cdef double most = z[argmax(z, classes)], loss = 0
    cdef double total = exponentials(z, classes, <floating>most, out), scale = 1 / total, log_total = log(total)
    for k in range(classes):
        # Skipped where the target is 0, for 0 * inf is not 0.
        if targets[k] != 0:
            loss += targets[k] * softmax_loss(z[k] - most - log_total, gamma)
        out[k] = <floating>(out[k] * scale)
    return loss


cdef double softmax_backward_example(
    const floating *z, const floating *targets, floating *out, Py_ssize_t classes, Py_ssize_t batch, double gamma,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef double y, c, inner = 0, most = z[argmax(z, classes)]
    cdef double total = exponentials(z, classes, <floating>most, out), scale = 1 / total, log_total = log(total)
    for k in range(classes):
        if targets[k] != 0:
            inner += targets[k] * softmax_slope(out[k] * scale, z[k] - most - log_total, gamma)
    for k in range(classes):
        y, c = out[k] * scale, 0
        if targets[k] != 0:
            c = targets[k] * softmax_slope(y, z[k] - most - log_total, gamma)
        out[k] = <floating>((c - y * inner) / batch)
    return 0


def softmax_focal_forward(x, targets, double gamma, out, losses):
    for_each_example(
        "softmax_focal_forward", x, targets, out, losses, <example_function>softmax_forward_example[float],
        <example_function>softmax_forward_example[double], OPERATIONS, gamma)


def softmax_focal_backward(x, targets, double gamma, out):
    for_each_example(
        "softmax_focal_backward", x, targets, out, None, <example_function>softmax_backward_example[float],
        <example_function>softmax_backward_example[double], OPERATIONS, gamma)


# -- After sigmoid ------------------------------------------------------------------------------------

cdef inline floating exponential(floating z) noexcept nogil:
    """exp(-|z|), which cannot overflow; NaN stays."""
    return expf(-<float>fabs(z)) if floating is float else exp(-fabs(z))


cdef inline double logistic(double z, double small) noexcept nogil:
    """1 / (1 + exp(-z)) from exp(-|z|), and of -z the rest to 1."""
    return (small if z < 0 else 1) / (1 + small)


cdef inline double log_logistic(floating z, floating small) noexcept nogil:
    return <double>(z if z < 0 else 0) - (log1pf(small) if floating is float else log1p(small))


cdef inline double sigmoid_loss(floating z, floating small, double t, double gamma) noexcept nogil:
    """-t (1 - y)^gamma log(y) - (1 - t) y^gamma log(1 - y)."""
    cdef floating y = <floating>logistic(z, small), rest = <floating>logistic(-z, small)
    return -t * power(rest, gamma) * log_logistic(z, small) - (1 - t) * power(y, gamma) * log_logistic(-z, small)


cdef inline double sigmoid_slope(floating z, floating small, double t, double gamma) noexcept nogil:
    """The derivative of that by z."""
    cdef floating y = <floating>logistic(z, small), rest = <floating>logistic(-z, small)
    return (
        t * power(rest, gamma) * (gamma * y * log_logistic(z, small) - rest)
        + (1 - t) * power(y, gamma) * (y - gamma * rest * log_logistic(-z, small)))


cdef double sigmoid_forward_example(
    const floating *z, const floating *targets, floating *unused, Py_ssize_t classes, Py_ssize_t batch, double gamma,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef double loss = 0
    for k in range(classes):
        loss += sigmoid_loss(z[k], exponential(z[k]), targets[k], gamma)
    return loss / classes


cdef double sigmoid_backward_example(
    const floating *z, const floating *targets, floating *out, Py_ssize_t classes, Py_ssize_t batch, double gamma,
) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(classes):
        out[k] = <floating>(sigmoid_slope(z[k], exponential(z[k]), targets[k], gamma) / (batch * classes))
    return 0


def sigmoid_focal_forward(x, targets, double gamma, losses):
    for_each_example(
        "sigmoid_focal_forward", x, targets, None, losses, <example_function>sigmoid_forward_example[float],
        <example_function>sigmoid_forward_example[double], OPERATIONS, gamma)


def sigmoid_focal_backward(x, targets, double gamma, out):
    for_each_example(
        "sigmoid_focal_backward", x, targets, out, None, <example_function>sigmoid_backward_example[float],
        <example_function>sigmoid_backward_example[double], OPERATIONS, gamma)
