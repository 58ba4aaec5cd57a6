"""Dense layers: forward, input gradient, weight gradient, as blocked products.

The right operand is packed into panels once; a task is one panel for a block of rows. Blocks depend on
the shapes alone. For a few rows packing would take longer than the product: then panels are read where they lie.
"""

from cython.parallel cimport prange

from cnnx._kernels.floating cimport floating
from cnnx._kernels.gemm cimport (
    cut_panels, multiply, pack_panel, panel_columns, panel_offset, panel_width, panels,
)
from cnnx._kernels.instruction_sets cimport product
from cnnx._kernels.parallel cimport allocate, release, threads_for

cdef enum:
    TASK_ROWS = 48      # rows of the left operand that share a panel of the right one in cache
    DEPTH = 256         # examples at a time in the weight gradient: their columns are far apart
    WORTH_PACKING = 13  # rows


cdef void multiply_task(
    const floating *a, Py_ssize_t a_row, Py_ssize_t a_depth, Py_ssize_t rows, panels cut,
    const floating *b, Py_ssize_t b_row, const floating *packed, const floating *bias, bint relu, floating *out,
    Py_ssize_t task,
) noexcept nogil:
    """`b` is NULL where all panels are packed."""
    cdef Py_ssize_t panel = task % cut.count, first = task // cut.count * TASK_ROWS, block, start
    cdef Py_ssize_t zero = 0, count = min(<Py_ssize_t>TASK_ROWS, rows - first)
    cdef Py_ssize_t column = panel * 2 * cut.lanes
    cdef const floating *right = packed + panel_offset(cut, panel)
    cdef product p
    p.runs, p.a_runs, p.a_depth = 1, &zero, a_depth
    p.b_depth, p.b_runs = panel_width(cut, panel), &zero
    p.c_row, p.columns = cut.columns, panel_columns(cut, panel)
    p.bias = NULL
    p.accumulate = p.relu = False
    if b != NULL and p.columns == p.b_depth:
        right, p.b_depth = b + column, b_row
    for block in range((cut.depth + DEPTH - 1) // DEPTH):
        start = block * DEPTH
        p.depth = min(<Py_ssize_t>DEPTH, cut.depth - start)
        if start + p.depth == cut.depth:
            p.relu = relu
            if bias != NULL:
                p.bias = <const void *>(bias + column)
        multiply(
            p, count, a_row, a + first * a_row + start * a_depth, right + start * p.b_depth,
            out + first * cut.columns + column)
        p.accumulate = True


cdef int matrix_product(
    const floating *a, Py_ssize_t a_row, Py_ssize_t a_depth, Py_ssize_t rows, Py_ssize_t depth,
    const floating *b, Py_ssize_t b_row, Py_ssize_t b_column, Py_ssize_t columns,
    const floating *bias, bint relu, floating *out,
) except -1 nogil:
    """out[rows, columns] = bias + a[rows, depth] . b[depth, columns], both read through strides; then ReLU."""
    cdef panels cut = cut_panels[floating](depth, columns, 0)
    cdef Py_ssize_t tasks = (rows + TASK_ROWS - 1) // TASK_ROWS * cut.count, task, panel, j
    cdef floating *packed = <floating *>allocate((cut.size + cut.count * 2 * cut.lanes) * sizeof(floating))
    cdef floating *wide_bias = NULL
    cdef bint in_place = b_column == 1 and rows < WORTH_PACKING
    if bias != NULL:
        wide_bias = packed + cut.size
        for j in range(cut.count * 2 * cut.lanes):
            wide_bias[j] = bias[j] if j < columns else 0
    for panel in prange(
            cut.count, num_threads=1 if in_place else threads_for(cut.count, cut.size), schedule="static"):
        # A panel whose vectors would reach past the last row is packed all the same.
        if not in_place or panel_columns(cut, panel) < panel_width(cut, panel):
            pack_panel(b, b_row, b_column, cut, panel, packed + panel_offset(cut, panel))
    for task in prange(
            tasks, num_threads=threads_for(tasks, 2.0 * rows * depth * columns), schedule="dynamic"):
        multiply_task(
            a, a_row, a_depth, rows, cut, b if in_place else NULL, b_row, packed, <const floating *>wide_bias, relu,
            out, task)
    release(packed)
    return 0


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
