"""Multi-class hinge loss."""

from cnnx._kernels.families.losses cimport example_function, for_each_example
from cnnx._kernels.ground.argmax cimport argmax
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.lanes cimport LANES, sum_of_lanes


cdef enum:
    OPERATIONS = 4


cdef inline floating violation(floating x, floating right, floating target) noexcept nogil:
    """How far a score is above the right one less the margin, 0 for the right class itself; NaN stays."""
    cdef floating margin = 1, none = 0  # numbers in the formula would be doubles
    cdef floating above = margin - right + x
    above = none if above <= none else above
    return none if target == margin else above


cdef inline floating slope(floating violated, bint squared) noexcept nogil:
    return 2 * violated if squared else violated > 0


cdef double loss_example(
    const floating *x, const floating *targets, floating *none, Py_ssize_t classes, Py_ssize_t batch, double squared,
) noexcept nogil:
    """The mean violation, or the mean of their squares."""
    cdef Py_ssize_t k = 0, l
    cdef floating right = x[argmax(targets, classes)]
    cdef double violated
    cdef double sums[LANES]
    for l in range(LANES):
        sums[l] = 0
    while k < classes:
        for l in range(min(<Py_ssize_t>LANES, classes - k)):
            violated = violation(x[k + l], right, targets[k + l])
            sums[l] += violated * violated if squared else violated
        k += LANES
    return sum_of_lanes(sums) / classes


cdef double gradient_example(
    const floating *x, const floating *targets, floating *out, Py_ssize_t classes, Py_ssize_t batch, double squared,
) noexcept nogil:
    """What pushes the other classes down pushes the right one up."""
    cdef Py_ssize_t k
    cdef double total = 0
    cdef floating right = x[argmax(targets, classes)], pushed, count = <floating>(batch * classes)
    for k in range(classes):
        out[k] = slope(violation(x[k], right, targets[k]), squared != 0)
    for k in range(classes):
        total += out[k]
    pushed = <floating>total
    for k in range(classes):
        out[k] = (out[k] - targets[k] * pushed) / count
    return 0


def hinge_forward(x, targets, bint squared, losses):
    for_each_example(
        "hinge_forward", x, targets, None, losses, <example_function>loss_example[float],
        <example_function>loss_example[double], OPERATIONS, squared)


def hinge_backward(x, targets, bint squared, out):
    for_each_example(
        "hinge_backward", x, targets, out, None, <example_function>gradient_example[float],
        <example_function>gradient_example[double], OPERATIONS, squared)
