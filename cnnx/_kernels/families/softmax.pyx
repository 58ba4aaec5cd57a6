"""Softmax, its Jacobian product, and softmax with cross-entropy."""

from libc.math cimport exp, expf, log

from cnnx._kernels.families.losses cimport cross_entropy_backward, example_function, for_each_example
from cnnx._kernels.ground.argmax cimport argmax
from cnnx._kernels.ground.floating cimport floating

cdef enum:
    OPERATIONS = 20  # of one exponential, roughly


cdef double exponentials(const floating *z, Py_ssize_t classes, floating most, floating *out) noexcept nogil:
    """out[k] = exp(z[k] - most), where `most` is the maximum of z; returns their sum."""
    cdef Py_ssize_t k
    cdef double total = 0
    for k in range(classes):
        out[k] = expf(z[k] - most) if floating is float else exp(z[k] - most)
        total += out[k]
    return total


cdef double softmax_example(
    const floating *z, const floating *unused, floating *out, Py_ssize_t classes, Py_ssize_t batch, double p,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef double scale = 1 / exponentials(z, classes, z[argmax(z, classes)], out)
    for k in range(classes):
        out[k] = <floating>(out[k] * scale)
    return 0


cdef double backward_example(
    const floating *grad, const floating *y, floating *out, Py_ssize_t classes, Py_ssize_t batch, double p,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef double inner = 0
    for k in range(classes):
        inner += <double>grad[k] * y[k]
    for k in range(classes):
        out[k] = <floating>(y[k] * (grad[k] - inner))
    return 0


cdef double cross_entropy_example(
    const floating *z, const floating *targets, floating *out, Py_ssize_t classes, Py_ssize_t batch, double p,
) noexcept nogil:
    """Probabilities into `out`; returns the sum of -target * log(probability), from the logits."""
    cdef Py_ssize_t k
    cdef floating most = z[argmax(z, classes)]
    cdef double total = exponentials(z, classes, most, out), loss = 0, scale = 1 / total
    cdef double log_total = most + log(total)
    for k in range(classes):
        # Skipped where the target is 0, for 0 * inf is not 0. A NaN among the logits is in log_total.
        if targets[k] != 0:
            loss += targets[k] * (log_total - z[k])
        out[k] = <floating>(out[k] * scale)
    return loss


def softmax_forward(x, out):
    for_each_example(
        "softmax_forward", x, x, out, None, <example_function>softmax_example[float],
        <example_function>softmax_example[double], OPERATIONS)


def softmax_backward(grad, y, out):
    for_each_example(
        "softmax_backward", grad, y, out, None, <example_function>backward_example[float],
        <example_function>backward_example[double], 4)


def softmax_cross_entropy_forward(x, targets, out, losses):
    for_each_example(
        "softmax_cross_entropy_forward", x, targets, out, losses, <example_function>cross_entropy_example[float],
        <example_function>cross_entropy_example[double], OPERATIONS)


def softmax_cross_entropy_backward(y, targets, out):
    cross_entropy_backward("softmax_cross_entropy_backward", y, targets, out, len(y))
