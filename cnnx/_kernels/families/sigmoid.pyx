"""Sigmoid with binary cross-entropy. A task is one example."""

from libc.math cimport exp, expf, fabs, log1p

from cnnx._kernels.families.cross_entropy cimport cross_entropy_backward, cross_entropy_forward, example_function
from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating

cdef enum:
    OPERATIONS = 40  # of an exponential and a logarithm, roughly


cdef double cross_entropy_example(
    const floating *z, const floating *targets, Py_ssize_t classes, floating *out,
) noexcept nogil:
    """Probabilities into `out`; returns the mean cross-entropy, from the scores."""
    cdef Py_ssize_t k
    cdef double total = 0, small, most
    for k in range(classes):
        # Neither the exponential nor the quotient can overflow, and NaN is in `small`.
        small = expf(-<float>fabs(z[k])) if floating is float else exp(-fabs(z[k]))
        most = z[k] if z[k] > 0 else 0
        total += most - <double>z[k] * targets[k] + log1p(small)
        out[k] = <floating>((small if z[k] < 0 else 1) / (1 + small))
    return total / classes


@by_dtype
def sigmoid_cross_entropy_forward(
    const floating[:, ::1] x, const floating[:, ::1] targets, floating[:, ::1] out, floating[::1] losses,
):
    cross_entropy_forward(
        "sigmoid_cross_entropy_forward", <example_function>cross_entropy_example[floating], x, targets, out, losses,
        OPERATIONS)


@by_dtype
def sigmoid_cross_entropy_backward(const floating[:, ::1] y, const floating[:, ::1] targets, floating[:, ::1] out):
    cross_entropy_backward("sigmoid_cross_entropy_backward", y, targets, out, y.shape[0] * y.shape[1])
