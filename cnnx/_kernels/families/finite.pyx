"""Whether an array has nothing but finite numbers."""

from cnnx._kernels.ground.elementwise cimport elements, elements_of, wrong_types
from cnnx._kernels.ground.finite cimport differences
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, threads_for

cdef enum:
    RUN = 16384     # elements of a task


cdef struct run_differences:
    elements x
    double *sums        # of each task
    double own          # where there is a single one


cdef void difference_task(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    cdef const run_differences *d = <const run_differences *>job
    cdef Py_ssize_t start = task * RUN
    d.sums[task] = differences(<const floating *>d.x.first + start, min(<Py_ssize_t>RUN, d.x.count - start))


def all_finite(x):
    cdef run_differences d
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
