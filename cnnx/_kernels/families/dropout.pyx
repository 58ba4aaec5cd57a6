"""Dropout: values are dropped or scaled, each by 16 random bits of its own, or of its channel's.

A task is a run of values, or an image.
"""

from cython.parallel cimport prange
from libc.stdint cimport uint16_t

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport threads_for
from cnnx._kernels.ground.shapes cimport as_tuple

cdef enum:
    RUN = 16384


cdef void dropout_run(
    const floating *x, const uint16_t *bits, uint16_t dropped, floating scale, floating *out, Py_ssize_t count,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating scaled
    for i in range(count):
        scaled = x[i] * scale
        out[i] = 0 if bits[i] < dropped else scaled


cdef _dropout(const floating[::1] x, const uint16_t[::1] bits, uint16_t dropped, floating[::1] out):
    cdef Py_ssize_t size = x.shape[0], tasks = (size + RUN - 1) // RUN, task
    cdef floating scale = <floating>(65536.0 / (65536 - dropped))
    if size != out.shape[0] or size != bits.shape[0]:
        raise ValueError(f"dropout: sizes do not fit: {size}, {bits.shape[0]}, {out.shape[0]}")
    if size == 0:
        return
    cdef const floating *from_x = &x[0]
    cdef const uint16_t *from_bits = &bits[0]
    cdef floating *to_out = &out[0]
    for task in prange(tasks, num_threads=threads_for(tasks, size), schedule="static", nogil=True):
        dropout_run(
            from_x + task * RUN, from_bits + task * RUN, dropped, scale, to_out + task * RUN,
            min(<Py_ssize_t>RUN, size - task * RUN))


cdef void spatial_dropout_image(
    const floating *x, const uint16_t *bits, uint16_t dropped, floating scale, Py_ssize_t positions,
    Py_ssize_t channels, floating *out,
) noexcept nogil:
    cdef Py_ssize_t position
    for position in range(positions):
        dropout_run(x + position * channels, bits, dropped, scale, out + position * channels, channels)


cdef _spatial_dropout(
    const floating[:, :, ::1] x, const uint16_t[:, ::1] bits, uint16_t dropped, floating[:, :, ::1] out,
):
    cdef Py_ssize_t images = x.shape[0], positions = x.shape[1], channels = x.shape[2], image
    cdef floating scale = <floating>(65536.0 / (65536 - dropped))
    if (
        out.shape[0] != images or out.shape[1] != positions or out.shape[2] != channels
        or bits.shape[0] != images or bits.shape[1] != channels
    ):
        raise ValueError(
            f"spatial_dropout: shapes do not fit: {as_tuple(x.shape, 3)}, {as_tuple(bits.shape, 2)}, "
            f"{as_tuple(out.shape, 3)}")
    if images * positions * channels == 0:
        return
    cdef Py_ssize_t size = positions * channels
    cdef const floating *from_x = &x[0, 0, 0]
    cdef const uint16_t *from_bits = &bits[0, 0]
    cdef floating *to_out = &out[0, 0, 0]
    for image in prange(
        images, num_threads=threads_for(images, <double>images * size), schedule="static", nogil=True,
    ):
        spatial_dropout_image(
            from_x + image * size, from_bits + image * channels, dropped, scale, positions, channels,
            to_out + image * size)


cdef with_positions(images):
    """(images, height, width, channels) as (images, positions, channels)."""
    N, H, W, C = images.shape
    return images.reshape(N, H * W, C)


def dropout(x, bits, dropped, out):
    if out.dtype.char == "f":
        _dropout[float](x.reshape(-1), bits, dropped, out.reshape(-1))
    else:
        _dropout[double](x.reshape(-1), bits, dropped, out.reshape(-1))


def spatial_dropout(x, bits, dropped, out):
    if out.dtype.char == "f":
        _spatial_dropout[float](with_positions(x), bits, dropped, with_positions(out))
    else:
        _spatial_dropout[double](with_positions(x), bits, dropped, with_positions(out))
