"""Softmax, its Jacobian product, and softmax with cross-entropy. A task is one example."""

from libc.math cimport exp, expf, log

from cnnx._kernels.families.cross_entropy cimport (
    cross_entropy_backward, cross_entropy_forward, example_function, for_each_example,
)
from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating

cdef enum:
    OPERATIONS = 20  # of one exponential, roughly


cdef floating largest(const floating *z, Py_ssize_t classes) noexcept nogil:
    """The maximum, or NaN if there is one."""
    cdef Py_ssize_t k
    cdef floating most = z[0]
    for k in range(1, classes):
        if not z[k] <= most:
            most = z[k]
            if most != most:
                break
    return most


cdef double exponentials(const floating *z, Py_ssize_t classes, floating *out) noexcept nogil:
    """out[k] = exp(z[k] - max z); returns their sum."""
    cdef Py_ssize_t k
    cdef floating most = largest(z, classes)
    cdef double total = 0
    for k in range(classes):
        out[k] = expf(z[k] - most) if floating is float else exp(z[k] - most)
        total += out[k]
    return total


cdef double softmax_example(
    const floating *z, const floating *unused, Py_ssize_t classes, floating *out,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef double scale = 1 / exponentials(z, classes, out)
    for k in range(classes):
        out[k] = <floating>(out[k] * scale)
    return 0


cdef double backward_example(
    const floating *grad, const floating *y, Py_ssize_t classes, floating *out,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef double inner = 0
    for k in range(classes):
        inner += <double>grad[k] * y[k]
    for k in range(classes):
        out[k] = <floating>(y[k] * (grad[k] - inner))
    return 0


cdef double cross_entropy_example(
    const floating *z, const floating *targets, Py_ssize_t classes, floating *out,
) noexcept nogil:
    """Probabilities into `out`; returns the sum of -target * log(probability), from the logits."""
    cdef Py_ssize_t k
    cdef double total = exponentials(z, classes, out), loss = 0, scale = 1 / total
    cdef double log_total = largest(z, classes) + log(total)
    for k in range(classes):
        # Skipped where the target is 0, for 0 * inf is not 0. A NaN among the logits is in log_total.
        if targets[k] != 0:
            loss += targets[k] * (log_total - z[k])
        out[k] = <floating>(out[k] * scale)
    return loss


@by_dtype
def softmax_forward(const floating[:, ::1] x, floating[:, ::1] out):
    for_each_example(
        "softmax_forward", <example_function>softmax_example[floating], x, x, out, <floating *>NULL, OPERATIONS)


@by_dtype
def softmax_backward(const floating[:, ::1] grad, const floating[:, ::1] y, floating[:, ::1] out):
    for_each_example(
        "softmax_backward", <example_function>backward_example[floating], grad, y, out, <floating *>NULL, 4)


@by_dtype
def softmax_cross_entropy_forward(
    const floating[:, ::1] x, const floating[:, ::1] targets, floating[:, ::1] out, floating[::1] losses,
):
    cross_entropy_forward(
        "softmax_cross_entropy_forward", <example_function>cross_entropy_example[floating], x, targets, out, losses,
        OPERATIONS)


@by_dtype
def softmax_cross_entropy_backward(const floating[:, ::1] y, const floating[:, ::1] targets, floating[:, ::1] out):
    cross_entropy_backward("softmax_cross_entropy_backward", y, targets, out, y.shape[0])
