"""Layer and group normalization: moments of each group of channels in each example, and the passes that use them.

An array is seen as (examples, positions, channels), with channels in groups of neighbours. With few channels several
positions are taken side by side as one row, so that inner loops run over many neighbouring elements. Rows are summed
in the array's own precision, a block of them at a time; a block is folded into its groups, or channels, in double
precision. A task is a run of whole examples, which it goes over while they are in cache.

An example of one position, as in layer normalization, is a single row: its groups are summed along the row, without a
row of means or scales beside it.
"""

from libc.math cimport sqrt
from libc.string cimport memset

from cnnx._kernels.ground.elementwise cimport elements, take_channels, take_elements, wrong_types
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.lanes cimport LANES as SUMS, sum_of_lanes
from cnnx._kernels.ground.parallel cimport add_parts, allocate, for_each_task, release, threads_for
from cnnx._kernels.ground.program cimport job_function, perform

cdef enum:
    LANES = 16      # elements of the widest vector
    ROW = 64        # a row has at least so many elements, if the example has
    ROWS = 64       # a block has so many rows
    RUN = 16384     # a task has about so many elements, or one example
    TASKS = 32      # of a sum over examples, at most, so that few partial sums are kept


cdef struct layout:
    Py_ssize_t examples, channels, groups, group    # examples, channels, groups, channels of a group
    Py_ssize_t size, count          # elements of an example, and of one of its groups
    Py_ssize_t width                # of a row, which holds whole positions
    Py_ssize_t share, tasks         # examples of a task, tasks


