"""Addition of two arrays, with ReLU in the same pass where it follows."""

from cnnx._kernels.ground.elementwise cimport for_each_run, run_function
from cnnx._kernels.ground.floating cimport floating


cdef void add_run(
    const floating *a, const floating *b, floating *out, Py_ssize_t count, double relu, double unused,
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


def add(a, b, bint relu, out):
    for_each_run("add", a, b, out, <run_function>add_run[float], <run_function>add_run[double], relu)
