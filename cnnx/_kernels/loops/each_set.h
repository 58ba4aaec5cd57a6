/* Includes the file TEMPLATE once for each instruction set and floating type, with these macros set:
 *
 *   SET                      the set's name; AFTER_SET, if it is defined, follows the template for both types
 *   REAL, REAL_BYTES         float or double, and its size
 *   BITS                     the signed integer of the same size
 *   NAME(x)                  x with the suffix of this set and type
 *   TARGET                   the function attribute that permits the instruction set
 *   VECTOR_BYTES             width of a vector register; undefined for plain C
 *   VECTOR, LANES            a vector of REAL, and how many it holds; in plain C a single one
 *   MASK                     what comparing two vectors gives
 *   LOAD, STORE              a vector anywhere in memory
 *   RELU(v)                  max(0, v); NaN stays NaN
 *   TALL_ROWS                rows of a block of a product one vector wide
 *   WIDE_ROWS                and two vectors wide: 2 * WIDE_ROWS sums and 3 operands fit the registers
 *   NARROWER                 the set with vectors of half the width, whose functions these may call, if there is one
 *   MASKED_MOVES             whether instructions take a mask of the lanes that they concern
 *
 * With COMPILER_MAKES_VECTORS the baseline is left out: it would be plain C once more.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
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

/* A vector that is not to be read from memory where it is used. */
#ifdef __x86_64__
#define IN_REGISTER(vector) __asm__("" : "+v"(vector))
#elif defined(__aarch64__)
#define IN_REGISTER(vector) __asm__("" : "+w"(vector))
#endif

/* GCC has Clang's way of shuffling, which can give fewer elements than it takes, since version 12. */
#if defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 12)
#define SHUFFLE_TO_FEWER 1
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (MASK){__VA_ARGS__})
#endif

/* Plain C, for compilers without vector extensions, and to check the others against. */
#define SET portable
#define TARGET
#define TALL_ROWS 4
#define WIDE_ROWS 4
#define MASKED_MOVES 0
#include "each_type.h"

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__aarch64__))
#define CNNX_VECTORS 1

#ifndef COMPILER_MAKES_VECTORS
#define SET baseline
#define TARGET
#define VECTOR_BYTES 16
#define TALL_ROWS 12
#ifdef __x86_64__
#define WIDE_ROWS 6
#else
#define WIDE_ROWS 12
#endif
#define MASKED_MOVES 0
#include "each_type.h"
#endif

#ifdef __x86_64__
#define SET avx2
#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR_BYTES 32
#define TALL_ROWS 12
#define WIDE_ROWS 6
#define MASKED_MOVES 0
#include "each_type.h"

/* Imitated, AVX-512 has its vectors of 64 bytes, in two registers each: to test what is made for it where there is
 * none. */
#define SET avx512
#define NARROWER avx2
#ifdef CNNX_IMITATE_AVX512
#define MASKED_MOVES 0
#define TARGET __attribute__((target("avx2,fma")))
#else
#define MASKED_MOVES 1
#define TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")))
#endif
#define VECTOR_BYTES 64
#define TALL_ROWS 12
#define WIDE_ROWS 12
#include "each_type.h"
#endif
#endif
