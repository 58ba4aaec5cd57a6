/* The register-blocked inner product behind convolution and dense layers.
 *
 * This file is a template: instruction_sets.h includes it once for each pair of instruction set and
 * floating type, with these macros set:
 *
 *   REAL          float or double
 *   BITS          the signed integer of the same size
 *   NAME(x)       x with the suffix of this instance
 *   TARGET        the function attribute that permits the instruction set
 *   VECTOR_BYTES  width of a vector register
 *   TALL_ROWS     rows of a block one vector wide
 *   WIDE_ROWS     rows of a block two vectors wide; 2 * WIDE_ROWS sums and 3 operands fit the registers
 *
 * One block of the result, `rows` x `columns`, is
 *
 *   c[i, j] = sum over runs r, depths k of  a[a_runs[r] + i*a_row + k*a_depth] * b[r*b_run + k*b_depth + j]
 *
 * The left operand is read through strides, so a row of image positions, its transpose, and a batch of
 * feature vectors are all read where they lie; a filter row is one run, because its pixels are neighbours
 * in memory. Every element of the result is one chain of sums in the order of (r, k), whatever block
 * it falls in: how the work is cut changes no bit.
 *
 * Register blocking after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
 * ACM TOMS 34(3), 2008.
 */

#define LANES ((int)(VECTOR_BYTES / sizeof(REAL)))
#define VECTOR NAME(vector)
#define UNALIGNED NAME(unaligned)
#define LOAD(p) (*(const UNALIGNED *)(p))
#define STORE(p, v) (*(UNALIGNED *)(p) = (v))

typedef REAL VECTOR __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL UNALIGNED __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef BITS NAME(bits) __attribute__((vector_size(VECTOR_BYTES)));

/* `rows` and `vectors` are constants wherever this is inlined, so the sums stay in registers. */
TARGET ALWAYS_INLINE void NAME(block)(const int rows, const int vectors, const product *p,
                                      const REAL *restrict a, const REAL *restrict b, REAL *restrict c)
{
    const VECTOR zero = {0};
    VECTOR sums[TALL_ROWS > 2 * WIDE_ROWS ? TALL_ROWS : 2 * WIDE_ROWS];
    for (int i = 0; i < rows * vectors; i++)
        sums[i] = zero;

    const ptrdiff_t a_row = p->a_row, a_step = p->a_depth, b_step = p->b_depth;
    for (ptrdiff_t r = 0; r < p->runs; r++) {
        const REAL *left = a + p->a_runs[r];
        const REAL *right = b + r * p->b_run;
        for (ptrdiff_t k = p->depth; k > 0; k--) {
            VECTOR columns[2];
            for (int v = 0; v < vectors; v++)
                columns[v] = LOAD(right + v * LANES);
            for (int i = 0; i < rows; i++) {
                const VECTOR broadcast = left[i * a_row] - zero;
                for (int v = 0; v < vectors; v++)
                    sums[i * vectors + v] += broadcast * columns[v];
            }
            left += a_step;
            right += b_step;
        }
    }

    const int whole = p->columns == vectors * LANES;
    REAL edge[2 * LANES] = {0};
    for (int i = 0; i < rows; i++) {
        REAL *row = c + i * p->c_row;
        REAL *target = whole ? row : edge;
        if (!whole && p->accumulate)
            for (int j = 0; j < p->columns; j++)
                edge[j] = row[j];
        for (int v = 0; v < vectors; v++) {
            VECTOR sum = sums[i * vectors + v];
            if (p->accumulate)
                sum += LOAD(target + v * LANES);
            if (p->bias)
                sum += LOAD((const REAL *)p->bias + v * LANES);
            STORE(target + v * LANES, sum);
        }
        if (!whole)
            for (int j = 0; j < p->columns; j++)
                row[j] = edge[j];
    }
}

#define CASE(rows, vectors)                              \
    case rows:                                           \
        NAME(block)(rows, vectors, p, a, b, c);          \
        return;

TARGET static void NAME(any_block)(ptrdiff_t rows, const product *p, const void *a, const void *b, void *c)
{
    if (p->columns > LANES)
        switch (rows) {
            CASE(1, 2) CASE(2, 2) CASE(3, 2) CASE(4, 2) CASE(5, 2) CASE(6, 2)
#if WIDE_ROWS > 6
            CASE(7, 2) CASE(8, 2) CASE(9, 2) CASE(10, 2) CASE(11, 2) CASE(12, 2)
#endif
        }
    else
        switch (rows) {
            CASE(1, 1) CASE(2, 1) CASE(3, 1) CASE(4, 1) CASE(5, 1) CASE(6, 1)
            CASE(7, 1) CASE(8, 1) CASE(9, 1) CASE(10, 1) CASE(11, 1) CASE(12, 1)
        }
}

#undef CASE
#undef STORE
#undef LOAD
#undef UNALIGNED
#undef VECTOR
#undef LANES
