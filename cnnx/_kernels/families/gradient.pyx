"""What is done to the gradient of all parameters before a step: it is looked at, and changed in place."""

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.elementwise cimport for_each_run, run_function
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport add_parts, allocate, for_each_task, release, threads_for

cdef enum:
    RUN = 16384     # elements of a task
    LANES = 32


cdef struct squares:
    const void *x
    Py_ssize_t size
    double *sums        # of each task


cdef void square_task(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    """Lane by lane, so that the order of additions is that of vectors."""
    cdef const squares *s = <const squares *>job
    cdef const floating *x = <const floating *>s.x + task * RUN
    cdef Py_ssize_t count = min(<Py_ssize_t>RUN, s.size - task * RUN), i, lane, whole = count - count % LANES
    cdef floating[LANES] sums
    cdef floating total = 0
    for lane in range(LANES):
        sums[lane] = 0
    for i in range(whole // LANES):
        for lane in range(LANES):
            sums[lane] += x[i * LANES + lane] * x[i * LANES + lane]
    for i in range(whole, count):
        sums[i - whole] += x[i] * x[i]
    for lane in range(LANES):
        total += sums[lane]
    s.sums[task] = total


@by_dtype
def rough_square(const floating[::1] x, double[::1] out):
    cdef squares s
    cdef Py_ssize_t tasks = (x.shape[0] + RUN - 1) // RUN
    if out.shape[0] != 1:
        raise ValueError(f"rough_square: sizes do not fit: {out.shape[0]} sums")
    out[0] = 0
    if x.shape[0] == 0:
        return
    s.x, s.size = &x[0], x.shape[0]
    s.sums = <double *>allocate(tasks * sizeof(double))
    with nogil:
        for_each_task(square_task[floating], &s, tasks, threads_for(tasks, x.shape[0]), <floating *>NULL, 0)
    add_parts(s.sums, tasks, 1)
    out[0] = s.sums[0]
    release(s.sums)


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
