"""A bias for each filter: added to an array, and its gradient.

An array is seen as rows of whole positions, several side by side where filters are few, so that inner loops are long.
A block of rows is summed in the array's own precision, four rows at a time, and stays in cache; blocks are added up in
double precision, in order, by tasks whose number depends on the size alone.
"""

from cython.parallel cimport prange
from libc.string cimport memset

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport allocate, release, threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, positions

cdef enum:
    ROW = 64        # a row has at least so many elements,
    ROWS = 16       # a block so many rows,
    BLOCK = 16384   # and about so many elements
    TASKS = 32      # at most, so that few partial sums are kept


cdef struct rows:
    Py_ssize_t size, filters
    Py_ssize_t width            # elements of a row,
    Py_ssize_t block, blocks    # of a block; blocks


cdef rows cut_rows(Py_ssize_t size, Py_ssize_t filters) noexcept nogil:
    cdef rows r
    r.size, r.filters = size, filters
    r.width = (ROW + filters - 1) // filters * filters
    r.block = max(<Py_ssize_t>ROWS, BLOCK // r.width) * r.width
    r.blocks = (size + r.block - 1) // r.block
    return r


# -- Addition -----------------------------------------------------------------------------------------

cdef void add_block(const floating *row, Py_ssize_t width, floating *out, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i, start = 0
    while start < size:
        for i in range(min(width, size - start)):
            out[start + i] += row[i]
        start += width


cdef int add_rows(const floating *b, rows r, floating *out) except -1 nogil:
    cdef Py_ssize_t i, block
    cdef floating *row = <floating *>allocate(r.width * sizeof(floating))
    for i in range(r.width):
        row[i] = b[i % r.filters]
    for block in prange(r.blocks, num_threads=threads_for(r.blocks, r.size), schedule="static"):
        add_block(
            <const floating *>row, r.width, out + block * r.block, min(r.block, r.size - block * r.block))
    release(row)
    return 0


@by_dtype
def add_bias(const floating[::1] b, floating[:, :, :, ::1] out):
    cdef Py_ssize_t filters = out.shape[3], size = out.shape[0] * out.shape[1] * out.shape[2] * filters
    if b.shape[0] != filters:
        raise ValueError(f"add_bias: shapes do not fit: {(b.shape[0],)}, {as_tuple(out.shape, 4)}")
    if size == 0:
        return
    with nogil:
        add_rows(&b[0], cut_rows(size, filters), &out[0, 0, 0, 0])


# -- Gradient -----------------------------------------------------------------------------------------

cdef void sum_rows(const floating *x, Py_ssize_t size, Py_ssize_t width, floating *total) noexcept nogil:
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


cdef void sum_blocks(
    const floating *x, rows r, Py_ssize_t first, Py_ssize_t last, double *sums, floating *row,
) noexcept nogil:
    cdef Py_ssize_t block, i, f
    memset(sums, 0, r.filters * sizeof(double))
    for block in range(first, last):
        sum_rows(x + block * r.block, min(r.block, r.size - block * r.block), r.width, row)
        for i in range(r.width // r.filters):
            for f in range(r.filters):
                sums[f] += row[i * r.filters + f]


cdef int sum_positions(const floating *grad, rows r, floating *out) except -1 nogil:
    cdef Py_ssize_t share = (r.blocks + TASKS - 1) // TASKS, tasks = (r.blocks + share - 1) // share, task, f
    cdef double *sums = <double *>allocate(tasks * (r.filters * sizeof(double) + r.width * sizeof(floating)))
    cdef floating *row = <floating *>(sums + tasks * r.filters)
    for task in prange(tasks, num_threads=threads_for(tasks, r.size), schedule="static"):
        sum_blocks(
            grad, r, task * share, min((task + 1) * share, r.blocks), sums + task * r.filters, row + task * r.width)
    for task in range(1, tasks):
        for f in range(r.filters):
            sums[f] += sums[task * r.filters + f]
    for f in range(r.filters):
        out[f] = <floating>sums[f]
    release(sums)
    return 0


@by_dtype
def bias_gradient(grad, floating[::1] out):
    cdef const floating[:, ::1] g = positions(grad)
    cdef Py_ssize_t filters = g.shape[1], size = g.shape[0] * filters
    if out.shape[0] != filters:
        raise ValueError(f"bias_gradient: shapes do not fit: {as_tuple(g.shape, 2)}, {(out.shape[0],)}")
    if size == 0:
        out[...] = 0
        return
    with nogil:
        sum_positions(&g[0, 0], cut_rows(size, filters), &out[0])
