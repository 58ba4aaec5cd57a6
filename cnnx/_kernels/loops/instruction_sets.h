/* The loops of gemm.h and rows.h, compiled once for each instruction set; the best is chosen at run time. */
#ifndef CNNX_INSTRUCTION_SETS_H
#define CNNX_INSTRUCTION_SETS_H

#include "loops.h"
#include "targets.h"
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(x) JOIN(x, JOIN(SET, REAL))

#ifdef __GNUC__
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#else
#define ALWAYS_INLINE static inline
#define NOINLINE static
#endif

/* GCC has Clang's way of shuffling, which can give fewer elements than it takes, since version 12. */
#if defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 12)
#define SHUFFLE_TO_FEWER 1
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (NAME(bits)){__VA_ARGS__})
#endif

/* Plain C, for compilers without vector extensions, and to check the others against. */
#define SET portable
#define TARGET
#define TALL_ROWS 4
#define WIDE_ROWS 4
#include "both_types.h"
#undef WIDE_ROWS
#undef TALL_ROWS
#undef TARGET
#undef SET

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__aarch64__))
#define CNNX_VECTORS 1
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
#include "both_types.h"
#undef VECTOR_BYTES
#undef TARGET
#undef SET
#undef WIDE_ROWS

#ifdef __x86_64__
#define SET avx2
#define TARGET AVX2_TARGET
#define VECTOR_BYTES 32
#define WIDE_ROWS 6
#include "both_types.h"
#undef WIDE_ROWS
#undef VECTOR_BYTES
#undef TARGET
#undef SET

#define SET avx512
#define TARGET AVX512_TARGET
#define VECTOR_BYTES 64
#define WIDE_ROWS 12
#include "both_types.h"
#undef WIDE_ROWS
#undef VECTOR_BYTES
#undef TARGET
#undef SET
#endif /* __x86_64__ */

#undef TALL_ROWS
#endif /* __GNUC__ */

#define MOST_INSTRUCTION_SETS 4

/* Those this processor and operating system can run, the slowest first; returns their number. */
static int instruction_sets(instruction_set *found)
{
    int n = 0;
    found[n++] = (instruction_set){"portable", loops_portable_float, loops_portable_double, 16, 4, 4};
#ifdef CNNX_VECTORS
#ifdef __x86_64__
    found[n++] = (instruction_set){BASELINE, loops_baseline_float, loops_baseline_double, 16, 12, 6};
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found[n++] = (instruction_set){"avx2", loops_avx2_float, loops_avx2_double, 32, 12, 6};
#ifdef CNNX_IMITATE_AVX512
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#else
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
#endif
        found[n++] = (instruction_set){"avx512", loops_avx512_float, loops_avx512_double, 64, 12, 12};
#else
    found[n++] = (instruction_set){BASELINE, loops_baseline_float, loops_baseline_double, 16, 12, 12};
#endif
#endif
    return n;
}

#endif
