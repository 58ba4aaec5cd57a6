"""Batch normalization: moments of each channel, and the passes that use them.

An array is seen as (positions, channels). With few channels several positions are taken side by side as one row,
so that every inner loop runs over a multiple of 16 neighbouring elements. Rows are cut into blocks that stay
in cache between the sum and the sum of squared deviations, so that main memory is read once. A block is summed in the
array's own precision, four rows at a time; blocks are added up in double precision, in order, by a fixed
number of tasks.

Each pass is bound by memory. The backward passes therefore compute the sign of the output again, from what
they read anyway, where a ReLU follows: that costs three operations, and reading the output costs a third array.
"""

from libc.string cimport memcpy, memset

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport add_parts, allocate, for_each_task, release, threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, positions, same_shape

cdef enum:
    LANES = 16      # elements of the widest vector
    ROW = 64        # a row has at least so many elements,
    ROWS = 16       # a block so many rows,
    BLOCK = 16384   # and about so many elements
    TASKS = 32      # at most, so that few partial sums are kept


cdef struct layout:
    Py_ssize_t positions, channels
    Py_ssize_t size         # elements of the array,
    Py_ssize_t width        # of a row, which holds whole positions,
    Py_ssize_t block        # of a block, which holds whole rows
    Py_ssize_t blocks, share, tasks     # blocks, blocks of a task, tasks


cdef struct channel_pass:
    layout w
    const void *grad
    const void *x
    const void *rows    # of means, of gamma * inv_std, of beta, and of what else a pass needs
    bint relu
    double *sums        # of each task,
    Py_ssize_t own      # so many
    void *out


