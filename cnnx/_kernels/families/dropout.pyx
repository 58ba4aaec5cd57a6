"""Dropout: values are dropped or scaled, each by 16 random bits of its own, or of its channel's.

A task of spatial dropout is an image.
"""

from cython.parallel cimport prange
from libc.stdint cimport uint16_t

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.elementwise cimport RUN, for_each_run, run_function
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport threads_for
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


cdef void spatial_dropout_image(
    const floating *x, const uint16_t *bits, uint16_t dropped, Py_ssize_t positions, Py_ssize_t channels, floating *out,
) noexcept nogil:
    cdef Py_ssize_t position
    for position in range(positions):
        dropout_run(x + position * channels, bits, out + position * channels, channels, dropped, scale_of(dropped))


@by_dtype
def spatial_dropout(
    const floating[:, :, :, ::1] x, const uint16_t[:, ::1] bits, uint16_t dropped, floating[:, :, :, ::1] out,
):
    cdef Py_ssize_t images = x.shape[0], positions = x.shape[1] * x.shape[2], channels = x.shape[3], image
    if not same_shape(x.shape, out.shape, 4) or bits.shape[0] != images or bits.shape[1] != channels:
        raise ValueError(
            f"spatial_dropout: shapes do not fit: {as_tuple(x.shape, 4)}, {as_tuple(bits.shape, 2)}, "
            f"{as_tuple(out.shape, 4)}")
    if images * positions * channels == 0:
        return
    cdef Py_ssize_t size = positions * channels
    cdef const floating *from_x = &x[0, 0, 0, 0]
    cdef const uint16_t *from_bits = &bits[0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    for image in prange(
        images, num_threads=threads_for(images, <double>images * size), schedule="static", nogil=True,
    ):
        spatial_dropout_image(
            from_x + image * size, from_bits + image * channels, dropped, positions, channels, to_out + image * size)
