"""Batch normalization: moments of each channel, and the passes that use them.

Blocks stay in cache between the sum and the sum of squared deviations, so that main memory is read once. Rows are a
multiple of 16 elements, where several positions make one, and are summed four at a time.

Each pass is bound by memory. The backward passes therefore compute the sign of the output again, from what
they read anyway, where a ReLU follows: that costs three operations, and reading the output costs a third array.
"""

from libc.string cimport memcpy, memset

from cnnx._kernels.families.channels cimport (
    channel_pass, fill_sums, fold, pass_function, reserve, rows, run_pass, run_tasks, spread,
)
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport release

cdef enum:
    LANES = 16      # elements of the widest vector

cdef enum:
    # For each channel, in the order in which kernels have them.
    MEAN, INV_STD, GAMMA, BETA, GAMMA_GRAD, BETA_GRAD


cdef tuple numbers_of(tuple statistics, tuple affine):
    mean, inv_std = statistics
    gamma, beta = affine
    return mean, inv_std, gamma, beta


# -- Moments ------------------------------------------------------------------------------------------

cdef inline floating term(floating x, floating centre, bint square) noexcept nogil:
    return (x - centre) * (x - centre) if square else x - centre


cdef inline void add_deviations(
    const floating *x, Py_ssize_t size, Py_ssize_t width, const floating *centre, bint square, floating *total,
) noexcept nogil:
    """Sums of x - centre, or of their squares; `square` is known to the compiler, so that loops have no branch."""
    cdef Py_ssize_t i, start = 0
    cdef const floating *a
    cdef const floating *b
    cdef const floating *c
    cdef const floating *d
    while start + 4 * width <= size:
        a = x + start
        b, c, d = a + width, a + 2 * width, a + 3 * width
        for i in range(width):
            total[i] += (
                (term(a[i], centre[i], square) + term(b[i], centre[i], square))
                + (term(c[i], centre[i], square) + term(d[i], centre[i], square)))
        start += 4 * width
    while start < size:
        for i in range(min(width, size - start)):
            total[i] += term(x[start + i], centre[i], square)
        start += width


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


