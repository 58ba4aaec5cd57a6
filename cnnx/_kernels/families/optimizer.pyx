"""Updates of the whole parameter vector in one pass. A task is a run of elements.

Where weights decay and other parameters do not, a run is cut into segments of one kind, so that the loops
have no branches.
"""

from libc.math cimport fabs, sqrt, sqrtf

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.elementwise cimport at, elements, for_each_run, run_function, take_elements
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport add_parts, allocate, for_each_task, release, threads_for

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
        "sgd_step", grads, None, params, <run_function>sgd_run[float], <run_function>sgd_run[double],
        learning_rate, 0, 2, RUN)


# -- Segments that decay, and those that do not ------------------------------------------------------

# Of one segment; `first` and `second` are what the optimizer remembers, `constants` is a struct of its own.
ctypedef void (*update_function)(
    const void *grads, void *params, void *first, void *second, Py_ssize_t count, bint decays, const void *constants,
) noexcept nogil


cdef struct ranges:
    Py_ssize_t size, tasks
    const Py_ssize_t *ends      # first element of a range that decays, and the one after its last
    Py_ssize_t count            # of ranges


cdef struct segment:
    Py_ssize_t start, stop
    bint decays
    Py_ssize_t ahead            # the first range that does not lie before it


cdef inline segment first_segment(const ranges *r, Py_ssize_t task) noexcept nogil:
    cdef segment nothing
    nothing.start, nothing.stop, nothing.decays, nothing.ahead = task * RUN, task * RUN, False, 0
    return next_segment(nothing, r, task)


cdef inline segment next_segment(segment last, const ranges *r, Py_ssize_t task) noexcept nogil:
    """The elements after `last` up to where the task ends or the kind changes; none if the task is done."""
    cdef Py_ssize_t end = min((task + 1) * RUN, r.size)
    cdef segment here
    here.start, here.ahead, here.stop, here.decays = last.stop, last.ahead, end, False
    while here.ahead < r.count and r.ends[2 * here.ahead + 1] <= here.start:
        here.ahead += 1
    if here.ahead < r.count:
        here.decays = r.ends[2 * here.ahead] <= here.start
        here.stop = min(end, r.ends[2 * here.ahead + 1] if here.decays else r.ends[2 * here.ahead])
    return here


cdef ranges ranges_of(str name, const Py_ssize_t[:, ::1] decaying, Py_ssize_t size) except *:
    """The ranges, once they are known to be pairs in order, within the vector; `decaying` may be None."""
    cdef Py_ssize_t i, last = 0
    cdef ranges r
    r.size, r.tasks, r.count, r.ends = size, (size + RUN - 1) // RUN, 0, NULL
    if decaying is None:
        return r
    if decaying.shape[0] and decaying.shape[1] != 2:
        raise ValueError(f"{name}: shapes do not fit: ranges of {decaying.shape[1]} ends")
    for i in range(decaying.shape[0]):
        if not last <= decaying[i, 0] <= decaying[i, 1] <= size:
            raise ValueError(f"{name}: sizes do not fit: range {decaying[i, 0]} to {decaying[i, 1]} of {size}")
        last = decaying[i, 1]
    if decaying.shape[0]:
        r.count, r.ends = decaying.shape[0], &decaying[0, 0]
    return r


cdef struct updates:
    update_function update
    const void *constants
    ranges r
    elements[4] e   # gradients, parameters, and what is remembered


cdef void update_task(const void *job, Py_ssize_t task, float *unused) noexcept nogil:
    cdef const updates *u = <const updates *>job
    cdef segment s = first_segment(&u.r, task)
    while s.start < s.stop:
        u.update(
            at(u.e[0], s.start), at(u.e[1], s.start), at(u.e[2], s.start), at(u.e[3], s.start), s.stop - s.start,
            s.decays, u.constants)
        s = next_segment(s, &u.r, task)


cdef int for_each_segment(
    str name, grads, tuple outputs, const Py_ssize_t[:, ::1] decaying, update_function for_float,
    update_function for_double, const void *constants, double operations,
) except -1:
    """Of gradients, parameters, and one or two vectors that are remembered. `operations` are those of an element."""
    cdef updates u
    u.e[3].first, u.e[3].itemsize = NULL, 0
    take_elements(name, (grads,), outputs, u.e)
    u.r, u.constants = ranges_of(name, decaying, u.e[0].count), constants
    u.update = for_float if u.e[0].type == c"f" else for_double
    with nogil:
        for_each_task[float](update_task, &u, u.r.tasks, threads_for(u.r.tasks, operations * u.r.size), NULL, 0)
    return 0


