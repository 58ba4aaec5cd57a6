#ifndef CNNX_PRODUCT_H
#define CNNX_PRODUCT_H

#include <stddef.h>

/* How a block of a product is read and written; gemm.h has the formula. Strides count elements. */
typedef struct {
    ptrdiff_t runs, depth;
    ptrdiff_t a_row, a_depth;
    const ptrdiff_t *a_runs;
    ptrdiff_t b_depth, b_run;
    ptrdiff_t c_row, columns;
    const void *bias; /* added to every row, or NULL; readable for whole vectors */
    int accumulate;   /* add to c instead of overwriting it */
} product;

#endif
