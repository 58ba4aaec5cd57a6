"""Pooling of NHWC images: the maximum of a window with its place, and the average.

A task is one output row of one image. Channels are the innermost loop, so that neighbouring values are
compared side by side. The backward passes split over images: windows may overlap, and one image's
gradient is summed in the order of its output positions.
"""

from cython.parallel cimport prange
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memset

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport loops_for
from cnnx._kernels.ground.parallel cimport threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape

ctypedef fused place:
    # A window of up to 256 cells needs one byte to name its largest.
    uint8_t
    int32_t


cdef struct windows:
    Py_ssize_t images, height, width, channels
    Py_ssize_t rows, columns
    Py_ssize_t filter_height, filter_width, row_stride, column_stride, top, left


cdef windows measure(
    const char *name, Py_ssize_t[4] x, Py_ssize_t[4] out, filter_size, stride, padding,
) except *:
    """The geometry, checked: a kernel trusts it without bounds checks. Every window holds a pixel."""
    cdef windows w
    w.images, w.height, w.width, w.channels = x[0], x[1], x[2], x[3]
    w.rows, w.columns = out[1], out[2]
    w.filter_height, w.filter_width = filter_size
    w.row_stride, w.column_stride = stride
    w.top, w.left = padding
    if (
        out[0] != w.images or out[3] != w.channels or min(w.rows, min(w.columns, w.channels)) < 1
        or min(w.row_stride, w.column_stride) < 1 or not 0 <= w.top < w.filter_height
        or not 0 <= w.left < w.filter_width
        or (w.rows - 1) * w.row_stride - w.top >= w.height
        or (w.columns - 1) * w.column_stride - w.left >= w.width
    ):
        raise ValueError(
            f"{name.decode()}: shapes do not fit: images {as_tuple(x, 4)}, "
            f"outputs {as_tuple(out, 4)}, window {filter_size}, stride {stride}, padding {padding}")
    return w


cdef bint whole(windows w) noexcept nogil:
    """Whether every window lies inside the image, as without padding."""
    return (
        w.top == 0 and w.left == 0 and (w.rows - 1) * w.row_stride + w.filter_height <= w.height
        and (w.columns - 1) * w.column_stride + w.filter_width <= w.width
    )


cdef void max_row(windows w, const floating *image, Py_ssize_t oh, floating *best, place *argmax) noexcept nogil:
    """One output row. A cell wins if it is larger or the first NaN, so that NaN passes and ties go to the first."""
    cdef Py_ssize_t C = w.channels, h0 = oh * w.row_stride - w.top, w0, ow, i, j, c
    cdef const floating *cell
    cdef floating value
    cdef bint first, wins
    if place is uint8_t and whole(w):
        loops_for(sizeof(floating)).max_row(
            image + h0 * w.width * C, w.filter_height, w.filter_width, w.width * C, w.column_stride, w.columns,
            C, C, False, best, argmax)
        return
    for ow in range(w.columns):
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
    memset(out, 0, w.height * w.width * C * sizeof(floating))
    for oh in range(w.rows):
        for ow in range(w.columns):
            for c in range(C):
                h = oh * w.row_stride - w.top + argmax[c] // w.filter_width
                v = ow * w.column_stride - w.left + argmax[c] % w.filter_width
                # An index that names no pixel can only come from a mask of some other batch.
                if 0 <= h < w.height and 0 <= v < w.width:
                    out[(h * w.width + v) * C + c] += grad[c]
            grad += C
            argmax += C


cdef void average_row(windows w, const floating *image, Py_ssize_t oh, floating *out) noexcept nogil:
    cdef Py_ssize_t C = w.channels, h0 = oh * w.row_stride - w.top, w0, ow, i, j, c, cells
    cdef const floating *cell
    for ow in range(w.columns):
        w0 = ow * w.column_stride - w.left
        cells = 0
        for c in range(C):
            out[c] = 0
        for i in range(max(0, -h0), min(w.filter_height, w.height - h0)):
            for j in range(max(0, -w0), min(w.filter_width, w.width - w0)):
                cell = image + ((h0 + i) * w.width + w0 + j) * C
                for c in range(C):
                    out[c] += cell[c]
                cells += 1
        for c in range(C):
            out[c] /= cells
        out += C


cdef void average_backward_image(windows w, const floating *grad, floating *out) noexcept nogil:
    cdef Py_ssize_t C = w.channels, oh, ow, h0, w0, i, j, c, h1, w1, cells
    cdef floating *cell
    memset(out, 0, w.height * w.width * C * sizeof(floating))
    for oh in range(w.rows):
        h0 = max(0, oh * w.row_stride - w.top)
        h1 = min(w.height, oh * w.row_stride - w.top + w.filter_height)
        for ow in range(w.columns):
            w0 = max(0, ow * w.column_stride - w.left)
            w1 = min(w.width, ow * w.column_stride - w.left + w.filter_width)
            cells = (h1 - h0) * (w1 - w0)
            for i in range(h0, h1):
                for j in range(w0, w1):
                    cell = out + (i * w.width + j) * C
                    for c in range(C):
                        cell[c] += grad[c] / cells
            grad += C


