"""A bias for each filter: added to an array, and its gradient.

An array is seen as rows of whole positions, several side by side where filters are few, so that inner loops are long.
A block of rows is summed in the array's own precision, four rows at a time, and stays in cache; blocks are added up in
double precision, in order, by tasks whose number depends on the size alone.
"""

from libc.string cimport memset

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport add_parts, allocate, for_each_task, release, threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, positions

cdef enum:
    ROW = 64        # a row has at least so many elements,
    ROWS = 16       # a block so many rows,
    BLOCK = 16384   # and about so many elements
    TASKS = 32      # at most, so that few partial sums are kept


cdef struct rows:
    Py_ssize_t size, filters    # elements, and those of a position
    Py_ssize_t width, block     # elements of a row and of a block
    Py_ssize_t blocks, share    # blocks, and those of a task that sums


cdef rows cut_rows(Py_ssize_t size, Py_ssize_t filters) noexcept nogil:
    cdef rows r
    r.size, r.filters = size, filters
    r.width = (ROW + filters - 1) // filters * filters
    r.block = max(<Py_ssize_t>ROWS, BLOCK // r.width) * r.width
    r.blocks = (size + r.block - 1) // r.block
    r.share = (r.blocks + TASKS - 1) // TASKS
    return r


cdef struct addition:
    rows r
    const void *row     # of biases
    void *out


cdef struct summation:
    rows r
    const void *x
    double *sums        # of each task


# -- Addition -----------------------------------------------------------------------------------------

cdef void add_block(const void *job, Py_ssize_t block, floating *unused) noexcept nogil:
    cdef const addition *a = <const addition *>job
    cdef const rows *r = &a.r
    cdef const floating *row = <const floating *>a.row
    cdef floating *out = <floating *>a.out
    cdef Py_ssize_t i, start = block * r.block, end = min(start + r.block, r.size)
    while start < end:
        for i in range(min(r.width, end - start)):
            out[start + i] += row[i]
        start += r.width


cdef int add_rows(const floating *b, rows r, floating *out) except -1 nogil:
    cdef Py_ssize_t i
    cdef addition a
    cdef floating *row = <floating *>allocate(r.width * sizeof(floating))
    for i in range(r.width):
        row[i] = b[i % r.filters]
    a.r, a.row, a.out = r, row, out
    for_each_task(add_block[floating], &a, r.blocks, threads_for(r.blocks, r.size), <floating *>NULL, 0)
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


cdef void sum_blocks(const void *job, Py_ssize_t task, floating *row) noexcept nogil:
    cdef const summation *s = <const summation *>job
    cdef const rows *r = &s.r
    cdef Py_ssize_t block, i, f
    cdef double *sums = s.sums + task * r.filters
    memset(sums, 0, r.filters * sizeof(double))
    for block in range(task * r.share, min((task + 1) * r.share, r.blocks)):
        sum_rows(<const floating *>s.x + block * r.block, min(r.block, r.size - block * r.block), r.width, row)
        for i in range(r.width // r.filters):
            for f in range(r.filters):
                sums[f] += row[i * r.filters + f]


cdef int sum_positions(const floating *grad, rows r, floating *out) except -1 nogil:
    cdef Py_ssize_t tasks = (r.blocks + r.share - 1) // r.share, f
    cdef int threads = threads_for(tasks, r.size)
    cdef double *sums = <double *>allocate(tasks * r.filters * sizeof(double) + threads * r.width * sizeof(floating))
    cdef summation s
    s.r, s.x, s.sums = r, grad, sums
    for_each_task(sum_blocks[floating], &s, tasks, threads, <floating *>(sums + tasks * r.filters), r.width)
    add_parts(sums, tasks, r.filters)
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
