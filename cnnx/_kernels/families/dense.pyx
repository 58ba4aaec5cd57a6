"""Dense layers: forward, input gradient, weight gradient, as blocked products.

The depth is taken DEPTH rows of the right operand at a time, in the same pieces however the work is cut: so that changes
no bit. A task is some panels of the right operand for a block of rows, and packs a piece of these panels for itself
before it multiplies it: what stays in its own cache. For a few rows, or with a single panel, packing would take longer
than it saves: then panels are read where they lie, and a single row takes several of them at a time. In the weight
gradient a task is a block of rows, which it copies where they meet many panels, for these are columns of the input and
lie far apart; there the right operand is small, and packed beforehand.
"""


from libc.string cimport memcpy, memset

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport MOST_VECTORS
from cnnx._kernels.ground.loops cimport product
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, threads_for, threads_for_product
from cnnx._kernels.ground.prepared cimport find, from_cache_line, keep, room_for
from cnnx._kernels.ground.program cimport job_function, perform
from cnnx._kernels.products.gemm cimport (
    bias_room, cut_panels, multiply, pack_panel, panel_columns, panel_offset, panel_width, panels, widen_bias,
)
from cnnx._kernels.products.tiles cimport LONGEST, aligned, move_sums

cdef enum:
    TASK_ROWS = 48      # rows of the left operand, at most, that share a panel of the right one in cache,
    MOST_ROWS = 256     # and that share what a task has packed
    TOGETHER = 24       # of these rows, that meet panel after panel: so many lines of the output are written side by side
    GROUP = 32768       # elements, about, that a task packs at a time: half of a second-level cache or less
    TASK_COLUMNS = 24   # of the left operand's, where it is transposed, that are copied
    DEPTH = 256         # rows of the right operand at a time, so that a panel's are in the first-level cache
    WORTH_PACKING = 25  # rows
    MOST_PANELS = MOST_VECTORS // 2
    SUMS = 64           # of a bias's gradients that are taken at a time


cdef struct left_side:
    # Some rows of the left operand, and how far these, and the elements of one, are apart.
    const void *first
    Py_ssize_t rows, row, depth


cdef struct right_side:
    # `matrix` where it is read in place, but for the last panel's rows from `readable` on; these, or else all panels,
    # are in `packed`.
    bint in_place
    Py_ssize_t row, column, readable
    const void *matrix
    void *packed


cdef struct dense_product:
    # out = relu(a . b + bias)
    left_side a
    panels cut          # of b
    right_side b
    const void *bias    # in whole vectors
    bint relu
    void *out
    Py_ssize_t blocks   # of rows, a task or a part of one each
    Py_ssize_t group    # panels of a task, where each packs its own


