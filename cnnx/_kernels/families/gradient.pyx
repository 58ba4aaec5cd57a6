"""What is done to the gradient of all parameters before a step, in place."""

from cnnx._kernels.ground.elementwise cimport for_each_run, run_function
from cnnx._kernels.ground.floating cimport floating


cdef void clip_run(
    const floating *x, const void *none, floating *out, Py_ssize_t count, double limit, double unused,
) noexcept nogil:
    """NaN, which no comparison holds for, stays."""
    cdef Py_ssize_t i
    cdef floating high = <floating>limit, low = -high, limited
    for i in range(count):
        limited = low if x[i] < low else x[i]
        out[i] = high if limited > high else limited


cdef void scale_run(
    const floating *x, const void *none, floating *out, Py_ssize_t count, double factor, double unused,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating scale = <floating>factor
    for i in range(count):
        out[i] = x[i] * scale


def clip_elements(double limit, out):
    for_each_run("clip_elements", out, None, out, <run_function>clip_run[float], <run_function>clip_run[double], limit)


def scale_elements(double factor, out):
    for_each_run(
        "scale_elements", out, None, out, <run_function>scale_run[float], <run_function>scale_run[double], factor)
