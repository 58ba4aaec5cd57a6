"""Addition of two arrays, with ReLU in the same pass where it follows. A task is a run of values."""

from cython.parallel cimport prange

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport threads_for

cdef enum:
    RUN = 16384


cdef void add_run(
    const floating *a, const floating *b, bint relu, floating *out, Py_ssize_t count,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating y
    if relu:
        for i in range(count):
            y = a[i] + b[i]
            out[i] = 0 if y <= 0 else y
    else:
        for i in range(count):
            out[i] = a[i] + b[i]


cdef _add(const floating[::1] a, const floating[::1] b, bint relu, floating[::1] out):
    cdef Py_ssize_t size = a.shape[0], tasks = (size + RUN - 1) // RUN, task
    if size != b.shape[0] or size != out.shape[0]:
        raise ValueError(f"add: sizes do not fit: {size}, {b.shape[0]}, {out.shape[0]}")
    if size == 0:
        return
    cdef const floating *from_a = &a[0]
    cdef const floating *from_b = &b[0]
    cdef floating *to_out = &out[0]
    for task in prange(tasks, num_threads=threads_for(tasks, size), schedule="static", nogil=True):
        add_run(
            from_a + task * RUN, from_b + task * RUN, relu, to_out + task * RUN,
            min(<Py_ssize_t>RUN, size - task * RUN))


def add(a, b, relu, out):
    if out.dtype.char == "f":
        _add[float](a.reshape(-1), b.reshape(-1), relu, out.reshape(-1))
    else:
        _add[double](a.reshape(-1), b.reshape(-1), relu, out.reshape(-1))
