"""A bias for each filter: added to an array, and its gradient."""

from libc.string cimport memset

from cnnx._kernels.families.channels cimport (
    channel_pass, fill_sums, fold, pass_function, reserve, run_pass, run_tasks, spread,
)
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport release


# -- Addition -----------------------------------------------------------------------------------------

cdef void add_block(const void *job, Py_ssize_t block, floating *unused) noexcept nogil:
    cdef const channel_pass *p = <const channel_pass *>job
    cdef const floating *row = <const floating *>p.shared
    cdef floating *out = <floating *>p.out.first
    cdef Py_ssize_t i, width = p.r.width, start = block * p.r.block, end = min(start + p.r.block, p.r.size)
    while start < end:
        for i in range(min(width, end - start)):
            out[start + i] += row[i]
        start += width


cdef int add_rows(channel_pass *p, const floating *x) except -1 nogil:
    spread(<const floating *>p.numbers[0], p.r, <floating *>reserve(p, p.r.blocks, 1, 0, 1, 0))
    run_tasks(add_block[floating], p)
    release(p.sums)
    return 0


def add_bias(b, out):
    run_pass("add_bias", (), (out,), (b,), (), <pass_function>add_rows[float], <pass_function>add_rows[double])


# -- Gradient -----------------------------------------------------------------------------------------

cdef void sum_rows(const floating *x, Py_ssize_t size, Py_ssize_t width, floating *total) noexcept nogil:
    """Four rows at a time."""
    cdef Py_ssize_t i, start = 0
    cdef const floating *a
    cdef const floating *b
    cdef const floating *c
    cdef const floating *d
    memset(total, 0, width * sizeof(floating))
    while start + 4 * width <= size:
        a = x + start
        b, c, d = a + width, a + 2 * width, a + 3 * width
        for i in range(width):
            total[i] += (a[i] + b[i]) + (c[i] + d[i])
        start += 4 * width
    while start < size:
        for i in range(min(width, size - start)):
            total[i] += x[start + i]
        start += width


cdef void sum_blocks(const void *job, Py_ssize_t task, floating *row) noexcept nogil:
    cdef const channel_pass *p = <const channel_pass *>job
    cdef Py_ssize_t start = task * p.r.share, end = min(start + p.r.share, p.r.size)
    cdef double *sums = p.sums + task * p.own
    memset(sums, 0, p.own * sizeof(double))
    while start < end:
        sum_rows(<const floating *>p.x.first + start, min(p.r.block, end - start), p.r.width, row)
        fold(row, p.r, sums)
        start += p.r.block


cdef int sum_positions(channel_pass *p, const floating *x) except -1 nogil:
    reserve(p, p.r.tasks, 1, 1, 0, 1)
    run_tasks(sum_blocks[floating], p)
    fill_sums(p, <floating *>p.numbers[0])
    release(p.sums)
    return 0


def bias_gradient(grad, out):
    run_pass(
        "bias_gradient", (grad,), (), (), (out,), <pass_function>sum_positions[float],
        <pass_function>sum_positions[double])
