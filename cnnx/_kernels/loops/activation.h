/* The loops of activation_rows.h, compiled for each instruction set and floating type. */
#ifndef CNNX_ACTIVATION_H
#define CNNX_ACTIVATION_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "targets.h"

enum activation { SIGMOID, LEAKY_RELU, ELU, GELU, SILU, TANH, SOFTPLUS, HARD_SWISH };

/* `a` and `b` are the activation's own constants, where it has some; forward has nothing kept. */
typedef void (*activation_row)(const void *x_or_grad, const void *kept, void *out, ptrdiff_t count, double a, double b);
typedef struct {
    activation_row forward, backward;
} activation_rows;

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(x) JOIN(x, JOIN(SET, REAL))

#ifdef __GNUC__
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static inline
#endif

#define SET baseline
#define TARGET
#define REAL float
#include "activation_rows.h"
#define REAL double
#define DOUBLE 1
#include "activation_rows.h"
#undef TARGET
#undef SET

#if defined(__GNUC__) && defined(__x86_64__)
#define SET avx2
#define TARGET AVX2_TARGET
#define REAL float
#include "activation_rows.h"
#define REAL double
#define DOUBLE 1
#include "activation_rows.h"
#undef TARGET
#undef SET

#define SET avx512
#define TARGET AVX512_TARGET
#define REAL float
#include "activation_rows.h"
#define REAL double
#define DOUBLE 1
#include "activation_rows.h"
#undef TARGET
#undef SET
#endif

/* Those for vectors of so many bytes. */
static const activation_rows *rows_of(enum activation which, ptrdiff_t vector_bytes, size_t itemsize)
{
    const activation_rows *floats = rows_baseline_float, *doubles = rows_baseline_double;
#if defined(__GNUC__) && defined(__x86_64__)
    if (vector_bytes == 32)
        floats = rows_avx2_float, doubles = rows_avx2_double;
    else if (vector_bytes == 64)
        floats = rows_avx512_float, doubles = rows_avx512_double;
#endif
    return &(itemsize == sizeof(float) ? floats : doubles)[which];
}

#undef ALWAYS_INLINE
#undef NAME
#undef JOIN
#undef JOIN_
#endif
