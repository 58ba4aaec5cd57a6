/* The transforms around Winograd's products, for 3x3 filters and 2x2 outputs at a time. A template like gemm.h.
 *
 * With the 4x4 pixels d below 2x2 outputs y, and the filter g, all of them for one channel and one filter,
 *
 *   y = A^T [(G g G^T) o (B^T d B)] A          o: element by element, 16 products instead of 36
 *
 *         1  0 -1  0         1   0   0                   1  1  1  0
 *   B^T = 0  1  1  0    G = 1/2 1/2 1/2            A^T = 0  1 -1 -1
 *         0 -1  1  0        1/2-1/2 1/2
 *         0  1  0 -1         0   0   1
 *
 * Both brackets are linear, so y's gradient h goes back to the filter as G^T [(A h A^T) o (B^T d B)] G.
 *
 * Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016; Winograd, "Arithmetic Complexity of
 * Computations", 1980.
 *
 * Each of the 16 elements has a matrix of its own, `plane` apart from the next. Vectors run over channels or filters
 * and may write past the last one: that is the next tile, which is written after it, or room behind the matrix.
 */

/* B^T d B for a line of tiles, whose pixels' rows are `row` apart: a row of channels for each tile. */
TARGET static void NAME(winograd_pixels)(ptrdiff_t tiles, ptrdiff_t channels, const void *x_, ptrdiff_t row, void *out_,
                                         ptrdiff_t plane)
{
    for (ptrdiff_t t = 0; t < tiles; t++)
        for (ptrdiff_t c = 0; c < channels; c += LANES) {
            const REAL *x = (const REAL *)x_ + 2 * t * channels + c;
            REAL *out = (REAL *)out_ + t * channels + c;
            VECTOR half[4][4];
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                const VECTOR d0 = LOAD(x + j * channels), d1 = LOAD(x + row + j * channels);
                const VECTOR d2 = LOAD(x + 2 * row + j * channels), d3 = LOAD(x + 3 * row + j * channels);
                half[0][j] = d0 - d2;
                half[1][j] = d1 + d2;
                half[2][j] = d2 - d1;
                half[3][j] = d1 - d3;
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                STORE(out + (4 * i + 0) * plane, half[i][0] - half[i][2]);
                STORE(out + (4 * i + 1) * plane, half[i][1] + half[i][2]);
                STORE(out + (4 * i + 2) * plane, half[i][2] - half[i][1]);
                STORE(out + (4 * i + 3) * plane, half[i][1] - half[i][3]);
            }
        }
}

/* G g G^T for a panel of `columns` filters, `width` wide: a row for each channel. Taps are `tap` apart, channels `row`. */
TARGET static void NAME(winograd_filters)(ptrdiff_t channels, ptrdiff_t columns, ptrdiff_t width, const void *w_,
                                          ptrdiff_t row, ptrdiff_t tap, void *out_, ptrdiff_t plane)
{
    for (ptrdiff_t c = 0; c < channels; c++)
        for (ptrdiff_t f = 0; f < width; f += LANES) {
            const REAL *w = (const REAL *)w_ + c * row + f;
            REAL *out = (REAL *)out_ + c * width + f;
            REAL edge[9 * LANES];
            ptrdiff_t w_tap = tap;
            if (f + LANES > columns) {
                for (int i = 0; i < 9; i++)
                    for (ptrdiff_t j = 0; j < LANES; j++)
                        edge[i * LANES + j] = f + j < columns ? w[i * tap + j] : 0;
                w = edge, w_tap = LANES;
            }
            VECTOR half[4][3];
#pragma GCC unroll 3
            for (int j = 0; j < 3; j++) {
                const VECTOR g0 = LOAD(w + j * w_tap), g1 = LOAD(w + (3 + j) * w_tap), g2 = LOAD(w + (6 + j) * w_tap);
                half[0][j] = g0;
                half[1][j] = ((g0 + g2) + g1) * (REAL)0.5;
                half[2][j] = ((g0 + g2) - g1) * (REAL)0.5;
                half[3][j] = g2;
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                const VECTOR sum = half[i][0] + half[i][2];
                STORE(out + (4 * i + 0) * plane, half[i][0]);
                STORE(out + (4 * i + 1) * plane, (sum + half[i][1]) * (REAL)0.5);
                STORE(out + (4 * i + 2) * plane, (sum - half[i][1]) * (REAL)0.5);
                STORE(out + (4 * i + 3) * plane, half[i][2]);
            }
        }
}

/* relu(A^T m A + bias) for a line of tiles, of which `rows` x `columns` outputs are kept; m has a row of `width` for
 * each tile. */
