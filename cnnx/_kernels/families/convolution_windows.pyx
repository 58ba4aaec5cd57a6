"""Convolution, perhaps ReLU, and pooling of any windows, in inference: the outputs of the convolution, and the places of
maxima, are never written.

Large images are taken some rows of windows at a time, or of outputs where all of them have one average; small ones
several at a time. The convolution's outputs go to a thread's memory and are pooled there. Rows that the windows of two
tasks share are computed twice. Winograd's tiles are not cut, for the outputs would round differently: there a task has
whole images.
"""

from cpython.exc cimport PyErr_Occurred
from libc.string cimport memset

from cnnx._kernels.families.convolution cimport check, forward_geometry, prepare_filters, prepared_filters, filters_size
from cnnx._kernels.families.pooling cimport LONGEST, TOGETHER, add_line, average_row, largest_row, measure, windows
from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport (
    allocate, for_each_task, release, tasks_for_product, threads_for_product,
)
from cnnx._kernels.ground.program cimport job_function, perform, quiet_function
from cnnx._kernels.products.correlation cimport correlate_tiles
from cnnx._kernels.products.plane_product cimport multiply_by_planes, planes_are_faster
from cnnx._kernels.products.tiles cimport FEWEST_TASKS, aligned, call, geometry, too_far, unpooled
from cnnx._kernels.products.winograd cimport winograd, winograd_is_faster

cdef extern from "recorder.h" nogil:
    void MARK(long *number)

cdef enum:
    CACHED = 655360     # bytes of a task's outputs before they are pooled, which stay in the second-level cache

# Of the outputs before they are pooled: an index must hold their bytes.
cdef double MOST_OUTPUTS = 1 << 58


cdef struct pooled_job:
    geometry g      # of the convolution
    windows w       # over its outputs
    const void *x
    const void *W
    const void *filters
    const void *b
    bint relu, averages
    void *out


cdef struct cut_job:
    const pooled_job *job
    const void *filters         # prepared, or NULL where W is taken as it is
    Py_ssize_t images, rows     # of a task, and of these images rows of windows
    Py_ssize_t lines            # of outputs at a time, of an image that has one average; or 0
    long failed


cdef struct some_outputs:
    const cut_job *c
    const geometry *g
    const void *x
    void *out


cdef int convolve_some(const void *job, const floating *unused) except -1 nogil:
    """Some images, or some rows of one, by the way that all of them take."""
    cdef const some_outputs *s = <const some_outputs *>job
    cdef const pooled_job *j = s.c.job
    cdef const floating *x = <const floating *>s.x
    cdef const floating *b = <const floating *>j.b
    cdef floating *out = <floating *>s.out
    if winograd_is_faster(&j.g):
        return winograd(s.g, x, <const floating *>s.c.filters, b, j.relu, out, NULL)
    if planes_are_faster[floating](&j.g, 0):
        return multiply_by_planes(s.g, x, <const floating *>j.W, b, j.relu, out, NULL)
    return correlate_tiles(s.g, x, <const floating *>s.c.filters, b, j.relu, out, NULL)


cdef bint fill(cut_job *c, const geometry *g, Py_ssize_t image, floating *outputs) noexcept nogil:
    """Whether the outputs of some images from one on, or of rows of it, could be computed; no task can raise an error."""
    cdef const floating *x = <const floating *>c.job.x + image * g.height * g.width * g.channels
    cdef some_outputs s = some_outputs(c, g, x, outputs)
    if c.failed:  # a second error would come upon the first
        return False
    if (<quiet_function>convolve_some[floating])(&s, NULL) == -1:
        MARK(&c.failed)
        return False
    return True


