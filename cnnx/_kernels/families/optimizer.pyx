"""Updates of the whole parameter vector in one pass. A task is a run of elements.

Where weights decay and other parameters do not, a run is cut into stretches of one kind, so that the loops
have no branches.
"""

from libc.math cimport fabs, sqrt, sqrtf
from cython.parallel cimport prange

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.elementwise cimport for_each_run, run_function
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport allocate, release, threads_for

cdef enum:
    RUN = 4096  # elements of a task: few enough that threads have equal parts of a small network
    LANES = 8


cdef void sgd_run(
    const floating *grads, const floating *unused, floating *params, Py_ssize_t count, double learning_rate, double q,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating rate = <floating>learning_rate
    for i in range(count):
        params[i] -= rate * grads[i]


def sgd_step(params, grads, double learning_rate):
    for_each_run(
        "sgd_step", grads, None, params, <run_function>sgd_run[float], <run_function>sgd_run[double], learning_rate, 0, 2, RUN)


# -- Stretches that decay, and those that do not -----------------------------------------------------

cdef struct cutting:
    Py_ssize_t size, tasks
    const Py_ssize_t *ranges    # first element of a range that decays, and the one after its last
    Py_ssize_t count            # of ranges


cdef struct stretch:
    Py_ssize_t start, stop
    bint decays
    Py_ssize_t ahead            # the first range that does not lie before it


cdef inline stretch first_stretch(const cutting *w, Py_ssize_t task) noexcept nogil:
    cdef stretch nothing
    nothing.start, nothing.stop, nothing.decays, nothing.ahead = task * RUN, task * RUN, False, 0
    return next_stretch(nothing, w, task)


cdef inline stretch next_stretch(stretch last, const cutting *w, Py_ssize_t task) noexcept nogil:
    """The elements after `last` up to where the task ends or the kind changes; none if the task is done."""
    cdef Py_ssize_t end = min((task + 1) * RUN, w.size)
    cdef stretch here
    here.start, here.ahead, here.stop, here.decays = last.stop, last.ahead, end, False
    while here.ahead < w.count and w.ranges[2 * here.ahead + 1] <= here.start:
        here.ahead += 1
    if here.ahead < w.count:
        here.decays = w.ranges[2 * here.ahead] <= here.start
        here.stop = min(end, w.ranges[2 * here.ahead + 1] if here.decays else w.ranges[2 * here.ahead])
    return here


cdef int cut(str name, const Py_ssize_t[:, ::1] decaying, Py_ssize_t size, cutting *w) except -1:
    """The ranges, once they are known to be pairs in order, within the vector."""
    cdef Py_ssize_t i, last = 0
    if decaying.shape[0] and decaying.shape[1] != 2:
        raise ValueError(f"{name}: shapes do not fit: ranges of {decaying.shape[1]} ends")
    for i in range(decaying.shape[0]):
        if not last <= decaying[i, 0] <= decaying[i, 1] <= size:
            raise ValueError(f"{name}: sizes do not fit: range {decaying[i, 0]} to {decaying[i, 1]} of {size}")
        last = decaying[i, 1]
    w.size, w.tasks, w.count = size, (size + RUN - 1) // RUN, decaying.shape[0]
    w.ranges = &decaying[0, 0] if decaying.shape[0] else NULL
    return 0


cdef inline floating root(floating x) noexcept nogil:
    if floating is float:
        return sqrtf(x)
    else:
        return sqrt(x)


# -- Momentum ----------------------------------------------------------------------------------------

cdef void momentum_task(
    const cutting *w, Py_ssize_t task, floating *params, const floating *grads, floating *velocity,
    floating learning_rate, floating momentum, bint nesterov, floating weight_decay,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating grad, decay
    cdef stretch s = first_stretch(w, task)
    while s.start < s.stop:
        decay = weight_decay if s.decays else 0
        if nesterov:
            for i in range(s.start, s.stop):
                grad = grads[i] + decay * params[i]
                velocity[i] = momentum * velocity[i] + grad
                params[i] -= learning_rate * (grad + momentum * velocity[i])
        else:
            for i in range(s.start, s.stop):
                velocity[i] = momentum * velocity[i] + (grads[i] + decay * params[i])
                params[i] -= learning_rate * velocity[i]
        s = next_stretch(s, w, task)


@by_dtype
def momentum_step(
    floating[::1] params, const floating[::1] grads, floating[::1] velocity, const Py_ssize_t[:, ::1] decaying,
    floating learning_rate, floating momentum, bint nesterov, floating weight_decay,
):
    cdef Py_ssize_t size = params.shape[0], task
    cdef cutting w
    if size != grads.shape[0] or size != velocity.shape[0]:
        raise ValueError(f"momentum_step: sizes do not fit: {size}, {grads.shape[0]}, {velocity.shape[0]}")
    cut("momentum_step", decaying, size, &w)
    if size == 0:
        return
    cdef floating *p = &params[0]
    cdef const floating *g = &grads[0]
    cdef floating *v = &velocity[0]
    for task in prange(w.tasks, num_threads=threads_for(w.tasks, 2 * size), schedule="static", nogil=True):
        momentum_task(&w, task, p, g, v, learning_rate, momentum, nesterov, weight_decay)


# -- Steps divided by the root of squared gradients ---------------------------------------------------

cdef void adagrad_task(
    const cutting *w, Py_ssize_t task, floating *params, const floating *grads, floating *squares,
    floating learning_rate, floating keep, floating take, floating epsilon, floating weight_decay,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating grad, decay
    cdef stretch s = first_stretch(w, task)
    while s.start < s.stop:
        decay = weight_decay if s.decays else 0
        for i in range(s.start, s.stop):
            grad = grads[i] + decay * params[i]
            squares[i] = keep * squares[i] + take * (grad * grad)
            params[i] -= learning_rate * grad / (root(squares[i]) + epsilon)
        s = next_stretch(s, w, task)


@by_dtype
def adagrad_step(
    floating[::1] params, const floating[::1] grads, floating[::1] squares, const Py_ssize_t[:, ::1] decaying,
    floating learning_rate, floating keep, floating take, floating epsilon, floating weight_decay,
):
    cdef Py_ssize_t size = params.shape[0], task
    cdef cutting w
    if size != grads.shape[0] or size != squares.shape[0]:
        raise ValueError(f"adagrad_step: sizes do not fit: {size}, {grads.shape[0]}, {squares.shape[0]}")
    cut("adagrad_step", decaying, size, &w)
    if size == 0:
        return
    cdef floating *p = &params[0]
    cdef const floating *g = &grads[0]
    cdef floating *q = &squares[0]
    for task in prange(w.tasks, num_threads=threads_for(w.tasks, 4 * size), schedule="static", nogil=True):
        adagrad_task(&w, task, p, g, q, learning_rate, keep, take, epsilon, weight_decay)


cdef void adam_task(
    const cutting *w, Py_ssize_t task, floating *params, const floating *grads, floating *mean, floating *square,
    floating beta1, floating rest1, floating beta2, floating rest2, floating mean_rate, floating grad_rate,
    floating scale, floating epsilon, floating coupled, floating kept,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating grad, decay, keep
    cdef stretch s = first_stretch(w, task)
    while s.start < s.stop:
        decay, keep = (coupled if s.decays else 0), (kept if s.decays else 1)
        for i in range(s.start, s.stop):
            grad = grads[i] + decay * params[i]
            mean[i] = beta1 * mean[i] + rest1 * grad
            square[i] = beta2 * square[i] + rest2 * (grad * grad)
            params[i] = keep * params[i] - (
                (mean_rate * mean[i] + grad_rate * grad) / (scale * root(square[i]) + epsilon))
        s = next_stretch(s, w, task)


@by_dtype
def adam_step(
    floating[::1] params, const floating[::1] grads, floating[::1] mean, floating[::1] square,
    const Py_ssize_t[:, ::1] decaying, double beta1, double beta2, floating mean_rate, floating grad_rate,
    floating scale, floating epsilon, floating coupled, double decoupled,
):
    cdef Py_ssize_t size = params.shape[0], task
    cdef cutting w
    if size != grads.shape[0] or size != mean.shape[0] or size != square.shape[0]:
        raise ValueError(
            f"adam_step: sizes do not fit: {size}, {grads.shape[0]}, {mean.shape[0]}, {square.shape[0]}")
    cut("adam_step", decaying, size, &w)
    if size == 0:
        return
    cdef floating *p = &params[0]
    cdef const floating *g = &grads[0]
    cdef floating *m = &mean[0]
    cdef floating *v = &square[0]
    cdef floating rest1 = <floating>(1 - beta1), rest2 = <floating>(1 - beta2), kept = <floating>(1 - decoupled)
    for task in prange(w.tasks, num_threads=threads_for(w.tasks, 6 * size), schedule="static", nogil=True):
        adam_task(
            &w, task, p, g, m, v, <floating>beta1, rest1, <floating>beta2, rest2, mean_rate, grad_rate, scale,
            epsilon, coupled, kept)


# -- Lion --------------------------------------------------------------------------------------------

cdef void lion_task(
    const cutting *w, Py_ssize_t task, floating *params, const floating *grads, floating *mean,
    floating learning_rate, floating beta1, floating rest1, floating beta2, floating rest2, floating kept,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating direction, step, keep
    cdef stretch s = first_stretch(w, task)
    while s.start < s.stop:
        keep = kept if s.decays else 1
        for i in range(s.start, s.stop):
            direction = beta1 * mean[i] + rest1 * grads[i]
            # NaN is neither above nor below zero; its difference from itself passes it on.
            step = (learning_rate if direction > 0 else 0) - (learning_rate if direction < 0 else 0)
            params[i] = keep * params[i] - (step + (direction - direction))
            mean[i] = beta2 * mean[i] + rest2 * grads[i]
        s = next_stretch(s, w, task)


@by_dtype
def lion_step(
    floating[::1] params, const floating[::1] grads, floating[::1] mean, const Py_ssize_t[:, ::1] decaying,
    floating learning_rate, double beta1, double beta2, double decoupled,
):
    cdef Py_ssize_t size = params.shape[0], task
    cdef cutting w
    if size != grads.shape[0] or size != mean.shape[0]:
        raise ValueError(f"lion_step: sizes do not fit: {size}, {grads.shape[0]}, {mean.shape[0]}")
    cut("lion_step", decaying, size, &w)
    if size == 0:
        return
    cdef floating *p = &params[0]
    cdef const floating *g = &grads[0]
    cdef floating *m = &mean[0]
    cdef floating rest1 = <floating>(1 - beta1), rest2 = <floating>(1 - beta2), kept = <floating>(1 - decoupled)
    for task in prange(w.tasks, num_threads=threads_for(w.tasks, 4 * size), schedule="static", nogil=True):
        lion_task(&w, task, p, g, m, learning_rate, <floating>beta1, rest1, <floating>beta2, rest2, kept)


# -- Averages, norms and penalties --------------------------------------------------------------------

cdef void average_run(
    const floating *params, const floating *unused, floating *average, Py_ssize_t count, double keep, double q,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating kept = <floating>keep, taken = <floating>(1 - keep)
    for i in range(count):
        average[i] = kept * average[i] + taken * params[i]


def moving_average(average, params, double keep):
    for_each_run(
        "moving_average", params, None, average, <run_function>average_run[float], <run_function>average_run[double],
        keep, 0, 1, RUN)


cdef void squares_run(const floating *x, Py_ssize_t count, double *total) noexcept nogil:
    """Lane by lane, so that the order of additions is that of vectors."""
    cdef double[LANES] sums
    cdef double value
    cdef Py_ssize_t i, lane, whole = count - count % LANES
    for lane in range(LANES):
        sums[lane] = 0
    for i in range(whole // LANES):
        for lane in range(LANES):
            value = x[i * LANES + lane]
            sums[lane] += value * value
    for i in range(whole, count):
        value = x[i]
        sums[i - whole] += value * value
    total[0] = 0
    for lane in range(LANES):
        total[0] += sums[lane]


@by_dtype
def sum_of_squares(const floating[::1] x, double[::1] out):
    cdef Py_ssize_t size = x.shape[0], tasks = (size + RUN - 1) // RUN, task
    if out.shape[0] != 1:
        raise ValueError(f"sum_of_squares: sizes do not fit: {out.shape[0]} sums")
    out[0] = 0
    if size == 0:
        return
    cdef const floating *values = &x[0]
    cdef double *totals = <double *>allocate(tasks * sizeof(double))
    for task in prange(tasks, num_threads=threads_for(tasks, size), schedule="static", nogil=True):
        squares_run(values + task * RUN, min(<Py_ssize_t>RUN, size - task * RUN), totals + task)
    for task in range(tasks):
        out[0] += totals[task]
    release(totals)


cdef void penalty_run(
    const floating *params, floating *grads, Py_ssize_t count, floating l1, floating l2, double *sums
) noexcept nogil:
    """The gradient of l1 |p| + l2 p^2, and both sums, added to `sums`."""
    cdef double[LANES] absolute, squared
    cdef double value
    cdef Py_ssize_t i, lane, whole = count - count % LANES
    for i in range(count):
        grads[i] += ((l1 if params[i] > 0 else 0) - (l1 if params[i] < 0 else 0)) + 2 * l2 * params[i]
    for lane in range(LANES):
        absolute[lane] = squared[lane] = 0
    for i in range(whole // LANES):
        for lane in range(LANES):
            value = params[i * LANES + lane]
            absolute[lane] += fabs(value)
            squared[lane] += value * value
    for i in range(whole, count):
        value = params[i]
        absolute[i - whole] += fabs(value)
        squared[i - whole] += value * value
    for lane in range(LANES):
        sums[0] += absolute[lane]
        sums[1] += squared[lane]


cdef void penalty_task(
    const cutting *w, Py_ssize_t task, const floating *params, floating *grads, floating l1, floating l2, double *sums
) noexcept nogil:
    cdef stretch s = first_stretch(w, task)
    sums[0] = sums[1] = 0
    while s.start < s.stop:
        if s.decays:
            penalty_run(params + s.start, grads + s.start, s.stop - s.start, l1, l2, sums)
        s = next_stretch(s, w, task)


@by_dtype
def penalty(
    const floating[::1] params, floating[::1] grads, const Py_ssize_t[:, ::1] decaying, floating l1, floating l2,
    double[::1] out,
):
    cdef Py_ssize_t size = params.shape[0], task
    cdef cutting w
    if size != grads.shape[0] or out.shape[0] != 2:
        raise ValueError(f"penalty: sizes do not fit: {size}, {grads.shape[0]}, {out.shape[0]} sums")
    cut("penalty", decaying, size, &w)
    out[0] = out[1] = 0
    if size == 0:
        return
    cdef const floating *p = &params[0]
    cdef floating *g = &grads[0]
    cdef double *sums = <double *>allocate(2 * w.tasks * sizeof(double))
    for task in prange(w.tasks, num_threads=threads_for(w.tasks, 4 * size), schedule="static", nogil=True):
        penalty_task(&w, task, p, g, l1, l2, sums + 2 * task)
    for task in range(w.tasks):
        out[0] += sums[2 * task]
        out[1] += sums[2 * task + 1]
    release(sums)
