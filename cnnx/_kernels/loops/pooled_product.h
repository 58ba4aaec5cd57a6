/* Products whose results are pooled in 2x2 windows: only the largest of each window leaves the registers. A template
 * like gemm.h.
 *
 * pool_block   best[w, j] = max over the window's positions of c[position, j], plus bias, then ReLU
 * pool_planes  the same, turned over: best[w, f] = max over them of c[f, position], ...
 *
 * with c as in gemm.h; `places` may be NULL. A window's positions are neighbours in two lines of the image: `a_line`
 * apart, or, turned over, each with runs of its own in b, those of the second line behind those of the first.
 */

#ifdef VECTOR_BYTES

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

    const ptrdiff_t a_row = p->a_row, a_depth = p->a_depth, b_depth = p->b_depth;
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
            left += a_depth;
            right += b_depth;
        }
    }

#pragma GCC unroll 3
    for (int w = 0; w < windows; w++) {
        REAL *to = best + w * p->c_row;
        uint8_t *place_to = place_at(places, w * p->c_row);
#if !MASKED_MOVES
        REAL edge[2 * LANES];
        uint8_t edge_places[2 * LANES];
        const int whole = p->columns == vectors * LANES;
#endif
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
#if MASKED_MOVES
            const ptrdiff_t lanes = v < vectors - 1 ? LANES : p->columns - v * LANES;
            NAME(store_part)(to + v * LANES, lanes, most);
            if (places)
                NAME(store_places)(place, lanes, place_to + v * LANES);
#else
            STORE((whole ? to : edge) + v * LANES, most);
            if (places)
                NAME(store_places)(place, LANES, (whole ? place_to : edge_places) + v * LANES);
#endif
        }
#if !MASKED_MOVES
        if (!whole) {
            memcpy(to, edge, p->columns * sizeof(REAL));
            if (places)
                memcpy(place_to, edge_places, p->columns);
        }
#endif
    }
}

/* Each set of windows that fits the registers, then the rest. */
#define EACH(most, vectors)                                                                                       \
    {                                                                                                             \
        ptrdiff_t w = 0;                                                                                          \
        for (; w + (most) <= windows; w += (most))                                                                \
            NAME(pool_windows)(most, vectors, p, a_line, a + 2 * w * p->a_row, b, best + w * p->c_row,            \
                               place_at(places, w * p->c_row));                                                   \
        for (; w < windows; w++)                                                                                  \
            NAME(pool_windows)(1, vectors, p, a_line, a + 2 * w * p->a_row, b, best + w * p->c_row,               \
                               place_at(places, w * p->c_row));                                                   \
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

/* The even and the odd lanes of two vectors, in the order that takes a single instruction: within each 16 bytes. */
#if VECTOR_BYTES / REAL_BYTES == 2
#define EVEN 0, 2
#define ODD 1, 3
#elif VECTOR_BYTES == 16
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#elif VECTOR_BYTES == 32 && REAL_BYTES == 4
#define EVEN 0, 2, 8, 10, 4, 6, 12, 14
#define ODD 1, 3, 9, 11, 5, 7, 13, 15
#elif VECTOR_BYTES == 32
#define EVEN 0, 4, 2, 6
#define ODD 1, 5, 3, 7
#elif REAL_BYTES == 4
#define EVEN 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30
#define ODD 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31
#else
#define EVEN 0, 8, 2, 10, 4, 12, 6, 14
#define ODD 1, 9, 3, 11, 5, 13, 7, 15
#endif

/* Where window w is in that order. */
#define PAIR (8 / REAL_BYTES)
#define HALF (LANES / 2)
#define LANE_OF(w) ((w) % HALF / PAIR * 2 * PAIR + (w) / HALF * PAIR + (w) % PAIR)

/* One window of some filters. The places of four filters are bytes of one element, the lowest first in memory. */
TARGET ALWAYS_INLINE void NAME(write_window)(const int filters, REAL (*maxima)[LANES], BITS (*four_places)[LANES],
                                             ptrdiff_t lane, REAL *best, uint8_t *places)
{
#pragma GCC unroll 6
    for (int f = 0; f < filters; f++)
        best[f] = maxima[f][lane];
#pragma GCC unroll 2
    for (int f = 0; places && f < filters; f += 4)
        memcpy(places + f, &four_places[f / 4][lane], filters - f < 4 ? filters - f : 4);
}

/* LANES windows of some filters. Each goes to its target among the maxima, or nowhere. */
TARGET ALWAYS_INLINE void NAME(pool_filters)(const int filters, const product *p, const ptrdiff_t *targets,
                                             const REAL *restrict a, const REAL *restrict b, const REAL *bias,
                                             REAL *restrict best, uint8_t *restrict places)
{
    VECTOR sums[2 * WIDE_ROWS];
#pragma GCC unroll 24
    for (int i = 0; i < 4 * filters; i++)
        sums[i] = (VECTOR){0};

    const ptrdiff_t a_depth = p->a_depth, b_depth = p->b_depth;
    for (ptrdiff_t r = 0; r < p->runs; r++) {
        const REAL *left = a + p->a_runs[r];
        const REAL *upper = b + p->b_runs[r], *lower = b + p->b_runs[p->runs + r];
        for (ptrdiff_t k = p->depth; k > 0; k--) {
            VECTOR weights[WIDE_ROWS / 2];
#pragma GCC unroll 6
            for (int f = 0; f < filters; f++)
                weights[f] = left[f] - (VECTOR){0};
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                VECTOR pixels = LOAD((i < 2 ? upper : lower) + i % 2 * LANES);
                IN_REGISTER(pixels); /* for few filters GCC would read it again and again, across two cache lines */
#pragma GCC unroll 6
                for (int f = 0; f < filters; f++)
                    sums[4 * f + i] += weights[f] * pixels;
            }
            left += a_depth;
            upper += b_depth;
            lower += b_depth;
        }
    }

    /* By way of memory: windows of a filter are neighbours here, filters of a window where they go to. */
    REAL maxima[WIDE_ROWS / 2][LANES];
    MASK packed[(WIDE_ROWS / 2 + 3) / 4] = {{0}};
#pragma GCC unroll 6
    for (int f = 0; f < filters; f++) {
        const VECTOR *sum = sums + 4 * f;
        const VECTOR shift = (bias ? bias[f] : 0) - (VECTOR){0};
        VECTOR most = SHUFFLE(sum[0], sum[1], EVEN) + shift;
        MASK place = {0};
        NAME(take_cell)(SHUFFLE(sum[0], sum[1], ODD) + shift, 1, &most, &place);
        NAME(take_cell)(SHUFFLE(sum[2], sum[3], EVEN) + shift, 2, &most, &place);
        NAME(take_cell)(SHUFFLE(sum[2], sum[3], ODD) + shift, 3, &most, &place);
        if (p->relu)
            NAME(gate_cells)(&most, &place);
        STORE(maxima[f], most);
        packed[f / 4] |= place << (8 * (f % 4));
    }
    BITS four_places[(WIDE_ROWS / 2 + 3) / 4][LANES];
    memcpy(four_places, packed, sizeof packed);
#pragma GCC unroll 16
    for (int w = 0; w < LANES; w++)
        if (targets[w] >= 0)
            NAME(write_window)(filters, maxima, four_places, LANE_OF(w), best + targets[w],
                               place_at(places, targets[w]));
}

