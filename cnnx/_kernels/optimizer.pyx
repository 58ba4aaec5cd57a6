"""Updates of the whole parameter vector in one pass. A task is a run of elements."""

from cython.parallel cimport prange

from cnnx._kernels.floating cimport floating
from cnnx._kernels.parallel cimport threads_for

cdef enum:
    RUN = 16384


cdef void sgd_run(floating *params, const floating *grads, floating learning_rate, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        params[i] -= learning_rate * grads[i]


cdef _sgd_step(floating[::1] params, const floating[::1] grads, floating learning_rate):
    cdef Py_ssize_t size = params.shape[0], tasks = (size + RUN - 1) // RUN, task
    if size != grads.shape[0]:
        raise ValueError(f"sgd_step: sizes do not fit: {size}, {grads.shape[0]}")
    if size == 0:
        return
    cdef floating *to_params = &params[0]
    cdef const floating *from_grads = &grads[0]
    for task in prange(tasks, num_threads=threads_for(tasks, size), schedule="static", nogil=True):
        sgd_run(
            to_params + task * RUN, from_grads + task * RUN, learning_rate, min(<Py_ssize_t>RUN, size - task * RUN))


def sgd_step(params, grads, learning_rate):
    if params.dtype.char == "f":
        _sgd_step[float](params, grads, learning_rate)
    else:
        _sgd_step[double](params, grads, learning_rate)