TARGET static void NAME(winograd_outputs)(ptrdiff_t tiles, ptrdiff_t filters, ptrdiff_t width, const void *m_,
                                          ptrdiff_t plane, const void *bias, int relu, ptrdiff_t rows,
                                          ptrdiff_t columns, void *out_, ptrdiff_t row)
{
    for (ptrdiff_t t = 0; t < tiles; t++)
        for (ptrdiff_t f = 0; f < filters; f += LANES) {
            const REAL *m = (const REAL *)m_ + t * width + f;
            REAL *out = (REAL *)out_ + 2 * t * filters + f;
            VECTOR half[2][4], y[2][2];
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                const VECTOR m0 = LOAD(m + j * plane), m1 = LOAD(m + (4 + j) * plane);
                const VECTOR m2 = LOAD(m + (8 + j) * plane), m3 = LOAD(m + (12 + j) * plane);
                half[0][j] = (m0 + m1) + m2;
                half[1][j] = (m1 - m2) - m3;
            }
#pragma GCC unroll 2
            for (int i = 0; i < 2; i++) {
                y[i][0] = (half[i][0] + half[i][1]) + half[i][2];
                y[i][1] = (half[i][1] - half[i][2]) - half[i][3];
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                VECTOR sum = y[i / 2][i % 2];
                sum += LOAD((const REAL *)bias + f);
                if (relu)
                    sum = RELU(sum);
                if (i / 2 >= rows || 2 * t + i % 2 >= columns)
                    continue;
                REAL *to = out + i / 2 * row + i % 2 * filters;
                if (f + LANES <= filters)
                    STORE(to, sum);
                else {
                    REAL edge[LANES];
                    STORE(edge, sum);
                    for (ptrdiff_t j = 0; f + j < filters; j++)
                        to[j] = edge[j];
                }
            }
        }
}

/* A h A^T for a line of tiles and a panel of `width` filters of all `filters`: a row for each tile. */
TARGET static void NAME(winograd_gradients)(ptrdiff_t tiles, ptrdiff_t filters, ptrdiff_t width, const void *h_,
                                            ptrdiff_t row, void *out_, ptrdiff_t plane)
{
    for (ptrdiff_t t = 0; t < tiles; t++)
        for (ptrdiff_t f = 0; f < width; f += LANES) {
            const REAL *h = (const REAL *)h_ + 2 * t * filters + f;
            REAL *out = (REAL *)out_ + t * width + f;
            VECTOR half[4][2];
#pragma GCC unroll 2
            for (int j = 0; j < 2; j++) {
                const VECTOR h0 = LOAD(h + j * filters), h1 = LOAD(h + row + j * filters);
                half[0][j] = h0;
                half[1][j] = h0 + h1;
                half[2][j] = h0 - h1;
                half[3][j] = -h1;
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                STORE(out + (4 * i + 0) * plane, half[i][0]);
                STORE(out + (4 * i + 1) * plane, half[i][0] + half[i][1]);
                STORE(out + (4 * i + 2) * plane, half[i][0] - half[i][1]);
                STORE(out + (4 * i + 3) * plane, -half[i][1]);
            }
        }
}

/* G^T s G for a panel of `columns` filters, `width` wide, where s has a row for each channel. */
TARGET static void NAME(winograd_weights)(ptrdiff_t channels, ptrdiff_t columns, ptrdiff_t width, const void *sums_,
                                          ptrdiff_t plane, void *out_, ptrdiff_t row, ptrdiff_t tap)
{
    for (ptrdiff_t c = 0; c < channels; c++)
        for (ptrdiff_t f = 0; f < columns; f += LANES) {
            const REAL *sums = (const REAL *)sums_ + c * width + f;
            REAL *out = (REAL *)out_ + c * row + f;
            VECTOR half[3][4];
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                const VECTOR s1 = LOAD(sums + (4 + j) * plane) * (REAL)0.5;
                const VECTOR s2 = LOAD(sums + (8 + j) * plane) * (REAL)0.5;
                half[0][j] = LOAD(sums + j * plane) + (s1 + s2);
                half[1][j] = s1 - s2;
                half[2][j] = (s1 + s2) + LOAD(sums + (12 + j) * plane);
            }
#pragma GCC unroll 3
            for (int i = 0; i < 3; i++) {
                const VECTOR s1 = half[i][1] * (REAL)0.5, s2 = half[i][2] * (REAL)0.5;
                const VECTOR taps[3] = {half[i][0] + (s1 + s2), s1 - s2, (s1 + s2) + half[i][3]};
#pragma GCC unroll 3
                for (int j = 0; j < 3; j++) {
                    REAL *to = out + (3 * i + j) * tap;
                    if (f + LANES <= columns)
                        STORE(to, taps[j]);
                    else {
                        REAL edge[LANES];
                        STORE(edge, taps[j]);
                        for (ptrdiff_t k = 0; f + k < columns; k++)
                            to[k] = edge[k];
                    }
                }
            }
        }
}
