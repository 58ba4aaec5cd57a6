/* The inner product of gemm.h, compiled once for each instruction set; the best is chosen at run time. */
#ifndef CNNX_INSTRUCTION_SETS_H
#define CNNX_INSTRUCTION_SETS_H

#include <stdint.h>

#include "product.h"

typedef void (*block_function)(ptrdiff_t rows, const product *p, const void *a, const void *b, void *c);

typedef struct {
    const char *name;
    block_function block_float, block_double;
    ptrdiff_t vector_bytes;
    ptrdiff_t tall_rows, wide_rows; /* most rows of a block one vector wide, and two */
} instruction_set;

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

/* -- portable: plain C, for compilers without vector extensions, and to check the others against -- */
#define PORTABLE_BLOCK(REAL)                                                                            \
    static void portable_block_##REAL(ptrdiff_t rows, const product *p, const void *a_, const void *b_, \
                                      void *c_)                                                         \
    {                                                                                                   \
        enum { lanes = 16 / sizeof(REAL) };                                                             \
        const REAL *a = (const REAL *)a_, *b = (const REAL *)b_, *bias = (const REAL *)p->bias;         \
        REAL *c = (REAL *)c_;                                                                           \
        for (ptrdiff_t i = 0; i < rows; i++) {                                                          \
            REAL sums[2 * lanes] = {0};                                                                 \
            for (ptrdiff_t r = 0; r < p->runs; r++)                                                     \
                for (ptrdiff_t k = 0; k < p->depth; k++) {                                              \
                    const REAL left = a[p->a_runs[r] + i * p->a_row + k * p->a_depth];                  \
                    const REAL *right = b + r * p->b_run + k * p->b_depth;                              \
                    for (ptrdiff_t j = 0; j < p->columns; j++)                                          \
                        sums[j] += left * right[j];                                                     \
                }                                                                                       \
            for (ptrdiff_t j = 0; j < p->columns; j++)                                                  \
                c[i * p->c_row + j] = (p->accumulate ? sums[j] + c[i * p->c_row + j] : sums[j])         \
                                      + (bias ? bias[j] : 0);                                           \
        }                                                                                               \
    }
PORTABLE_BLOCK(float)
PORTABLE_BLOCK(double)
#undef PORTABLE_BLOCK

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__aarch64__))
#define CNNX_VECTORS 1
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NAME(x) JOIN(x, JOIN(SET, REAL))
#define TALL_ROWS 12

#ifdef __x86_64__
#define BASELINE "sse2"
#define WIDE_ROWS 6
#else
#define BASELINE "neon"
#define WIDE_ROWS 12
#endif
#define SET baseline
#define TARGET
#define VECTOR_BYTES 16
#define REAL float
#define BITS int32_t
#include "gemm.h"
#undef REAL
#undef BITS
#define REAL double
#define BITS int64_t
#include "gemm.h"
#undef REAL
#undef BITS
#undef WIDE_ROWS
#undef VECTOR_BYTES
#undef TARGET
#undef SET

#ifdef __x86_64__
#define SET avx2
#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR_BYTES 32
#define WIDE_ROWS 6
#define REAL float
#define BITS int32_t
#include "gemm.h"
#undef REAL
#undef BITS
#define REAL double
#define BITS int64_t
#include "gemm.h"
#undef REAL
#undef BITS
#undef WIDE_ROWS
#undef VECTOR_BYTES
#undef TARGET
#undef SET

#define SET avx512
#define TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")))
#define VECTOR_BYTES 64
#define WIDE_ROWS 12
#define REAL float
#define BITS int32_t
#include "gemm.h"
#undef REAL
#undef BITS
#define REAL double
#define BITS int64_t
#include "gemm.h"
#undef REAL
#undef BITS
#undef WIDE_ROWS
#undef VECTOR_BYTES
#undef TARGET
#undef SET
#endif /* __x86_64__ */
#endif /* __GNUC__ */

#define MOST_INSTRUCTION_SETS 4

/* Those this processor and operating system can run, the slowest first; returns their number. */
static int instruction_sets(instruction_set *found)
{
    int n = 0;
    found[n++] = (instruction_set){"portable", portable_block_float, portable_block_double, 16, 4, 4};
#ifdef CNNX_VECTORS
    found[n++] = (instruction_set){BASELINE, any_block_baseline_float, any_block_baseline_double, 16, 12,
#ifdef __x86_64__
                                   6};
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found[n++] = (instruction_set){"avx2", any_block_avx2_float, any_block_avx2_double, 32, 12, 6};
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        found[n++] = (instruction_set){"avx512", any_block_avx512_float, any_block_avx512_double, 64, 12, 12};
#else
                                   12};
#endif
#endif
    return n;
}

#endif