cdef layout lay_out(Py_ssize_t positions, Py_ssize_t channels) noexcept nogil:
    cdef layout w
    cdef Py_ssize_t together = 1
    if channels < ROW:
        while together * channels < ROW or together * channels % LANES:
            together += 1
    w.positions, w.channels, w.size = positions, channels, positions * channels
    w.width = together * channels
    w.block = max(<Py_ssize_t>ROWS, BLOCK // w.width) * w.width
    w.blocks = (w.size + w.block - 1) // w.block
    w.share = (w.blocks + TASKS - 1) // TASKS
    w.tasks = (w.blocks + w.share - 1) // w.share if w.blocks else 0
    return w


cdef void spread(const floating *values, layout w, floating *row) noexcept nogil:
    """A value for each channel, repeated for each position of a row."""
    cdef Py_ssize_t p, c
    for p in range(w.width // w.channels):
        for c in range(w.channels):
            row[p * w.channels + c] = values[c]


cdef void fold(const floating *row, layout w, double *total) noexcept nogil:
    """Add the positions of a row to the sums of the channels."""
    cdef Py_ssize_t p, c
    for p in range(w.width // w.channels):
        for c in range(w.channels):
            total[c] += row[p * w.channels + c]


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


cdef Py_ssize_t first_position(layout w, Py_ssize_t task) noexcept nogil:
    return min(task * w.share * w.block, w.size) // w.channels


cdef void moments_task(const void *job, Py_ssize_t task, floating *rows) noexcept nogil:
    """Means and sums of squared deviations of a task's positions; behind them, room for those of a block."""
    cdef const channel_pass *p = <const channel_pass *>job
    cdef layout w = p.w
    cdef const floating *x = <const floating *>p.x
    cdef Py_ssize_t block, start, size, c, done = 0
    cdef double *mean = p.sums + task * p.own
    cdef double *squares = mean + w.channels
    cdef double *block_mean = mean + 2 * w.channels
    cdef double *block_squares = mean + 3 * w.channels
    cdef floating *total = rows
    cdef floating *centre = rows + w.width
    memset(mean, 0, 2 * w.channels * sizeof(double))
    for block in range(task * w.share, min((task + 1) * w.share, w.blocks)):
        start = block * w.block
        size = min(w.block, w.size - start)
        memset(block_mean, 0, 2 * w.channels * sizeof(double))
        memset(total, 0, w.width * sizeof(floating))
        # Sums of differences from the first position: a mean far from zero costs no digits.
        spread(x + start, w, centre)
        add_deviations(x + start, size, w.width, <const floating *>centre, False, total)
        fold(total, w, block_mean)
        for c in range(w.channels):
            block_mean[c] = x[start + c] + block_mean[c] / (size // w.channels)
            total[c] = <floating>block_mean[c]
        spread(<const floating *>total, w, centre)
        memset(total, 0, w.width * sizeof(floating))
        add_deviations(x + start, size, w.width, <const floating *>centre, True, total)
        fold(total, w, block_squares)
        combine(done, mean, squares, size // w.channels, block_mean, block_squares, w.channels)
        done += size // w.channels


cdef int moments(const floating *x, layout w, floating *mean, floating *variance) except -1 nogil:
    cdef Py_ssize_t task, c, own = 4 * w.channels
    cdef int threads = threads_for(w.tasks, 2.0 * w.size)
    cdef double *partial = <double *>allocate(w.tasks * own * sizeof(double) + threads * 2 * w.width * sizeof(floating))
    cdef channel_pass p
    p.w, p.x, p.sums, p.own = w, x, partial, own
    for_each_task(moments_task[floating], &p, w.tasks, threads, <floating *>(partial + w.tasks * own), 2 * w.width)
    for task in range(1, w.tasks):
        combine(
            first_position(w, task), partial, partial + w.channels,
            first_position(w, task + 1) - first_position(w, task),
            partial + task * own, partial + task * own + w.channels, w.channels)
    for c in range(w.channels):
        mean[c] = <floating>partial[c]
        variance[c] = <floating>(partial[w.channels + c] / w.positions)
    release(partial)
    return 0


# -- Forward ------------------------------------------------------------------------------------------

cdef inline floating normalized(floating x, floating mean, floating scale, floating beta) noexcept nogil:
    return (x - mean) * scale + beta


cdef void forward_block(
    const floating *x, Py_ssize_t size, Py_ssize_t width,
    const floating *mean, const floating *scale, const floating *beta, bint relu, floating *out,
) noexcept nogil:
    cdef Py_ssize_t i, start = 0, count
    cdef floating y
    while start < size:
        count = min(width, size - start)
        if relu:
            for i in range(count):
                y = normalized(x[i], mean[i], scale[i], beta[i])
                out[i] = 0 if y <= 0 else y
        else:
            for i in range(count):
                out[i] = normalized(x[i], mean[i], scale[i], beta[i])
        x += width
        out += width
        start += width


cdef void spread_parameters(
    const floating *mean, const floating *inv_std, const floating *gamma, const floating *beta, layout w,
    floating *rows,
) noexcept nogil:
    """Rows of mean, gamma * inv_std and beta."""
    cdef Py_ssize_t c
    # The row of beta is free until its turn.
    for c in range(w.channels):
        rows[2 * w.width + c] = gamma[c] * inv_std[c]
    spread(mean, w, rows)
    spread(<const floating *>(rows + 2 * w.width), w, rows + w.width)
    spread(beta, w, rows + 2 * w.width)


cdef void forward_task(const void *job, Py_ssize_t block, floating *unused) noexcept nogil:
    cdef const channel_pass *p = <const channel_pass *>job
    cdef Py_ssize_t start = block * p.w.block
    cdef const floating *rows = <const floating *>p.rows
    forward_block(
        <const floating *>p.x + start, min(p.w.block, p.w.size - start), p.w.width, rows, rows + p.w.width,
        rows + 2 * p.w.width, p.relu, <floating *>p.out + start)


cdef int forward(
    const floating *x, const floating *mean, const floating *inv_std, const floating *gamma, const floating *beta,
    bint relu, layout w, floating *out,
) except -1 nogil:
    cdef floating *rows = <floating *>allocate(3 * w.width * sizeof(floating))
    cdef channel_pass p
    spread_parameters(mean, inv_std, gamma, beta, w, rows)
    p.w, p.x, p.rows, p.relu, p.out = w, x, rows, relu, out
    for_each_task(forward_task[floating], &p, w.blocks, threads_for(w.blocks, 2.0 * w.size), <floating *>NULL, 0)
    release(rows)
    return 0


# -- Backward -----------------------------------------------------------------------------------------

cdef inline floating gated(
    floating grad, floating x, floating mean, floating scale, floating beta,
) noexcept nogil:
    """The gradient behind a ReLU, from the output that `normalized` gave to it."""
    return 0 if normalized(x, mean, scale, beta) <= 0 else grad


cdef void add_gradients(
    const floating *grad, const floating *x, Py_ssize_t size, Py_ssize_t width,
    const floating *mean, const floating *scale, const floating *beta, bint relu,
    floating *gradients, floating *products, floating *behind,
) noexcept nogil:
    """Sums of g and of g * (x - mean); `behind` is room for one row of g."""
    cdef Py_ssize_t i, start = 0, count
    cdef const floating *g = grad
    while start < size:
        count = min(width, size - start)
        if relu:
            # In a loop of its own, for compilers give up on vectors where the choice and the sums stand together.
            for i in range(count):
                behind[i] = gated(grad[i], x[i], mean[i], scale[i], beta[i])
            g = behind
        for i in range(count):
            gradients[i] += g[i]
            products[i] += g[i] * (x[i] - mean[i])
        grad += width
        x += width
        g += width
        start += width


cdef void parameter_gradient_task(const void *job, Py_ssize_t task, floating *totals) noexcept nogil:
    cdef const channel_pass *p = <const channel_pass *>job
    cdef layout w = p.w
    cdef Py_ssize_t block, start
    cdef const floating *rows = <const floating *>p.rows
    cdef double *sums = p.sums + task * p.own
    memset(sums, 0, p.own * sizeof(double))
    for block in range(task * w.share, min((task + 1) * w.share, w.blocks)):
        start = block * w.block
        memset(totals, 0, 2 * w.width * sizeof(floating))
        add_gradients(
            <const floating *>p.grad + start, <const floating *>p.x + start, min(w.block, w.size - start), w.width,
            rows, rows + w.width, rows + 2 * w.width, p.relu, totals, totals + w.width, totals + 2 * w.width)
        fold(totals, w, sums)
        fold(totals + w.width, w, sums + w.channels)


cdef int parameter_gradient(
    const floating *grad, const floating *x, const floating *mean, const floating *inv_std,
    const floating *gamma, const floating *beta, bint relu, layout w, floating *gamma_grad, floating *beta_grad,
) except -1 nogil:
    cdef Py_ssize_t c, own = 2 * w.channels
    cdef int threads = threads_for(w.tasks, 2.0 * w.size)
    cdef double *sums = <double *>allocate(
        w.tasks * own * sizeof(double) + (3 + 3 * threads) * w.width * sizeof(floating))
    cdef floating *rows = <floating *>(sums + w.tasks * own)
    cdef channel_pass p
    spread_parameters(mean, inv_std, gamma, beta, w, rows)
    p.w, p.grad, p.x, p.rows, p.relu, p.sums, p.own = w, grad, x, rows, relu, sums, own
    for_each_task(parameter_gradient_task[floating], &p, w.tasks, threads, rows + 3 * w.width, 3 * w.width)
    add_parts(sums, w.tasks, own)
    for c in range(w.channels):
        beta_grad[c] = <floating>sums[c]
        gamma_grad[c] = <floating>(sums[w.channels + c] * inv_std[c])
    release(sums)
    return 0


cdef void input_gradient_block(
    const floating *grad, const floating *x, Py_ssize_t size, Py_ssize_t width,
    const floating *mean, const floating *scale, const floating *beta,
    const floating *average, const floating *slope, bint relu, floating *row, floating *out,
) noexcept nogil:
    cdef Py_ssize_t i, start = 0, count
    while start < size:
        count = min(width, size - start)
        # `out` may be `x`, and only of arrays that lie apart does the compiler take whole vectors.
        memcpy(row, x, count * sizeof(floating))
        if relu:
            for i in range(count):
                out[i] = scale[i] * (
                    (gated(grad[i], row[i], mean[i], scale[i], beta[i]) - average[i]) - (row[i] - mean[i]) * slope[i])
        else:
            for i in range(count):
                out[i] = scale[i] * ((grad[i] - average[i]) - (row[i] - mean[i]) * slope[i])
        grad += width
        x += width
        out += width
        start += width


cdef void input_gradient_task(const void *job, Py_ssize_t block, floating *row) noexcept nogil:
    cdef const channel_pass *p = <const channel_pass *>job
    cdef Py_ssize_t start = block * p.w.block, width = p.w.width
    cdef const floating *rows = <const floating *>p.rows
    input_gradient_block(
        <const floating *>p.grad + start, <const floating *>p.x + start, min(p.w.block, p.w.size - start), width,
        rows, rows + width, rows + 2 * width, rows + 3 * width, rows + 4 * width, p.relu, row,
        <floating *>p.out + start)


cdef int input_gradient(
    const floating *grad, const floating *x, const floating *mean, const floating *inv_std,
    const floating *gamma, const floating *beta, const floating *gamma_grad, const floating *beta_grad,
    bint relu, layout w, floating *out,
) except -1 nogil:
    cdef Py_ssize_t c, own = (w.width + LANES - 1) // LANES * LANES
    cdef int threads = threads_for(w.blocks, 2.0 * w.size)
    cdef floating *rows = <floating *>allocate((5 * w.width + max(w.channels, threads * own)) * sizeof(floating))
    cdef floating *values = rows + 5 * w.width
    cdef channel_pass p
    spread_parameters(mean, inv_std, gamma, beta, w, rows)
    for c in range(w.channels):
        values[c] = beta_grad[c] / w.positions
    spread(<const floating *>values, w, rows + 3 * w.width)
    for c in range(w.channels):
        values[c] = inv_std[c] * gamma_grad[c] / w.positions
    spread(<const floating *>values, w, rows + 4 * w.width)
    p.w, p.grad, p.x, p.rows, p.relu, p.out = w, grad, x, rows, relu, out
    for_each_task(input_gradient_task[floating], &p, w.blocks, threads, values, own)
    release(rows)
    return 0


# -- The door -----------------------------------------------------------------------------------------

cdef int check(
    const char *name, Py_ssize_t[2] x, Py_ssize_t[2] other, Py_ssize_t a, Py_ssize_t b, Py_ssize_t c, Py_ssize_t d,
    Py_ssize_t e, Py_ssize_t f,
) except -1:
    """Two arrays of one shape, and a value of each kind for each channel."""
    if not same_shape(x, other, 2) or x[1] < 1 or not x[1] == a == b == c == d == e == f:
        raise ValueError(
            f"{name.decode()}: shapes do not fit: {as_tuple(x, 2)}, {as_tuple(other, 2)}, "
            f"channels {(a, b, c, d, e, f)}")
    return 0


@by_dtype
def batch_norm_statistics(x, floating[::1] mean, floating[::1] variance):
    cdef Py_ssize_t C = mean.shape[0]
    cdef const floating[:, ::1] X = positions(x)
    check("batch_norm_statistics", X.shape, X.shape, C, variance.shape[0], C, C, C, C)
    if X.shape[0] == 0:
        mean[...] = 0
        variance[...] = 0
        return
    with nogil:
        moments(&X[0, 0], lay_out(X.shape[0], C), &mean[0], &variance[0])


@by_dtype
def batch_norm_forward(
    x, const floating[::1] mean, const floating[::1] inv_std, const floating[::1] gamma, const floating[::1] beta,
    bint relu, out,
):
    cdef Py_ssize_t C = mean.shape[0]
    cdef const floating[:, ::1] X = positions(x)
    cdef floating[:, ::1] Y = positions(out)
    check("batch_norm_forward", X.shape, Y.shape, C, inv_std.shape[0], gamma.shape[0], beta.shape[0], C, C)
    if X.shape[0] == 0:
        return
    with nogil:
        forward(&X[0, 0], &mean[0], &inv_std[0], &gamma[0], &beta[0], relu, lay_out(X.shape[0], C), &Y[0, 0])


@by_dtype
def batch_norm_parameter_gradient(
    grad, x, const floating[::1] mean, const floating[::1] inv_std, const floating[::1] gamma,
    const floating[::1] beta, bint relu, floating[::1] gamma_grad, floating[::1] beta_grad,
):
    cdef Py_ssize_t C = mean.shape[0]
    cdef const floating[:, ::1] G = positions(grad), X = positions(x)
    check(
        "batch_norm_parameter_gradient", X.shape, G.shape, C, inv_std.shape[0], gamma.shape[0], beta.shape[0],
        gamma_grad.shape[0], beta_grad.shape[0])
    if X.shape[0] == 0:
        gamma_grad[...] = 0
        beta_grad[...] = 0
        return
    with nogil:
        parameter_gradient(
            &G[0, 0], &X[0, 0], &mean[0], &inv_std[0], &gamma[0], &beta[0], relu, lay_out(X.shape[0], C),
            &gamma_grad[0], &beta_grad[0])


@by_dtype
def batch_norm_input_gradient(
    grad, x, const floating[::1] mean, const floating[::1] inv_std, const floating[::1] gamma,
    const floating[::1] beta, const floating[::1] gamma_grad, const floating[::1] beta_grad, bint relu, out,
):
    cdef Py_ssize_t C = mean.shape[0]
    cdef const floating[:, ::1] G = positions(grad), X = positions(x)
    cdef floating[:, ::1] Y = positions(out)
    check(
        "batch_norm_input_gradient", X.shape, G.shape, C, inv_std.shape[0], gamma.shape[0], beta.shape[0],
        gamma_grad.shape[0], beta_grad.shape[0])
    check("batch_norm_input_gradient", X.shape, Y.shape, C, C, C, C, C, C)
    if X.shape[0] == 0:
        return
    with nogil:
        input_gradient(
            &G[0, 0], &X[0, 0], &mean[0], &inv_std[0], &gamma[0], &beta[0], &gamma_grad[0], &beta_grad[0], relu,
            lay_out(X.shape[0], C), &Y[0, 0])
