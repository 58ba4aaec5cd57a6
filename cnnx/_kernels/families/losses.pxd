"""What losses share: the way over the examples of a batch, each a task."""

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport for_each_task, threads_for
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape

# One example, of `classes` scores and targets, of a batch of so many; `p` is a constant of the loss. It fills `out`,
# where there is one, with predictions or the gradient; what it returns is the loss, if that is asked for.
ctypedef double (*example_function)(
    const void *x, const void *targets, void *out, Py_ssize_t classes, Py_ssize_t batch, double p) noexcept nogil


cdef struct examples:
    example_function function
    const void *x
    const void *targets
    void *out               # or NULL
    void *losses            # or NULL
    Py_ssize_t classes, batch
    double p


cdef inline void take_example(const void *job, Py_ssize_t n, floating *unused) noexcept nogil:
    cdef const examples *e = <const examples *>job
    cdef Py_ssize_t start = n * e.classes
    cdef floating *out = <floating *>e.out
    cdef double loss = e.function(
        <const floating *>e.x + start, <const floating *>e.targets + start, out + start if out else NULL, e.classes,
        e.batch, e.p)
    if e.losses:
        (<floating *>e.losses)[n] = <floating>loss


cdef inline int for_each_example(
    str name, example_function function, const floating[:, ::1] x, const floating[:, ::1] targets,
    floating[:, ::1] out, floating[::1] losses, double p, double operations,
) except -1:
    """`out` or `losses` may be None; `operations` are those of a class."""
    cdef Py_ssize_t N = x.shape[0], K = x.shape[1]
    cdef examples e
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
    e.function, e.x, e.targets, e.classes, e.batch, e.p = function, &x[0, 0], &targets[0, 0], K, N, p
    e.out, e.losses = NULL if out is None else &out[0, 0], NULL if losses is None else &losses[0]
    with nogil:
        for_each_task(take_example[floating], &e, N, threads_for(N, operations * N * K), <floating *>NULL, 0)
    return 0
