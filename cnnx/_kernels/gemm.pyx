"""Blocked inner products for the other kernels, on the instruction set in use.

The right operand of a product is cut into panels one or two vectors wide (gemm.h); `multiply` cuts the
rows of the left operand into blocks that differ by at most one row, so that no block is a small rest.
"""

import os

from cnnx._kernels.floating cimport floating


cdef extern from "instruction_sets.h" nogil:
    ctypedef void (*block_function)(
        Py_ssize_t rows, const product *p, const void *a, const void *b, void *c) noexcept nogil

    ctypedef struct instruction_set:
        const char *name
        block_function block_float, block_double
        Py_ssize_t vector_bytes, tall_rows, wide_rows

    enum: MOST_INSTRUCTION_SETS
    int instruction_sets(instruction_set *found)


cdef instruction_set[MOST_INSTRUCTION_SETS] _available
cdef int _count = instruction_sets(_available)
cdef instruction_set *_active = &_available[_count - 1]


def available_instruction_sets():
    """Names of the instruction sets this machine can run, the slowest first."""
    return tuple(_available[i].name.decode() for i in range(_count))


def instruction_set_in_use():
    """Name of the instruction set in use."""
    return _active.name.decode()


def use_instruction_set(str name):
    """Switch to the named instruction set; not while a kernel runs in another thread."""
    global _active
    for i in range(_count):
        if _available[i].name.decode() == name:
            _active = &_available[i]
            return
    raise ValueError(f"instruction set: expected one of {available_instruction_sets()}, got {name!r}")


cdef panels cut_panels(Py_ssize_t depth, Py_ssize_t columns, floating kind) noexcept nogil:
    # `kind` only carries the type.
    cdef panels cut
    cut.depth = depth
    cut.columns = columns
    cut.lanes = _active.vector_bytes // <Py_ssize_t>sizeof(floating)
    cut.count = (columns + 2 * cut.lanes - 1) // (2 * cut.lanes)
    cut.size = panel_offset(cut, cut.count - 1) + depth * panel_width(cut, cut.count - 1)
    return cut


cdef Py_ssize_t panel_columns(panels cut, Py_ssize_t panel) noexcept nogil:
    return min(2 * cut.lanes, cut.columns - panel * 2 * cut.lanes)


cdef Py_ssize_t panel_width(panels cut, Py_ssize_t panel) noexcept nogil:
    return 2 * cut.lanes if panel_columns(cut, panel) > cut.lanes else cut.lanes


cdef Py_ssize_t panel_offset(panels cut, Py_ssize_t panel) noexcept nogil:
    return panel * 2 * cut.lanes * cut.depth


cdef void pack_panel(
    const floating *matrix, Py_ssize_t row_stride, Py_ssize_t column_stride,
    panels cut, Py_ssize_t panel, floating *packed,
) noexcept nogil:
    """Copy one panel so that its rows follow each other, filled up with zeros to whole vectors."""
    cdef Py_ssize_t columns = panel_columns(cut, panel), width = panel_width(cut, panel)
    cdef Py_ssize_t k, j
    cdef const floating *row = matrix + panel * 2 * cut.lanes * column_stride
    for k in range(cut.depth):
        if column_stride == 1:
            for j in range(columns):
                packed[j] = row[j]
        else:
            for j in range(columns):
                packed[j] = row[j * column_stride]
        for j in range(columns, width):
            packed[j] = 0
        row += row_stride
        packed += width


cdef void multiply(
    product p, Py_ssize_t rows, Py_ssize_t a_step, const floating *a, const floating *b, floating *c,
) noexcept nogil:
    """One panel of columns for `rows` rows of the left operand, `a_step` elements apart."""
    cdef Py_ssize_t lanes = _active.vector_bytes // <Py_ssize_t>sizeof(floating)
    cdef Py_ssize_t most = _active.wide_rows if p.columns > lanes else _active.tall_rows
    cdef Py_ssize_t blocks = (rows + most - 1) // most
    cdef Py_ssize_t block, start, stop = 0
    p.a_row = a_step
    for block in range(blocks):
        start = stop
        stop = rows * (block + 1) // blocks
        if floating is float:
            _active.block_float(stop - start, &p, a + start * a_step, b, c + start * p.c_row)
        else:
            _active.block_double(stop - start, &p, a + start * a_step, b, c + start * p.c_row)


def _from_environment():
    name = os.environ.get("CNNX_ISA")
    if name:
        use_instruction_set(name)


_from_environment()
