"""What the losses of softmax and of sigmoid share: the way over the examples of a batch, and the gradient."""

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport for_each_task, threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape

# One example, from `b` too where there is one; what it returns is its loss.
ctypedef double (*example_function)(const void *a, const void *b, Py_ssize_t classes, void *out) noexcept nogil


cdef inline int check(str name, const Py_ssize_t *a, const Py_ssize_t *b, const Py_ssize_t *out) except -1:
    if not same_shape(a, out, 2) or not same_shape(b, out, 2) or out[1] < 1:
        raise ValueError(f"{name}: shapes do not fit: {as_tuple(a, 2)}, {as_tuple(b, 2)}, {as_tuple(out, 2)}")
    return 0


cdef enum:
    SHARE = 1024    # elements of a task, at least, or one example


cdef struct examples:
    example_function function
    const void *a
    const void *b
    void *out
    void *losses            # or NULL
    Py_ssize_t count, classes, share    # examples, their elements, and examples of a task


cdef inline void take_examples(const void *job, Py_ssize_t task, floating *unused) noexcept nogil:
    cdef const examples *e = <const examples *>job
    cdef Py_ssize_t n, K = e.classes
    cdef double loss
    for n in range(task * e.share, min(e.count, (task + 1) * e.share)):
        loss = e.function(
            <const floating *>e.a + n * K, <const floating *>e.b + n * K, K, <floating *>e.out + n * K)
        if e.losses:
            (<floating *>e.losses)[n] = <floating>loss


cdef inline int for_each_example(
    str name, example_function function, const floating[:, ::1] a, const floating[:, ::1] b, floating[:, ::1] out,
    floating *losses, double operations,
) except -1:
    """`losses` may be NULL; `operations` are those of an element."""
    check(name, a.shape, b.shape, out.shape)
    cdef examples e
    if out.shape[0] == 0:
        return 0
    e.function, e.a, e.b, e.out, e.losses = function, &a[0, 0], &b[0, 0], &out[0, 0], losses
    e.count, e.classes, e.share = out.shape[0], out.shape[1], (SHARE + out.shape[1] - 1) // out.shape[1]
    cdef Py_ssize_t tasks = (e.count + e.share - 1) // e.share
    with nogil:
        for_each_task(
            take_examples[floating], &e, tasks, threads_for(tasks, operations * e.count * e.classes),
            <floating *>NULL, 0)
    return 0


cdef inline int cross_entropy_forward(
    str name, example_function function, const floating[:, ::1] x, const floating[:, ::1] targets,
    floating[:, ::1] out, floating[::1] losses, double operations,
) except -1:
    if losses.shape[0] != x.shape[0]:
        raise ValueError(f"{name}: shapes do not fit: {as_tuple(x.shape, 2)}, losses {losses.shape[0]}")
    return for_each_example(name, function, x, targets, out, &losses[0] if losses.shape[0] else NULL, operations)


cdef inline int cross_entropy_backward(
    str name, const floating[:, ::1] y, const floating[:, ::1] targets, floating[:, ::1] out, Py_ssize_t count,
) except -1:
    """The gradient of the mean over so many losses: to the scores before softmax or sigmoid, a difference."""
    check(name, y.shape, targets.shape, out.shape)
    cdef Py_ssize_t i, size = out.shape[0] * out.shape[1]
    cdef floating scale = 1 / <floating>max(count, 1)
    if size == 0:
        return 0
    cdef const floating *from_y = &y[0, 0]
    cdef const floating *from_targets = &targets[0, 0]
    cdef floating *to_out = &out[0, 0]
    with nogil:
        for i in range(size):
            to_out[i] = (from_y[i] - from_targets[i]) * scale
    return 0