cdef void moments_task(const void *job, Py_ssize_t task, floating *total) noexcept nogil:
    """Means and sums of squared deviations of a task's positions; behind them, room for those of a block."""
    cdef const channel_pass *p = <const channel_pass *>job
    cdef rows r = p.r
    cdef const floating *x = <const floating *>p.x.first
    cdef Py_ssize_t start = task * r.share, end = min(start + r.share, r.size), size, c, done = 0
    cdef double *mean = p.sums + task * p.own
    cdef double *squares = mean + r.channels
    cdef double *block_mean = mean + 2 * r.channels
    cdef double *block_squares = mean + 3 * r.channels
    cdef floating *centre = total + r.width
    memset(mean, 0, 2 * r.channels * sizeof(double))
    while start < end:
        size = min(r.block, end - start)
        memset(block_mean, 0, 2 * r.channels * sizeof(double))
        memset(total, 0, r.width * sizeof(floating))
        # Sums of differences from the first position: a mean far from zero costs no digits.
        spread(x + start, r, centre)
        add_deviations(x + start, size, r.width, <const floating *>centre, False, total)
        fold(total, r, block_mean)
        for c in range(r.channels):
            block_mean[c] = x[start + c] + block_mean[c] / (size // r.channels)
            total[c] = <floating>block_mean[c]
        spread(<const floating *>total, r, centre)
        memset(total, 0, r.width * sizeof(floating))
        add_deviations(x + start, size, r.width, <const floating *>centre, True, total)
        fold(total, r, block_squares)
        combine(done, mean, squares, size // r.channels, block_mean, block_squares, r.channels)
        done += size // r.channels
        start += r.block


cdef int moments(channel_pass *p, const floating *x) except -1 nogil:
    cdef rows r = p.r
    cdef Py_ssize_t task, c
    cdef floating *mean = <floating *>p.numbers[0]
    cdef floating *variance = <floating *>p.numbers[1]
    reserve(p, r.tasks, 2, 4, 0, 2)
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

cdef inline floating normalized(floating x, floating mean, floating scale, floating beta) noexcept nogil:
    return (x - mean) * scale + beta


cdef void forward_row(
    const floating *x, const floating *mean, const floating *scale, const floating *beta, bint relu, floating *out,
    Py_ssize_t count,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating y
    if relu:
        for i in range(count):
            y = normalized(x[i], mean[i], scale[i], beta[i])
            out[i] = 0 if y <= 0 else y
    else:
        for i in range(count):
            out[i] = normalized(x[i], mean[i], scale[i], beta[i])


cdef void forward_task(const void *job, Py_ssize_t block, floating *unused) noexcept nogil:
    cdef const channel_pass *p = <const channel_pass *>job
    cdef Py_ssize_t width = p.r.width, start = block * p.r.block, end = min(start + p.r.block, p.r.size)
    cdef const floating *mean = <const floating *>p.shared
    while start < end:
        forward_row(
            <const floating *>p.x.first + start, mean, mean + width, mean + 2 * width, p.relu,
            <floating *>p.out.first + start, min(width, end - start))
        start += width


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

cdef inline floating gated(
    floating grad, floating x, floating mean, floating scale, floating beta,
) noexcept nogil:
    """The gradient behind a ReLU, from the output that `normalized` gave to it."""
    return 0 if normalized(x, mean, scale, beta) <= 0 else grad


cdef void add_gradients(
    const channel_pass *p, Py_ssize_t start, floating *gradients, floating *products, floating *behind,
) noexcept nogil:
    """Sums of g and of g * (x - mean) of a block; `behind` is room for one row of g."""
    cdef Py_ssize_t i, count, width = p.r.width, end = min(start + p.r.block, p.r.size)
    cdef const floating *mean = <const floating *>p.shared
    cdef const floating *scale = mean + width
    cdef const floating *beta = mean + 2 * width
    cdef const floating *grad
    cdef const floating *x
    cdef bint relu = p.relu
    while start < end:
        grad, x = <const floating *>p.grad.first + start, <const floating *>p.x.first + start
        count = min(width, end - start)
        if relu:
            # In a loop of its own, for compilers give up on vectors where the choice and the sums stand together.
            for i in range(count):
                behind[i] = gated(grad[i], x[i], mean[i], scale[i], beta[i])
            grad = behind
        for i in range(count):
            gradients[i] += grad[i]
            products[i] += grad[i] * (x[i] - mean[i])
        start += width


cdef void parameter_gradient_task(const void *job, Py_ssize_t task, floating *totals) noexcept nogil:
    cdef const channel_pass *p = <const channel_pass *>job
    cdef Py_ssize_t start = task * p.r.share, end = min(start + p.r.share, p.r.size), width = p.r.width
    cdef double *sums = p.sums + task * p.own
    memset(sums, 0, p.own * sizeof(double))
    while start < end:
        memset(totals, 0, 2 * width * sizeof(floating))
        add_gradients(p, start, totals, totals + width, totals + 2 * width)
        fold(totals, p.r, sums)
        fold(totals + width, p.r, sums + p.r.channels)
        start += p.r.block


cdef int parameter_gradient(channel_pass *p, const floating *x) except -1 nogil:
    cdef Py_ssize_t c
    spread_numbers(p, <floating *>reserve(p, p.r.tasks, 2, 2, 3, 3))
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


cdef void input_gradient_row(
    const floating *grad, const floating *x, const floating *rows, Py_ssize_t width, bint relu, floating *out,
    Py_ssize_t count,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef const floating *mean = rows
    cdef const floating *scale = rows + width
    cdef const floating *beta = rows + 2 * width
    cdef const floating *average = rows + 3 * width
    cdef const floating *slope = rows + 4 * width
    if relu:
        for i in range(count):
            out[i] = scale[i] * (
                (gated(grad[i], x[i], mean[i], scale[i], beta[i]) - average[i]) - (x[i] - mean[i]) * slope[i])
    else:
        for i in range(count):
            out[i] = scale[i] * ((grad[i] - average[i]) - (x[i] - mean[i]) * slope[i])


cdef void input_gradient_task(const void *job, Py_ssize_t block, floating *row) noexcept nogil:
    cdef const channel_pass *p = <const channel_pass *>job
    cdef Py_ssize_t count, start = block * p.r.block, end = min(start + p.r.block, p.r.size)
    while start < end:
        count = min(p.r.width, end - start)
        # `out` may be `x`, and only of arrays that lie apart does the compiler take whole vectors.
        memcpy(row, <const floating *>p.x.first + start, count * sizeof(floating))
        input_gradient_row(
            <const floating *>p.grad.first + start, <const floating *>row, <const floating *>p.shared, p.r.width,
            p.relu, <floating *>p.out.first + start, count)
        start += p.r.width


cdef int input_gradient(channel_pass *p, const floating *x) except -1 nogil:
    cdef rows r = p.r
    cdef Py_ssize_t c, positions = r.size // r.channels
    cdef floating *to = <floating *>reserve(p, r.blocks, 2, 0, 5, 1)
    cdef floating *values = to + 5 * r.width     # the row of the first thread, which is free until then
    spread_numbers(p, to)
    for c in range(r.channels):
        values[c] = (<const floating *>p.numbers[BETA_GRAD])[c] / positions
    spread(<const floating *>values, r, to + 3 * r.width)
    for c in range(r.channels):
        values[c] = (
            (<const floating *>p.numbers[INV_STD])[c] * (<const floating *>p.numbers[GAMMA_GRAD])[c] / positions)
    spread(<const floating *>values, r, to + 4 * r.width)
    run_tasks(input_gradient_task[floating], p)
    release(p.sums)
    return 0


def batch_norm_input_gradient(grad, x, tuple statistics, tuple affine, gamma_grad, beta_grad, bint relu, out):
    run_pass(
        "batch_norm_input_gradient", (x, grad), (out,), numbers_of(statistics, affine) + (gamma_grad, beta_grad), (),
        <pass_function>input_gradient[float], <pass_function>input_gradient[double], LANES, relu)
