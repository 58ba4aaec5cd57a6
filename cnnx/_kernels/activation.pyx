"""Activations, element by element. A task is a run of elements."""

from cython.parallel cimport prange

from cnnx._kernels.floating cimport floating
from cnnx._kernels.instruction_sets cimport loops as loops_table, loops_for
from cnnx._kernels.parallel cimport threads_for

cdef enum:
    RUN = 16384


cdef _relu_forward(const floating[::1] x, floating[::1] out):
    cdef Py_ssize_t size = x.shape[0], tasks = (size + RUN - 1) // RUN, task
    if size != out.shape[0]:
        raise ValueError(f"relu_forward: sizes do not fit: {size}, {out.shape[0]}")
    if size == 0:
        return
    cdef const floating *from_x = &x[0]
    cdef floating *to_out = &out[0]
    cdef const loops_table *loops = loops_for(sizeof(floating))
    for task in prange(tasks, num_threads=threads_for(tasks, size), schedule="static", nogil=True):
        loops.relu_row(from_x + task * RUN, to_out + task * RUN, min(<Py_ssize_t>RUN, size - task * RUN))


cdef _relu_backward(const floating[::1] grad, const floating[::1] y, floating[::1] out):
    cdef Py_ssize_t size = y.shape[0], tasks = (size + RUN - 1) // RUN, task
    if size != out.shape[0] or size != grad.shape[0]:
        raise ValueError(f"relu_backward: sizes do not fit: {grad.shape[0]}, {size}, {out.shape[0]}")
    if size == 0:
        return
    cdef const floating *from_grad = &grad[0]
    cdef const floating *from_y = &y[0]
    cdef floating *to_out = &out[0]
    cdef const loops_table *loops = loops_for(sizeof(floating))
    for task in prange(tasks, num_threads=threads_for(tasks, size), schedule="static", nogil=True):
        loops.gate_row(
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
