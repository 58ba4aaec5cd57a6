/* The register-blocked inner product behind convolution and dense layers.
 *
 * This file is a template, which each_set.h includes once for each instruction set and floating type.
 *
 * MOST_VECTORS, of loops.h, is the width of the widest block: a single row needs many sums at a time to keep the
 * multipliers busy, which take several cycles for each of a chain, and the wider a block, the more of what it reads is
 * contiguous.
 *
 * One block of the result, `rows` x `columns`, is
 *
 *   c[i, j] = sum over runs r, depths k of  a[a_runs[r] + i*a_row + k*a_depth] * b[b_runs[r] + k*b_depth + j]
 *
 * Both operands are read through strides, so a row of image positions, its transpose, and a batch of
 * feature vectors are all read where they lie; a filter row is one run, because its pixels are neighbours
 * in memory. Positions of several image rows are no stride apart: then a_rows[i] takes the place of i*a_row. Every
 * element of the result is one chain of sums in the order of (r, k), whatever block it falls in: how the work is cut
 * changes no bit.
 *
 * Register blocking after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
 * ACM TOMS 34(3), 2008.
 */

#ifdef VECTOR_BYTES

/* What follows the sums of a row: c = relu(sums + c + bias), as far as each is asked for. The last vector has `rest`
 * columns. */
TARGET ALWAYS_INLINE void NAME(finish)(const int vectors, const ptrdiff_t rest, const product *p, const VECTOR *sums,
                                       REAL *c)
{
    for (int v = 0; v < vectors; v++) {
        const ptrdiff_t lanes = v == vectors - 1 ? rest : LANES;
        VECTOR sum = sums[v];
        if (p->accumulate)
            sum += NAME(load_part)(c + v * LANES, lanes);
        if (p->bias)
            sum += LOAD((const REAL *)p->bias + v * LANES);
        if (p->relu)
            sum = RELU(sum);
        NAME(store_part)(c + v * LANES, lanes, sum);
    }
}

/* `rows`, `vectors` and `listed` are constants wherever this is inlined, so the sums stay in registers. */
TARGET ALWAYS_INLINE void NAME(sum_block)(const int rows, const int vectors, const int listed, const product *p,
                                          const REAL *restrict a, const REAL *restrict b, REAL *restrict c)
{
    const VECTOR zero = {0};
    VECTOR sums[TALL_ROWS > 2 * WIDE_ROWS ? TALL_ROWS : 2 * WIDE_ROWS]; /* of a single row, MOST_VECTORS of them */
    /* Unrolled, or the compiler makes a call of it, and the sums go through memory. */
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        sums[i] = zero;

    const ptrdiff_t a_row = p->a_row, a_depth = p->a_depth, b_depth = p->b_depth;
    const REAL *starts[TALL_ROWS > WIDE_ROWS ? TALL_ROWS : WIDE_ROWS];
    if (listed)
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++)
            starts[i] = a + p->a_rows[i];
    for (ptrdiff_t r = 0; r < p->runs; r++) {
        ptrdiff_t at = p->a_runs[r];
        const REAL *left = a + at;
        const REAL *right = b + p->b_runs[r];
        for (ptrdiff_t k = p->depth; k > 0; k--) {
            VECTOR columns[MOST_VECTORS];
            for (int v = 0; v < vectors; v++) {
                columns[v] = LOAD(right + v * LANES);
                if (rows > 1)
                    IN_REGISTER(columns[v]);
            }
            for (int i = 0; i < rows; i++) {
                const VECTOR broadcast = (listed ? starts[i][at] : left[i * a_row]) - zero;
                for (int v = 0; v < vectors; v++)
                    sums[i * vectors + v] += broadcast * columns[v];
            }
            at += a_depth;
            left += a_depth;
            right += b_depth;
        }
    }

    const ptrdiff_t rest = p->columns - (vectors - 1) * LANES;
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
        NAME(finish)(vectors, rest, p, sums + i * vectors, c + i * p->c_row);
}

#define CASE(rows, vectors, listed)                         \
    case rows:                                              \
        NAME(sum_block)(rows, vectors, listed, p, a, b, c); \
        return;