cdef Py_ssize_t readable_depth(panels cut, Py_ssize_t row) noexcept nogil:
    """Rows of the last panel, in whole blocks, whose vectors do not reach past the matrix's end."""
    cdef Py_ssize_t last = cut.count - 1
    cdef Py_ssize_t spare = cut.depth * row - last * 2 * cut.lanes - panel_width(cut, last)
    if spare >= (cut.depth - 1) * row:
        return cut.depth
    return 0 if spare < 0 else (spare // row + 1) // DEPTH * DEPTH


cdef void multiply_piece(
    const dense_product *d, left_side a, Py_ssize_t start, const floating *right, Py_ssize_t right_row,
    Py_ssize_t panel, Py_ssize_t count, floating *out,
) noexcept nogil:
    """Some rows times up to DEPTH rows, from `start` on, of `count` panels; more than one only for a single row."""
    cdef const panels *cut = &d.cut
    cdef Py_ssize_t zero = 0, column = panel * 2 * cut.lanes
    cdef product p
    p.runs, p.a_runs, p.b_runs, p.a_depth, p.b_depth = 1, &zero, &zero, a.depth, right_row
    p.c_row, p.columns = cut.columns, panel_columns(cut[0], panel) + (count - 1) * 2 * cut.lanes
    p.depth, p.accumulate, p.bias, p.relu = min(<Py_ssize_t>DEPTH, cut.depth - start), start > 0, NULL, False
    if start + p.depth == cut.depth:
        p.relu, p.bias = d.relu, <const void *>(<const floating *>d.bias + column)
    multiply(p, a.rows, a.row, <const floating *>a.first + start * a.depth, right, out + column)


cdef void multiply_panels(
    const dense_product *d, left_side a, floating *out, Py_ssize_t panel, Py_ssize_t count,
) noexcept nogil:
    """Some rows times `count` panels, packed beforehand or in place; more than one only of full panels in place."""
    cdef const panels *cut = &d.cut
    cdef const right_side *b = &d.b
    cdef Py_ssize_t start = 0, width = panel_width(cut[0], panel)
    while start < cut.depth:
        if not b.in_place:
            multiply_piece(
                d, a, start, <const floating *>b.packed + panel_offset(cut[0], panel) + start * width, width, panel,
                count, out)
        elif panel == cut.count - 1 and start >= b.readable:
            multiply_piece(
                d, a, start, <const floating *>b.packed + (start - b.readable) * width, width, panel, count, out)
        else:
            multiply_piece(
                d, a, start, <const floating *>b.matrix + start * b.row + panel * 2 * cut.lanes, b.row, panel, count,
                out)
        start += DEPTH


cdef Py_ssize_t first_row(const dense_product *d, Py_ssize_t block) noexcept nogil:
    return d.a.rows * block // d.blocks


cdef left_side rows_of(const dense_product *d, Py_ssize_t block, floating kind) noexcept nogil:
    """One of the equal blocks of rows; `kind` only carries the type."""
    cdef left_side a = d.a
    a.first = <const floating *>d.a.first + first_row(d, block) * d.a.row
    a.rows = first_row(d, block + 1) - first_row(d, block)
    return a


cdef void multiply_few(const void *job, Py_ssize_t task, floating *memory) noexcept nogil:
    """A single row times MOST_PANELS, or what is left of them."""
    cdef const dense_product *d = <const dense_product *>job
    cdef Py_ssize_t panel = task * MOST_PANELS, stop = min(d.cut.count, panel + MOST_PANELS)
    cdef Py_ssize_t full = min(stop, d.cut.columns // (2 * d.cut.lanes)), left, count
    while panel < stop:
        left = full - panel
        count = MOST_PANELS if left >= MOST_PANELS else 4 if left >= 4 else 2 if left >= 2 else 1
        multiply_panels(d, d.a, <floating *>d.out, panel, count)
        panel += count


cdef void multiply_group(const void *job, Py_ssize_t task, floating *packed) noexcept nogil:
    """A block of rows times some panels, which are packed here piece by piece."""
    cdef const dense_product *d = <const dense_product *>job
    cdef Py_ssize_t groups = (d.cut.count + d.group - 1) // d.group, first = task % groups * d.group
    cdef Py_ssize_t stop = min(d.cut.count, first + d.group), start = 0, panel, part, parts, row
    cdef left_side block = rows_of[floating](d, task // groups, 0), a = block
    cdef floating *out = <floating *>d.out + first_row(d, task // groups) * d.cut.columns
    cdef panels piece = d.cut
    parts = (block.rows + TOGETHER - 1) // TOGETHER
    while start < d.cut.depth:
        piece.depth = min(<Py_ssize_t>DEPTH, d.cut.depth - start)
        for panel in range(first, stop):
            pack_panel(
                <const floating *>d.b.matrix + start * d.b.row, d.b.row, d.b.column, piece, panel,
                packed + panel_offset(piece, panel - first))
        for part in range(parts):
            row = block.rows * part // parts
            a.first = <const floating *>block.first + row * block.row
            a.rows = block.rows * (part + 1) // parts - row
            for panel in range(first, stop):
                multiply_piece(
                    d, a, start, <const floating *>(packed + panel_offset(piece, panel - first)),
                    panel_width(piece, panel), panel, 1, out + row * d.cut.columns)
        start += DEPTH


cdef void multiply_columns(const void *job, Py_ssize_t block, floating *copied) noexcept nogil:
    """A few rows, which lie in the columns of a matrix and are copied here, times all panels."""
    cdef const dense_product *d = <const dense_product *>job
    cdef left_side a = rows_of[floating](d, block, 0)
    cdef Py_ssize_t k, panel
    for k in range(d.cut.depth):
        memcpy(copied + k * a.rows, <const floating *>a.first + k * a.depth, a.rows * sizeof(floating))
    a.first, a.row, a.depth = copied, 1, a.rows
    for panel in range(d.cut.count):
        multiply_panels(d, a, <floating *>d.out + first_row(d, block) * d.cut.columns, panel, 1)


cdef void multiply_block(const void *job, Py_ssize_t task, floating *memory) noexcept nogil:
    """A block of rows times one panel."""
    cdef const dense_product *d = <const dense_product *>job
    cdef Py_ssize_t block = task // d.cut.count, panel = task % d.cut.count
    multiply_panels(
        d, rows_of[floating](d, block, 0), <floating *>d.out + first_row(d, block) * d.cut.columns, panel, 1)


cdef int matrix_product(
    left_side a, right_side b, Py_ssize_t depth, Py_ssize_t columns, const floating *bias, bint relu, floating *out,
) except -1 nogil:
    """out[rows, columns] = bias + a[rows, depth] . b[depth, columns], both read through strides; then ReLU."""
    cdef dense_product d
    d.a, d.b, d.cut, d.relu, d.out = a, b, cut_panels[floating](depth, columns, 0), relu, out
    cdef double operations = 2.0 * a.rows * depth * columns
    cdef Py_ssize_t column_blocks = (a.rows + TASK_COLUMNS - 1) // TASK_COLUMNS
    cdef int threads
    d.blocks = (a.rows + TASK_ROWS - 1) // TASK_ROWS
    if b.column == 1 and (a.rows < WORTH_PACKING or a.depth == 1 and d.cut.count == 1):
        return in_place(&d, bias, operations)
    if a.depth == 1:
        return by_groups(&d, bias, operations)
    threads = threads_for_product(column_blocks, operations)
    if d.cut.count > 2 and column_blocks >= 2 * threads:
        d.blocks = column_blocks
        return by_columns(&d, bias, threads)
    threads = threads_for_product(a.rows, operations)
    # As many for each thread: a rest would keep one waiting.
    d.blocks = (d.blocks + threads - 1) // threads * threads
    return by_blocks(&d, bias, threads)


cdef Py_ssize_t rest_size(panels cut, Py_ssize_t row) noexcept nogil:
    """Elements of the last panel's rows that are not read in place."""
    return (cut.depth - readable_depth(cut, row)) * panel_width(cut, cut.count - 1)


cdef void pack_rest(const floating *matrix, Py_ssize_t row, panels cut, floating *packed) noexcept nogil:
    cdef Py_ssize_t readable = readable_depth(cut, row)
    cdef panels rest = cut
    rest.depth -= readable
    pack_panel(matrix + readable * row, row, 1, rest, cut.count - 1, packed)


cdef int in_place(dense_product *d, const floating *bias, double operations) except -1 nogil:
    """The right side is read where it lies, but for the rest of its last panel, which may be packed already."""
    cdef Py_ssize_t tasks, size = 0 if d.b.packed != NULL else rest_size(d.cut, d.b.row)
    cdef int threads
    cdef floating *memory = with_bias(d, bias, size)
    d.b.in_place, d.b.readable = True, readable_depth(d.cut, d.b.row)
    if d.b.packed == NULL:
        d.b.packed = memory + bias_room(d.cut)
        pack_rest(<const floating *>d.b.matrix, d.b.row, d.cut, memory + bias_room(d.cut))
    if d.a.rows == 1:
        tasks = (d.cut.count + MOST_PANELS - 1) // MOST_PANELS
        for_each_task(multiply_few[floating], d, tasks, threads_for_product(tasks, operations), memory, 0)
    else:
        threads = threads_for_product(d.a.rows * d.cut.count, operations)
        d.blocks = max(d.blocks, (threads + d.cut.count - 1) // d.cut.count)
        for_each_task(multiply_block[floating], d, d.blocks * d.cut.count, threads, memory, 0)
    release(memory)
    return 0


cdef int by_groups(dense_product *d, const floating *bias, double operations) except -1 nogil:
    """A task is some panels, which it packs for itself, for a block of rows."""
    cdef Py_ssize_t piece = min(<Py_ssize_t>DEPTH, d.cut.depth) * 2 * d.cut.lanes, groups
    cdef int threads = threads_for_product(d.cut.count, operations)
    # Rows that meet a panel all at once leave no more to gain than that it stays in the first-level cache.
    d.group = (GROUP if d.a.rows > TOGETHER else GROUP // 8) // piece
    # Two groups or more for each thread, for one may be slower than the other.
    d.group = max(<Py_ssize_t>1, min(d.group, d.cut.count // (2 * threads) if threads > 1 else d.cut.count))
    groups = (d.cut.count + d.group - 1) // d.group
    d.blocks = (d.a.rows + MOST_ROWS - 1) // MOST_ROWS
    threads = threads_for_product(groups * d.a.rows, operations)
    if groups * d.blocks < threads:
        d.blocks = (threads + groups - 1) // groups
    cdef Py_ssize_t private = aligned(piece * d.group)
    cdef floating *memory = with_bias(d, bias, threads * private)
    for_each_task(multiply_group[floating], d, groups * d.blocks, threads, memory + bias_room(d.cut), private)
    release(memory)
    return 0


cdef int by_columns(dense_product *d, const floating *bias, int threads) except -1 nogil:
    """A task is a few rows that lie in columns, which it copies, times all panels."""
    cdef Py_ssize_t private = aligned(d.cut.depth * TASK_COLUMNS), shared = aligned(d.cut.size)
    cdef floating *memory = with_bias(d, bias, shared + threads * private)
    pack_panels(d, memory + bias_room(d.cut))
    for_each_task(
        multiply_columns[floating], d, d.blocks, threads, memory + bias_room(d.cut) + shared, private)
    release(memory)
    return 0


cdef int by_blocks(dense_product *d, const floating *bias, int threads) except -1 nogil:
    """A task is one panel for a block of rows."""
    cdef floating *memory = with_bias(d, bias, d.cut.size)
    pack_panels(d, memory + bias_room(d.cut))
    for_each_task(multiply_block[floating], d, d.blocks * d.cut.count, threads, memory, 0)
    release(memory)
    return 0


cdef floating *with_bias(dense_product *d, const floating *bias, Py_ssize_t size) except NULL nogil:
    """Working memory that begins with the bias in whole vectors, which no bias is as zeros, and so much more."""
    cdef floating *memory = <floating *>allocate((bias_room(d.cut) + size) * <Py_ssize_t>sizeof(floating))
    widen_bias(d.cut, bias, memory)
    d.bias = memory
    return memory


cdef void pack_one_panel(const void *job, Py_ssize_t panel, floating *packed) noexcept nogil:
    cdef const dense_product *d = <const dense_product *>job
    pack_panel(
        <const floating *>d.b.matrix, d.b.row, d.b.column, d.cut, panel, packed + panel_offset(d.cut, panel))


cdef void pack_panels(dense_product *d, floating *packed) noexcept nogil:
    for_each_task(pack_one_panel[floating], d, d.cut.count, threads_for(d.cut.count, d.cut.size), packed, 0)
    d.b.packed = packed


cdef int check(
    const char *name, Py_ssize_t examples, Py_ssize_t inputs, Py_ssize_t[2] W, Py_ssize_t units, Py_ssize_t[2] out,
) except -1:
    """Shapes that fit together: a kernel trusts them without bounds checks."""
    if examples != out[0] or inputs != W[0] or W[1] != out[1] or units != out[1] or inputs < 1 or units < 1:
        raise ValueError(
            f"{name.decode()}: shapes do not fit: inputs {(examples, inputs)}, weights {(W[0], W[1])}, "
            f"{units} biases, outputs {(out[0], out[1])}")
    return 0


cdef void sum_rows(const floating *x, Py_ssize_t rows, Py_ssize_t units, floating *out) noexcept nogil:
    """A few columns at a time, and of these LONGEST rows: longer sums would lose digits."""
    cdef floating[SUMS] sums
    cdef floating[SUMS] totals
    cdef Py_ssize_t first = 0, start, n, u, count
    while first < units:
        start, count = 0, min(<Py_ssize_t>SUMS, units - first)
        memset(totals, 0, sizeof(totals))
        while start < rows:
            memset(sums, 0, sizeof(sums))
            for n in range(start, min(rows, start + LONGEST)):
                for u in range(count):
                    sums[u] += x[n * units + first + u]
            move_sums(sums, totals, count)
            start += LONGEST
        memcpy(out + first, totals, count * sizeof(floating))
        first += SUMS


cdef right_side through_strides(const floating *matrix, Py_ssize_t row, Py_ssize_t column) noexcept nogil:
    return right_side(in_place=False, row=row, column=column, readable=0, matrix=matrix, packed=NULL)


cdef const floating *prepared_rest(const floating *W, panels cut, dict prepared) except? NULL:
    """What a few examples need of W in panels, packed once where `prepared` is given."""
    cdef Py_ssize_t size
    cdef const floating *rest
    if prepared is None:
        return NULL
    size = rest_size(cut, cut.columns)
    if size == 0:
        return NULL
    rest = <const floating *>find(prepared)
    if rest == NULL:
        memory = room_for(size * sizeof(floating))
        pack_rest(W, cut.columns, cut, <floating *>from_cache_line(memory))
        rest = <const floating *>keep(prepared, memory)
    return rest


cdef struct forward_job:
    const void *x
    const void *W
    const void *rest    # of W, as `prepared_rest` leaves it, or NULL
    const void *b
    void *out
    Py_ssize_t examples, inputs, units
    bint relu


cdef int do_forward(const void *job, const floating *unused) except -1 nogil:
    cdef const forward_job *j = <const forward_job *>job
    cdef right_side W = through_strides(<const floating *>j.W, j.units, 1)
    W.packed = <void *>j.rest
    return matrix_product(
        left_side(j.x, j.examples, j.inputs, 1), W, j.inputs, j.units, <const floating *>j.b, j.relu,
        <floating *>j.out)


@by_dtype
def dense_forward(
    const floating[:, ::1] x, const floating[:, ::1] W, const floating[::1] b, bint relu, floating[:, ::1] out,
    dict prepared=None,
):
    check("dense_forward", x.shape[0], x.shape[1], W.shape, b.shape[0], out.shape)
    if x.shape[0] == 0:
        return
    cdef forward_job j = forward_job(
        &x[0, 0], &W[0, 0], prepared_rest(&W[0, 0], cut_panels[floating](W.shape[0], W.shape[1], 0), prepared), &b[0],
        &out[0, 0], x.shape[0], x.shape[1], W.shape[1], relu)
    cdef const void **arrays[4]
    arrays[0], arrays[1], arrays[2], arrays[3] = &j.x, &j.W, &j.b, <const void **>&j.out
    perform(<job_function>do_forward[floating], &j, sizeof(forward_job), arrays, 4, None)


@by_dtype
def dense_input_gradient(const floating[:, ::1] grad, const floating[:, ::1] W, floating[:, ::1] out):
    check("dense_input_gradient", out.shape[0], out.shape[1], W.shape, W.shape[1], grad.shape)
    if grad.shape[0] == 0:
        return
    with nogil:
        matrix_product(
            left_side(&grad[0, 0], grad.shape[0], grad.shape[1], 1), through_strides(&W[0, 0], 1, W.shape[1]),
            grad.shape[1], W.shape[0], <const floating *>NULL, False, &out[0, 0])


@by_dtype
def dense_weight_gradient(
    const floating[:, ::1] x, const floating[:, ::1] grad, floating[:, ::1] W_grad, floating[::1] b_grad,
):
    cdef Py_ssize_t N = x.shape[0]
    check("dense_weight_gradient", x.shape[0], x.shape[1], W_grad.shape, b_grad.shape[0], grad.shape)
    if N == 0:
        W_grad[...] = 0
        b_grad[...] = 0
        return
    with nogil:
        matrix_product(
            left_side(&x[0, 0], x.shape[1], 1, x.shape[1]), through_strides(&grad[0, 0], grad.shape[1], 1),
            N, grad.shape[1], <const floating *>NULL, False, &W_grad[0, 0])
        sum_rows(&grad[0, 0], N, grad.shape[1], &b_grad[0])
