/* The loops that every instruction set has, and how they are called. Strides and counts are in elements. */
#ifndef CNNX_LOOPS_H
#define CNNX_LOOPS_H

#include <stddef.h>
#include <stdint.h>

/* How a block of a product is read and written; gemm.h has the formula. */
typedef struct {
    ptrdiff_t runs, depth;
    ptrdiff_t a_row, a_depth;
    const ptrdiff_t *a_runs;
    ptrdiff_t b_depth;
    const ptrdiff_t *b_runs;
    ptrdiff_t c_row, columns;
    const void *bias; /* added to every row, or NULL; readable for whole vectors */
    int accumulate;   /* add to c instead of overwriting it */
    int relu;         /* then max(0, c); NaN stays NaN */
} product;

/* The place of a pooled maximum that ReLU has closed: its gradient goes nowhere. */
#define CLOSED 255

typedef struct {
    void (*block)(ptrdiff_t rows, const product *p, const void *a, const void *b, void *c);
    void (*max_row)(const void *image, ptrdiff_t height, ptrdiff_t width, ptrdiff_t row_step, ptrdiff_t column_stride,
                    ptrdiff_t columns, ptrdiff_t channels, ptrdiff_t kept, int gated, void *best, uint8_t *places);
    void (*spread_row)(const void *grad, const uint8_t *places, ptrdiff_t columns, ptrdiff_t width, ptrdiff_t first,
                       ptrdiff_t channels, void *out);
    void (*relu_row)(const void *x, void *out, ptrdiff_t count);
    void (*gate_row)(const void *grad, const void *y, void *out, ptrdiff_t count);
} loops;

#define LOOPS {NAME(any_block), NAME(any_max_row), NAME(spread_row), NAME(relu_row), NAME(gate_row)}

typedef struct {
    const char *name;
    loops for_float, for_double;
    ptrdiff_t vector_bytes;
    ptrdiff_t tall_rows, wide_rows; /* most rows of a block one vector wide, and two */
} instruction_set;

#endif
