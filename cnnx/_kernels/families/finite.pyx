"""Whether an array has nothing but finite numbers."""

from cnnx._kernels.ground.elementwise cimport elements, elements_of, wrong_types
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, threads_for

cdef enum:
    RUN = 16384     # elements of a task
    LANES = 32


cdef struct differences:
    elements x
    double *sums        # of each task
    double own          # where there is a single one


cdef void difference_task(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    """Sums of x - x, which is 0 of finite numbers, and else NaN."""
    cdef const differences *d = <const differences *>job
    cdef const floating *x = <const floating *>d.x.first + task * RUN
    cdef Py_ssize_t count = min(<Py_ssize_t>RUN, d.x.count - task * RUN), i, lane, whole = count - count % LANES
    cdef floating[LANES] sums
    cdef floating total = 0
    for lane in range(LANES):
        sums[lane] = 0
    for i in range(whole // LANES):
        for lane in range(LANES):
            sums[lane] += x[i * LANES + lane] - x[i * LANES + lane]
    for i in range(whole, count):
        total += x[i] - x[i]
    for lane in range(LANES):
        total += sums[lane]
    d.sums[task] = total


def all_finite(x):
    cdef differences d
    cdef Py_ssize_t tasks, task
    cdef double total = 0
    d.x = elements_of(x, 0)
    if d.x.type not in (c"f", c"d"):
        raise wrong_types("all_finite", (x,))
    tasks = (d.x.count + RUN - 1) // RUN
    d.sums = &d.own if tasks <= 1 else <double *>allocate(tasks * sizeof(double))
    with nogil:
        if d.x.type == c"f":
            for_each_task(difference_task[float], &d, tasks, threads_for(tasks, d.x.count), <float *>NULL, 0)
        else:
            for_each_task(difference_task[double], &d, tasks, threads_for(tasks, d.x.count), <double *>NULL, 0)
    for task in range(tasks):
        total += d.sums[task]
    if tasks > 1:
        release(d.sums)
    return total == 0
