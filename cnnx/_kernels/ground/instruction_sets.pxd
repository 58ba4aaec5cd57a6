from libc.stdint cimport uint8_t

from cnnx._kernels.ground.loops cimport instruction_set, loops

cdef extern from "loops.h" nogil:
    enum: MOST_VECTORS, CLOSED
    uint8_t *place_at(uint8_t *places, Py_ssize_t offset)


cdef const instruction_set *in_use() noexcept nogil
cdef const loops *loops_for(Py_ssize_t itemsize) noexcept nogil
