"""Dropout: values are dropped or scaled, each by 16 random bits of its own. A task is a run of values."""

from cython.parallel cimport prange
from libc.stdint cimport uint16_t

from cnnx._kernels.floating cimport floating
from cnnx._kernels.parallel cimport threads_for

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


def dropout(x, bits, dropped, out):
    if out.dtype.char == "f":
        _dropout[float](x.reshape(-1), bits, dropped, out.reshape(-1))
    else:
        _dropout[double](x.reshape(-1), bits, dropped, out.reshape(-1))
