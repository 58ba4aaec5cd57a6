/* The weight gradient of a few filters, where images and gradients lie in planes, one for each channel or filter. A
 * template like gemm.h.
 *
 *   sums[f, t, lane] += sum over rows and columns = lane (mod lanes) of  grad[f, row, column] * x[offsets[t] + row, column]
 *
 * Vectors hold neighbouring positions, so none of them is mostly empty, however few filters and columns there are. The
 * lanes are added up once, at the end of all images.
 */

#define FILTERS_AT_A_TIME 3

#ifdef VECTOR_BYTES

#define MOST_SUMS 12 /* registers also hold the gradients and pixels */

/* `filters` and `taps` are constants wherever this is inlined, so the sums stay in registers. */
TARGET ALWAYS_INLINE void NAME(add_taps)(const int filters, const int taps, const plane_band *p, const REAL *x,
                                         const ptrdiff_t *offsets, const REAL *grad, REAL *sums)
{
    const ptrdiff_t x_row = p->x_row, grad_row = p->grad_row, grad_plane = p->grad_plane;
    const REAL *starts[MOST_SUMS];
    VECTOR sum[MOST_SUMS];
#pragma GCC unroll 12
    for (int t = 0; t < taps; t++)
        starts[t] = x + offsets[t];
#pragma GCC unroll 12
    for (int i = 0; i < filters * taps; i++)
        sum[i] = (VECTOR){0};
    for (ptrdiff_t row = 0; row < p->rows; row++)
        for (ptrdiff_t column = 0; column < p->columns; column += LANES) {
            VECTOR gradients[FILTERS_AT_A_TIME];
#pragma GCC unroll 3
            for (int f = 0; f < filters; f++)
                gradients[f] = LOAD(grad + f * grad_plane + row * grad_row + column);
#pragma GCC unroll 12
            for (int t = 0; t < taps; t++) {
                const VECTOR pixels = LOAD(starts[t] + row * x_row + column);
#pragma GCC unroll 3
                for (int f = 0; f < filters; f++)
                    sum[f * taps + t] += gradients[f] * pixels;
            }
        }
#pragma GCC unroll 3
    for (int f = 0; f < filters; f++)
#pragma GCC unroll 12
        for (int t = 0; t < taps; t++) {
            REAL *to = sums + (f * p->taps + t) * LANES;
            STORE(to, LOAD(to) + sum[f * taps + t]);
        }
}

#define CASE(filters, taps)                                           \
    case filters * 16 + taps:                                         \
        NAME(add_taps)(filters, taps, p, x, offsets + t, from, to);   \
        break;

TARGET static void NAME(plane_gradient)(ptrdiff_t filters, const plane_band *p, const void *x, const ptrdiff_t *offsets,
                                        const void *grad, void *sums)
{
    const ptrdiff_t groups = (filters + FILTERS_AT_A_TIME - 1) / FILTERS_AT_A_TIME;
    for (ptrdiff_t group = 0; group < groups; group++) {
        const ptrdiff_t f = filters * group / groups, count = filters * (group + 1) / groups - f;
        const ptrdiff_t most = MOST_SUMS / count, parts = (p->taps + most - 1) / most;
        const REAL *from = (const REAL *)grad + f * p->grad_plane;
        for (ptrdiff_t part = 0; part < parts; part++) {
            const ptrdiff_t t = p->taps * part / parts;
            REAL *to = (REAL *)sums + (f * p->taps + t) * LANES;
            switch (count * 16 + p->taps * (part + 1) / parts - t) {
                CASE(3, 1) CASE(3, 2) CASE(3, 3) CASE(3, 4)
                CASE(2, 1) CASE(2, 2) CASE(2, 3) CASE(2, 4) CASE(2, 5) CASE(2, 6)
                CASE(1, 1) CASE(1, 2) CASE(1, 3) CASE(1, 4) CASE(1, 5) CASE(1, 6)
                CASE(1, 7) CASE(1, 8) CASE(1, 9) CASE(1, 10) CASE(1, 11) CASE(1, 12)
            }
        }
    }
}

#undef CASE
#undef MOST_SUMS

#else

TARGET static void NAME(plane_gradient)(ptrdiff_t filters, const plane_band *p, const void *x, const ptrdiff_t *offsets,
                                        const void *grad, void *sums)
{
    enum { lanes = 16 / sizeof(REAL) };
    for (ptrdiff_t f = 0; f < filters; f++)
        for (ptrdiff_t t = 0; t < p->taps; t++) {
            REAL *sum = (REAL *)sums + (f * p->taps + t) * lanes;
            for (ptrdiff_t row = 0; row < p->rows; row++)
                for (ptrdiff_t column = 0; column < p->columns; column++)
                    sum[column % lanes] += ((const REAL *)grad)[f * p->grad_plane + row * p->grad_row + column]
                        * ((const REAL *)x)[offsets[t] + row * p->x_row + column];
        }
}

#endif

#undef FILTERS_AT_A_TIME
