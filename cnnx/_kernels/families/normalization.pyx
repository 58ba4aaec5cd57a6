"""Batch normalization: moments of each channel, and the passes that use them.

Each pass is bound by memory, which it reads once: moments are sums of deviations from a centre that is known before, and
of their squares. A task's first centre is the mean of a few positions, that of a later block the mean of the blocks
before; so what a centre differs from the mean is part of the variance that comes out, and rounding it costs no digits.
The loops over rows are in normalization_rows.h.

The backward passes compute the sign of the output again, from what they read anyway, where a ReLU follows: that costs
three operations, and reading the output costs a third array.
"""

from libc.string cimport memset

from cnnx._kernels.families.channels cimport (
    channel_pass, fill_sums, fold, pass_function, reserve, rows, run_pass, run_tasks, spread,
)
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport loops_for
from cnnx._kernels.ground.parallel cimport release

cdef enum:
    FIRST = 1024    # elements, about, of which a task's first centre is the mean


cdef tuple numbers_of(tuple statistics, tuple affine):
    mean, inv_std = statistics
    gamma, beta = affine
    return mean, inv_std, gamma, beta


# -- Moments ------------------------------------------------------------------------------------------

cdef void combine(
    double count, double *mean, double *squares,
    double other_count, const double *other_mean, const double *other_squares, Py_ssize_t channels,
) noexcept nogil:
    """Moments of two sets from those of each. Chan, Golub, LeVeque, "Updating Formulae", 1979, (2.1)."""
    cdef Py_ssize_t c
    cdef double share = other_count / (count + other_count), weight = count * share, difference
    for c in range(channels):
        difference = other_mean[c] - mean[c]
        mean[c] += difference * share
        squares[c] += other_squares[c] + difference * difference * weight


cdef Py_ssize_t first_position(rows r, Py_ssize_t task) noexcept nogil:
    return min(task * r.share, r.size) // r.channels