cdef double operations(windows w) noexcept nogil:
    return <double>w.images * w.rows * w.columns * w.channels * w.filter_height * w.filter_width


cdef _max_forward(
    const floating[:, :, :, ::1] x, filter_size, stride, padding, floating[:, :, :, ::1] out,
    place[:, :, :, ::1] argmax,
):
    cdef windows w = measure("max_pool_forward", x.shape, out.shape, filter_size, stride, padding)
    cdef Py_ssize_t task, tasks = w.images * w.rows, row = w.columns * w.channels
    if not same_shape(argmax.shape, out.shape, 4):
        raise ValueError(
            f"max_pool_forward: shapes do not fit: outputs {as_tuple(out.shape, 4)}, "
            f"argmax {as_tuple(argmax.shape, 4)}")
    if w.images == 0:
        return
    cdef const floating *from_x = &x[0, 0, 0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    cdef place *to_argmax = &argmax[0, 0, 0, 0]
    for task in prange(
        tasks, num_threads=threads_for(tasks, operations(w)), schedule="static", nogil=True,
    ):
        max_row(
            w, from_x + task // w.rows * w.height * w.width * w.channels, task % w.rows,
            to_out + task * row, to_argmax + task * row)


cdef _max_backward(
    const floating[:, :, :, ::1] grad, const place[:, :, :, ::1] argmax, filter_size, stride, padding,
    floating[:, :, :, ::1] out,
):
    cdef windows w = measure("max_pool_backward", out.shape, grad.shape, filter_size, stride, padding)
    cdef Py_ssize_t image, size = w.rows * w.columns * w.channels
    if not same_shape(argmax.shape, grad.shape, 4):
        raise ValueError(
            f"max_pool_backward: shapes do not fit: gradients {as_tuple(grad.shape, 4)}, "
            f"argmax {as_tuple(argmax.shape, 4)}")
    if w.images == 0:
        return
    cdef const floating *from_grad = &grad[0, 0, 0, 0]
    cdef const place *from_argmax = &argmax[0, 0, 0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    for image in prange(
        w.images, num_threads=threads_for(w.images, operations(w)), schedule="static", nogil=True,
    ):
        max_backward_image(
            w, from_grad + image * size, from_argmax + image * size,
            to_out + image * w.height * w.width * w.channels)


@by_dtype
def average_pool_forward(
    const floating[:, :, :, ::1] x, filter_size, stride, padding, floating[:, :, :, ::1] out,
):
    cdef windows w = measure("average_pool_forward", x.shape, out.shape, filter_size, stride, padding)
    cdef Py_ssize_t task, tasks = w.images * w.rows
    if w.images == 0:
        return
    cdef const floating *from_x = &x[0, 0, 0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    for task in prange(
        tasks, num_threads=threads_for(tasks, operations(w)), schedule="static", nogil=True,
    ):
        average_row(
            w, from_x + task // w.rows * w.height * w.width * w.channels, task % w.rows,
            to_out + task * w.columns * w.channels)


@by_dtype
def average_pool_backward(
    const floating[:, :, :, ::1] grad, filter_size, stride, padding, floating[:, :, :, ::1] out,
):
    cdef windows w = measure("average_pool_backward", out.shape, grad.shape, filter_size, stride, padding)
    cdef Py_ssize_t image
    if w.images == 0:
        return
    cdef const floating *from_grad = &grad[0, 0, 0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    for image in prange(
        w.images, num_threads=threads_for(w.images, operations(w)), schedule="static", nogil=True,
    ):
        average_backward_image(
            w, from_grad + image * w.rows * w.columns * w.channels,
            to_out + image * w.height * w.width * w.channels)


@by_dtype
def max_pool_forward(
    const floating[:, :, :, ::1] x, filter_size, stride, padding, floating[:, :, :, ::1] out, argmax,
):
    if argmax.itemsize == 1:
        _max_forward[floating, uint8_t](x, filter_size, stride, padding, out, argmax)
    else:
        _max_forward[floating, int32_t](x, filter_size, stride, padding, out, argmax)


@by_dtype
def max_pool_backward(
    const floating[:, :, :, ::1] grad, argmax, filter_size, stride, padding, floating[:, :, :, ::1] out,
):
    if argmax.itemsize == 1:
        _max_backward[floating, uint8_t](grad, argmax, filter_size, stride, padding, out)
    else:
        _max_backward[floating, int32_t](grad, argmax, filter_size, stride, padding, out)
