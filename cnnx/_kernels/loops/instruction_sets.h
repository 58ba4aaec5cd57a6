/* All loops, compiled once for each instruction set; the best is chosen at run time. */
#ifndef CNNX_INSTRUCTION_SETS_H
#define CNNX_INSTRUCTION_SETS_H

#include "loops.h"

/* A function, for a structure is no constant in C. */
#define AFTER_SET                                                                                             \
    static instruction_set JOIN(set, SET)(const char *name, ptrdiff_t vector_bytes)                           \
    {                                                                                                         \
        return (instruction_set){name, JOIN(loops, JOIN(SET, float)), JOIN(loops, JOIN(SET, double)),         \
                                 vector_bytes, TALL_ROWS, WIDE_ROWS};                                         \
    }
#define TEMPLATE "all_loops.h"
#include "each_set.h"

#define MOST_INSTRUCTION_SETS 4

/* Those this processor and operating system can run, the slowest first; returns their number. */
static int instruction_sets(instruction_set *found)
{
    int n = 0;
    found[n++] = set_portable("portable", 16);
#ifdef CNNX_VECTORS
#ifdef __x86_64__
    found[n++] = set_baseline("sse2", 16);
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found[n++] = set_avx2("avx2", 32);
#ifdef CNNX_IMITATE_AVX512
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#else
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
#endif
        found[n++] = set_avx512("avx512", 64);
#else
    found[n++] = set_baseline("neon", 16);
#endif
#endif
    return n;
}

#endif
