"""Activations, element by element. A task is a run of elements."""

from cython.parallel cimport prange

from cnnx._kernels.floating cimport floating
from cnnx._kernels.parallel cimport threads_for

cdef enum:
    RUN = 16384


cdef void relu_run(const floating *x, floating *out, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        out[i] = 0 if x[i] <= 0 else x[i]  # so that NaN stays NaN


cdef void relu_backward_run(const floating *grad, const floating *y, floating *out, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        out[i] = 0 if y[i] <= 0 else grad[i]


cdef _relu_forward(const floating[::1] x, floating[::1] out):
    cdef Py_ssize_t size = x.shape[0], tasks = (size + RUN - 1) // RUN, task
    if size != out.shape[0]:
        raise ValueError(f"relu_forward: sizes do not fit: {size}, {out.shape[0]}")
    if size == 0:
        return
    cdef const floating *from_x = &x[0]
    cdef floating *to_out = &out[0]
    for task in prange(tasks, num_threads=threads_for(tasks, size), schedule="static", nogil=True):
        relu_run(from_x + task * RUN, to_out + task * RUN, min(<Py_ssize_t>RUN, size - task * RUN))


cdef _relu_backward(const floating[::1] grad, const floating[::1] y, floating[::1] out):
    cdef Py_ssize_t size = y.shape[0], tasks = (size + RUN - 1) // RUN, task
    if size != out.shape[0] or size != grad.shape[0]:
        raise ValueError(f"relu_backward: sizes do not fit: {grad.shape[0]}, {size}, {out.shape[0]}")
    if size == 0:
        return
    cdef const floating *from_grad = &grad[0]
    cdef const floating *from_y = &y[0]
    cdef floating *to_out = &out[0]
    for task in prange(tasks, num_threads=threads_for(tasks, size), schedule="static", nogil=True):
        relu_backward_run(
            from_grad + task * RUN, from_y + task * RUN, to_out + task * RUN,
            min(<Py_ssize_t>RUN, size - task * RUN))


def relu_forward(x, out):
    if out.dtype.char == "f":
        _relu_forward[float](x.reshape(-1), out.reshape(-1))
    else:
        _relu_forward[double](x.reshape(-1), out.reshape(-1))


def relu_backward(grad, y, out):
    if out.dtype.char == "f":
        _relu_backward[float](grad.reshape(-1), y.reshape(-1), out.reshape(-1))
    else:
        _relu_backward[double](grad.reshape(-1), y.reshape(-1), out.reshape(-1))
