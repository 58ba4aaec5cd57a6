/* A product whose rows are the positions of 2x2 windows: only the largest of each window leaves the registers. A template
 * like gemm.h.
 *
 *   best[w, j] = max over the window's four positions of c[position, j], c as in gemm.h, plus bias, then ReLU
 *
 * Where the sums are short, to write them and to read them again for the maximum takes longer than the sums.
 */

#ifdef VECTOR_BYTES

#define LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(REAL)))
#define VECTOR NAME(vector)
#define MASK NAME(bits)
#define LOAD(p) (*(const NAME(unaligned) *)(p))
#define STORE(p, v) (*(NAME(unaligned) *)(p) = (v))

/* `windows` and `vectors` are constants wherever this is inlined, so the sums stay in registers. */
TARGET ALWAYS_INLINE void NAME(pool_windows)(const int windows, const int vectors, const product *p, ptrdiff_t a_line,
                                             const REAL *restrict a, const REAL *restrict b, REAL *restrict best,
                                             uint8_t *restrict places)
{
    const VECTOR zero = {0};
    VECTOR sums[TALL_ROWS > 2 * WIDE_ROWS ? TALL_ROWS : 2 * WIDE_ROWS];
#pragma GCC unroll 24
    for (int i = 0; i < 4 * windows * vectors; i++)
        sums[i] = zero;

    const ptrdiff_t a_row = p->a_row, a_step = p->a_depth, b_step = p->b_depth;
    for (ptrdiff_t r = 0; r < p->runs; r++) {
        const REAL *left = a + p->a_runs[r];
        const REAL *right = b + p->b_runs[r];
        for (ptrdiff_t k = p->depth; k > 0; k--) {
            VECTOR columns[2];
            for (int v = 0; v < vectors; v++)
                columns[v] = LOAD(right + v * LANES);
#pragma GCC unroll 12
            for (int i = 0; i < 4 * windows; i++) {
                const ptrdiff_t position = (i / 4 * 2 + i % 2) * a_row + i % 4 / 2 * a_line;
                const VECTOR broadcast = left[position] - zero;
                for (int v = 0; v < vectors; v++)
                    sums[i * vectors + v] += broadcast * columns[v];
            }
            left += a_step;
            right += b_step;
        }
    }

#pragma GCC unroll 3
    for (int w = 0; w < windows; w++) {
        REAL *to = best + w * p->c_row, edge[2 * LANES];
        uint8_t *place_to = places + w * p->c_row, edge_places[2 * LANES];
        const int whole = p->columns == vectors * LANES;
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            VECTOR bias = zero;
            if (p->bias)
                bias = LOAD((const REAL *)p->bias + v * LANES);
            VECTOR most = sums[4 * w * vectors + v] + bias;
            MASK place = {0};
#pragma GCC unroll 3
            for (int i = 1; i < 4; i++)
                NAME(take_cell)(sums[(4 * w + i) * vectors + v] + bias, i, &most, &place);
            if (p->relu)
                NAME(gate_cells)(&most, &place);
            STORE((whole ? to : edge) + v * LANES, most);
            NAME(store_places)(place, (whole ? place_to : edge_places) + v * LANES);
        }
        if (!whole)
            for (ptrdiff_t j = 0; j < p->columns; j++)
                to[j] = edge[j], place_to[j] = edge_places[j];
    }
}

/* Each set of windows that fits the registers, then the rest. */
#define EACH(most, vectors)                                                                                       \
    {                                                                                                             \
        ptrdiff_t w = 0;                                                                                          \
        for (; w + (most) <= windows; w += (most))                                                                \
            NAME(pool_windows)(most, vectors, p, a_line, a + 2 * w * p->a_row, b, best + w * p->c_row,            \
                               places + w * p->c_row);                                                            \
        for (; w < windows; w++)                                                                                  \
            NAME(pool_windows)(1, vectors, p, a_line, a + 2 * w * p->a_row, b, best + w * p->c_row,               \
                               places + w * p->c_row);                                                            \
    }

TARGET static void NAME(pool_block)(ptrdiff_t windows, const product *p, ptrdiff_t a_line, const void *a_,
                                    const void *b_, void *best_, uint8_t *places)
{
    const REAL *a = a_, *b = b_;
    REAL *best = best_;
    if (p->columns > LANES)
        EACH(WIDE_ROWS / 4, 2)
    else
        EACH(TALL_ROWS / 4, 1)
}

#undef EACH
#undef STORE
#undef LOAD
#undef MASK
#undef VECTOR
#undef LANES

#else

TARGET static void NAME(pool_block)(ptrdiff_t windows, const product *p, ptrdiff_t a_line, const void *a_,
                                    const void *b_, void *best_, uint8_t *places)
{
    enum { lanes = 16 / sizeof(REAL) };
    const REAL *a = (const REAL *)a_, *b = (const REAL *)b_, *bias = (const REAL *)p->bias;
    REAL *best = (REAL *)best_;
    for (ptrdiff_t w = 0; w < windows; w++) {
        REAL sums[4 * 2 * lanes] = {0};
        for (int i = 0; i < 4; i++)
            for (ptrdiff_t r = 0; r < p->runs; r++)
                for (ptrdiff_t k = 0; k < p->depth; k++) {
                    const ptrdiff_t position = (2 * w + i % 2) * p->a_row + i / 2 * a_line;
                    const REAL left = a[p->a_runs[r] + position + k * p->a_depth];
                    const REAL *right = b + p->b_runs[r] + k * p->b_depth;
                    for (ptrdiff_t j = 0; j < p->columns; j++)
                        sums[i * p->columns + j] += left * right[j];
                }
        for (ptrdiff_t i = 0; bias && i < 4 * p->columns; i++)
            sums[i] += bias[i % p->columns];
        for (ptrdiff_t j = 0; j < p->columns; j++)
            NAME(max_cell)(sums + j, 2, 2, 2 * p->columns, p->columns, p->relu, best + w * p->c_row + j,
                           places + w * p->c_row + j);
    }
}

#endif
