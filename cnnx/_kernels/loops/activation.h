/* The loops of activation_rows.h, compiled for each instruction set and floating type. */
#ifndef CNNX_ACTIVATION_H
#define CNNX_ACTIVATION_H

#include <float.h>
#include <math.h>
#include <stddef.h>

enum activation { SIGMOID, LEAKY_RELU, ELU, GELU, SILU, TANH, SOFTPLUS, HARD_SWISH };

/* `a` and `b` are the activation's own constants, where it has some; forward has nothing kept. */
typedef void (*activation_row)(const void *x_or_grad, const void *kept, void *out, ptrdiff_t count, double a, double b);
typedef struct {
    activation_row forward, backward;
} activation_rows;

#define COMPILER_MAKES_VECTORS 1
#define TEMPLATE "activation_rows.h"
#include "each_set.h"

/* Those for vectors of so many bytes. */
static const activation_rows *rows_of(enum activation which, ptrdiff_t vector_bytes, size_t itemsize)
{
    const activation_rows *floats = rows_portable_float, *doubles = rows_portable_double;
#if defined(__GNUC__) && defined(__x86_64__)
    if (vector_bytes == 32)
        floats = rows_avx2_float, doubles = rows_avx2_double;
    else if (vector_bytes == 64)
        floats = rows_avx512_float, doubles = rows_avx512_double;
#endif
    return &(itemsize == sizeof(float) ? floats : doubles)[which];
}

#endif
