"""Softmax, its Jacobian product, and softmax with cross-entropy. A task is one example."""

from cython.parallel cimport prange
from libc.math cimport exp, expf, log

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape

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


cdef void softmax_example(const floating *z, Py_ssize_t classes, floating *out) noexcept nogil:
    cdef Py_ssize_t k
    cdef double scale = 1 / exponentials(z, classes, out)
    for k in range(classes):
        out[k] = <floating>(out[k] * scale)


cdef void backward_example(
    const floating *grad, const floating *y, Py_ssize_t classes, floating *out,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef double inner = 0
    for k in range(classes):
        inner += <double>grad[k] * y[k]
    for k in range(classes):
        out[k] = <floating>(y[k] * (grad[k] - inner))


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
    cdef Py_ssize_t n, N = x.shape[0], K = x.shape[1]
    if not same_shape(x.shape, out.shape, 2) or K < 1:
        raise ValueError(f"softmax_forward: shapes do not fit: {as_tuple(x.shape, 2)}, {as_tuple(out.shape, 2)}")
    if N == 0:
        return
    cdef const floating *from_x = &x[0, 0]
    cdef floating *to_out = &out[0, 0]
    cdef int threads = threads_for(N, <double>OPERATIONS * N * K)
    if threads == 1:
        # Without the region of a single thread, which takes longer than an example.
        for n in range(N):
            softmax_example(from_x + n * K, K, to_out + n * K)
        return
    for n in prange(N, num_threads=threads, schedule="static", nogil=True):
        softmax_example(from_x + n * K, K, to_out + n * K)


@by_dtype
def softmax_backward(const floating[:, ::1] grad, const floating[:, ::1] y, floating[:, ::1] out):
    cdef Py_ssize_t n, N = y.shape[0], K = y.shape[1]
    if not same_shape(grad.shape, y.shape, 2) or not same_shape(y.shape, out.shape, 2):
        raise ValueError(
            f"softmax_backward: shapes do not fit: {as_tuple(grad.shape, 2)}, {as_tuple(y.shape, 2)}, "
            f"{as_tuple(out.shape, 2)}")
    if N == 0:
        return
    cdef const floating *from_grad = &grad[0, 0]
    cdef const floating *from_y = &y[0, 0]
    cdef floating *to_out = &out[0, 0]
    for n in prange(N, num_threads=threads_for(N, 4.0 * N * K), schedule="static", nogil=True):
        backward_example(from_grad + n * K, from_y + n * K, K, to_out + n * K)


@by_dtype
def softmax_cross_entropy_forward(
    const floating[:, ::1] x, const floating[:, ::1] targets, floating[:, ::1] out, floating[::1] losses,
):
    cdef Py_ssize_t n, N = x.shape[0], K = x.shape[1]
    if (
        not same_shape(x.shape, out.shape, 2) or not same_shape(targets.shape, x.shape, 2)
        or losses.shape[0] != N or K < 1
    ):
        raise ValueError(
            f"softmax_cross_entropy_forward: shapes do not fit: {as_tuple(x.shape, 2)}, {as_tuple(targets.shape, 2)}, "
            f"{as_tuple(out.shape, 2)}, {(losses.shape[0],)}")
    if N == 0:
        return
    cdef const floating *from_x = &x[0, 0]
    cdef const floating *from_targets = &targets[0, 0]
    cdef floating *to_out = &out[0, 0]
    cdef floating *to_losses = &losses[0]
    cdef int threads = threads_for(N, <double>OPERATIONS * N * K)
    if threads == 1:
        for n in range(N):
            to_losses[n] = <floating>cross_entropy_example(from_x + n * K, from_targets + n * K, K, to_out + n * K)
        return
    for n in prange(N, num_threads=threads, schedule="static", nogil=True):
        to_losses[n] = <floating>cross_entropy_example(from_x + n * K, from_targets + n * K, K, to_out + n * K)


@by_dtype
def softmax_cross_entropy_backward(
    const floating[:, ::1] y, const floating[:, ::1] targets, floating[:, ::1] out,
):
    cdef Py_ssize_t k, N = y.shape[0], K = y.shape[1]
    cdef floating scale = 1 / <floating>max(N, 1)
    if not same_shape(targets.shape, y.shape, 2) or not same_shape(y.shape, out.shape, 2):
        raise ValueError(
            f"softmax_cross_entropy_backward: shapes do not fit: {as_tuple(y.shape, 2)}, "
            f"{as_tuple(targets.shape, 2)}, {as_tuple(out.shape, 2)}")
    if N * K == 0:
        return
    cdef const floating *from_y = &y[0, 0]
    cdef const floating *from_targets = &targets[0, 0]
    cdef floating *to_out = &out[0, 0]
    with nogil:
        for k in range(N * K):
            to_out[k] = (from_y[k] - from_targets[k]) * scale