/* Functions of their own: in one, the compiler would keep strides on the stack, and read them again each time. */
TARGET NOINLINE void NAME(listed_block)(ptrdiff_t rows, const product *p, const void *a, const void *b, void *c)
{
    if (p->columns > LANES)
        switch (rows) {
            CASE(1, 2, 1) CASE(2, 2, 1) CASE(3, 2, 1) CASE(4, 2, 1) CASE(5, 2, 1) CASE(6, 2, 1)
#if WIDE_ROWS > 6
            CASE(7, 2, 1) CASE(8, 2, 1) CASE(9, 2, 1) CASE(10, 2, 1) CASE(11, 2, 1) CASE(12, 2, 1)
#endif
        }
    else
        switch (rows) {
            CASE(1, 1, 1) CASE(2, 1, 1) CASE(3, 1, 1) CASE(4, 1, 1) CASE(5, 1, 1) CASE(6, 1, 1)
            CASE(7, 1, 1) CASE(8, 1, 1) CASE(9, 1, 1) CASE(10, 1, 1) CASE(11, 1, 1) CASE(12, 1, 1)
        }
}

TARGET NOINLINE void NAME(strided_block)(ptrdiff_t rows, const product *p, const void *a, const void *b, void *c)
{
    if (p->columns > LANES)
        switch (rows) {
            CASE(1, 2, 0) CASE(2, 2, 0) CASE(3, 2, 0) CASE(4, 2, 0) CASE(5, 2, 0) CASE(6, 2, 0)
#if WIDE_ROWS > 6
            CASE(7, 2, 0) CASE(8, 2, 0) CASE(9, 2, 0) CASE(10, 2, 0) CASE(11, 2, 0) CASE(12, 2, 0)
#endif
        }
    else
        switch (rows) {
            CASE(1, 1, 0) CASE(2, 1, 0) CASE(3, 1, 0) CASE(4, 1, 0) CASE(5, 1, 0) CASE(6, 1, 0)
            CASE(7, 1, 0) CASE(8, 1, 0) CASE(9, 1, 0) CASE(10, 1, 0) CASE(11, 1, 0) CASE(12, 1, 0)
        }
}

TARGET static void NAME(block)(ptrdiff_t rows, const product *p, const void *a, const void *b, void *c)
{
    if (p->a_rows)
        NAME(listed_block)(rows, p, a, b, c);
    else if (p->columns > 8 * LANES)
        NAME(sum_block)(1, MOST_VECTORS, 0, p, a, b, c);
    else if (p->columns > 4 * LANES)
        NAME(sum_block)(1, 8, 0, p, a, b, c);
    else if (p->columns > 2 * LANES)
        NAME(sum_block)(1, 4, 0, p, a, b, c);
    else
        NAME(strided_block)(rows, p, a, b, c);
}

#undef CASE

#else

TARGET static void NAME(block)(ptrdiff_t rows, const product *p, const void *a_, const void *b_, void *c_)
{
    enum { lanes = 16 / sizeof(REAL) };
    const REAL *a = (const REAL *)a_, *b = (const REAL *)b_, *bias = (const REAL *)p->bias;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const REAL *start = a + (p->a_rows ? p->a_rows[i] : i * p->a_row);
        REAL *row = (REAL *)c_ + i * p->c_row;
        REAL sums[MOST_VECTORS * lanes] = {0};
        for (ptrdiff_t r = 0; r < p->runs; r++)
            for (ptrdiff_t k = 0; k < p->depth; k++) {
                const REAL left = start[p->a_runs[r] + k * p->a_depth];
                const REAL *right = b + p->b_runs[r] + k * p->b_depth;
                for (ptrdiff_t j = 0; j < p->columns; j++)
                    sums[j] += left * right[j];
            }
        for (ptrdiff_t j = 0; j < p->columns; j++) {
            REAL sum = (p->accumulate ? sums[j] + row[j] : sums[j]) + (bias ? bias[j] : 0);
            row[j] = p->relu && sum <= 0 ? 0 : sum;
        }
    }
}

#endif
