"""Sigmoid with binary cross-entropy."""

from libc.math cimport exp, expf, fabs, log1p

from cnnx._kernels.families.losses cimport cross_entropy_backward, example_function, for_each_example
from cnnx._kernels.ground.floating cimport floating

cdef enum:
    OPERATIONS = 40  # of an exponential and a logarithm, roughly


cdef double cross_entropy_example(
    const floating *z, const floating *targets, floating *unused, Py_ssize_t classes, Py_ssize_t batch, double p,
) noexcept nogil:
    """The mean cross-entropy, from the scores."""
    cdef Py_ssize_t k
    cdef double total = 0, small, most
    for k in range(classes):
        # The exponential cannot overflow, and NaN is in `small`.
        small = expf(-<float>fabs(z[k])) if floating is float else exp(-fabs(z[k]))
        most = z[k] if z[k] > 0 else 0
        total += most - <double>z[k] * targets[k] + log1p(small)
    return total / classes


def sigmoid_cross_entropy_forward(x, targets, losses):
    for_each_example(
        "sigmoid_cross_entropy_forward", x, targets, None, losses, <example_function>cross_entropy_example[float],
        <example_function>cross_entropy_example[double], OPERATIONS)


def sigmoid_cross_entropy_backward(y, targets, out):
    cross_entropy_backward("sigmoid_cross_entropy_backward", y, targets, out, y.size)
