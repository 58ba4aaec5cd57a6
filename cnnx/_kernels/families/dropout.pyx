"""Dropout: values are dropped or scaled, each by 16 random bits of its own, or of its channel's.

A task of spatial dropout is an image.
"""

from libc.stdint cimport uint16_t

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.elementwise cimport RUN, for_each_run, run_function
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport for_each_task, threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape


cdef double scale_of(uint16_t dropped) noexcept nogil:
    return 65536.0 / (65536 - dropped)


cdef void dropout_run(
    const floating *x, const uint16_t *bits, floating *out, Py_ssize_t count, double dropped, double scale,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef uint16_t least = <uint16_t>dropped     # of what is kept
    cdef floating factor = <floating>scale, scaled
    for i in range(count):
        scaled = x[i] * factor
        out[i] = 0 if bits[i] < least else scaled


def dropout(x, bits, uint16_t dropped, out):
    for_each_run(
        "dropout", x, bits, out, <run_function>dropout_run[float], <run_function>dropout_run[double], dropped,
        scale_of(dropped), 1, RUN, c"H")


cdef struct images:
    const void *x
    const uint16_t *bits
    uint16_t dropped
    Py_ssize_t positions, channels
    void *out


cdef void spatial_dropout_task(const void *job, Py_ssize_t image, floating *unused) noexcept nogil:
    cdef const images *d = <const images *>job
    cdef Py_ssize_t position, start = image * d.positions * d.channels
    for position in range(d.positions):
        dropout_run(
            <const floating *>d.x + start, d.bits + image * d.channels, <floating *>d.out + start, d.channels,
            d.dropped, scale_of(d.dropped))
        start += d.channels


@by_dtype
def spatial_dropout(
    const floating[:, :, :, ::1] x, const uint16_t[:, ::1] bits, uint16_t dropped, floating[:, :, :, ::1] out,
):
    cdef Py_ssize_t count = x.shape[0], size = x.shape[1] * x.shape[2] * x.shape[3]
    cdef images d
    if not same_shape(x.shape, out.shape, 4) or bits.shape[0] != count or bits.shape[1] != x.shape[3]:
        raise ValueError(
            f"spatial_dropout: shapes do not fit: {as_tuple(x.shape, 4)}, {as_tuple(bits.shape, 2)}, "
            f"{as_tuple(out.shape, 4)}")
    if count * size == 0:
        return
    d.x, d.bits, d.dropped, d.out = &x[0, 0, 0, 0], &bits[0, 0], dropped, &out[0, 0, 0, 0]
    d.positions, d.channels = x.shape[1] * x.shape[2], x.shape[3]
    with nogil:
        for_each_task(
            spatial_dropout_task[floating], &d, count, threads_for(count, <double>count * size), <floating *>NULL, 0)
