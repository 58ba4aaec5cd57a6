/* TEMPLATE for float and for double, of one instruction set; each_set.h. */
#ifdef VECTOR_BYTES
#define LANES ((ptrdiff_t)(VECTOR_BYTES / REAL_BYTES))
#define VECTOR NAME(vector)
#define MASK NAME(bits)
#define LOAD(p) (*(const NAME(unaligned) *)(p))
#define STORE(p, v) (*(NAME(unaligned) *)(p) = (v))
#define RELU(v) ((VECTOR)(~((v) <= (VECTOR){0}) & (MASK)(v)))
#define VECTOR_TYPES                                                                                          \
    typedef REAL VECTOR __attribute__((vector_size(VECTOR_BYTES)));                                           \
    typedef REAL NAME(unaligned) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias)); \
    typedef BITS MASK __attribute__((vector_size(VECTOR_BYTES)));
#else
#define LANES ((ptrdiff_t)1)
#define VECTOR REAL
#define LOAD(p) (*(p))
#define STORE(p, v) (*(p) = (v))
#define RELU(v) ((v) <= 0 ? 0 : (v))
#define VECTOR_TYPES
#endif

#define REAL float
#define REAL_BYTES 4
#define BITS int32_t
VECTOR_TYPES
#include TEMPLATE
#undef BITS
#undef REAL_BYTES
#undef REAL

#define REAL double
#define REAL_BYTES 8
#define BITS int64_t
VECTOR_TYPES
#include TEMPLATE
#undef BITS
#undef REAL_BYTES
#undef REAL

#ifdef AFTER_SET
AFTER_SET
#endif

#undef VECTOR_TYPES
#undef RELU
#undef STORE
#undef LOAD
#undef MASK
#undef VECTOR
#undef LANES
#undef MASKED_MOVES
#undef NARROWER
#undef WIDE_ROWS
#undef TALL_ROWS
#undef VECTOR_BYTES
#undef TARGET
#undef SET
