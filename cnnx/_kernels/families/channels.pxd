"""What kernels with a number for each channel share: the way over an array whose last axis is channels.

An array is seen as rows of whole positions, several side by side where channels are few, so that inner loops are long.
Rows are cut into blocks, which stay in cache. A block is summed in the array's own precision; blocks are added up in
double precision, in order, by tasks whose number depends on the size alone.
"""

from cnnx._kernels.ground.elementwise cimport elements, take_channels
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport add_parts, allocate, for_each_task, threads_for
from cnnx._kernels.ground.program cimport job_function, perform

cdef enum:
    ROW = 64        # a row has at least so many elements,
    LONG_ROW = 256  # of so many a part of a vector is little
    ROWS = 16       # a block so many rows,
    BLOCK = 16384   # and about so many elements
    NUMBERS = 6     # for each channel, at most
    TASKS = 32      # that sum, at most, so that few partial sums are kept


cdef struct rows:
    Py_ssize_t size, channels           # elements, and those of a position
    Py_ssize_t width, block             # elements of a row and of a block
    Py_ssize_t blocks, share, tasks     # blocks, elements of a task that sums, and such tasks


cdef struct channel_pass:
    rows r
    elements x, grad, out
    void *numbers[NUMBERS]   # for each channel, in the order in which the kernel hands them
    bint relu
    # Working memory: the sums of each task, so many; rows that all tasks read; and so many elements for each thread.
    double *sums
    Py_ssize_t own
    void *shared
    void *private
    Py_ssize_t room
    Py_ssize_t tasks
    int threads
    int (*function)(channel_pass *p, const void *x) except -1 nogil


ctypedef int (*pass_function)(channel_pass *p, const void *x) except -1 nogil


cdef inline rows cut_rows(Py_ssize_t size, Py_ssize_t channels, Py_ssize_t lanes) noexcept nogil:
    """Rows of several positions have a multiple of `lanes` elements, or so many that a rest does not count."""
    cdef rows r
    r.size, r.channels, r.width = size, channels, channels
    while r.width < ROW or r.width < LONG_ROW and r.width % lanes:
        r.width += channels
    r.block = max(<Py_ssize_t>ROWS, BLOCK // r.width) * r.width
    r.blocks = (size + r.block - 1) // r.block
    share_out(&r, (r.blocks + TASKS - 1) // TASKS * r.block)
    return r


cdef inline void share_out(rows *r, Py_ssize_t share) noexcept nogil:
    """Tasks that sum so many elements each; one of an empty array, whose sums are 0."""
    r.share = max(share, r.block)
    r.tasks = max((r.size + r.share - 1) // r.share, <Py_ssize_t>1)


cdef inline void spread(const floating *numbers, rows r, floating *row) noexcept nogil:
    """A number for each channel, repeated for each position of a row."""
    cdef Py_ssize_t p, c
    for p in range(r.width // r.channels):
        for c in range(r.channels):
            row[p * r.channels + c] = numbers[c]


cdef inline void fold(const floating *row, rows r, double *sums) noexcept nogil:
    """Add the positions of a row to the sums of the channels."""
    cdef Py_ssize_t p, c
    for p in range(r.width // r.channels):
        for c in range(r.channels):
            sums[c] += row[p * r.channels + c]


cdef inline void *reserve(
    channel_pass *p, Py_ssize_t tasks, double operations, Py_ssize_t sums, Py_ssize_t shared, Py_ssize_t private,
) except NULL nogil:
    """The rows that all tasks read: so many. Each task has so many sums of each channel, each thread so many rows.

    `operations` are those of an element. `sums` are released at the end of the pass, and all else with them.
    """
    cdef Py_ssize_t lanes = 16  # elements of the widest vector: rows of threads begin with one
    p.tasks, p.threads, p.own = tasks, threads_for(tasks, operations * p.r.size), sums * p.r.channels
    p.room = (private * p.r.width + lanes - 1) // lanes * lanes
    p.sums = <double *>allocate(
        tasks * p.own * sizeof(double) + (shared * p.r.width + p.threads * p.room) * p.x.itemsize)
    p.shared = p.sums + tasks * p.own
    p.private = <char *>p.shared + shared * p.r.width * p.x.itemsize
    return p.shared


cdef inline void run_tasks(
    void (*run)(const void *job, Py_ssize_t task, floating *private) noexcept nogil, channel_pass *p,
) noexcept nogil:
    for_each_task(run, p, p.tasks, p.threads, <floating *>p.private, p.room)


cdef inline void fill_sums(channel_pass *p, floating *out) noexcept nogil:
    """Add the sums of all tasks to those of the first, in order, and round those of the channels."""
    cdef Py_ssize_t c
    add_parts(p.sums, p.tasks, p.own)
    for c in range(p.r.channels):
        out[c] = <floating>p.sums[c]


cdef inline int do_pass(const void *job, const void *unused) except -1 nogil:
    cdef channel_pass p = (<const channel_pass *>job)[0]
    return p.function(&p, p.x.first)


cdef inline int run_pass(
    str name, tuple inputs, tuple outputs, tuple numbers, tuple filled, pass_function for_float,
    pass_function for_double, Py_ssize_t lanes=1, bint relu=False,
) except -1:
    """The function for the type of the arrays: `x` and perhaps `grad`, an output if there is one, and the numbers."""
    cdef channel_pass p
    cdef elements[3] arrays
    cdef elements[NUMBERS] found
    cdef const void **moved[3 + NUMBERS]
    cdef Py_ssize_t i, lengths = len(numbers) + len(filled)
    take_channels(name, inputs, outputs, arrays, numbers, filled, found)
    p.x, p.grad, p.out, p.relu, p.own = arrays[0], arrays[1], arrays[len(inputs)], relu, 0
    if not outputs:
        p.out.first = NULL
    for i in range(lengths):
        p.numbers[i], moved[3 + i] = found[i].first, <const void **>&p.numbers[i]
    p.r = cut_rows(p.x.count, found[0].count, lanes)
    p.function = for_float if p.x.type == c"f" else for_double
    moved[0], moved[1], moved[2] = (
        <const void **>&p.x.first, <const void **>&p.grad.first, <const void **>&p.out.first)
    return perform(<job_function>do_pass, &p, sizeof(channel_pass), moved, 3 + lengths, (inputs, numbers))
