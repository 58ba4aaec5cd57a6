"""Convolution whose channels and filters are cut into equal groups: forward, input gradient, weight gradient.

Group after group, its channels and its filters are copied side by side, and what convolution.pyx makes of them is
copied to where it belongs.
"""

from cnnx._kernels.families.convolution cimport backward_geometry, check, convolve, forward_geometry, input_gradient
from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, threads_for
from cnnx._kernels.ground.program cimport job_function, perform
from cnnx._kernels.ground.shapes cimport as_tuple
from cnnx._kernels.products.tiles cimport aligned, call, geometry, unpooled
from cnnx._kernels.products.weight_gradient cimport weight_gradient

cdef enum:
    COPY_TASKS = 16  # into which a copy is cut


cdef struct part:
    # The shapes of one group's arrays.
    Py_ssize_t x[4]
    Py_ssize_t W[4]
    Py_ssize_t out[4]


cdef part part_of(
    const char *name, const Py_ssize_t *x, const Py_ssize_t *W, Py_ssize_t biases, const Py_ssize_t *out,
    Py_ssize_t groups,
) except *:
    """Shapes of all groups that fit together; `convolution.check` does the rest."""
    cdef part p
    cdef int i
    if groups < 1 or W[3] % groups or x[3] != W[2] * groups or W[3] != out[3] or biases != W[3]:
        raise ValueError(
            f"{name.decode()}: shapes do not fit: images {as_tuple(x, 4)}, weights {as_tuple(W, 4)}, {biases} biases, "
            f"outputs {as_tuple(out, 4)}, groups {groups}")
    for i in range(4):
        p.x[i], p.W[i], p.out[i] = x[i], W[i], out[i]
    p.x[3], p.W[3], p.out[3] = W[2], W[3] // groups, W[3] // groups
    return p


cdef Py_ssize_t size_of(const Py_ssize_t *shape) noexcept nogil:
    return shape[0] * shape[1] * shape[2] * shape[3]


cdef struct rows:
    # Rows of `size` elements, `source_row` apart, that go to where they are `target_row` apart.
    const void *source
    void *target
    Py_ssize_t count, size, source_row, target_row


cdef void copy_some(const void *job, Py_ssize_t task, floating *memory) noexcept nogil:
    cdef const rows *r = <const rows *>job
    cdef const floating *source = <const floating *>r.source
    cdef floating *target = <floating *>r.target
    cdef Py_ssize_t row, k
    for row in range(r.count * task // COPY_TASKS, r.count * (task + 1) // COPY_TASKS):
        for k in range(r.size):
            target[row * r.target_row + k] = source[row * r.source_row + k]


cdef void copy(rows r, floating *memory) noexcept nogil:
    """`memory` only carries the type."""
    for_each_task(copy_some[floating], &r, COPY_TASKS, threads_for(COPY_TASKS, r.count * r.size), memory, 0)


cdef void take_part(
    const floating *columns, const Py_ssize_t *shape, Py_ssize_t groups, Py_ssize_t group, floating *part,
) noexcept nogil:
    """A group's part of the last axis, whose shape this is."""
    cdef Py_ssize_t size = shape[3], count = size_of(shape) // size
    copy(rows(columns + group * size, part, count, size, size * groups, size), part)


cdef void put_part(
    const floating *part, const Py_ssize_t *shape, Py_ssize_t groups, Py_ssize_t group, floating *columns,
) noexcept nogil:
    """The reverse."""
    cdef Py_ssize_t size = shape[3], count = size_of(shape) // size
    copy(rows(part, columns + group * size, count, size, size, size * groups), columns)


cdef struct room:
    # Working memory for the arrays of a group.
    void *x
    void *W
    void *out


cdef Py_ssize_t room_size(const part *p) noexcept nogil:
    return aligned(size_of(p.x)) + aligned(size_of(p.W)) + size_of(p.out)


cdef room cut_room(const part *p, floating *memory) noexcept nogil:
    cdef floating *W = memory + aligned(size_of(p.x))
    return room(memory, W, W + aligned(size_of(p.W)))


cdef room make_room(const part *p, floating kind) except *:
    """To be released is `x`; `kind` only carries the type."""
    return cut_room(p, <floating *>allocate(room_size(p) * <Py_ssize_t>sizeof(floating)))


cdef struct forward_job:
    geometry g      # of one group
    part p
    Py_ssize_t groups
    const void *x
    const void *W
    const void *b
    bint relu
    void *out


cdef int do_forward(const void *job, const floating *unused) except -1 nogil:
    cdef const forward_job *j = <const forward_job *>job
    cdef floating *memory = <floating *>allocate(room_size(&j.p) * <Py_ssize_t>sizeof(floating))
    cdef room r = cut_room(&j.p, memory)
    cdef Py_ssize_t group
    try:
        for group in range(j.groups):
            take_part(<const floating *>j.x, j.p.x, j.groups, group, <floating *>r.x)
            take_part(<const floating *>j.W, j.p.W, j.groups, group, <floating *>r.W)
            convolve(
                &j.g, <const floating *>r.x, <const floating *>r.W, <const floating *>NULL,
                <const floating *>j.b + group * j.p.W[3], j.relu, <floating *>r.out, NULL)
            put_part(<const floating *>r.out, j.p.out, j.groups, group, <floating *>j.out)
    finally:
        release(memory)
    return 0


@by_dtype
def grouped_convolution_forward(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] W, const floating[::1] b, tuple window,
    Py_ssize_t groups, bint relu, floating[:, :, :, ::1] out,
):
    cdef part p = part_of("grouped_convolution_forward", x.shape, W.shape, b.shape[0], out.shape, groups)
    cdef call c = unpooled("grouped_convolution_forward", p.x, p.W, p.out, window)
    check(&c, p.W[3], NULL)
    if x.shape[0] == 0:
        return
    cdef forward_job j
    cdef const void **arrays[4]
    j.g, j.p, j.groups, j.relu = forward_geometry(&c), p, groups, relu
    j.x, j.W, j.b, j.out = &x[0, 0, 0, 0], &W[0, 0, 0, 0], &b[0], &out[0, 0, 0, 0]
    arrays[0], arrays[1], arrays[2], arrays[3] = &j.x, &j.W, &j.b, <const void **>&j.out
    perform(<job_function>do_forward[floating], &j, sizeof(forward_job), arrays, 4, None)


