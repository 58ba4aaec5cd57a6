/* The first lanes of a vector, which is all that may be read or written at the end of an array. A template like gemm.h.
 *
 * With masks that costs no more than a whole vector. Without, a part is put together of halves, quarters and so on, each
 * of a constant size that the compiler moves at once.
 */

#ifdef VECTOR_BYTES

#define PART_MASK(lanes) ((1u << (lanes)) - 1)

#define EACH_PIECE(MOVE)                                                   \
    ptrdiff_t at = 0;                                                      \
    _Pragma("GCC unroll 4") for (ptrdiff_t piece = LANES / 2; piece; piece /= 2) \
        if (lanes & piece) {                                               \
            MOVE;                                                          \
            at += piece;                                                   \
        }

/* `lanes` of 1 .. LANES, the others as zeros. */
TARGET ALWAYS_INLINE VECTOR NAME(load_part)(const REAL *from, ptrdiff_t lanes)
{
#if MASKED_MOVES && REAL_BYTES == 4
    return (VECTOR)_mm512_maskz_loadu_ps((__mmask16)PART_MASK(lanes), from);
#elif MASKED_MOVES
    return (VECTOR)_mm512_maskz_loadu_pd((__mmask8)PART_MASK(lanes), from);
#else
    REAL edge[LANES] = {0};
    if (lanes == LANES)
        return LOAD(from);
    EACH_PIECE(memcpy(edge + at, from + at, piece * sizeof(REAL)))
    return LOAD(edge);
#endif
}

TARGET ALWAYS_INLINE void NAME(store_part)(REAL *to, ptrdiff_t lanes, VECTOR value)
{
#if MASKED_MOVES && REAL_BYTES == 4
    _mm512_mask_storeu_ps(to, (__mmask16)PART_MASK(lanes), (__m512)value);
#elif MASKED_MOVES
    _mm512_mask_storeu_pd(to, (__mmask8)PART_MASK(lanes), (__m512d)value);
#else
    REAL edge[LANES];
    if (lanes == LANES) {
        STORE(to, value);
        return;
    }
    STORE(edge, value);
    EACH_PIECE(memcpy(to + at, edge + at, piece * sizeof(REAL)))
#endif
}

#undef EACH_PIECE
#undef PART_MASK

#else

/* A vector has one lane, which is all of it. */
TARGET ALWAYS_INLINE REAL NAME(load_part)(const REAL *from, ptrdiff_t lanes)
{
    (void)lanes;
    return *from;
}

TARGET ALWAYS_INLINE void NAME(store_part)(REAL *to, ptrdiff_t lanes, REAL value)
{
    (void)lanes;
    *to = value;
}

#endif
