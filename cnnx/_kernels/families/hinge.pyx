"""Multi-class hinge loss. One thread goes through a batch, row by row."""

from cnnx._kernels.ground.argmax cimport argmax
from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.lanes cimport LANES, sum_of_lanes
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape


cdef inline floating violation(floating x, floating right, floating target) noexcept nogil:
    """How far a score is above the right one less the margin, 0 for the right class itself; NaN stays."""
    cdef floating margin = 1, none = 0  # numbers in the formula would be doubles
    cdef floating above = margin - right + x
    above = none if above <= none else above
    return none if target == margin else above


cdef inline floating slope(floating violated, bint squared) noexcept nogil:
    return 2 * violated if squared else violated > 0


cdef double mean_violation(
    const floating *x, const floating *targets, bint squared, Py_ssize_t classes,
) noexcept nogil:
    cdef Py_ssize_t k = 0, l
    cdef floating right = x[argmax(targets, classes)]
    cdef double violated
    cdef double sums[LANES]
    for l in range(LANES):
        sums[l] = 0
    while k < classes:
        for l in range(min(<Py_ssize_t>LANES, classes - k)):
            violated = violation(x[k + l], right, targets[k + l])
            sums[l] += violated * violated if squared else violated
        k += LANES
    return sum_of_lanes(sums) / classes


cdef void backward_row(
    const floating *x, const floating *targets, bint squared, Py_ssize_t classes, floating count, floating *out,
) noexcept nogil:
    """What pushes the other classes down pushes the right one up; all over `count`."""
    cdef Py_ssize_t k
    cdef double total = 0
    cdef floating right = x[argmax(targets, classes)], pushed
    for k in range(classes):
        out[k] = slope(violation(x[k], right, targets[k]), squared)
    for k in range(classes):
        total += out[k]
    pushed = <floating>total
    for k in range(classes):
        out[k] = (out[k] - targets[k] * pushed) / count


@by_dtype
def hinge_forward(
    const floating[:, ::1] x, const floating[:, ::1] targets, bint squared, floating[::1] losses,
):
    cdef Py_ssize_t n, N = x.shape[0], K = x.shape[1]
    if not same_shape(targets.shape, x.shape, 2) or losses.shape[0] != N or K < 1:
        raise ValueError(
            f"hinge_forward: shapes do not fit: {as_tuple(x.shape, 2)}, {as_tuple(targets.shape, 2)}, "
            f"{(losses.shape[0],)}")
    with nogil:
        for n in range(N):
            losses[n] = <floating>mean_violation(&x[n, 0], &targets[n, 0], squared, K)


@by_dtype
def hinge_backward(
    const floating[:, ::1] x, const floating[:, ::1] targets, bint squared, floating[:, ::1] out,
):
    cdef Py_ssize_t n, N = x.shape[0], K = x.shape[1]
    if not same_shape(targets.shape, x.shape, 2) or not same_shape(out.shape, x.shape, 2) or K < 1:
        raise ValueError(
            f"hinge_backward: shapes do not fit: {as_tuple(x.shape, 2)}, {as_tuple(targets.shape, 2)}, "
            f"{as_tuple(out.shape, 2)}")
    with nogil:
        for n in range(N):
            backward_row(&x[n, 0], &targets[n, 0], squared, K, <floating>(N * K), &out[n, 0])
