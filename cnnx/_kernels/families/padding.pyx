"""Padding and cropping of images. A task is a row of the output."""

from cython.parallel cimport prange
from libc.string cimport memcpy, memset

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport threads_for
from cnnx._kernels.ground.shapes cimport as_tuple


cdef check_margins(
    str name, const Py_ssize_t *small, const Py_ssize_t *large, Py_ssize_t top, Py_ssize_t left,
    const Py_ssize_t *x, const Py_ssize_t *out,
):
    """The small images lie within the large ones, from row `top` and column `left` on."""
    if (
        small[0] != large[0] or small[3] != large[3]
        or not 0 <= top <= large[1] - small[1] or not 0 <= left <= large[2] - small[2]
    ):
        raise ValueError(
            f"{name}: shapes do not fit: {as_tuple(x, 4)}, {as_tuple(out, 4)} from row {top}, column {left} on")


cdef void pad_row(
    const floating *x, Py_ssize_t before, Py_ssize_t size, Py_ssize_t after, floating *out,
) noexcept nogil:
    memset(out, 0, before * sizeof(floating))
    memcpy(out + before, x, size * sizeof(floating))
    memset(out + before + size, 0, after * sizeof(floating))


@by_dtype
def pad_images(const floating[:, :, :, ::1] x, Py_ssize_t top, Py_ssize_t left, floating[:, :, :, ::1] out):
    cdef Py_ssize_t H = x.shape[1], rows = out.shape[1], h, task, tasks = out.shape[0] * rows
    check_margins("pad_images", x.shape, out.shape, top, left, x.shape, out.shape)
    cdef Py_ssize_t width = out.shape[2] * out.shape[3], size = x.shape[2] * x.shape[3], before = left * x.shape[3]
    if tasks * width == 0:
        return
    cdef const floating *from_x = &x[0, 0, 0, 0] if tasks * size * H else NULL
    cdef floating *to_out = &out[0, 0, 0, 0]
    for task in prange(tasks, num_threads=threads_for(tasks, <double>tasks * width), schedule="static", nogil=True):
        h = task % rows - top
        if from_x != NULL and 0 <= h < H:
            pad_row(
                from_x + (task // rows * H + h) * size, before, size, width - before - size, to_out + task * width)
        else:
            memset(to_out + task * width, 0, width * sizeof(floating))


@by_dtype
def crop_images(const floating[:, :, :, ::1] x, Py_ssize_t top, Py_ssize_t left, floating[:, :, :, ::1] out):
    cdef Py_ssize_t H = x.shape[1], rows = out.shape[1], task, tasks = out.shape[0] * rows
    check_margins("crop_images", out.shape, x.shape, top, left, x.shape, out.shape)
    cdef Py_ssize_t width = x.shape[2] * x.shape[3], size = out.shape[2] * out.shape[3], before = left * x.shape[3]
    if tasks * size == 0:
        return
    cdef const floating *from_x = &x[0, 0, 0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    for task in prange(tasks, num_threads=threads_for(tasks, <double>tasks * size), schedule="static", nogil=True):
        memcpy(
            to_out + task * size, from_x + (task // rows * H + top + task % rows) * width + before,
            size * sizeof(floating))