@by_dtype
def grouped_convolution_input_gradient(
    const floating[:, :, :, ::1] grad, const floating[:, :, :, ::1] W, tuple window, Py_ssize_t groups,
    floating[:, :, :, ::1] out,
):
    cdef part p = part_of("grouped_convolution_input_gradient", out.shape, W.shape, W.shape[3], grad.shape, groups)
    cdef call c = unpooled("grouped_convolution_input_gradient", p.x, p.W, p.out, window)
    check(&c, p.W[3], NULL)
    if grad.shape[0] == 0:
        return
    cdef geometry g = backward_geometry(&c)
    cdef room r = make_room[floating](&p, 0)
    cdef Py_ssize_t group
    try:
        with nogil:
            for group in range(groups):
                take_part(&grad[0, 0, 0, 0], p.out, groups, group, <floating *>r.out)
                take_part(&W[0, 0, 0, 0], p.W, groups, group, <floating *>r.W)
                input_gradient(&g, <const floating *>r.out, <const floating *>r.W, <floating *>r.x)
                put_part(<const floating *>r.x, p.x, groups, group, &out[0, 0, 0, 0])
    finally:
        release(r.x)


@by_dtype
def grouped_convolution_weight_gradient(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] grad, tuple window, Py_ssize_t groups,
    floating[:, :, :, ::1] W_grad, floating[::1] b_grad,
):
    cdef part p = part_of(
        "grouped_convolution_weight_gradient", x.shape, W_grad.shape, b_grad.shape[0], grad.shape, groups)
    cdef call c = unpooled("grouped_convolution_weight_gradient", p.x, p.W, p.out, window)
    check(&c, p.W[3], NULL)
    if x.shape[0] == 0:
        W_grad[...] = 0
        b_grad[...] = 0
        return
    cdef geometry g = forward_geometry(&c)
    cdef room r = make_room[floating](&p, 0)
    cdef Py_ssize_t group
    try:
        with nogil:
            for group in range(groups):
                take_part(&x[0, 0, 0, 0], p.x, groups, group, <floating *>r.x)
                take_part(&grad[0, 0, 0, 0], p.out, groups, group, <floating *>r.out)
                weight_gradient(
                    &g, c.size, <const floating *>r.x, <const floating *>r.out, NULL, <floating *>r.W,
                    &b_grad[group * p.W[3]])
                put_part(<const floating *>r.W, p.W, groups, group, &W_grad[0, 0, 0, 0])
    finally:
        release(r.x)
