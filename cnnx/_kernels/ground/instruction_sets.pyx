"""The instruction set in use: the best that this machine has, or what CNNX_ISA asks for."""

import os


cdef extern from "instruction_sets.h" nogil:
    enum: MOST_INSTRUCTION_SETS
    int instruction_sets(instruction_set *found)


cdef instruction_set[MOST_INSTRUCTION_SETS] _available
cdef int _count = instruction_sets(_available)
cdef instruction_set *_in_use = &_available[_count - 1]


cdef const instruction_set *in_use() noexcept nogil:
    return _in_use


cdef const loops *loops_for(Py_ssize_t itemsize) noexcept nogil:
    return &_in_use.for_float if itemsize == sizeof(float) else &_in_use.for_double


def closed_place():
    """The place that means closed: the kernels' own, which Python's must equal."""
    return CLOSED


def available_instruction_sets():
    """Names of the instruction sets this machine can run, the slowest first."""
    return tuple(_available[i].name.decode() for i in range(_count))


def instruction_set_in_use():
    """Name of the instruction set in use."""
    return _in_use.name.decode()


def use_instruction_set(str name):
    """Switch to the named instruction set; not while a kernel runs in another thread."""
    global _in_use
    for i in range(_count):
        if _available[i].name.decode() == name:
            _in_use = &_available[i]
            return
    raise ValueError(f"instruction set: expected one of {available_instruction_sets()}, got {name!r}")


if os.environ.get("CNNX_ISA"):
    use_instruction_set(os.environ["CNNX_ISA"])
