"""Pooling of NHWC images: the maximum of a window with its place, and the average.

A task is one output row of one image. Channels are the innermost loop, so that neighbouring values are
compared side by side. The backward passes split over images: windows may overlap, and one image's
gradient is summed in the order of its output positions.
"""

from cpython.buffer cimport PyBUF_WRITABLE
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.elementwise cimport elements, elements_of
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for
from cnnx._kernels.ground.loops cimport overlapping_row
from cnnx._kernels.ground.parallel cimport for_each_task, threads_for
from cnnx._kernels.ground.program cimport job_function, perform
from cnnx._kernels.ground.shapes cimport as_tuple

cdef enum:
    PLACES = 256    # values of a byte
    LARGEST_EXTENT = 2147483647

ctypedef fused place:
    # A window of up to 256 cells needs one byte to name its largest.
    uint8_t
    int32_t
    int64_t


cdef windows measure(
    str name, Py_ssize_t[4] x, Py_ssize_t[4] out, filter_size, stride, padding,
) except *:
    """The geometry, checked: a kernel trusts it without bounds checks. Every window holds a pixel."""
    cdef windows w
    w.images, w.height, w.width, w.channels = x[0], x[1], x[2], x[3]
    w.rows, w.columns = out[1], out[2]
    w.filter_height, w.filter_width = filter_size
    w.row_stride, w.column_stride = stride
    w.top, w.left = padding
    if (
        max(max(w.filter_height, w.filter_width), max(w.row_stride, w.column_stride)) > LARGEST_EXTENT
        or out[0] != w.images or out[3] != w.channels or min(w.rows, min(w.columns, w.channels)) < 1
        or min(w.row_stride, w.column_stride) < 1 or not 0 <= w.top < w.filter_height
        or not 0 <= w.left < w.filter_width
        or (w.rows - 1.0) * w.row_stride - w.top >= w.height
        or (w.columns - 1.0) * w.column_stride - w.left >= w.width
    ):
        raise ValueError(
            f"{name}: shapes do not fit: images {as_tuple(x, 4)}, "
            f"outputs {as_tuple(out, 4)}, window {filter_size}, stride {stride}, padding {padding}")
    return w


cdef bint whole(windows w) noexcept nogil:
    """Whether every window lies inside the image, as without padding."""
    return (
        w.top == 0 and w.left == 0 and (w.rows - 1) * w.row_stride + w.filter_height <= w.height
        and (w.columns - 1) * w.column_stride + w.filter_width <= w.width
    )


