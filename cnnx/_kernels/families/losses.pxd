"""What losses share: the way over the examples of a batch, and the gradient of cross-entropies."""

from libc.string cimport memset

from cnnx._kernels.ground.elementwise cimport at, elements, for_each_run, run_function, take_elements, wrong_types
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.parallel cimport for_each_task, threads_for
from cnnx._kernels.ground.program cimport job_function, perform

cdef enum:
    SHARE = 1024    # elements of a task, at least, or one example

# One example, of `classes` scores and targets, of a batch of so many; `p` is a constant of the loss. It fills `out`,
# where there is one, with predictions or the gradient; what it returns is the loss, if that is asked for.
ctypedef double (*example_function)(
    const void *x, const void *targets, void *out, Py_ssize_t classes, Py_ssize_t batch, double p) noexcept nogil


cdef struct examples:
    example_function function
    elements x, targets, out, losses    # the last two may have no memory
    Py_ssize_t classes, batch, share    # elements of an example, examples, and those of a task
    double p, operations                # of a class


cdef inline void take_examples(const void *job, Py_ssize_t task, float *unused) noexcept nogil:
    cdef const examples *e = <const examples *>job
    cdef Py_ssize_t n, start
    cdef double loss
    for n in range(task * e.share, min(e.batch, (task + 1) * e.share)):
        start = n * e.classes
        loss = e.function(at(e.x, start), at(e.targets, start), at(e.out, start), e.classes, e.batch, e.p)
        if e.losses.type == c"f":
            (<float *>e.losses.first)[n] = <float>loss
        elif e.losses.type == c"d":
            (<double *>e.losses.first)[n] = loss


cdef inline elements take_output(str name, x, const elements *like, out) except *:
    """The memory of an output of the type of `x`, or none."""
    cdef elements e
    memset(&e, 0, sizeof(elements))
    if out is not None:
        take_elements(name, (), (out,), &e)
        if e.type != like.type:
            raise wrong_types(name, (x, out))
    return e


cdef inline int do_examples(const void *job, const void *unused) except -1 nogil:
    cdef const examples *e = <const examples *>job
    cdef Py_ssize_t tasks = (e.batch + e.share - 1) // e.share
    for_each_task[float](take_examples, e, tasks, threads_for(tasks, e.operations * e.x.count), NULL, 0)
    return 0


cdef inline int for_each_example(
    str name, x, targets, out, losses, example_function for_float, example_function for_double, double operations,
    double p=0,
) except -1:
    """`out` or `losses` may be None; `operations` are those of a class."""
    cdef elements[2] inputs
    cdef examples e
    cdef const void **arrays[4]
    take_elements(name, (x, targets), (), inputs)
    e.x, e.targets, e.classes, e.p, e.operations = inputs[0], inputs[1], inputs[0].last, p, operations
    e.out, e.losses = take_output(name, x, &e.x, out), take_output(name, x, &e.x, losses)
    e.function = for_float if e.x.type == c"f" else for_double
    if (
        e.classes < 1 or e.targets.last != e.classes
        or out is not None and (e.out.count != e.x.count or e.out.last != e.classes)
        or losses is not None and e.losses.count * e.classes != e.x.count
    ):
        raise ValueError(
            f"{name}: shapes do not fit: "
            f"{', '.join([str(array.shape) for array in (x, targets, out, losses) if array is not None])}")
    e.batch, e.share = e.x.count // e.classes, (SHARE + e.classes - 1) // e.classes
    arrays[0], arrays[1] = <const void **>&e.x.first, <const void **>&e.targets.first
    arrays[2], arrays[3] = <const void **>&e.out.first, <const void **>&e.losses.first
    return perform(<job_function>do_examples, &e, sizeof(examples), arrays, 4, (x, targets))


cdef inline void difference_run(
    const floating *y, const floating *targets, floating *out, Py_ssize_t count, double losses, double unused,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating scale = 1 / <floating>losses
    for i in range(count):
        out[i] = (y[i] - targets[i]) * scale


cdef inline int cross_entropy_backward(str name, y, targets, out, Py_ssize_t losses) except -1:
    """The gradient of the mean over so many losses: to the scores before softmax or sigmoid, a difference."""
    return for_each_run(
        name, y, targets, out, <run_function>difference_run[float], <run_function>difference_run[double], losses)
