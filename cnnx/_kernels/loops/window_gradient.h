/* The gradient of few weights straight from that of the max pooling behind the convolution; a template like gemm.h.
 *
 *   sums[f, i, k] += sum over windows of  grad[window, f] * x[window + cells[places[window, f]] + i * x_row + k]
 *
 * and the gradients to totals[f]; i < filter_rows, k < filter_columns. With so few weights it would take longer to list
 * the windows that have a gradient (pooled_gradient.h) than to add them all: a closed one adds zero. The windows are
 * walked in row-major order, and the sums go on from call to call. A row of sums has room for whole vectors.
 */

#ifdef VECTOR_BYTES

/* Registers hold the sums of up to six vectors for each of two filters, or four for each of three. */
#define MOST_SUMS 12
#define FILTERS(sums) ((sums) <= 4 ? 3 : 2)
#define KEY(rows, vectors, odd) ((rows) * 8 + (vectors) * 2 + (odd))
#define CASES                                                                                       \
    CASE(1, 1, 0) CASE(2, 1, 0) CASE(3, 1, 0) CASE(4, 1, 0) CASE(5, 1, 0) CASE(6, 1, 0)             \
    CASE(1, 1, 1) CASE(2, 1, 1) CASE(3, 1, 1) CASE(1, 2, 0) CASE(2, 2, 0) CASE(3, 2, 0)

/* All but the pointers are constants wherever this is inlined. Vectors may read past the last column of x; a single
 * column more than a vector (`odd`), as of three colours under three columns, is not worth one. `totals` may be NULL. */
TARGET ALWAYS_INLINE void NAME(add_windows)(const int filters, const int rows, const int vectors, const int odd,
                                            const window_band *p, const REAL *grad, const uint8_t *places,
                                            const REAL *x, REAL *sums, REAL *totals)
{
    const ptrdiff_t x_row = p->x_row, x_stride = p->x_stride, grad_stride = p->grad_stride;
    const ptrdiff_t filter = p->filter_rows * p->sums_row;
    const ptrdiff_t *cells = p->cells;
    VECTOR sum[MOST_SUMS];
    REAL single[MOST_SUMS], total[3];
#pragma GCC unroll 3
    for (int f = 0; f < filters; f++) {
        total[f] = totals ? totals[f] : 0;
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            const REAL *from = sums + f * filter + i * p->sums_row;
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                sum[(f * rows + i) * vectors + v] = LOAD(from + v * LANES);
            single[f * rows + i] = odd ? from[vectors * LANES] : 0;
        }
    }
    for (ptrdiff_t row = 0; row < p->rows; row++) {
        const REAL *window = x + row * p->x_line, *gradients = grad + row * p->grad_line;
        const uint8_t *place = places + row * p->grad_line;
        for (ptrdiff_t column = 0; column < p->columns; column++) {
#pragma GCC unroll 3
            for (int f = 0; f < filters; f++) {
                /* A branch would be taken for half of the windows, unforeseen. */
                BITS bits;
                memcpy(&bits, gradients + f, sizeof bits);
                bits &= -(BITS)(place[f] != CLOSED);
                REAL gradient;
                memcpy(&gradient, &bits, sizeof bits);
                const REAL *at = window + cells[place[f]];
                const VECTOR left = gradient - (VECTOR){0};
                total[f] += gradient;
#pragma GCC unroll 6
                for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
                    for (int v = 0; v < vectors; v++)
                        sum[(f * rows + i) * vectors + v] += left * LOAD(at + i * x_row + v * LANES);
                    if (odd)
                        single[f * rows + i] += gradient * at[i * x_row + vectors * LANES];
                }
            }
            window += x_stride;
            gradients += grad_stride;
            place += grad_stride;
        }
    }
#pragma GCC unroll 3
    for (int f = 0; f < filters; f++) {
        if (totals)
            totals[f] = total[f];
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            REAL *to = sums + f * filter + i * p->sums_row;
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                STORE(to + v * LANES, sum[(f * rows + i) * vectors + v]);
            if (odd)
                to[vectors * LANES] = single[f * rows + i];
        }
    }
}