cdef void pool_some(const void *job, Py_ssize_t task, floating *outputs) noexcept nogil:
    """Some rows of windows of some images."""
    cdef cut_job *c = <cut_job *>job
    cdef const pooled_job *j = c.job
    cdef Py_ssize_t parts = (j.w.rows + c.rows - 1) // c.rows, image = task // parts * c.images, i, row
    cdef Py_ssize_t first = task % parts * c.rows, count = min(c.rows, j.w.rows - first)
    cdef Py_ssize_t above = first * j.w.row_stride - j.w.top, begin = max(0, above)
    cdef Py_ssize_t line = j.w.columns * j.w.channels
    cdef geometry g = j.g
    cdef windows w = j.w
    cdef floating *out
    if c.lines:
        average_image(c, image, outputs)
        return
    g.images = min(c.images, j.g.images - image)
    if parts > 1:
        g.rows = min(j.w.height, above + (count - 1) * j.w.row_stride + j.w.filter_height) - begin
        g.top -= begin * g.row_stride
        w.top, w.height = begin - above, g.rows
    if not fill(c, &g, image, outputs):
        return
    for i in range(g.images):
        out = <floating *>j.out + ((image + i) * j.w.rows + first) * line
        for row in range(count):
            if j.averages:
                average_row(w, <const floating *>outputs + i * g.rows * g.columns * g.filters, row, out + row * line)
            else:
                largest_row(&w, <const floating *>outputs + i * g.rows * g.columns * g.filters, row, out + row * line)


cdef void average_image(cut_job *c, Py_ssize_t image, floating *outputs) noexcept nogil:
    """The average of all outputs of an image with TOGETHER filters or fewer, some rows at a time."""
    cdef const pooled_job *j = c.job
    cdef double[TOGETHER] totals
    cdef geometry g = j.g
    cdef Py_ssize_t begin = 0, row, f
    g.images = 1
    memset(totals, 0, sizeof(totals))
    while begin < j.g.rows:
        g.rows, g.top = min(c.lines, j.g.rows - begin), j.g.top - begin * g.row_stride
        if not fill(c, &g, image, outputs):
            return
        for row in range(g.rows):
            add_line(
                <const floating *>outputs + row * g.columns * g.filters, g.columns, g.filters, g.filters, totals)
        begin += g.rows
    for f in range(g.filters):
        (<floating *>j.out)[image * g.filters + f] = <floating>(totals[f] / (<double>j.g.rows * g.columns))


cdef bint has_one_average(const pooled_job *j) noexcept nogil:
    """Of so many outputs that they are added up line by line."""
    return (
        j.averages and j.w.rows == 1 and j.w.columns == 1 and j.w.top == 0 and j.w.left == 0
        and j.w.filter_height == j.g.rows and j.w.filter_width == j.g.columns and j.g.filters <= TOGETHER
        and j.g.rows * j.g.columns > LONGEST
    )


