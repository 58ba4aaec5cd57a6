"""Kernels that make each element from those at its place in other arrays, which may have any shape.

Arrays are taken as their memory, in a tenth of the time that a reshaped array and its memoryview take.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer

from cnnx._kernels.ground.parallel cimport for_each_task, threads_for
from cnnx._kernels.ground.program cimport job_function, perform


cdef elements elements_of(array, int flags) except *:
    """The memory of an array, which the caller keeps alive."""
    cdef Py_buffer buffer
    cdef elements e
    PyObject_GetBuffer(array, &buffer, flags | PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
    e.first, e.itemsize, e.type = <char *>buffer.buf, buffer.itemsize, buffer.format[0]
    e.count, e.last = buffer.len // buffer.itemsize, buffer.shape[buffer.ndim - 1] if buffer.ndim else 1
    PyBuffer_Release(&buffer)
    return e


cdef int take_elements(str name, tuple inputs, tuple outputs, elements *found, char second_type=0) except -1:
    """Inputs and then outputs, all of one size and floating type, but for a second of a type of its own."""
    cdef Py_ssize_t i, arrays = len(inputs) + len(outputs)
    for i in range(arrays):
        found[i] = elements_of(
            inputs[i] if i < len(inputs) else outputs[i - len(inputs)], 0 if i < len(inputs) else PyBUF_WRITABLE)
    for i in range(arrays):
        if found[0].type not in (c"f", c"d") or found[i].type != (
            second_type if second_type and i == 1 else found[0].type
        ):
            raise wrong_types(name, inputs + outputs)
        if found[i].count != found[0].count:
            raise ValueError(f"{name}: sizes do not fit: {', '.join([str(array.size) for array in inputs + outputs])}")
    return 0


cdef wrong_types(str name, tuple arrays):
    return ValueError(
        f"{name}: expected arrays of one type, float32 or float64, got "
        f"{', '.join([str(array.dtype) for array in arrays])}")


cdef int take_channels(
    str name, tuple inputs, tuple outputs, elements *found, tuple numbers, tuple filled, elements *of_channels,
) except -1:
    """Arrays whose last axis is channels, and numbers for each of these, which are read or filled; all of one type."""
    cdef Py_ssize_t i
    take_elements(name, inputs, outputs, found)
    take_elements(name, numbers, filled, of_channels)
    if found[0].type != of_channels[0].type:
        raise wrong_types(name, inputs + outputs + numbers + filled)
    for i in range(len(inputs) + len(outputs)):
        if found[i].last != of_channels[0].count or found[i].last < 1:
            raise ValueError(
                f"{name}: shapes do not fit: {', '.join([str(array.shape) for array in inputs + outputs])}, "
                f"channels {of_channels[0].count}")
    return 0


cdef struct runs:
    run_function function
    elements a, b, out
    Py_ssize_t run
    double p, q
    double operations   # of an element


cdef void take_run(const void *job, Py_ssize_t task, float *unused) noexcept nogil:
    cdef const runs *r = <const runs *>job
    cdef Py_ssize_t start = task * r.run
    r.function(
        at(r.a, start), at(r.b, start), at(r.out, start), min(r.run, r.out.count - start), r.p, r.q)


cdef int do_runs(const void *job, const void *unused) except -1 nogil:
    cdef const runs *r = <const runs *>job
    cdef Py_ssize_t tasks = (r.out.count + r.run - 1) // r.run
    for_each_task[float](take_run, r, tasks, threads_for(tasks, r.operations * r.out.count), NULL, 0)
    return 0


cdef int for_each_run(
    str name, a, b, out, run_function for_float, run_function for_double, double p=0, double q=0,
    double operations=1, Py_ssize_t run=RUN, char b_type=0,
) except -1:
    """The function for the type of the arrays, for runs of so many elements; `operations` are those of an element.

    `b` may be None, or of a type of its own.
    """
    cdef elements[3] e
    cdef runs r
    cdef const void **arrays[3]
    take_elements(name, (a,) if b is None else (a, b), (out,), e, b_type)
    r.a, r.b, r.out = e[0], e[1], e[1] if b is None else e[2]
    if b is None:
        r.b.first, r.b.itemsize = NULL, 0
    r.function, r.run, r.p, r.q = for_float if e[0].type == c"f" else for_double, run, p, q
    r.operations = operations
    arrays[0], arrays[1], arrays[2] = (
        <const void **>&r.a.first, <const void **>&r.b.first, <const void **>&r.out.first)
    return perform(<job_function>do_runs, &r, sizeof(runs), arrays, 3, (a, b))
