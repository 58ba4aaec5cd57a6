"""Kernels that make each element from those at its place in one or two arrays, which may have any shape.

Arrays are taken as their memory, in a tenth of the time that a reshaped array and its memoryview take.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.parallel cimport prange

from cnnx._kernels.ground.parallel cimport threads_for


cdef struct elements:
    char *first
    Py_ssize_t count, itemsize
    char type


cdef elements elements_of(array, int flags) except *:
    """The memory of an array, which the caller keeps alive."""
    cdef Py_buffer buffer
    cdef elements e
    PyObject_GetBuffer(array, &buffer, flags | PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
    e.first, e.itemsize, e.type = <char *>buffer.buf, buffer.itemsize, buffer.format[0]
    e.count = buffer.len // buffer.itemsize
    PyBuffer_Release(&buffer)
    return e


cdef int for_each_run(
    str name, a, b, out, run_function for_float, run_function for_double, double p=0, double q=0,
    double operations=1, Py_ssize_t run=16384,
) except -1:
    """The function for the type of `out`, for runs of so many elements; `operations` are those of an element.

    `b` may be None, or of 16-bit integers.
    """
    cdef elements from_a = elements_of(a, 0), from_b, to_out = elements_of(out, PyBUF_WRITABLE)
    from_b = from_a if b is None else elements_of(b, 0)
    cdef Py_ssize_t count = to_out.count, task, tasks = (count + run - 1) // run, size = to_out.itemsize
    if to_out.type not in b"fd" or from_a.type != to_out.type or from_b.type not in (to_out.type, c"H"):
        raise ValueError(
            f"{name}: expected arrays of one type, float32 or float64, got {a.dtype}, "
            f"{b.dtype if b is not None else 'none'}, {out.dtype}")
    if from_a.count != count or from_b.count != count:
        raise ValueError(f"{name}: sizes do not fit: {from_a.count}, {from_b.count}, {count}")
    cdef run_function function = for_float if to_out.type == c"f" else for_double
    cdef const char *second = NULL if b is None else from_b.first
    cdef int threads = threads_for(tasks, operations * count)
    with nogil:
        if threads == 1:
            # Without the region of a single thread, which takes a microsecond.
            function(from_a.first, second, to_out.first, count, p, q)
        else:
            for task in prange(tasks, num_threads=threads, schedule="static"):
                function(
                    from_a.first + task * run * size, second + task * run * from_b.itemsize if second else NULL,
                    to_out.first + task * run * size, min(run, count - task * run), p, q)
    return 0