cdef layout lay_out(
    Py_ssize_t examples, Py_ssize_t positions, Py_ssize_t channels, Py_ssize_t groups, Py_ssize_t tasks,
) noexcept nogil:
    """Up to `tasks` tasks; as many as there are runs if it is 0."""
    cdef layout w
    cdef Py_ssize_t together = 1
    if channels < ROW:
        while together < positions and (together * channels < ROW or together * channels % LANES):
            together += 1
    w.examples, w.channels, w.groups, w.group = examples, channels, groups, channels // groups
    w.size, w.count = positions * channels, positions * w.group
    w.width = together * channels
    w.share = max(<Py_ssize_t>1, RUN // max(w.size, <Py_ssize_t>1))
    if tasks:
        w.share = max(w.share, (examples + tasks - 1) // tasks)
    w.tasks = max((examples + w.share - 1) // w.share, <Py_ssize_t>1)     # without examples, sums are 0
    return w


cdef struct group_pass:
    layout w
    elements x, grad, out
    elements[2] numbers     # for each channel: gamma and perhaps beta, or the gradients of both
    elements mean, inv_std
    double epsilon
    double *sums            # over examples, of each task
    int (*function)(group_pass *p, const void *x) except -1 nogil


ctypedef int (*pass_function)(group_pass *p, const void *x) except -1 nogil


cdef int for_each_share(
    void (*run)(const void *job, Py_ssize_t task, floating *memory) noexcept nogil, group_pass *p, double operations,
    Py_ssize_t rows, Py_ssize_t sums,
) except -1 nogil:
    """`operations` are those of an element; each thread has memory for so many sums, and then so many rows."""
    cdef Py_ssize_t sums_room = sums * (sizeof(double) // sizeof(floating))
    cdef Py_ssize_t own = (sums_room + rows * p.w.width + LANES - 1) // LANES * LANES
    cdef int threads = threads_for(p.w.tasks, operations * p.w.examples * p.w.size)
    cdef floating *memory = <floating *>allocate(threads * own * sizeof(floating))
    for_each_task(run, p, p.w.tasks, threads, memory, own)
    release(memory)
    return 0


cdef void spread_groups(const floating *values, layout w, floating *row) noexcept nogil:
    """A value for each group, repeated for each channel and each position of a row."""
    cdef Py_ssize_t g, c
    for g in range(w.groups):
        for c in range(w.group):
            row[g * w.group + c] = values[g]
    repeat(w, row)


cdef void spread_channels(const floating *values, layout w, floating *row) noexcept nogil:
    """A value for each channel, repeated for each position of a row."""
    cdef Py_ssize_t c
    for c in range(w.channels):
        row[c] = values[c]
    repeat(w, row)


cdef void repeat(layout w, floating *row) noexcept nogil:
    """The first position of a row for the others."""
    cdef Py_ssize_t i
    for i in range(w.channels, w.width):
        row[i] = row[i - w.channels]


cdef double run_sum(const floating *values, Py_ssize_t count) noexcept nogil:
    cdef double[SUMS] lanes
    cdef Py_ssize_t i = 0, lane
    cdef double total = 0
    if count >= SUMS:
        memset(lanes, 0, sizeof(lanes))
        while i + SUMS <= count:
            for lane in range(SUMS):
                lanes[lane] += values[i + lane]
            i += SUMS
        total = sum_of_lanes(lanes)
    while i < count:
        total += values[i]
        i += 1
    return total


cdef void fold_groups(const floating *row, layout w, double *sums) noexcept nogil:
    """Add a row to the sums of the groups."""
    cdef Py_ssize_t p, g
    for p in range(w.width // w.channels):
        for g in range(w.groups):
            sums[g] += run_sum(row + p * w.channels + g * w.group, w.group)


cdef void fold_channels(const floating *row, layout w, double *sums) noexcept nogil:
    """Add a row to the sums of the channels."""
    cdef Py_ssize_t p, c
    for p in range(w.width // w.channels):
        for c in range(w.channels):
            sums[c] += row[p * w.channels + c]


cdef double folded(const floating *lanes) noexcept nogil:
    """Sum of as many partial sums as there are lanes, in pairs."""
    cdef double[SUMS] sums
    cdef Py_ssize_t lane
    for lane in range(SUMS):
        sums[lane] = <double>lanes[lane] + lanes[lane + SUMS]
    return sum_of_lanes(sums)


# -- The way over groups ------------------------------------------------------------------------------

cdef void for_each_group(
    void (*run)(const group_pass *p, Py_ssize_t start, Py_ssize_t first, Py_ssize_t i, floating kind) noexcept nogil,
    const group_pass *p, Py_ssize_t task,
) noexcept nogil:
    """Of examples of one position: where a group begins, its first channel, and its place among all groups."""
    cdef Py_ssize_t n, g, i = task * p.w.share * p.w.groups
    for n in range(task * p.w.share, min((task + 1) * p.w.share, p.w.examples)):
        for g in range(p.w.groups):
            run(p, n * p.w.size + g * p.w.group, g * p.w.group, i, 0)
            i += 1


cdef int do_pass(const void *job, const void *unused) except -1 nogil:
    cdef group_pass p = (<const group_pass *>job)[0]
    return p.function(&p, p.x.first)


cdef int run_pass(
    str name, tuple inputs, tuple outputs, tuple numbers, tuple filled, tuple statistics, bint fills,
    pass_function for_float, pass_function for_double, Py_ssize_t tasks=0, double epsilon=0,
) except -1:
    """The function for the type of the arrays: `x` and perhaps `grad`, an output if there is one, numbers for each
    channel, and the mean and the inverse deviation of each group, which a pass reads or fills."""
    cdef group_pass p
    cdef elements[3] arrays
    cdef elements[2] of_groups
    cdef const void **moved[7]
    cdef Py_ssize_t examples, groups, channels
    take_channels(name, inputs, outputs, arrays, numbers, filled, p.numbers)
    take_elements(name, () if fills else statistics, statistics if fills else (), of_groups)
    p.x, p.grad, p.out, p.mean, p.inv_std = arrays[0], arrays[1], arrays[len(inputs)], of_groups[0], of_groups[1]
    if p.mean.type != p.x.type:
        raise wrong_types(name, inputs + outputs + statistics)
    examples, groups, channels = len(inputs[0]), p.mean.last, p.x.last
    if groups < 1 or channels % groups or p.mean.count != examples * groups or examples and not p.x.count:
        raise ValueError(
            f"{name}: shapes do not fit: "
            f"{', '.join([str(array.shape) for array in inputs + outputs])}, groups {statistics[0].shape}")
    p.epsilon, p.function, p.sums = epsilon, for_float if p.x.type == c"f" else for_double, NULL
    p.w = lay_out(examples, p.x.count // (max(examples, <Py_ssize_t>1) * channels), channels, groups, tasks)
    moved[0], moved[1], moved[2] = (
        <const void **>&p.x.first, <const void **>&p.grad.first, <const void **>&p.out.first)
    moved[3], moved[4] = <const void **>&p.mean.first, <const void **>&p.inv_std.first
    moved[5], moved[6] = <const void **>&p.numbers[0].first, <const void **>&p.numbers[1].first
    return perform(<job_function>do_pass, &p, sizeof(group_pass), moved, 7, (inputs, numbers, statistics))


# -- Forward ------------------------------------------------------------------------------------------

cdef inline floating squared(floating deviation) noexcept nogil:
    return deviation * deviation


cdef void group_deviations(
    const floating *x, const floating *centre, bint square, layout w, floating *total, double *sums,
) noexcept nogil:
    """Sums over each group of x - centre, or of their squares."""
    cdef Py_ssize_t start = 0, row, i, count
    memset(sums, 0, w.groups * sizeof(double))
    while start < w.size:
        memset(total, 0, w.width * sizeof(floating))
        for row in range(ROWS):
            count = min(w.width, w.size - start)
            if count <= 0:
                break
            if square:
                for i in range(count):
                    total[i] += squared(x[start + i] - centre[i])
            else:
                for i in range(count):
                    total[i] += x[start + i] - centre[i]
            start += w.width
        fold_groups(<const floating *>total, w, sums)


cdef void normalize_example(
    const floating *x, const floating *mean, const floating *scale, const floating *beta, layout w, floating *out,
) noexcept nogil:
    cdef Py_ssize_t start = 0, i, count
    while start < w.size:
        count = min(w.width, w.size - start)
        for i in range(count):
            out[start + i] = (x[start + i] - mean[i]) * scale[i] + beta[i]
        start += w.width


cdef double deviation_sum(const floating *x, floating centre, bint square, Py_ssize_t count) noexcept nogil:
    """Sum along a group of x - centre, or of their squares."""
    cdef floating[LANES] lanes
    cdef Py_ssize_t i = 0, lane, stop, whole = count // LANES * LANES
    cdef double total = 0
    while i < whole:
        stop = min(whole, i + RUN)
        memset(lanes, 0, sizeof(lanes))
        if square:
            while i < stop:
                for lane in range(LANES):
                    lanes[lane] += squared(x[i + lane] - centre)
                i += LANES
        else:
            while i < stop:
                for lane in range(LANES):
                    lanes[lane] += x[i + lane] - centre
                i += LANES
        total += folded(<const floating *>lanes)
    while i < count:
        total += squared(x[i] - centre) if square else x[i] - centre
        i += 1
    return total


cdef void normalize_row(
    const group_pass *p, Py_ssize_t start, Py_ssize_t first, Py_ssize_t group, floating kind,
) noexcept nogil:
    """A group of an example of one position."""
    cdef Py_ssize_t i, count = p.w.group
    cdef const floating *x = <const floating *>p.x.first + start
    cdef const floating *gamma = <const floating *>p.numbers[0].first + first
    cdef const floating *beta = <const floating *>p.numbers[1].first + first
    cdef floating *out = <floating *>p.out.first + start
    cdef floating centre = <floating>(x[0] + deviation_sum(x, x[0], False, count) / count)
    cdef floating scale = <floating>(1 / sqrt(deviation_sum(x, centre, True, count) / count + p.epsilon))
    for i in range(count):
        out[i] = (x[i] - centre) * (scale * gamma[i]) + beta[i]
    (<floating *>p.mean.first)[group] = centre
    (<floating *>p.inv_std.first)[group] = scale


cdef void forward_task(const void *job, Py_ssize_t task, floating *memory) noexcept nogil:
    cdef const group_pass *p = <const group_pass *>job
    cdef layout w = p.w
    cdef Py_ssize_t n, g, i
    cdef const floating *example
    cdef floating *mean = <floating *>p.mean.first
    cdef floating *inv_std = <floating *>p.inv_std.first
    cdef double *sums = <double *>memory
    cdef floating *total = <floating *>(sums + w.groups)
    cdef floating *centre = total + w.width
    cdef floating *gammas = total + 2 * w.width
    cdef floating *betas = total + 3 * w.width
    if w.size == w.channels:
        for_each_group(normalize_row[floating], p, task)
        return
    spread_channels(<const floating *>p.numbers[0].first, w, gammas)
    spread_channels(<const floating *>p.numbers[1].first, w, betas)
    for n in range(task * w.share, min((task + 1) * w.share, w.examples)):
        example = <const floating *>p.x.first + n * w.size
        # Sums of differences from a group's first value: a mean far from zero costs no digits.
        for g in range(w.groups):
            mean[n * w.groups + g] = example[g * w.group]
        spread_groups(<const floating *>(mean + n * w.groups), w, centre)
        group_deviations(example, <const floating *>centre, False, w, total, sums)
        for g in range(w.groups):
            mean[n * w.groups + g] = <floating>(example[g * w.group] + sums[g] / w.count)
        spread_groups(<const floating *>(mean + n * w.groups), w, centre)
        group_deviations(example, <const floating *>centre, True, w, total, sums)
        for g in range(w.groups):
            inv_std[n * w.groups + g] = <floating>(1 / sqrt(sums[g] / w.count + p.epsilon))
        spread_groups(<const floating *>(inv_std + n * w.groups), w, total)
        for i in range(w.width):
            total[i] *= gammas[i]
        normalize_example(
            example, <const floating *>centre, <const floating *>total, <const floating *>betas, w,
            <floating *>p.out.first + n * w.size)


cdef int forward(group_pass *p, const floating *x) except -1 nogil:
    return for_each_share[floating](forward_task[floating], p, 4, 4, p.w.groups)


def group_norm_forward(x, gamma, beta, double epsilon, mean, inv_std, out):
    run_pass(
        "group_norm_forward", (x,), (out,), (gamma, beta), (), (mean, inv_std), True, <pass_function>forward[float],
        <pass_function>forward[double], 0, epsilon)


# -- Gradients ----------------------------------------------------------------------------------------

cdef void add_row_gradients(
    const floating *grad, const floating *x, const floating *mean, const floating *inv_std, layout w,
    floating *gradients, floating *products,
) noexcept nogil:
    """An example of one position, group by group."""
    cdef Py_ssize_t g, i
    cdef floating centre, scale
    for g in range(w.groups):
        centre, scale = mean[g], inv_std[g]
        for i in range(g * w.group, (g + 1) * w.group):
            gradients[i] += grad[i]
            products[i] += grad[i] * ((x[i] - centre) * scale)


cdef void add_gradients(
    const floating *grad, const floating *x, Py_ssize_t count, const floating *mean, const floating *scale,
    floating *gradients, floating *products,
) noexcept nogil:
    """A row, or what there is of it."""
    cdef Py_ssize_t i
    for i in range(count):
        gradients[i] += grad[i]
        products[i] += grad[i] * ((x[i] - mean[i]) * scale[i])


cdef void parameter_gradient_task(const void *job, Py_ssize_t task, floating *rows) noexcept nogil:
    cdef const group_pass *p = <const group_pass *>job
    cdef layout w = p.w
    cdef Py_ssize_t n, start, here, done = 0
    cdef const floating *grad = <const floating *>p.grad.first
    cdef const floating *x = <const floating *>p.x.first
    cdef const floating *mean = <const floating *>p.mean.first
    cdef const floating *inv_std = <const floating *>p.inv_std.first
    cdef double *sums = p.sums + task * 2 * w.channels
    cdef bint single = w.size == w.channels
    cdef floating *means = rows
    cdef floating *scales = rows + w.width
    cdef floating *gradients = rows + 2 * w.width
    cdef floating *products = rows + 3 * w.width
    memset(sums, 0, 2 * w.channels * sizeof(double))
    memset(gradients, 0, 2 * w.width * sizeof(floating))
    for n in range(task * w.share, min((task + 1) * w.share, w.examples)):
        if not single:
            spread_groups(mean + n * w.groups, w, means)
            spread_groups(inv_std + n * w.groups, w, scales)
        start = 0
        while start < w.size:
            here = n * w.size + start
            if single:
                add_row_gradients(
                    grad + here, x + here, mean + n * w.groups, inv_std + n * w.groups, w, gradients, products)
            else:
                add_gradients(
                    grad + here, x + here, min(w.width, w.size - start), <const floating *>means,
                    <const floating *>scales, gradients, products)
            start += w.width
            done += 1
            if done == ROWS:
                fold_channels(<const floating *>gradients, w, sums)
                fold_channels(<const floating *>products, w, sums + w.channels)
                memset(gradients, 0, 2 * w.width * sizeof(floating))
                done = 0
    fold_channels(<const floating *>gradients, w, sums)
    fold_channels(<const floating *>products, w, sums + w.channels)


cdef int parameter_gradient(group_pass *p, const floating *x) except -1 nogil:
    cdef Py_ssize_t c, own = 2 * p.w.channels
    cdef floating *gamma_grad = <floating *>p.numbers[0].first
    cdef floating *beta_grad = <floating *>p.numbers[1].first
    p.sums = <double *>allocate(p.w.tasks * own * sizeof(double))
    try:
        for_each_share[floating](parameter_gradient_task[floating], p, 2, 4, 0)
        add_parts(p.sums, p.w.tasks, own)
        for c in range(p.w.channels):
            beta_grad[c] = <floating>p.sums[c]
            gamma_grad[c] = <floating>p.sums[p.w.channels + c]
    finally:
        release(p.sums)
    return 0


def group_norm_parameter_gradient(grad, x, mean, inv_std, gamma_grad, beta_grad):
    run_pass(
        "group_norm_parameter_gradient", (x, grad), (), (), (gamma_grad, beta_grad), (mean, inv_std), False,
        <pass_function>parameter_gradient[float], <pass_function>parameter_gradient[double], TASKS)


cdef void group_gradients(
    const floating *grad, const floating *x, const floating *mean, const floating *gamma, layout w,
    floating *gradients, floating *products, double *sums,
) noexcept nogil:
    """Sums over each group of g * gamma, and behind them those of g * gamma * (x - mean)."""
    cdef Py_ssize_t start = 0, row, i, count
    cdef floating scaled
    memset(sums, 0, 2 * w.groups * sizeof(double))
    while start < w.size:
        memset(gradients, 0, w.width * sizeof(floating))
        memset(products, 0, w.width * sizeof(floating))
        for row in range(ROWS):
            count = min(w.width, w.size - start)
            if count <= 0:
                break
            for i in range(count):
                scaled = grad[start + i] * gamma[i]
                gradients[i] += scaled
                products[i] += scaled * (x[start + i] - mean[i])
            start += w.width
        fold_groups(<const floating *>gradients, w, sums)
        fold_groups(<const floating *>products, w, sums + w.groups)


cdef void example_input_gradient(
    const floating *grad, const floating *x, const floating *mean, const floating *scale, const floating *gamma,
    const floating *average, const floating *slope, layout w, floating *out,
) noexcept nogil:
    cdef Py_ssize_t start = 0, i, count
    while start < w.size:
        count = min(w.width, w.size - start)
        for i in range(count):
            out[start + i] = scale[i] * (
                (grad[start + i] * gamma[i] - average[i]) - (x[start + i] - mean[i]) * slope[i])
        start += w.width


cdef void row_input_gradient(
    const group_pass *p, Py_ssize_t start, Py_ssize_t first, Py_ssize_t group, floating kind,
) noexcept nogil:
    """A group of an example of one position."""
    cdef Py_ssize_t i = 0, lane, count = p.w.group
    cdef const floating *grad = <const floating *>p.grad.first + start
    cdef const floating *x = <const floating *>p.x.first + start
    cdef const floating *gamma = <const floating *>p.numbers[0].first + first
    cdef floating *out = <floating *>p.out.first + start
    cdef floating mean = (<const floating *>p.mean.first)[group], scale = (<const floating *>p.inv_std.first)[group]
    cdef floating[LANES] gradients
    cdef floating[LANES] products
    cdef Py_ssize_t stop, whole = count // LANES * LANES
    cdef double gradient_sum = 0, product_sum = 0
    cdef floating scaled, average, slope
    while i < whole:
        stop = min(whole, i + RUN)
        memset(gradients, 0, sizeof(gradients))
        memset(products, 0, sizeof(products))
        while i < stop:
            for lane in range(LANES):
                gradients[lane] += grad[i + lane] * gamma[i + lane]
                products[lane] += grad[i + lane] * gamma[i + lane] * (x[i + lane] - mean)
            i += LANES
        gradient_sum += folded(<const floating *>gradients)
        product_sum += folded(<const floating *>products)
    while i < count:
        scaled = grad[i] * gamma[i]
        gradient_sum += scaled
        product_sum += scaled * (x[i] - mean)
        i += 1
    average = <floating>(gradient_sum / count)
    slope = <floating>(product_sum / count) * scale * scale
    for i in range(count):
        out[i] = scale * ((grad[i] * gamma[i] - average) - (x[i] - mean) * slope)


cdef void input_gradient_task(const void *job, Py_ssize_t task, floating *memory) noexcept nogil:
    cdef const group_pass *p = <const group_pass *>job
    cdef layout w = p.w
    cdef Py_ssize_t n, g
    cdef floating scale
    cdef const floating *grad = <const floating *>p.grad.first
    cdef const floating *x = <const floating *>p.x.first
    cdef const floating *mean = <const floating *>p.mean.first
    cdef const floating *inv_std = <const floating *>p.inv_std.first
    cdef floating *out = <floating *>p.out.first
    cdef double *sums = <double *>memory
    cdef floating *means = <floating *>(sums + 2 * w.groups)
    cdef floating *scales = means + w.width
    cdef floating *gammas = means + 2 * w.width
    cdef floating *averages = means + 3 * w.width
    cdef floating *slopes = means + 4 * w.width
    cdef floating *values = means + 5 * w.width
    if w.size == w.channels:
        for_each_group(row_input_gradient[floating], p, task)
        return
    spread_channels(<const floating *>p.numbers[0].first, w, gammas)
    for n in range(task * w.share, min((task + 1) * w.share, w.examples)):
        spread_groups(mean + n * w.groups, w, means)
        spread_groups(inv_std + n * w.groups, w, scales)
        # The rows of averages and slopes are free until their sums are known.
        group_gradients(
            grad + n * w.size, x + n * w.size, <const floating *>means, <const floating *>gammas, w,
            averages, slopes, sums)
        for g in range(w.groups):
            values[g] = <floating>(sums[g] / w.count)
        spread_groups(<const floating *>values, w, averages)
        for g in range(w.groups):
            scale = inv_std[n * w.groups + g]
            values[g] = <floating>(sums[w.groups + g] / w.count) * scale * scale
        spread_groups(<const floating *>values, w, slopes)
        example_input_gradient(
            grad + n * w.size, x + n * w.size, <const floating *>means, <const floating *>scales,
            <const floating *>gammas, <const floating *>averages, <const floating *>slopes, w, out + n * w.size)


cdef int input_gradient(group_pass *p, const floating *x) except -1 nogil:
    # Behind the five rows is a value for each group, of which a row has no more.
    return for_each_share[floating](input_gradient_task[floating], p, 4, 6, 2 * p.w.groups)


def group_norm_input_gradient(grad, x, mean, inv_std, gamma, out):
    run_pass(
        "group_norm_input_gradient", (x, grad), (out,), (gamma,), (), (mean, inv_std), False,
        <pass_function>input_gradient[float], <pass_function>input_gradient[double])
