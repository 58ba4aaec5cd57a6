"""Blocked inner products for the other kernels.

The right operand of a product is cut into panels one or two vectors wide (gemm.h); `multiply` cuts the
rows of the left operand into blocks that differ by at most one row, so that no block is a small rest.
"""

from libc.string cimport memcpy, memset

from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.instruction_sets cimport in_use, loops_for
from cnnx._kernels.ground.loops cimport loops as loops_table, product
from cnnx._kernels.products.tiles cimport aligned


cdef enum:
    MOST_ROWS = 12  # of a block
    PIECE = 16      # bytes, which every vector is a multiple of


cdef panels cut_panels(Py_ssize_t depth, Py_ssize_t columns, floating kind) noexcept nogil:
    # `kind` only carries the type.
    cdef panels cut
    cut.depth = depth
    cut.columns = columns
    cut.lanes = in_use().vector_bytes // <Py_ssize_t>sizeof(floating)
    cut.count = (columns + 2 * cut.lanes - 1) // (2 * cut.lanes)
    cut.size = panel_offset(cut, cut.count - 1) + depth * panel_width(cut, cut.count - 1)
    return cut


cdef Py_ssize_t panel_columns(panels cut, Py_ssize_t panel) noexcept nogil:
    return min(2 * cut.lanes, cut.columns - panel * 2 * cut.lanes)


cdef Py_ssize_t panel_width(panels cut, Py_ssize_t panel) noexcept nogil:
    return 2 * cut.lanes if panel_columns(cut, panel) > cut.lanes else cut.lanes


cdef Py_ssize_t padded_columns(panels cut) noexcept nogil:
    return (cut.count - 1) * 2 * cut.lanes + panel_width(cut, cut.count - 1)


cdef Py_ssize_t panel_offset(panels cut, Py_ssize_t panel) noexcept nogil:
    return panel * 2 * cut.lanes * cut.depth


cdef Py_ssize_t bias_room(panels cut) noexcept nogil:
    """Elements of a widened bias, to whole cache lines."""
    return aligned(cut.count * 2 * cut.lanes)


cdef void widen_bias(panels cut, const floating *bias, floating *wide) noexcept nogil:
    """Filled up with zeros to whole vectors; no bias is zeros."""
    memset(wide, 0, cut.count * 2 * cut.lanes * sizeof(floating))
    if bias != NULL:
        memcpy(wide, bias, cut.columns * sizeof(floating))


cdef inline void copy_vectors(const void *x, Py_ssize_t bytes, void *out) noexcept nogil:
    """In pieces of a size that the compiler knows: it moves vectors, where for a row it would call a function."""
    cdef Py_ssize_t piece
    for piece in range(bytes // PIECE):
        memcpy(<char *>out + piece * PIECE, <const char *>x + piece * PIECE, PIECE)


cdef void pack_panel(
    const floating *matrix, Py_ssize_t row_stride, Py_ssize_t column_stride,
    panels cut, Py_ssize_t panel, floating *packed,
) noexcept nogil:
    """Copy one panel so that its rows follow each other, filled up with zeros to whole vectors."""
    cdef Py_ssize_t columns = panel_columns(cut, panel), width = panel_width(cut, panel)
    cdef Py_ssize_t k, j
    cdef const floating *first = matrix + panel * 2 * cut.lanes * column_stride
    if column_stride == 1 and columns == width:
        for k in range(cut.depth):
            copy_vectors(first + k * row_stride, width * <Py_ssize_t>sizeof(floating), packed + k * width)
        return
    if column_stride == 1:
        for k in range(cut.depth):
            for j in range(columns):
                packed[k * width + j] = first[k * row_stride + j]
    else:
        # A transposed matrix: its columns are the ones that lie side by side in memory.
        loops_for(sizeof(floating)).transpose(first, column_stride, columns, cut.depth, packed, width)
    for k in range(cut.depth):
        for j in range(columns, width):
            packed[k * width + j] = 0


cdef void multiply(
    product p, Py_ssize_t rows, Py_ssize_t a_row, const floating *a, const floating *b, floating *c,
) noexcept nogil:
    """One panel of columns for `rows` rows of the left operand, `a_row` elements apart."""
    cdef Py_ssize_t lanes = in_use().vector_bytes // <Py_ssize_t>sizeof(floating)
    cdef Py_ssize_t most = in_use().wide_rows if p.columns > lanes else in_use().tall_rows
    cdef Py_ssize_t blocks = (rows + most - 1) // most
    cdef Py_ssize_t block, start, stop = 0
    cdef const loops_table *loops = loops_for(sizeof(floating))
    p.a_row, p.a_rows = a_row, NULL
    for block in range(blocks):
        start = stop
        stop = rows * (block + 1) // blocks
        loops.block(stop - start, &p, a + start * a_row, b, c + start * p.c_row)


cdef void multiply_grid(
    product p, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t row_stride, Py_ssize_t column_stride, const floating *a,
    const floating *b, floating *c,
) noexcept nogil:
    """`multiply_points` of a single grid."""
    multiply_points(p, grid(1, rows, columns, 0, row_stride, column_stride), a, b, c)


cdef void multiply_points(product p, grid g, const floating *a, const floating *b, floating *c) noexcept nogil:
    """`multiply`, where the rows of the left operand are the points of grids, each in row-major order.

    A block may begin in one row of a grid and end in the next, or in the next grid: rows that are shorter than a block,
    or leave a small rest, would not fill the registers.
    """
    cdef Py_ssize_t offsets[MOST_ROWS]
    cdef Py_ssize_t lanes = in_use().vector_bytes // <Py_ssize_t>sizeof(floating)
    cdef Py_ssize_t most = in_use().wide_rows if p.columns > lanes else in_use().tall_rows
    cdef Py_ssize_t points = g.count * g.rows * g.columns, blocks = (points + most - 1) // most
    cdef Py_ssize_t block, start, stop = 0, i, row = 0, column = 0, offset = 0, first = 0
    cdef const loops_table *loops = loops_for(sizeof(floating))
    if p.columns <= lanes and g.columns >= most:
        # Twelve places are more than there are registers for: strides are faster, if rows fill the blocks.
        for row in range(g.count * g.rows):
            multiply(
                p, g.columns, g.column_stride, a + row // g.rows * g.stride + row % g.rows * g.row_stride, b,
                c + row * g.columns * p.c_row)
        return
    p.a_rows = offsets
    for block in range(blocks):
        start = stop
        stop = points * (block + 1) // blocks
        for i in range(stop - start):
            offsets[i] = offset
            column += 1
            offset += g.column_stride
            if column == g.columns:
                row, column = row + 1, 0
                if row == g.rows:
                    row, first = 0, first + g.stride
                offset = first + row * g.row_stride
        loops.block(stop - start, &p, a, b, c + start * p.c_row)