/* Some filters at a time, and the rest one by one. */
TARGET ALWAYS_INLINE void NAME(add_filters)(const int rows, const int vectors, const int odd, const window_band *p,
                                            const REAL *grad, const uint8_t *places, const REAL *x, REAL *sums,
                                            REAL *totals)
{
    const int most = FILTERS(rows * (vectors + odd));
    const ptrdiff_t filter = p->filter_rows * p->sums_row;
    ptrdiff_t f = 0;
    for (; f + most <= p->filters; f += most)
        NAME(add_windows)(most, rows, vectors, odd, p, grad + f, places + f, x, sums + f * filter,
                          totals ? totals + f : NULL);
    for (; f < p->filters; f++)
        NAME(add_windows)(1, rows, vectors, odd, p, grad + f, places + f, x, sums + f * filter,
                          totals ? totals + f : NULL);
}

TARGET static void NAME(window_gradient)(const window_band *p, const void *grad, const uint8_t *places, const void *x_,
                                         void *sums_, void *totals_)
{
#if VECTOR_BYTES == 64
    /* A vector wider than a filter's row would only reach into another cache line, for every window. */
    if (p->filter_columns <= 32 / REAL_BYTES + 1) {
        JOIN(window_gradient, JOIN(avx2, REAL))(p, grad, places, x_, sums_, totals_);
        return;
    }
#endif
    const REAL *x = x_;
    REAL *sums = sums_, *totals = totals_;
#if defined(NARROWER)
    if (p->filter_columns <= LANES / 2) {
        /* A whole vector would be mostly empty, and always lie across two cache lines. */
        JOIN(JOIN(window_gradient, NARROWER), REAL)(p, grad, places, x_, sums_, totals_);
        return;
    }
#endif
    for (ptrdiff_t k = 0, columns; k < p->filter_columns; k += columns) {
        const ptrdiff_t left = p->filter_columns - k, odd = left == LANES + 1, vectors = left <= LANES || odd ? 1 : 2;
        const ptrdiff_t most = 6 / (vectors + odd);
        columns = vectors * LANES + odd;
        for (ptrdiff_t i = 0; i < p->filter_rows; i += most) {
            const REAL *from = x + i * p->x_row + k;
            REAL *to = sums + i * p->sums_row + k;
            switch (KEY(p->filter_rows - i < most ? p->filter_rows - i : most, vectors, odd)) {
#define CASE(rows, vectors, odd)                                                    \
    case KEY(rows, vectors, odd):                                                   \
        NAME(add_filters)(rows, vectors, odd, p, grad, places, from, to, totals);   \
        break;
                CASES
#undef CASE
            }
            totals = NULL; /* they are taken once, with the first rows */
        }
    }
}

#undef CASES
#undef KEY
#undef FILTERS
#undef MOST_SUMS

#else

TARGET static void NAME(window_gradient)(const window_band *p, const void *grad, const uint8_t *places, const void *x,
                                         void *sums_, void *totals)
{
    REAL *sums = sums_;
    for (ptrdiff_t row = 0; row < p->rows; row++)
        for (ptrdiff_t column = 0; column < p->columns; column++)
            for (ptrdiff_t f = 0; f < p->filters; f++) {
                const uint8_t place = places[row * p->grad_line + column * p->grad_stride + f];
                const REAL gradient = ((const REAL *)grad)[row * p->grad_line + column * p->grad_stride + f];
                const REAL *at = (const REAL *)x + row * p->x_line + column * p->x_stride + p->cells[place];
                if (place == CLOSED)
                    continue;
                ((REAL *)totals)[f] += gradient;
                for (ptrdiff_t i = 0; i < p->filter_rows; i++)
                    for (ptrdiff_t k = 0; k < p->filter_columns; k++)
                        sums[(f * p->filter_rows + i) * p->sums_row + k] += gradient * at[i * p->x_row + k];
            }
}

#endif