cdef inline floating root(floating x) noexcept nogil:
    if floating is float:
        return sqrtf(x)
    else:
        return sqrt(x)


# -- Momentum ----------------------------------------------------------------------------------------

cdef struct momentum_constants:
    double learning_rate, momentum, weight_decay
    bint nesterov


cdef void momentum_update(
    const floating *grads, floating *params, floating *velocity, const floating *unused, Py_ssize_t count, bint decays,
    const momentum_constants *constants,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating value, grad, speed, decay = <floating>constants.weight_decay if decays else 0
    cdef floating learning_rate = <floating>constants.learning_rate, momentum = <floating>constants.momentum
    cdef bint nesterov = constants.nesterov
    for i in range(count):
        value = params[i]
        grad = grads[i] + decay * value
        speed = momentum * velocity[i] + grad
        velocity[i] = speed
        params[i] = value - learning_rate * (grad + momentum * speed if nesterov else speed)


def momentum_step(
    params, grads, velocity, decaying, double learning_rate, double momentum, bint nesterov, double weight_decay,
):
    cdef momentum_constants constants = momentum_constants(learning_rate, momentum, weight_decay, nesterov)
    for_each_segment(
        "momentum_step", grads, (params, velocity), decaying, <update_function>momentum_update[float],
        <update_function>momentum_update[double], &constants, 2)


# -- Steps divided by the root of squared gradients ---------------------------------------------------

cdef struct adagrad_constants:
    double learning_rate, keep, take, epsilon, weight_decay


cdef void adagrad_update(
    const floating *grads, floating *params, floating *squares, const floating *unused, Py_ssize_t count, bint decays,
    const adagrad_constants *constants,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating grad, decay = <floating>constants.weight_decay if decays else 0
    cdef floating learning_rate = <floating>constants.learning_rate, epsilon = <floating>constants.epsilon
    cdef floating keep = <floating>constants.keep, take = <floating>constants.take
    for i in range(count):
        grad = grads[i] + decay * params[i]
        squares[i] = keep * squares[i] + take * (grad * grad)
        params[i] -= learning_rate * grad / (root(squares[i]) + epsilon)


def adagrad_step(
    params, grads, squares, decaying, double learning_rate, tuple shares, double epsilon, double weight_decay,
):
    cdef adagrad_constants constants = adagrad_constants(learning_rate, 0, 0, epsilon, weight_decay)
    constants.keep, constants.take = shares
    for_each_segment(
        "adagrad_step", grads, (params, squares), decaying, <update_function>adagrad_update[float],
        <update_function>adagrad_update[double], &constants, 4)


cdef struct adam_constants:
    double beta1, beta2, mean_rate, grad_rate, scale, epsilon, coupled, decoupled


cdef void adam_update(
    const floating *grads, floating *params, floating *mean, floating *square, Py_ssize_t count, bint decays,
    const adam_constants *constants,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating beta1 = <floating>constants.beta1, rest1 = <floating>(1 - constants.beta1)
    cdef floating beta2 = <floating>constants.beta2, rest2 = <floating>(1 - constants.beta2)
    cdef floating mean_rate = <floating>constants.mean_rate, grad_rate = <floating>constants.grad_rate
    cdef floating scale = <floating>constants.scale, epsilon = <floating>constants.epsilon
    cdef floating grad, decay = <floating>constants.coupled if decays else 0
    cdef floating keep = <floating>(1 - constants.decoupled) if decays else 1
    for i in range(count):
        grad = grads[i] + decay * params[i]
        mean[i] = beta1 * mean[i] + rest1 * grad
        square[i] = beta2 * square[i] + rest2 * (grad * grad)
        params[i] = keep * params[i] - (
            (mean_rate * mean[i] + grad_rate * grad) / (scale * root(square[i]) + epsilon))


def adam_step(
    params, grads, tuple moments, decaying, tuple betas, tuple rates, tuple divisor, tuple decay,
):
    cdef adam_constants constants
    constants.beta1, constants.beta2 = betas
    constants.mean_rate, constants.grad_rate = rates
    constants.scale, constants.epsilon = divisor
    constants.coupled, constants.decoupled = decay
    mean, square = moments
    for_each_segment(
        "adam_step", grads, (params, mean, square), decaying, <update_function>adam_update[float],
        <update_function>adam_update[double], &constants, 6)


# -- Lion --------------------------------------------------------------------------------------------

cdef struct lion_constants:
    double learning_rate, beta1, beta2, decoupled


cdef void lion_update(
    const floating *grads, floating *params, floating *mean, const floating *unused, Py_ssize_t count, bint decays,
    const lion_constants *constants,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating beta1 = <floating>constants.beta1, rest1 = <floating>(1 - constants.beta1)
    cdef floating beta2 = <floating>constants.beta2, rest2 = <floating>(1 - constants.beta2)
    cdef floating learning_rate = <floating>constants.learning_rate
    cdef floating direction, step, keep = <floating>(1 - constants.decoupled) if decays else 1
    for i in range(count):
        direction = beta1 * mean[i] + rest1 * grads[i]
        # NaN is neither above nor below zero; its difference from itself passes it on.
        step = (learning_rate if direction > 0 else 0) - (learning_rate if direction < 0 else 0)
        params[i] = keep * params[i] - (step + (direction - direction))
        mean[i] = beta2 * mean[i] + rest2 * grads[i]


def lion_step(
    params, grads, mean, decaying, double learning_rate, tuple betas, double decoupled,
):
    cdef lion_constants constants = lion_constants(learning_rate, 0, 0, decoupled)
    constants.beta1, constants.beta2 = betas
    for_each_segment(
        "lion_step", grads, (params, mean), decaying, <update_function>lion_update[float],
        <update_function>lion_update[double], &constants, 4)


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


cdef struct sums_job:
    const void *params
    void *grads
    ranges r
    double l1, l2
    double *sums        # of each task


cdef void squares_task(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    """Lane by lane, so that the order of additions is that of vectors."""
    cdef const sums_job *s = <const sums_job *>job
    cdef const floating *x = <const floating *>s.params + task * RUN
    cdef Py_ssize_t count = min(<Py_ssize_t>RUN, s.r.size - task * RUN)
    cdef double *total = s.sums + task
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


cdef void penalty_task(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    cdef const sums_job *j = <const sums_job *>job
    cdef segment s = first_segment(&j.r, task)
    cdef double *sums = j.sums + 2 * task
    sums[0] = sums[1] = 0
    while s.start < s.stop:
        if s.decays:
            penalty_run(
                <const floating *>j.params + s.start, <floating *>j.grads + s.start, s.stop - s.start,
                <floating>j.l1, <floating>j.l2, sums)
        s = next_segment(s, &j.r, task)


cdef int add_sums(
    void (*run)(const void *job, Py_ssize_t task, floating *unused) noexcept nogil, sums_job *s, double operations,
    double[::1] out,
) except -1:
    """Sums of all tasks, in order, into `out`."""
    cdef Py_ssize_t i, size = out.shape[0]
    out[...] = 0
    if s.r.size == 0:
        return 0
    s.sums = <double *>allocate(size * s.r.tasks * sizeof(double))
    with nogil:
        for_each_task(run, s, s.r.tasks, threads_for(s.r.tasks, operations * s.r.size), <floating *>NULL, 0)
        add_parts(s.sums, s.r.tasks, size)
    for i in range(size):
        out[i] = s.sums[i]
    release(s.sums)
    return 0


@by_dtype
def sum_of_squares(const floating[::1] x, double[::1] out):
    cdef sums_job s
    if out.shape[0] != 1:
        raise ValueError(f"sum_of_squares: sizes do not fit: {out.shape[0]} sums")
    s.r = ranges_of("sum_of_squares", None, x.shape[0])
    s.params = &x[0] if x.shape[0] else NULL
    add_sums[floating](squares_task[floating], &s, 1, out)


@by_dtype
def penalty(
    const floating[::1] params, floating[::1] grads, const Py_ssize_t[:, ::1] decaying, double l1, double l2,
    double[::1] out,
):
    cdef Py_ssize_t size = params.shape[0]
    cdef sums_job s
    if size != grads.shape[0] or out.shape[0] != 2:
        raise ValueError(f"penalty: sizes do not fit: {size}, {grads.shape[0]}, {out.shape[0]} sums")
    s.r, s.l1, s.l2 = ranges_of("penalty", decaying, size), l1, l2
    if size:
        s.params, s.grads = &params[0], &grads[0]
    add_sums[floating](penalty_task[floating], &s, 4, out)
