"""Dense layers: forward, input gradient, weight gradient, as blocked products.

A task is one panel of the right operand, which it packs for itself: what a thread has just written is in its own
cache. In the weight gradient it is a block of rows, which it copies, for these are columns of the input and lie far
apart; there the right operand is small, and packed beforehand. With fewer such tasks than threads, a task is one panel
for a block of rows. For a few rows packing would take longer than the product: then panels are read where they lie, and
a single row takes several of them at a time. How the work is cut changes no bit.

Where small products have one thread, they have no parallel region either: it takes a microsecond.
"""

from cython.parallel cimport prange, threadid
from libc.string cimport memcpy

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.gemm cimport (
    bias_room, cut_panels, multiply, pack_panel, panel_columns, panel_offset, panel_width, panels, widen_bias,
)
from cnnx._kernels.ground.instruction_sets cimport MOST_VECTORS, product
from cnnx._kernels.ground.parallel cimport allocate, deal, release, shares, take, threads_for, threads_for_product
from cnnx._kernels.products.tiles cimport lines

cdef enum:
    TASK_ROWS = 48      # rows of the left operand, at most, that share a panel of the right one in cache
    TASK_COLUMNS = 24   # of the left operand's, where it is transposed, that are copied
    DEPTH = 256         # examples at a time in the weight gradient: their columns are far apart
    WORTH_PACKING = 13  # rows
    MOST_PANELS = MOST_VECTORS // 2


cdef struct operand:
    # The right side of a product: `matrix` where it is read in place, but for the last panel's rows from `readable`
    # on; these, or else the panels from `first` on, are in `packed`.
    bint in_place
    Py_ssize_t row, column, readable, first
    const void *matrix
    void *packed


