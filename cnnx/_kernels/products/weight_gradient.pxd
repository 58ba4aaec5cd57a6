from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.products.tiles cimport geometry


cdef int weight_gradient(
    geometry g, Py_ssize_t all_rows, Py_ssize_t all_columns, const floating *x, const floating *grad,
    floating *W_grad, floating *b_grad,
) except -1 nogil
