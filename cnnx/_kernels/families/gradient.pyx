"""What is done to the gradient of all parameters before a step, in place. A task is a run of elements."""

from cython.parallel cimport prange

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport threads_for

cdef enum:
    RUN = 16384


cdef void clip_run(floating limit, floating *out, Py_ssize_t count) noexcept nogil:
    """NaN, which no comparison holds for, stays."""
    cdef Py_ssize_t i
    cdef floating low = -limit, limited
    for i in range(count):
        limited = low if out[i] < low else out[i]
        out[i] = limit if limited > limit else limited


cdef void scale_run(floating factor, floating *out, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        out[i] *= factor


cdef _change(bint clip, floating number, floating[::1] out):
    cdef Py_ssize_t size = out.shape[0], tasks = (size + RUN - 1) // RUN, task, count
    if size == 0:
        return
    cdef floating *to_out = &out[0]
    for task in prange(tasks, num_threads=threads_for(tasks, size), schedule="static", nogil=True):
        count = min(<Py_ssize_t>RUN, size - task * RUN)
        if clip:
            clip_run(number, to_out + task * RUN, count)
        else:
            scale_run(number, to_out + task * RUN, count)


def clip_elements(limit, out):
    if out.dtype.char == "f":
        _change[float](True, limit, out)
    else:
        _change[double](True, limit, out)


def scale_elements(factor, out):
    if out.dtype.char == "f":
        _change[float](False, factor, out)
    else:
        _change[double](False, factor, out)