cdef (Py_ssize_t, Py_ssize_t) uncut(const windows *w) noexcept nogil:
    """The windows of a row that no margin cuts off on the left or right: the first, and the one after the last."""
    cdef Py_ssize_t first = min(w.columns, (w.left + w.column_stride - 1) // w.column_stride)
    cdef Py_ssize_t end = max(first, min(w.columns, (w.width + w.left - w.filter_width) // w.column_stride + 1))
    return first, first if w.width + w.left < w.filter_width else end


cdef void largest_row(const windows *w, const floating *image, Py_ssize_t oh, floating *best) noexcept nogil:
    """One output row without places: windows that no margin cuts off on the left or right together."""
    cdef Py_ssize_t C = w.channels, h0 = oh * w.row_stride - w.top, top = max(0, -h0), ow = 0, w0, begin, count
    cdef Py_ssize_t rows = min(w.filter_height, w.height - h0) - top, first, end
    first, end = uncut(w)
    image += (h0 + top) * w.width * C
    while ow < w.columns:
        w0 = ow * w.column_stride - w.left
        begin, count = max(0, w0), end - first if ow == first and first < end else 1
        loops_for(sizeof(floating)).max_row(
            image + begin * C, rows, min(w.width, w0 + w.filter_width) - begin, w.width * C, w.column_stride, count, C,
            C, False, best + ow * C, NULL)
        ow += count


cdef void max_row(const windows *w, const floating *image, Py_ssize_t oh, floating *best, place *argmax) noexcept nogil:
    """One output row: windows that no margin cuts off on the left or right together, the others by themselves."""
    cdef Py_ssize_t C = w.channels, h0 = oh * w.row_stride - w.top, first = w.columns, end = w.columns, top, bottom, k
    if place is uint8_t:
        first, end = uncut(w)
    max_columns(w, image, h0, 0, first, best, argmax)
    max_columns(w, image, h0, end, w.columns, best, argmax)
    if place is uint8_t and first < end:
        top, bottom = max(0, -h0), min(w.filter_height, w.height - h0)
        image += ((h0 + top) * w.width + first * w.column_stride - w.left) * C
        best += first * C
        argmax += first * C
        loops_for(sizeof(floating)).max_row(
            image, bottom - top, w.filter_width, w.width * C, w.column_stride, end - first, C, C, False, best, argmax)
        if top:  # it counts from the first row that there is
            for k in range((end - first) * C):
                argmax[k] += <place>(top * w.filter_width)


cdef void max_columns(
    const windows *w, const floating *image, Py_ssize_t h0, Py_ssize_t begin, Py_ssize_t end, floating *best,
    place *argmax,
) noexcept nogil:
    """Some outputs of a row. A cell wins if larger or the first NaN, so that NaN passes and ties go to the first."""
    cdef Py_ssize_t C = w.channels, w0, ow, i, j, c
    cdef const floating *cell
    cdef floating value
    cdef bint first, wins
    best += begin * C
    argmax += begin * C
    for ow in range(begin, end):
        w0 = ow * w.column_stride - w.left
        first = True
        for i in range(max(0, -h0), min(w.filter_height, w.height - h0)):
            for j in range(max(0, -w0), min(w.filter_width, w.width - w0)):
                cell = image + ((h0 + i) * w.width + w0 + j) * C
                if first:
                    for c in range(C):
                        best[c] = cell[c]
                        argmax[c] = <place>(i * w.filter_width + j)
                    first = False
                else:
                    for c in range(C):
                        value = cell[c]
                        wins = (value > best[c]) | ((value != value) & (best[c] == best[c]))
                        best[c] = value if wins else best[c]
                        argmax[c] = <place>(i * w.filter_width + j) if wins else argmax[c]
        best += C
        argmax += C


cdef bint collected(const windows *w, Py_ssize_t itemsize) noexcept nogil:
    """Whether each pixel's gradient is summed at once: a vector has all of a window's pixels, so it must be well filled."""
    return (
        w.filter_height == 3 and w.filter_width == 3 and w.row_stride == 2 and w.column_stride == 2
        and min(w.channels * itemsize, in_use().vector_bytes) >= 32)


cdef void collect_windows(const windows *w, const floating *grad, const uint8_t *argmax, floating *image) noexcept nogil:
    """Row by row of the image, from the one or two rows of windows that hold it."""
    cdef Py_ssize_t line = w.columns * w.channels, row = w.width * w.channels, h, first, rows
    cdef overlapping_row p = overlapping_row(
        pixels=w.width, columns=w.columns, channels=w.channels, left=w.left, place=0)
    for h in range(w.height):
        first = max(<Py_ssize_t>0, (h + w.top - 1) // 2)
        rows = min(w.rows, (h + w.top) // 2 + 1) - first
        p.place = (h + w.top - 2 * first) * 3
        if rows > 0:
            loops_for(sizeof(floating)).collect_row(
                rows, &p, grad + first * line, argmax + first * line, image + h * row)
        else:
            memset(image + h * row, 0, row * sizeof(floating))


cdef void scatter_columns(
    const windows *w, const floating *grad, const uint8_t *argmax, Py_ssize_t oh, Py_ssize_t begin, Py_ssize_t end,
    Py_ssize_t *offsets, floating *image,
) noexcept nogil:
    """Some windows of a row, of which each has those pixels in the image that the first has; a table is made of these."""
    cdef Py_ssize_t h0 = oh * w.row_stride - w.top, w0 = begin * w.column_stride - w.left, h, v, k = 0, ow, c
    for h in range(h0, h0 + w.filter_height):
        for v in range(w0, w0 + w.filter_width):
            offsets[k] = (h * w.width + v) * w.channels if 0 <= h < w.height and 0 <= v < w.width else -1
            k += 1
    grad += begin * w.channels
    argmax += begin * w.channels
    for ow in range(begin, end):
        for c in range(w.channels):
            k = offsets[argmax[c]]
            if k >= 0:
                image[k + c] += grad[c]
        grad += w.channels
        argmax += w.channels
        image += w.column_stride * w.channels


cdef void scatter_windows(const windows *w, const floating *grad, const uint8_t *argmax, floating *image) noexcept nogil:
    """Row by row: windows that no margin cuts off on the left or right together, the others by themselves."""
    cdef Py_ssize_t first, end, oh, ow, line = w.columns * w.channels
    cdef Py_ssize_t[PLACES] offsets     # of a window's pixels, by their place
    # A place that is no pixel's can only come from a mask of some other batch: -1, which leads nowhere.
    memset(offsets, 0xFF, sizeof(offsets))
    first, end = uncut(w)
    for oh in range(w.rows):
        for ow in range(first):
            scatter_columns(w, grad, argmax, oh, ow, ow + 1, offsets, image)
        if first < end:
            scatter_columns(w, grad, argmax, oh, first, end, offsets, image)
        for ow in range(end, w.columns):
            scatter_columns(w, grad, argmax, oh, ow, ow + 1, offsets, image)
        grad += line
        argmax += line


cdef void max_backward_image(
    windows w, const floating *grad, const place *argmax, floating *out,
) noexcept nogil:
    cdef Py_ssize_t C = w.channels, oh, ow, c, h, v, row = w.width * w.channels
    cdef Py_ssize_t covered = w.columns * w.filter_width * C
    if place is uint8_t and whole(w) and w.row_stride == w.filter_height and w.column_stride == w.filter_width:
        # Windows that do not overlap: every pixel has one gradient or none.
        for h in range(w.rows * w.filter_height):
            oh = h // w.filter_height
            loops_for(sizeof(floating)).spread_row(
                grad + oh * w.columns * C, argmax + oh * w.columns * C, w.columns, w.filter_width,
                h % w.filter_height * w.filter_width, C, out + h * row)
            memset(out + h * row + covered, 0, (row - covered) * sizeof(floating))
        h = w.rows * w.filter_height
        memset(out + h * row, 0, (w.height - h) * row * sizeof(floating))
        return
    if place is uint8_t and collected(&w, sizeof(floating)):
        collect_windows(&w, grad, argmax, out)
        return
    memset(out, 0, w.height * row * sizeof(floating))
    if place is uint8_t:
        scatter_windows(&w, grad, argmax, out)
        return
    for oh in range(w.rows):
        for ow in range(w.columns):
            # An index that names no pixel can only come from a mask of some other batch.
            for c in range(C):
                h = oh * w.row_stride - w.top + argmax[c] // w.filter_width
                v = ow * w.column_stride - w.left + argmax[c] % w.filter_width
                if 0 <= h < w.height and 0 <= v < w.width:
                    out[(h * w.width + v) * C + c] += grad[c]
            grad += C
            argmax += C


cdef void average_row(windows w, const floating *image, Py_ssize_t oh, floating *out) noexcept nogil:
    cdef Py_ssize_t C = w.channels, h0 = oh * w.row_stride - w.top, w0, ow, i, j, c, h1, w1, cells
    cdef const floating *cell
    if whole(w) and w.filter_height * w.filter_width <= LONGEST:
        loops_for(sizeof(floating)).average_row(
            image + h0 * w.width * C, w.filter_height, w.filter_width, w.width * C, w.column_stride, w.columns, C, out)
        return
    h1, h0 = min(w.height, h0 + w.filter_height), max(0, h0)
    for ow in range(w.columns):
        w0 = ow * w.column_stride - w.left
        w1, w0 = min(w.width, w0 + w.filter_width), max(0, w0)
        cells = (h1 - h0) * (w1 - w0)
        if cells > LONGEST:
            c = 0
            while c < C:
                average_large(
                    image + (h0 * w.width + w0) * C + c, h1 - h0, w1 - w0, w.width * C, C,
                    min(<Py_ssize_t>TOGETHER, C - c), out + c)
                c += TOGETHER
            out += C
            continue
        for c in range(C):
            out[c] = 0
        for i in range(h0, h1):
            for j in range(w0, w1):
                cell = image + (i * w.width + j) * C
                for c in range(C):
                    out[c] += cell[c]
        for c in range(C):
            out[c] /= cells
        out += C


cdef void average_large(
    const floating *cells, Py_ssize_t height, Py_ssize_t width, Py_ssize_t row, Py_ssize_t column, Py_ssize_t channels,
    floating *out,
) noexcept nogil:
    """A few channels of a large window, whose rows and columns are so far apart."""
    cdef double[TOGETHER] totals
    cdef Py_ssize_t i, c
    memset(totals, 0, sizeof(totals))
    for i in range(height):
        add_line(cells + i * row, width, column, channels, totals)
    for c in range(channels):
        out[c] = <floating>(totals[c] / (<double>height * width))


cdef void add_line(
    const floating *cells, Py_ssize_t width, Py_ssize_t column, Py_ssize_t channels, double *totals,
) noexcept nogil:
    """To the totals of TOGETHER channels or fewer a row of pixels, in sums of LONGEST pixels or less."""
    cdef floating[TOGETHER] sums
    cdef Py_ssize_t c, start = 0
    while start < width:
        memset(sums, 0, channels * sizeof(floating))
        loops_for(sizeof(floating)).position_sums(
            min(width - start, <Py_ssize_t>LONGEST), channels, cells + start * column, column, sums)
        for c in range(channels):
            totals[c] += sums[c]
        start += LONGEST


cdef void average_backward_image(windows w, const floating *grad, floating *out) noexcept nogil:
    cdef Py_ssize_t C = w.channels, oh, ow, h0, w0, h1, w1, i, row = w.width * C, covered = w.columns * w.filter_width * C
    if whole(w) and w.row_stride == w.filter_height and w.column_stride == w.filter_width:
        # Windows that do not overlap: a row of pixels, and copies of it.
        for oh in range(w.rows):
            loops_for(sizeof(floating)).spread_average(
                grad + oh * w.columns * C, w.filter_height * w.filter_width, w.columns, w.filter_width, C, out)
            memset(out + covered, 0, (row - covered) * sizeof(floating))
            for i in range(1, w.filter_height):
                memcpy(out + i * row, out, row * sizeof(floating))
            out += w.filter_height * row
        memset(out, 0, (w.height - w.rows * w.filter_height) * row * sizeof(floating))
        return
    memset(out, 0, w.height * row * sizeof(floating))
    for oh in range(w.rows):
        h0 = max(0, oh * w.row_stride - w.top)
        h1 = min(w.height, oh * w.row_stride - w.top + w.filter_height)
        for ow in range(w.columns):
            w0 = max(0, ow * w.column_stride - w.left)
            w1 = min(w.width, ow * w.column_stride - w.left + w.filter_width)
            add_average(grad, h1 - h0, w1 - w0, row, C, out + h0 * row + w0 * C)
            grad += C


cdef void add_average(
    const floating *grad, Py_ssize_t height, Py_ssize_t width, Py_ssize_t row, Py_ssize_t channels, floating *cells,
) noexcept nogil:
    """A window's gradient, shared out among its pixels."""
    cdef floating[TOGETHER] share
    cdef Py_ssize_t first = 0, count, i, j, c
    cdef floating *cell
    while first < channels:
        count = min(<Py_ssize_t>TOGETHER, channels - first)
        for c in range(count):
            share[c] = grad[first + c] / (height * width)
        for i in range(height):
            for j in range(width):
                cell = cells + i * row + j * channels + first
                for c in range(count):
                    cell[c] += share[c]
        first += TOGETHER


# -- Tasks --------------------------------------------------------------------------------------------

cdef struct pooling:
    windows w
    const void *source      # images, or gradients
    void *places
    Py_ssize_t place_size   # bytes of each
    void *out
    void *run               # a task
    Py_ssize_t tasks


cdef void largest_task(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    cdef const pooling *p = <const pooling *>job
    largest_row(
        &p.w, image_of(p, task // p.w.rows, <const floating *>p.source), task % p.w.rows,
        <floating *>p.out + task * p.w.columns * p.w.channels)


cdef void max_task(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    cdef const pooling *p = <const pooling *>job
    cdef Py_ssize_t row = task * p.w.columns * p.w.channels
    cdef const floating *image = image_of(p, task // p.w.rows, <const floating *>p.source)
    if p.place_size == sizeof(int64_t):
        max_row(&p.w, image, task % p.w.rows, <floating *>p.out + row, <int64_t *>p.places + row)
    elif p.place_size == sizeof(int32_t):
        max_row(&p.w, image, task % p.w.rows, <floating *>p.out + row, <int32_t *>p.places + row)
    else:
        max_row(&p.w, image, task % p.w.rows, <floating *>p.out + row, <uint8_t *>p.places + row)


cdef void average_task(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    cdef const pooling *p = <const pooling *>job
    average_row(
        p.w, image_of(p, task // p.w.rows, <const floating *>p.source), task % p.w.rows,
        <floating *>p.out + task * p.w.columns * p.w.channels)


cdef void max_backward_task(const void *job, Py_ssize_t image, floating *unused) noexcept nogil:
    cdef const pooling *p = <const pooling *>job
    cdef Py_ssize_t first = image * p.w.rows * p.w.columns * p.w.channels
    cdef const floating *grad = <const floating *>p.source + first
    cdef floating *out = <floating *>image_of(p, image, <const floating *>p.out)
    if p.place_size == sizeof(int64_t):
        max_backward_image(p.w, grad, <const int64_t *>p.places + first, out)
    elif p.place_size == sizeof(int32_t):
        max_backward_image(p.w, grad, <const int32_t *>p.places + first, out)
    else:
        max_backward_image(p.w, grad, <const uint8_t *>p.places + first, out)


cdef void average_backward_task(const void *job, Py_ssize_t image, floating *unused) noexcept nogil:
    cdef const pooling *p = <const pooling *>job
    average_backward_image(
        p.w, <const floating *>p.source + image * p.w.rows * p.w.columns * p.w.channels,
        <floating *>image_of(p, image, <const floating *>p.out))


cdef const floating *image_of(const pooling *p, Py_ssize_t image, const floating *images) noexcept nogil:
    return images + image * p.w.height * p.w.width * p.w.channels


cdef int do_tasks(const void *job, const floating *unused) except -1 nogil:
    cdef const pooling *p = <const pooling *>job
    cdef double operations = (
        <double>p.w.images * p.w.rows * p.w.columns * p.w.channels * p.w.filter_height * p.w.filter_width)
    for_each_task(
        <void (*)(const void *job, Py_ssize_t task, floating *memory) noexcept nogil>p.run, p, p.tasks,
        threads_for(p.tasks, operations), <floating *>NULL, 0)
    return 0


cdef int pool(
    void (*run)(const void *job, Py_ssize_t task, floating *memory) noexcept nogil, windows w, Py_ssize_t tasks,
    const floating[:, :, :, ::1] source, floating[:, :, :, ::1] out, const elements *places=NULL,
) except -1:
    cdef pooling p
    cdef const void **arrays[3]
    if tasks == 0:
        return 0
    p.w, p.source, p.out, p.places, p.place_size = w, &source[0, 0, 0, 0], &out[0, 0, 0, 0], NULL, 0
    if places:
        p.places, p.place_size = places.first, places.itemsize
    p.run, p.tasks = <void *>run, tasks
    arrays[0], arrays[1], arrays[2] = &p.source, <const void **>&p.out, <const void **>&p.places
    return perform(<job_function>do_tasks[floating], &p, sizeof(pooling), arrays, 3, None)


# -- The door -----------------------------------------------------------------------------------------

cdef elements places_of(str name, argmax, Py_ssize_t[4] outputs, windows w, int flags) except *:
    """The memory of an array of uint8, int32 or int64, which has room for the places of a window."""
    cdef elements e = elements_of(argmax, flags)
    cdef Py_ssize_t pixels = w.filter_height * w.filter_width
    if not (e.type == c"B" or e.type in (c"i", c"l", c"q") and e.itemsize in (sizeof(int32_t), sizeof(int64_t))):
        raise ValueError(f"{name}: argmax: expected uint8, int32 or int64, got {argmax.dtype}")
    if e.itemsize == 1 and pixels > 256 or e.itemsize == sizeof(int32_t) and pixels > LARGEST_EXTENT:
        raise ValueError(f"{name}: {argmax.dtype} has no room for the places in a window of {pixels} pixels")
    if e.count != outputs[0] * outputs[1] * outputs[2] * outputs[3] or e.last != outputs[3]:
        raise ValueError(f"{name}: shapes do not fit: outputs {as_tuple(outputs, 4)}, argmax {argmax.shape}")
    return e


@by_dtype
def max_pool_forward(
    const floating[:, :, :, ::1] x, filter_size, stride, padding, floating[:, :, :, ::1] out, argmax,
):
    cdef windows w = measure("max_pool_forward", x.shape, out.shape, filter_size, stride, padding)
    cdef elements places
    if argmax is None:
        pool(largest_task[floating], w, w.images * w.rows, x, out)
        return
    places = places_of("max_pool_forward", argmax, out.shape, w, PyBUF_WRITABLE)
    pool(max_task[floating], w, w.images * w.rows, x, out, &places)


@by_dtype
def max_pool_backward(
    const floating[:, :, :, ::1] grad, argmax, filter_size, stride, padding, floating[:, :, :, ::1] out,
):
    cdef windows w = measure("max_pool_backward", out.shape, grad.shape, filter_size, stride, padding)
    cdef elements places = places_of("max_pool_backward", argmax, grad.shape, w, 0)
    pool(max_backward_task[floating], w, w.images, grad, out, &places)


@by_dtype
def average_pool_forward(
    const floating[:, :, :, ::1] x, filter_size, stride, padding, floating[:, :, :, ::1] out,
):
    cdef windows w = measure("average_pool_forward", x.shape, out.shape, filter_size, stride, padding)
    pool(average_task[floating], w, w.images * w.rows, x, out)


@by_dtype
def average_pool_backward(
    const floating[:, :, :, ::1] grad, filter_size, stride, padding, floating[:, :, :, ::1] out,
):
    cdef windows w = measure("average_pool_backward", out.shape, grad.shape, filter_size, stride, padding)
    pool(average_backward_task[floating], w, w.images, grad, out)
