"""What the losses of softmax and of sigmoid share: the way over the examples of a batch, each a task, and the gradient."""

from cython.parallel cimport prange

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape

# One example, from `b` too where there is one; what it returns is its loss.
ctypedef double (*example_function)(const void *a, const void *b, Py_ssize_t classes, void *out) noexcept nogil


cdef inline int check(str name, const Py_ssize_t *a, const Py_ssize_t *b, const Py_ssize_t *out) except -1:
    if not same_shape(a, out, 2) or not same_shape(b, out, 2) or out[1] < 1:
        raise ValueError(f"{name}: shapes do not fit: {as_tuple(a, 2)}, {as_tuple(b, 2)}, {as_tuple(out, 2)}")
    return 0


cdef inline int for_each_example(
    str name, example_function example, const floating[:, ::1] a, const floating[:, ::1] b, floating[:, ::1] out,
    floating *losses, double operations,
) except -1:
    """`losses` may be NULL; `operations` are those of an element."""
    check(name, a.shape, b.shape, out.shape)
    cdef Py_ssize_t n, N = out.shape[0], K = out.shape[1]
    if N == 0:
        return 0
    cdef const floating *from_a = &a[0, 0]
    cdef const floating *from_b = &b[0, 0]
    cdef floating *to_out = &out[0, 0]
    cdef int threads = threads_for(N, operations * N * K)
    with nogil:
        if threads == 1:
            # Without the region of a single thread, which takes longer than an example.
            for n in range(N):
                take_example(example, from_a, from_b, n, K, to_out, losses)
        else:
            for n in prange(N, num_threads=threads, schedule="static"):
                take_example(example, from_a, from_b, n, K, to_out, losses)
    return 0


cdef inline void take_example(
    example_function example, const floating *a, const floating *b, Py_ssize_t n, Py_ssize_t classes, floating *out,
    floating *losses,
) noexcept nogil:
    cdef double loss = example(a + n * classes, b + n * classes, classes, out + n * classes)
    if losses:
        losses[n] = <floating>loss


cdef inline int cross_entropy_forward(
    str name, example_function example, const floating[:, ::1] x, const floating[:, ::1] targets,
    floating[:, ::1] out, floating[::1] losses, double operations,
) except -1:
    if losses.shape[0] != x.shape[0]:
        raise ValueError(f"{name}: shapes do not fit: {as_tuple(x.shape, 2)}, losses {losses.shape[0]}")
    return for_each_example(name, example, x, targets, out, &losses[0] if losses.shape[0] else NULL, operations)


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