cdef Py_ssize_t readable_depth(panels cut, Py_ssize_t row) noexcept nogil:
    """Rows of the last panel, in whole blocks, whose vectors do not reach past the matrix's end."""
    cdef Py_ssize_t last = cut.count - 1
    cdef Py_ssize_t spare = cut.depth * row - last * 2 * cut.lanes - panel_width(cut, last)
    if spare >= (cut.depth - 1) * row:
        return cut.depth
    return 0 if spare < 0 else (spare // row + 1) // DEPTH * DEPTH


cdef void multiply_panels(
    const floating *a, Py_ssize_t a_row, Py_ssize_t a_depth, Py_ssize_t rows, panels cut, operand b,
    const floating *bias, bint relu, floating *out, Py_ssize_t panel, Py_ssize_t count,
) noexcept nogil:
    """Some rows times `count` panels; more than one only of full panels, in place, for a single row."""
    cdef Py_ssize_t block, start, zero = 0, column = panel * 2 * cut.lanes, width = panel_width(cut, panel)
    cdef const floating *right
    cdef product p
    p.runs, p.a_runs, p.b_runs, p.a_depth = 1, &zero, &zero, a_depth
    p.c_row, p.columns = cut.columns, panel_columns(cut, panel) + (count - 1) * 2 * cut.lanes
    p.bias = NULL
    p.accumulate = p.relu = False
    for block in range((cut.depth + DEPTH - 1) // DEPTH):
        start = block * DEPTH
        p.depth = min(<Py_ssize_t>DEPTH, cut.depth - start)
        if start + p.depth == cut.depth:
            p.relu = relu
            if bias != NULL:
                p.bias = <const void *>(bias + column)
        p.b_depth = width
        if not b.in_place:
            right = <const floating *>b.packed + panel_offset(cut, panel - b.first) + start * width
        elif panel == cut.count - 1 and start >= b.readable:
            right = <const floating *>b.packed + (start - b.readable) * width
        else:
            right, p.b_depth = <const floating *>b.matrix + start * b.row + column, b.row
        multiply(p, rows, a_row, a + start * a_depth, right, out + column)
        p.accumulate = True


cdef void multiply_block(
    const floating *a, Py_ssize_t a_row, Py_ssize_t a_depth, Py_ssize_t rows, panels cut, operand b,
    const floating *bias, bint relu, floating *out, Py_ssize_t block, Py_ssize_t blocks, Py_ssize_t panel,
) noexcept nogil:
    """One of `blocks` equal parts of the rows times a panel."""
    cdef Py_ssize_t first = rows * block // blocks
    multiply_panels(
        a + first * a_row, a_row, a_depth, rows * (block + 1) // blocks - first, cut, b, bias, relu,
        out + first * cut.columns, panel, 1)


cdef void multiply_few(
    const floating *a, Py_ssize_t a_row, Py_ssize_t a_depth, Py_ssize_t rows, panels cut, operand b,
    const floating *bias, bint relu, floating *out, Py_ssize_t task,
) noexcept nogil:
    """A task of `by_rows`: some rows times a panel, or a single row times MOST_PANELS, or what is left of them."""
    if rows > 1:
        multiply_panels(a, a_row, a_depth, rows, cut, b, bias, relu, out, task, 1)
        return
    cdef Py_ssize_t panel = task * MOST_PANELS, stop = min(cut.count, panel + MOST_PANELS)
    cdef Py_ssize_t full = min(stop, cut.columns // (2 * cut.lanes)), left, count
    while panel < stop:
        left = full - panel
        count = MOST_PANELS if left >= MOST_PANELS else 4 if left >= 4 else 2 if left >= 2 else 1
        multiply_panels(a, 0, a_depth, 1, cut, b, bias, relu, out, panel, count)
        panel += count


cdef void multiply_panel(
    const floating *a, Py_ssize_t a_row, Py_ssize_t rows, panels cut, operand b, const floating *bias, bint relu,
    floating *out, Py_ssize_t panel, floating *packed,
) noexcept nogil:
    """All rows times one panel, which is packed here."""
    cdef Py_ssize_t block, blocks = (rows + TASK_ROWS - 1) // TASK_ROWS
    pack_panel(<const floating *>b.matrix, b.row, b.column, cut, panel, packed)
    b.packed, b.first = packed, panel
    for block in range(blocks):
        multiply_block(a, a_row, 1, rows, cut, b, bias, relu, out, block, blocks, panel)


cdef void multiply_columns(
    const floating *a, Py_ssize_t a_depth, Py_ssize_t rows, panels cut, operand b, const floating *bias, bint relu,
    floating *out, floating *copied,
) noexcept nogil:
    """A few rows, which lie in the columns of a matrix, times all panels."""
    cdef Py_ssize_t k, panel
    for k in range(cut.depth):
        memcpy(copied + k * rows, a + k * a_depth, rows * sizeof(floating))
    for panel in range(cut.count):
        multiply_panels(<const floating *>copied, 1, rows, rows, cut, b, bias, relu, out, panel, 1)


cdef int matrix_product(
    const floating *a, Py_ssize_t a_row, Py_ssize_t a_depth, Py_ssize_t rows, Py_ssize_t depth,
    const floating *b, Py_ssize_t b_row, Py_ssize_t b_column, Py_ssize_t columns,
    const floating *bias, bint relu, floating *out,
) except -1 nogil:
    """out[rows, columns] = bias + a[rows, depth] . b[depth, columns], both read through strides; then ReLU."""
    cdef panels cut = cut_panels[floating](depth, columns, 0)
    cdef double operations = 2.0 * rows * depth * columns
    cdef Py_ssize_t column_blocks = (rows + TASK_COLUMNS - 1) // TASK_COLUMNS
    cdef int threads = threads_for_product(max(cut.count, column_blocks), operations)
    cdef operand right
    right.in_place, right.matrix, right.row, right.column, right.first = False, b, b_row, b_column, 0
    if b_column == 1 and rows < WORTH_PACKING:
        right.in_place, right.readable = True, readable_depth(cut, b_row)
        return by_rows(a, a_row, a_depth, rows, cut, right, bias, relu, out, operations)
    if a_depth == 1 and cut.count >= 2 * threads:
        return by_panels(a, a_row, rows, cut, right, bias, relu, out, threads)
    if a_row == 1 and cut.count > 2 and column_blocks >= 2 * threads:
        return by_columns(a, a_depth, rows, cut, right, bias, relu, out, column_blocks, threads)
    return by_blocks(a, a_row, a_depth, rows, cut, right, bias, relu, out, operations)


cdef int by_rows(
    const floating *a, Py_ssize_t a_row, Py_ssize_t a_depth, Py_ssize_t rows, panels cut, operand b,
    const floating *bias, bint relu, floating *out, double operations,
) except -1 nogil:
    """A few rows: the right side is read in place."""
    cdef Py_ssize_t last = cut.count - 1, task, turn
    cdef Py_ssize_t tasks = (cut.count + MOST_PANELS - 1) // MOST_PANELS if rows == 1 else cut.count
    cdef int threads = threads_for_product(tasks, operations)
    cdef shares dealt
    cdef panels rest = cut
    rest.depth = cut.depth - b.readable
    cdef floating *wide_bias = <floating *>allocate(
        (bias_room(cut) + rest.depth * panel_width(cut, last)) * <Py_ssize_t>sizeof(floating))
    widen_bias(cut, bias, wide_bias)
    b.packed = wide_bias + bias_room(cut)
    pack_panel(<const floating *>b.matrix + b.readable * b.row, b.row, 1, rest, last, <floating *>b.packed)
    if threads == 1:
        for task in range(tasks):
            multiply_few(a, a_row, a_depth, rows, cut, b, <const floating *>wide_bias, relu, out, task)
    else:
        deal(&dealt, tasks, threads)
        for turn in prange(tasks, num_threads=threads, schedule="dynamic"):
            task = take(&dealt, threadid())
            multiply_few(a, a_row, a_depth, rows, cut, b, <const floating *>wide_bias, relu, out, task)
    release(wide_bias)
    return 0


cdef int by_panels(
    const floating *a, Py_ssize_t a_row, Py_ssize_t rows, panels cut, operand b, const floating *bias, bint relu,
    floating *out, int threads,
) except -1 nogil:
    """A task is one panel, which it packs for itself."""
    cdef Py_ssize_t private = lines(cut.depth * 2 * cut.lanes), task, turn
    cdef shares dealt
    cdef floating *wide_bias = <floating *>allocate(
        (bias_room(cut) + threads * private) * <Py_ssize_t>sizeof(floating))
    widen_bias(cut, bias, wide_bias)
    deal(&dealt, cut.count, threads)
    for turn in prange(cut.count, num_threads=threads, schedule="dynamic"):
        task = take(&dealt, threadid())
        multiply_panel(
            a, a_row, rows, cut, b, <const floating *>wide_bias, relu, out, task,
            wide_bias + bias_room(cut) + threadid() * private)
    release(wide_bias)
    return 0


cdef int by_columns(
    const floating *a, Py_ssize_t a_depth, Py_ssize_t rows, panels cut, operand b, const floating *bias, bint relu,
    floating *out, Py_ssize_t tasks, int threads,
) except -1 nogil:
    """A task is a few rows that lie in columns, which it copies, times all panels."""
    cdef Py_ssize_t private = lines(cut.depth * TASK_COLUMNS), task, turn, first
    cdef shares dealt
    cdef floating *wide_bias = <floating *>allocate(
        (bias_room(cut) + lines(cut.size) + threads * private) * <Py_ssize_t>sizeof(floating))
    cdef floating *packed = wide_bias + bias_room(cut)
    widen_bias(cut, bias, wide_bias)
    b.packed = packed
    pack_panels(cut, b, packed)
    deal(&dealt, tasks, threads)
    for turn in prange(tasks, num_threads=threads, schedule="dynamic"):
        task = take(&dealt, threadid())
        first = rows * task // tasks
        multiply_columns(
            a + first, a_depth, rows * (task + 1) // tasks - first, cut, b, <const floating *>wide_bias, relu,
            out + first * cut.columns, packed + lines(cut.size) + threadid() * private)
    release(wide_bias)
    return 0


cdef int by_blocks(
    const floating *a, Py_ssize_t a_row, Py_ssize_t a_depth, Py_ssize_t rows, panels cut, operand b,
    const floating *bias, bint relu, floating *out, double operations,
) except -1 nogil:
    """A task is one panel for a block of rows."""
    cdef int threads = threads_for_product(rows, operations)
    # As many for each thread: a rest would keep one waiting.
    cdef Py_ssize_t blocks = ((rows + TASK_ROWS - 1) // TASK_ROWS + threads - 1) // threads * threads
    cdef Py_ssize_t tasks = blocks * cut.count, task, turn
    cdef shares dealt
    cdef floating *wide_bias = <floating *>allocate((bias_room(cut) + cut.size) * <Py_ssize_t>sizeof(floating))
    widen_bias(cut, bias, wide_bias)
    b.packed = wide_bias + bias_room(cut)
    pack_panels(cut, b, <floating *>b.packed)
    if threads == 1:
        for task in range(tasks):
            multiply_block(
                a, a_row, a_depth, rows, cut, b, <const floating *>wide_bias, relu, out, task // cut.count, blocks,
                task % cut.count)
    else:
        deal(&dealt, tasks, threads)
        for turn in prange(tasks, num_threads=threads, schedule="dynamic"):
            task = take(&dealt, threadid())
            multiply_block(
                a, a_row, a_depth, rows, cut, b, <const floating *>wide_bias, relu, out, task // cut.count, blocks,
                task % cut.count)
    release(wide_bias)
    return 0


cdef void pack_panels(panels cut, operand b, floating *packed) noexcept nogil:
    cdef Py_ssize_t panel
    cdef const floating *matrix = <const floating *>b.matrix
    cdef int threads = threads_for(cut.count, cut.size)
    if threads == 1:
        for panel in range(cut.count):
            pack_panel(matrix, b.row, b.column, cut, panel, packed + panel_offset(cut, panel))
    else:
        for panel in prange(cut.count, num_threads=threads, schedule="static"):
            pack_panel(matrix, b.row, b.column, cut, panel, packed + panel_offset(cut, panel))


cdef int check(
    const char *name, Py_ssize_t examples, Py_ssize_t inputs, Py_ssize_t[2] W, Py_ssize_t units, Py_ssize_t[2] out,
) except -1:
    """Shapes that fit together: a kernel trusts them without bounds checks."""
    if examples != out[0] or inputs != W[0] or W[1] != out[1] or units != out[1] or inputs < 1 or units < 1:
        raise ValueError(
            f"{name.decode()}: shapes do not fit: inputs {(examples, inputs)}, weights {(W[0], W[1])}, "
            f"{units} biases, outputs {(out[0], out[1])}")
    return 0


cdef _forward(
    const floating[:, ::1] x, const floating[:, ::1] W, const floating[::1] b, bint relu, floating[:, ::1] out,
):
    check("dense_forward", x.shape[0], x.shape[1], W.shape, b.shape[0], out.shape)
    if x.shape[0] == 0:
        return
    with nogil:
        matrix_product(
            &x[0, 0], x.shape[1], 1, x.shape[0], x.shape[1], &W[0, 0], W.shape[1], 1, W.shape[1], &b[0], relu,
            &out[0, 0])


cdef _input_gradient(const floating[:, ::1] grad, const floating[:, ::1] W, floating[:, ::1] out):
    check("dense_input_gradient", out.shape[0], out.shape[1], W.shape, W.shape[1], grad.shape)
    if grad.shape[0] == 0:
        return
    with nogil:
        matrix_product(
            &grad[0, 0], grad.shape[1], 1, grad.shape[0], grad.shape[1],
            &W[0, 0], 1, W.shape[1], W.shape[0], <const floating *>NULL, False, &out[0, 0])


cdef _weight_gradient(
    const floating[:, ::1] x, const floating[:, ::1] grad, floating[:, ::1] W_grad, floating[::1] b_grad,
):
    cdef Py_ssize_t n, u, N = x.shape[0]
    check("dense_weight_gradient", x.shape[0], x.shape[1], W_grad.shape, b_grad.shape[0], grad.shape)
    if N == 0:
        W_grad[...] = 0
        b_grad[...] = 0
        return
    with nogil:
        matrix_product(
            &x[0, 0], 1, x.shape[1], x.shape[1], N,
            &grad[0, 0], grad.shape[1], 1, grad.shape[1], <const floating *>NULL, False, &W_grad[0, 0])
        for u in range(grad.shape[1]):
            b_grad[u] = 0
        for n in range(N):
            for u in range(grad.shape[1]):
                b_grad[u] += grad[n, u]


def dense_forward(x, W, b, relu, out):
    if out.dtype.char == "f":
        _forward[float](x, W, b, relu, out)
    else:
        _forward[double](x, W, b, relu, out)


def dense_input_gradient(grad, W, out):
    if out.dtype.char == "f":
        _input_gradient[float](grad, W, out)
    else:
        _input_gradient[double](grad, W, out)


def dense_weight_gradient(x, grad, W_grad, b_grad):
    if W_grad.dtype.char == "f":
        _weight_gradient[float](x, grad, W_grad, b_grad)
    else:
        _weight_gradient[double](x, grad, W_grad, b_grad)