cdef void set_centre(
    const floating *x, Py_ssize_t size, rows r, Py_ssize_t done, const double *mean, double *sums, floating *total,
    floating *centre,
) noexcept nogil:
    """The mean so far, of `done` positions, in a row; of none, that of a block's first rows, with room for sums."""
    cdef Py_ssize_t c, few = min(size, max(<Py_ssize_t>1, FIRST // r.width) * r.width)
    if done:
        for c in range(r.channels):
            total[c] = <floating>mean[c]
    else:
        # Differences from the first position: a mean far from zero costs no digits.
        spread(x, r, centre)
        memset(total, 0, 2 * r.width * sizeof(floating))
        loops_for(sizeof(floating)).add_moments(few, r.width, x, centre, total)
        memset(sums, 0, r.channels * sizeof(double))
        fold(<const floating *>total, r, sums)
        for c in range(r.channels):
            total[c] = <floating>(x[c] + sums[c] / (few // r.channels))
    spread(<const floating *>total, r, centre)


cdef void moments_task(const void *job, Py_ssize_t task, floating *total) noexcept nogil:
    """Means and sums of squared deviations of a task's positions; behind them, room for those of a block."""
    cdef const channel_pass *p = <const channel_pass *>job
    cdef rows r = p.r
    cdef const floating *x = <const floating *>p.x.first
    cdef Py_ssize_t start = task * r.share, end = min(start + r.share, r.size), size, c, count, done = 0
    cdef double share
    cdef double *mean = p.sums + task * p.own
    cdef double *squares = mean + r.channels
    cdef double *block_mean = mean + 2 * r.channels
    cdef double *block_squares = mean + 3 * r.channels
    cdef floating *centre = total + 2 * r.width
    memset(mean, 0, 2 * r.channels * sizeof(double))
    while start < end:
        size = min(r.block, end - start)
        count = size // r.channels
        share = <double>1 / count
        set_centre(x + start, size, r, done, mean, block_mean, total, centre)
        memset(block_mean, 0, 2 * r.channels * sizeof(double))
        memset(total, 0, 2 * r.width * sizeof(floating))
        loops_for(sizeof(floating)).add_moments(size, r.width, x + start, centre, total)
        fold(<const floating *>total, r, block_mean)
        fold(<const floating *>(total + r.width), r, block_squares)
        for c in range(r.channels):
            block_squares[c] = max(block_squares[c] - block_mean[c] * block_mean[c] * share, <double>0)
            block_mean[c] = centre[c] + block_mean[c] * share
        combine(done, mean, squares, count, block_mean, block_squares, r.channels)
        done += count
        start += r.block


cdef int moments(channel_pass *p, const floating *x) except -1 nogil:
    cdef rows r = p.r
    cdef Py_ssize_t task, c
    cdef floating *mean = <floating *>p.numbers[0]
    cdef floating *variance = <floating *>p.numbers[1]
    reserve(p, r.tasks, 2, 4, 0, 3)
    run_tasks(moments_task[floating], p)
    for task in range(1, r.tasks):
        combine(
            first_position(r, task), p.sums, p.sums + r.channels,
            first_position(r, task + 1) - first_position(r, task),
            p.sums + task * p.own, p.sums + task * p.own + r.channels, r.channels)
    for c in range(r.channels):
        mean[c] = <floating>p.sums[c]
        variance[c] = <floating>(p.sums[r.channels + c] / max(r.size // r.channels, <Py_ssize_t>1))
    release(p.sums)
    return 0


def batch_norm_statistics(x, mean, variance):
    run_pass(
        "batch_norm_statistics", (x,), (), (), (mean, variance), <pass_function>moments[float],
        <pass_function>moments[double], LANES)


# -- Forward ------------------------------------------------------------------------------------------

cdef void forward_task(const void *job, Py_ssize_t block, floating *unused) noexcept nogil:
    cdef const channel_pass *p = <const channel_pass *>job
    cdef Py_ssize_t start = block * p.r.block
    loops_for(sizeof(floating)).normalize_rows(
        min(p.r.block, p.r.size - start), p.r.width, <const floating *>p.x.first + start, p.shared, p.relu,
        <floating *>p.out.first + start)


cdef void spread_numbers(const channel_pass *p, floating *to) noexcept nogil:
    """Rows of mean, gamma * inv_std and beta."""
    cdef Py_ssize_t c, width = p.r.width
    # The row of beta is free until its turn.
    for c in range(p.r.channels):
        to[2 * width + c] = (<const floating *>p.numbers[GAMMA])[c] * (<const floating *>p.numbers[INV_STD])[c]
    spread(<const floating *>p.numbers[MEAN], p.r, to)
    spread(<const floating *>(to + 2 * width), p.r, to + width)
    spread(<const floating *>p.numbers[BETA], p.r, to + 2 * width)


cdef int forward(channel_pass *p, const floating *x) except -1 nogil:
    spread_numbers(p, <floating *>reserve(p, p.r.blocks, 2, 0, 3, 0))
    run_tasks(forward_task[floating], p)
    release(p.sums)
    return 0


def batch_norm_forward(x, tuple statistics, tuple affine, bint relu, out):
    run_pass(
        "batch_norm_forward", (x,), (out,), numbers_of(statistics, affine), (), <pass_function>forward[float],
        <pass_function>forward[double], LANES, relu)


# -- Gradients ----------------------------------------------------------------------------------------

cdef void parameter_gradient_task(const void *job, Py_ssize_t task, floating *totals) noexcept nogil:
    """Sums of g and of g * (x - mean)."""
    cdef const channel_pass *p = <const channel_pass *>job
    cdef Py_ssize_t start = task * p.r.share, end = min(start + p.r.share, p.r.size), width = p.r.width
    cdef double *sums = p.sums + task * p.own
    memset(sums, 0, p.own * sizeof(double))
    while start < end:
        memset(totals, 0, 2 * width * sizeof(floating))
        loops_for(sizeof(floating)).add_gradients(
            min(p.r.block, end - start), width, <const floating *>p.grad.first + start,
            <const floating *>p.x.first + start, p.shared, p.relu, totals)
        fold(<const floating *>totals, p.r, sums)
        fold(<const floating *>(totals + width), p.r, sums + p.r.channels)
        start += p.r.block


cdef int parameter_gradient(channel_pass *p, const floating *x) except -1 nogil:
    cdef Py_ssize_t c
    spread_numbers(p, <floating *>reserve(p, p.r.tasks, 2, 2, 3, 2))
    run_tasks(parameter_gradient_task[floating], p)
    fill_sums(p, <floating *>p.numbers[BETA_GRAD])
    for c in range(p.r.channels):
        (<floating *>p.numbers[GAMMA_GRAD])[c] = <floating>(
            p.sums[p.r.channels + c] * (<const floating *>p.numbers[INV_STD])[c])
    release(p.sums)
    return 0


def batch_norm_parameter_gradient(grad, x, tuple statistics, tuple affine, bint relu, gamma_grad, beta_grad):
    run_pass(
        "batch_norm_parameter_gradient", (x, grad), (), numbers_of(statistics, affine), (gamma_grad, beta_grad),
        <pass_function>parameter_gradient[float], <pass_function>parameter_gradient[double], LANES, relu)


cdef void input_gradient_task(const void *job, Py_ssize_t block, floating *unused) noexcept nogil:
    cdef const channel_pass *p = <const channel_pass *>job
    cdef Py_ssize_t start = block * p.r.block
    loops_for(sizeof(floating)).normalization_gradient_rows(
        min(p.r.block, p.r.size - start), p.r.width, <const floating *>p.grad.first + start,
        <const floating *>p.x.first + start, p.shared, p.relu, <floating *>p.out.first + start)


cdef void spread_slopes(const channel_pass *p, floating *values, floating *to) noexcept nogil:
    """Rows of the mean of the gradients, and of what takes the share of x from them; `values` has room for a row."""
    cdef Py_ssize_t c, positions = p.r.size // p.r.channels
    for c in range(p.r.channels):
        values[c] = (<const floating *>p.numbers[BETA_GRAD])[c] / positions
    spread(<const floating *>values, p.r, to)
    for c in range(p.r.channels):
        values[c] = (
            (<const floating *>p.numbers[INV_STD])[c] * (<const floating *>p.numbers[GAMMA_GRAD])[c] / positions)
    spread(<const floating *>values, p.r, to + p.r.width)


cdef int input_gradient(channel_pass *p, const floating *x) except -1 nogil:
    cdef floating *to = <floating *>reserve(p, p.r.blocks, 2, 0, 5, 1)
    spread_numbers(p, to)
    # The row of the first thread is free until then.
    spread_slopes(p, to + 5 * p.r.width, to + 3 * p.r.width)
    run_tasks(input_gradient_task[floating], p)
    release(p.sums)
    return 0


def batch_norm_input_gradient(grad, x, tuple statistics, tuple affine, gamma_grad, beta_grad, bint relu, out):
    run_pass(
        "batch_norm_input_gradient", (x, grad), (out,), numbers_of(statistics, affine) + (gamma_grad, beta_grad), (),
        <pass_function>input_gradient[float], <pass_function>input_gradient[double], LANES, relu)