cdef Py_ssize_t most_rows(const pooled_job *j, Py_ssize_t bytes, Py_ssize_t wanted) noexcept nogil:
    """Rows of windows of a task, where a row of outputs has so many bytes, and an image should make so many tasks."""
    cdef Py_ssize_t rows = max(1, (CACHED // bytes - j.w.filter_height) // j.w.row_stride + 1)
    return min(rows, (j.w.rows + wanted - 1) // wanted)


cdef int cut(const pooled_job *j, const floating *filters) except -1 nogil:
    """All tasks."""
    cdef cut_job c
    cdef Py_ssize_t row = j.g.columns * j.g.filters, bytes = row * <Py_ssize_t>sizeof(floating), rows = j.w.height
    cdef double operations = 2.0 * j.g.images * j.g.rows * row * j.g.filter_height * j.g.filter_width * j.g.channels
    cdef Py_ssize_t wanted = tasks_for_product(FEWEST_TASKS, operations)
    c.job, c.filters, c.failed, c.images, c.rows, c.lines = j, filters, 0, 1, j.w.rows, 0
    if rows * bytes <= CACHED:
        c.images = max(1, min(CACHED // (rows * bytes), j.g.images // wanted))
    elif has_one_average(j) and not winograd_is_faster(&j.g):
        c.lines = rows = max(1, CACHED // bytes)
    elif not winograd_is_faster(&j.g):
        c.rows = most_rows(j, bytes, (wanted + j.g.images - 1) // j.g.images)
        rows = min(rows, (c.rows - 1) * j.w.row_stride + j.w.filter_height)
    cdef Py_ssize_t private = aligned(c.images * rows * row)
    cdef Py_ssize_t tasks = (j.g.images + c.images - 1) // c.images * ((j.w.rows + c.rows - 1) // c.rows)
    cdef int threads = threads_for_product(tasks, operations)
    cdef floating *memory = <floating *>allocate(threads * private * <Py_ssize_t>sizeof(floating))
    for_each_task(pool_some[floating], &c, tasks, threads, memory, private)
    release(memory)
    if c.failed:
        with gil:
            if PyErr_Occurred() == NULL:  # it was a helper's
                raise MemoryError("pooled convolution: working memory")
        return -1
    return 0


cdef int do_forward(const void *job, const floating *unused) except -1 nogil:
    cdef const pooled_job *j = <const pooled_job *>job
    cdef Py_ssize_t size = filters_size(&j.g, (<const floating *>j.W)[0])
    cdef floating *own
    if j.filters != NULL or size == 0:
        return cut(j, <const floating *>j.filters)
    own = <floating *>allocate(size * sizeof(floating))
    try:
        prepare_filters(&j.g, <const floating *>j.W, own)
        cut(j, <const floating *>own)
    finally:
        release(own)
    return 0


cdef int pool(
    str name, pooled_job *j, const call *c, Py_ssize_t[4] pooled, tuple pooling, const floating *W, dict prepared,
) except -1:
    """`pooling` is the (rows, columns) of the convolution's outputs, then the windows' size, stride and padding."""
    cdef Py_ssize_t[4] outputs
    cdef const void **arrays[4]
    outputs[0], outputs[1], outputs[2], outputs[3] = c.out[0], c.size.height, c.size.width, c.out[3]
    _, filter_size, stride, padding = pooling
    j.w = measure(name, outputs, pooled, filter_size, stride, padding)
    if <double>outputs[0] * outputs[1] * outputs[2] * outputs[3] > MOST_OUTPUTS:
        raise too_far(c)
    if outputs[0] == 0:
        return 0
    j.g, j.W = forward_geometry(c), W
    j.filters = prepared_filters(&j.g, W, prepared)
    arrays[0], arrays[1], arrays[2], arrays[3] = &j.x, <const void **>&j.out, &j.W, &j.b
    return perform(<job_function>do_forward[floating], j, sizeof(pooled_job), arrays, 4, None)


@by_dtype
def convolution_max_forward(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] W, const floating[::1] b, tuple window, bint relu,
    tuple pooling, floating[:, :, :, ::1] out, dict prepared=None,
):
    cdef Py_ssize_t[4] outputs
    cdef pooled_job j
    outputs[0], outputs[3] = x.shape[0], W.shape[3]
    outputs[1], outputs[2] = pooling[0]
    cdef call c = unpooled("convolution_max_forward", x.shape, W.shape, outputs, window)
    check(&c, b.shape[0], NULL)
    j.x, j.b, j.relu, j.averages, j.out = &x[0, 0, 0, 0], &b[0], relu, False, &out[0, 0, 0, 0]
    pool("convolution_max_forward", &j, &c, out.shape, pooling, &W[0, 0, 0, 0], prepared)


@by_dtype
def convolution_average_forward(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] W, const floating[::1] b, tuple window, bint relu,
    tuple pooling, floating[:, :, :, ::1] out, dict prepared=None,
):
    cdef Py_ssize_t[4] outputs
    cdef pooled_job j
    outputs[0], outputs[3] = x.shape[0], W.shape[3]
    outputs[1], outputs[2] = pooling[0]
    cdef call c = unpooled("convolution_average_forward", x.shape, W.shape, outputs, window)
    check(&c, b.shape[0], NULL)
    j.x, j.b, j.relu, j.averages, j.out = &x[0, 0, 0, 0], &b[0], relu, True, &out[0, 0, 0, 0]
    pool("convolution_average_forward", &j, &c, out.shape, pooling, &W[0, 0, 0, 0], prepared)
