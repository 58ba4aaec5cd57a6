"""What losses share: the way over the examples of a batch, each a task."""

from cython.parallel cimport prange

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape

# One example, of `classes` scores and targets, of a batch of so many; `p` is a constant of the loss. It fills `out`,
# where there is one, with predictions or the gradient; what it returns is the loss, if that is asked for.
ctypedef double (*example_function)(
    const void *x, const void *targets, void *out, Py_ssize_t classes, Py_ssize_t batch, double p) noexcept nogil


cdef inline void take_example(
    example_function example, const floating *x, const floating *targets, floating *out, floating *losses,
    Py_ssize_t n, Py_ssize_t classes, Py_ssize_t batch, double p,
) noexcept nogil:
    cdef double loss = example(
        x + n * classes, targets + n * classes, out + n * classes if out else NULL, classes, batch, p)
    if losses:
        losses[n] = <floating>loss


cdef inline int for_each_example(
    str name, example_function example, const floating[:, ::1] x, const floating[:, ::1] targets,
    floating[:, ::1] out, floating[::1] losses, double p, double operations,
) except -1:
    """`out` or `losses` may be None; `operations` are those of a class."""
    cdef Py_ssize_t n, N = x.shape[0], K = x.shape[1]
    if (
        not same_shape(targets.shape, x.shape, 2) or K < 1 or out is not None and not same_shape(out.shape, x.shape, 2)
        or losses is not None and losses.shape[0] != N
    ):
        filled = [as_tuple(out.shape, 2)] if out is not None else []
        filled += [as_tuple(losses.shape, 1)] if losses is not None else []
        raise ValueError(
            f"{name}: shapes do not fit: {as_tuple(x.shape, 2)}, {as_tuple(targets.shape, 2)}, "
            f"{', '.join([str(shape) for shape in filled])}")
    if N == 0:
        return 0
    cdef const floating *from_x = &x[0, 0]
    cdef const floating *from_targets = &targets[0, 0]
    cdef floating *to_out = NULL if out is None else &out[0, 0]
    cdef floating *to_losses = NULL if losses is None else &losses[0]
    cdef int threads = threads_for(N, operations * N * K)
    with nogil:
        if threads == 1:
            # Without the region of a single thread, which takes longer than an example.
            for n in range(N):
                take_example(example, from_x, from_targets, to_out, to_losses, n, K, N, p)
        else:
            for n in prange(N, num_threads=threads, schedule="static"):
                take_example(example, from_x, from_targets, to_out, to_losses, n, K, N, p)
    return 0
