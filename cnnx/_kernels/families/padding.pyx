"""Padding and cropping of images. A task is a row of the output."""

from libc.string cimport memcpy, memset

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport for_each_task, threads_for
from cnnx._kernels.ground.program cimport job_function, perform
from cnnx._kernels.ground.shapes cimport as_tuple


cdef struct margins:
    const void *x
    void *out
    Py_ssize_t top, height, rows    # of the large images the row where the small ones begin, of both the rows
    Py_ssize_t before, size, width  # elements of a large row before a small one, of a small and of a large one
    Py_ssize_t tasks


cdef margins measure(
    str name, const Py_ssize_t *small, const Py_ssize_t *large, Py_ssize_t top, Py_ssize_t left,
    const Py_ssize_t *x, const Py_ssize_t *out,
) except *:
    """The small images lie within the large ones, from row `top` and column `left` on."""
    cdef margins m
    if (
        small[0] != large[0] or small[3] != large[3]
        or not 0 <= top <= large[1] - small[1] or not 0 <= left <= large[2] - small[2]
    ):
        raise ValueError(
            f"{name}: shapes do not fit: {as_tuple(x, 4)}, {as_tuple(out, 4)} from row {top}, column {left} on")
    m.top, m.height, m.rows = top, small[1], large[1]
    m.before, m.size, m.width = left * small[3], small[2] * small[3], large[2] * large[3]
    return m


cdef void pad_row(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    cdef const margins *m = <const margins *>job
    cdef floating *out = <floating *>m.out + task * m.width
    cdef Py_ssize_t h = task % m.rows - m.top, after = m.before + m.size
    if not 0 <= h < m.height or m.size == 0:
        memset(out, 0, m.width * sizeof(floating))
        return
    memset(out, 0, m.before * sizeof(floating))
    memcpy(
        out + m.before, <const floating *>m.x + (task // m.rows * m.height + h) * m.size, m.size * sizeof(floating))
    memset(out + after, 0, (m.width - after) * sizeof(floating))


cdef void crop_row(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    cdef const margins *m = <const margins *>job
    cdef Py_ssize_t row = task // m.height * m.rows + m.top + task % m.height
    memcpy(
        <floating *>m.out + task * m.size, <const floating *>m.x + row * m.width + m.before, m.size * sizeof(floating))


cdef int do_padding(const void *job, const floating *unused) except -1 nogil:
    cdef const margins *m = <const margins *>job
    for_each_task(
        pad_row[floating], m, m.tasks, threads_for(m.tasks, <double>m.tasks * m.width), <floating *>NULL, 0)
    return 0


cdef int do_cropping(const void *job, const floating *unused) except -1 nogil:
    cdef const margins *m = <const margins *>job
    for_each_task(
        crop_row[floating], m, m.tasks, threads_for(m.tasks, <double>m.tasks * m.size), <floating *>NULL, 0)
    return 0


cdef int perform_on_rows(job_function run, margins *m) except -1:
    cdef const void **arrays[2]
    arrays[0], arrays[1] = &m.x, <const void **>&m.out
    return perform(run, m, sizeof(margins), arrays, 2, None)


@by_dtype
def pad_images(const floating[:, :, :, ::1] x, Py_ssize_t top, Py_ssize_t left, floating[:, :, :, ::1] out):
    cdef margins m = measure("pad_images", x.shape, out.shape, top, left, x.shape, out.shape)
    cdef Py_ssize_t tasks = out.shape[0] * m.rows
    if tasks * m.width == 0:
        return
    m.x, m.out, m.tasks = &x[0, 0, 0, 0] if tasks * m.size * m.height else NULL, &out[0, 0, 0, 0], tasks
    perform_on_rows(<job_function>do_padding[floating], &m)


@by_dtype
def crop_images(const floating[:, :, :, ::1] x, Py_ssize_t top, Py_ssize_t left, floating[:, :, :, ::1] out):
    cdef margins m = measure("crop_images", out.shape, x.shape, top, left, x.shape, out.shape)
    cdef Py_ssize_t tasks = out.shape[0] * m.height
    if tasks * m.size == 0:
        return
    m.x, m.out, m.tasks = &x[0, 0, 0, 0], &out[0, 0, 0, 0], tasks
    perform_on_rows(<job_function>do_cropping[floating], &m)
