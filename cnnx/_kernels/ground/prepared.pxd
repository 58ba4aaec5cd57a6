"""What kernels make of weights once, and keep: a dict that belongs to one array in memory that cannot be written.

An entry stays as long as that, and is made for one size of vectors.
"""

from libc.stdint cimport uintptr_t

from cnnx._kernels.ground.instruction_sets cimport in_use

cdef enum:
    CACHE_LINE = 64  # bytes


cdef inline void *from_cache_line(bytearray memory) noexcept:
    """Where its first whole cache line begins."""
    return <void *>((<uintptr_t><char *>memory + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)


cdef inline bytearray room_for(Py_ssize_t bytes):
    return bytearray(bytes + CACHE_LINE)


cdef inline void *find(dict prepared) except? NULL:
    memory = prepared.get(in_use().vector_bytes)
    return NULL if memory is None else from_cache_line(memory)


cdef inline void *keep(dict prepared, bytearray memory) except NULL:
    """Another thread may have been faster."""
    return from_cache_line(prepared.setdefault(in_use().vector_bytes, memory))
