"""What output layers do for each batch besides their loss: targets, rates, weights and sums.

A batch is small beside what has led to it, so one thread goes through it, row by row.
"""

from libc.string cimport memcpy

from cnnx._kernels.ground.argmax cimport argmax
from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape


# -- Targets ------------------------------------------------------------------------------------------

cdef void encode_class(Py_ssize_t label, Py_ssize_t classes, floating on, floating off, floating *out) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(classes):
        out[k] = off
    out[label] = on


cdef _encode_classes(const Py_ssize_t[:] labels, double smoothing, floating[:, ::1] out):
    cdef Py_ssize_t n, N = out.shape[0], K = out.shape[1]
    if labels.shape[0] != N:
        raise ValueError(f"encode_classes: shapes do not fit: {(labels.shape[0],)}, {as_tuple(out.shape, 2)}")
    for n in range(N):
        if not 0 <= labels[n] < K:
            raise ValueError(f"encode_classes: labels: expected 0 to {K - 1}, got {labels[n]} at index {n}")
    if N == 0:
        return
    cdef floating off = <floating>(smoothing / K), on = <floating>(1 - smoothing) + off
    with nogil:
        for n in range(N):
            encode_class(labels[n], K, on, off, &out[n, 0])


def encode_classes(labels, double smoothing, out):
    if out.itemsize == 4:
        _encode_classes[float](labels, smoothing, out)
    else:
        _encode_classes[double](labels, smoothing, out)


cdef void smooth(
    const floating *rows, floating share, floating even, floating *out, Py_ssize_t count,
) noexcept nogil:
    """Two loops, for a compiler may make of one an operation that rounds once, and on other bits than NumPy."""
    cdef Py_ssize_t i
    for i in range(count):
        out[i] = rows[i] * share
    for i in range(count):
        out[i] += even


@by_dtype
def smooth_rows(const floating[:, ::1] rows, double smoothing, floating[:, ::1] out):
    cdef Py_ssize_t size = out.shape[0] * out.shape[1]
    if not same_shape(rows.shape, out.shape, 2):
        raise ValueError(f"smooth_rows: shapes do not fit: {as_tuple(rows.shape, 2)}, {as_tuple(out.shape, 2)}")
    if size == 0:
        return
    if smoothing:
        smooth(&rows[0, 0], <floating>(1 - smoothing), <floating>(smoothing / out.shape[1]), &out[0, 0], size)
    else:
        memcpy(&out[0, 0], &rows[0, 0], size * sizeof(floating))


# -- Rates --------------------------------------------------------------------------------------------

cdef check_rates(
    str name, const Py_ssize_t *predictions, const Py_ssize_t *targets, const Py_ssize_t *out,
):
    if not same_shape(predictions, targets, 2) or out[0] != predictions[0] or predictions[1] < 1:
        raise ValueError(
            f"{name}: shapes do not fit: {as_tuple(predictions, 2)}, {as_tuple(targets, 2)}, {as_tuple(out, 1)}")


@by_dtype
def classes_agree(const floating[:, ::1] predictions, const floating[:, ::1] targets, floating[::1] out):
    cdef Py_ssize_t n, K = targets.shape[1]
    check_rates("classes_agree", predictions.shape, targets.shape, out.shape)
    with nogil:
        for n in range(targets.shape[0]):
            out[n] = argmax(&predictions[n, 0], K) == argmax(&targets[n, 0], K)


cdef bint labels_right(
    const floating *predictions, const floating *targets, floating threshold, Py_ssize_t classes,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef floating half = 0.5
    cdef int wrong = 0
    for k in range(classes):
        wrong |= (predictions[k] > threshold) != (targets[k] > half)
    return not wrong


@by_dtype
def labels_agree(
    const floating[:, ::1] predictions, const floating[:, ::1] targets, floating threshold, floating[::1] out,
):
    cdef Py_ssize_t n, K = targets.shape[1]
    check_rates("labels_agree", predictions.shape, targets.shape, out.shape)
    with nogil:
        for n in range(targets.shape[0]):
            out[n] = labels_right(&predictions[n, 0], &targets[n, 0], threshold, K)


# -- Weights and sums ---------------------------------------------------------------------------------

cdef void weigh_row(floating weight, floating *out, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(count):
        out[k] *= weight


@by_dtype
def weigh_rows(const floating[::1] weights, floating[:, ::1] out):
    cdef Py_ssize_t n
    if weights.shape[0] != out.shape[0]:
        raise ValueError(f"weigh_rows: shapes do not fit: {(weights.shape[0],)}, {as_tuple(out.shape, 2)}")
    if out.shape[1] == 0:
        return
    with nogil:
        for n in range(out.shape[0]):
            weigh_row(weights[n], &out[n, 0], out.shape[1])


@by_dtype
def batch_sums(
    const floating[::1] losses, const floating[::1] rates, const double[::1] weights, double[::1] sums,
):
    cdef Py_ssize_t n, N = losses.shape[0], given = N if weights is None else weights.shape[0]
    cdef double weight, loss = 0, rate = 0, total = 0
    if rates.shape[0] != N or given != N or sums.shape[0] != 3:
        raise ValueError(f"batch_sums: sizes do not fit: {N}, {rates.shape[0]}, {given}, {sums.shape[0]}")
    for n in range(N):
        weight = 1 if weights is None else weights[n]
        loss += weight * losses[n]
        rate += weight * rates[n]
        total += weight
    sums[0], sums[1], sums[2] = loss, rate, total