#undef LANE_OF
#undef HALF
#undef PAIR
#undef ODD
#undef EVEN

/* Where the next LANES windows go, from one at a row and a column on. */
TARGET ALWAYS_INLINE void NAME(next_targets)(const plane_windows *windows, ptrdiff_t c_row, ptrdiff_t *row,
                                             ptrdiff_t *column, ptrdiff_t *targets)
{
    for (int w = 0; w < LANES; w++) {
        const int kept = *column < windows->kept && *row < windows->rows;
        targets[w] = kept ? (*row * windows->kept + *column) * c_row : -1;
        if (++*column == windows->row)
            *column = 0, ++*row;
    }
}

#define CASE(filters)                                                                                        \
    case filters:                                                                                            \
        NAME(pool_filters)(filters, p, targets, a + f, b + 2 * w, bias ? bias + f : bias, best + f,          \
                           place_at(places, f));                                                             \
        break;

TARGET static void NAME(pool_planes)(ptrdiff_t filters, const plane_windows *windows, const product *p, const void *a_,
                                     const void *b_, void *best_, uint8_t *places)
{
    const REAL *a = a_, *b = b_, *bias = p->bias;
    REAL *best = best_;
    const ptrdiff_t groups = (filters + WIDE_ROWS / 2 - 1) / (WIDE_ROWS / 2);
    const ptrdiff_t end = (windows->rows - 1) * windows->row + windows->kept;
    ptrdiff_t row = 0, column = 0, targets[LANES];
    for (ptrdiff_t w = 0; w < end; w += LANES) {
        NAME(next_targets)(windows, p->c_row, &row, &column, targets);
        for (ptrdiff_t group = 0; group < groups; group++) {
            const ptrdiff_t f = filters * group / groups;
            switch (filters * (group + 1) / groups - f) {
                CASE(1) CASE(2) CASE(3)
#if WIDE_ROWS > 6
                CASE(4) CASE(5) CASE(6)
#endif
            }
        }
    }
}

#undef CASE

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
                           place_at(places, w * p->c_row + j));
    }
}

TARGET static void NAME(pool_planes)(ptrdiff_t filters, const plane_windows *windows, const product *p, const void *a_,
                                     const void *b_, void *best_, uint8_t *places)
{
    const REAL *a = (const REAL *)a_, *b = (const REAL *)b_, *bias = (const REAL *)p->bias;
    REAL *best = (REAL *)best_;
    for (ptrdiff_t w = 0; w < windows->rows * windows->kept; w++)
        for (ptrdiff_t f = 0; f < filters; f++) {
            const REAL *from = b + 2 * (w / windows->kept * windows->row + w % windows->kept);
            REAL sums[4] = {0};
            for (int i = 0; i < 4; i++) {
                for (ptrdiff_t r = 0; r < p->runs; r++)
                    for (ptrdiff_t k = 0; k < p->depth; k++)
                        sums[i] += a[p->a_runs[r] + k * p->a_depth + f]
                            * from[p->b_runs[i / 2 * p->runs + r] + k * p->b_depth + i % 2];
                sums[i] += bias ? bias[f] : 0;
            }
            NAME(max_cell)(sums, 2, 2, 2, 1, p->relu, best + w * p->c_row + f, place_at(places, w * p->c_row + f));
        }
}

#endif
