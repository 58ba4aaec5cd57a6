"""Running averages of batch normalization, and what it divides by: a value for each channel, so one thread does it."""

from libc.math cimport sqrt, sqrtf

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.program cimport job_function, perform

cdef enum:
    RUN = 64


cdef void average_run(
    const floating *average, const floating *batch, floating momentum, floating rest, floating scale, floating *out,
    Py_ssize_t count,
) noexcept nogil:
    """Loop after loop, for a compiler may make of one an operation that rounds once, and on other bits than NumPy."""
    cdef Py_ssize_t i
    cdef floating kept[RUN]
    for i in range(count):
        kept[i] = momentum * average[i]
    for i in range(count):
        out[i] = rest * (scale * batch[i])
    for i in range(count):
        out[i] += kept[i]


@by_dtype
def running_average(
    const floating[::1] average, const floating[::1] batch, double momentum, floating scale, floating[::1] out,
):
    cdef Py_ssize_t start = 0, size = out.shape[0]
    if average.shape[0] != size or batch.shape[0] != size:
        raise ValueError(f"running_average: sizes do not fit: {average.shape[0]}, {batch.shape[0]}, {size}")
    with nogil:
        while start < size:
            average_run(
                &average[start], &batch[start], <floating>momentum, <floating>(1 - momentum), scale, &out[start],
                min(<Py_ssize_t>RUN, size - start))
            start += RUN


cdef void invert(const floating *variance, floating epsilon, floating *out, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        out[i] = 1 / (sqrtf(variance[i] + epsilon) if floating is float else sqrt(variance[i] + epsilon))


cdef struct inversion:
    const void *variance
    void *out
    double epsilon
    Py_ssize_t count


cdef int do_inversion(const void *job, const floating *unused) except -1 nogil:
    cdef const inversion *i = <const inversion *>job
    invert(<const floating *>i.variance, <floating>i.epsilon, <floating *>i.out, i.count)
    return 0


@by_dtype
def inverse_deviation(const floating[::1] variance, floating epsilon, floating[::1] out):
    cdef Py_ssize_t size = out.shape[0]
    if variance.shape[0] != size:
        raise ValueError(f"inverse_deviation: sizes do not fit: {variance.shape[0]}, {size}")
    cdef inversion i
    cdef const void **arrays[2]
    if size:
        i.variance, i.epsilon, i.out, i.count = &variance[0], epsilon, &out[0], size
        arrays[0], arrays[1] = &i.variance, <const void **>&i.out
        perform(<job_function>do_inversion[floating], &i, sizeof(inversion), arrays, 2, None)
