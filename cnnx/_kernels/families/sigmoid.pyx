"""Sigmoid with binary cross-entropy. A task is one example."""

from cython.parallel cimport prange
from libc.math cimport exp, expf, fabs, log1p

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape

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
    cdef Py_ssize_t n, N = x.shape[0], K = x.shape[1]
    if (
        not same_shape(x.shape, out.shape, 2) or not same_shape(targets.shape, x.shape, 2)
        or losses.shape[0] != N or K < 1
    ):
        raise ValueError(
            f"sigmoid_cross_entropy_forward: shapes do not fit: {as_tuple(x.shape, 2)}, {as_tuple(targets.shape, 2)}, "
            f"{as_tuple(out.shape, 2)}, {(losses.shape[0],)}")
    if N == 0:
        return
    cdef const floating *from_x = &x[0, 0]
    cdef const floating *from_targets = &targets[0, 0]
    cdef floating *to_out = &out[0, 0]
    cdef floating *to_losses = &losses[0]
    for n in prange(N, num_threads=threads_for(N, <double>OPERATIONS * N * K), schedule="static", nogil=True):
        to_losses[n] = <floating>cross_entropy_example(from_x + n * K, from_targets + n * K, K, to_out + n * K)


@by_dtype
def sigmoid_cross_entropy_backward(
    const floating[:, ::1] y, const floating[:, ::1] targets, floating[:, ::1] out,
):
    cdef Py_ssize_t i, size = y.shape[0] * y.shape[1]
    cdef floating scale = 1 / <floating>max(size, 1)
    if not same_shape(targets.shape, y.shape, 2) or not same_shape(y.shape, out.shape, 2):
        raise ValueError(
            f"sigmoid_cross_entropy_backward: shapes do not fit: {as_tuple(y.shape, 2)}, "
            f"{as_tuple(targets.shape, 2)}, {as_tuple(out.shape, 2)}")
    if size == 0:
        return
    cdef const floating *from_y = &y[0, 0]
    cdef const floating *from_targets = &targets[0, 0]
    cdef floating *to_out = &out[0, 0]
    with nogil:
        for i in range(size):
            to_out[i] = (from_y[i] - from_targets[i]) * scale
