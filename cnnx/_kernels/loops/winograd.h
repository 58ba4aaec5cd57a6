/* The transforms around Winograd's products, for pieces of filters and `side` x `side` outputs at a time. A template
 * like gemm.h.
 *
 * With the pixels d below the outputs y of a tile, and the filter g, all of them for one channel and one filter,
 *
 *   y = A^T [(G g G^T) o (B^T d B)] A          o: element by element
 *
 * For 3x3 filters and 2x2 outputs these are 16 products instead of 36:
 *
 *         1  0 -1  0         1   0   0                   1  1  1  0
 *   B^T = 0  1  1  0    G = 1/2 1/2 1/2            A^T = 0  1 -1 -1
 *         0 -1  1  0        1/2-1/2 1/2
 *         0  1  0 -1         0   0   1
 *
 * for 4x4 outputs 36 instead of 144, and with r = sqrt 2
 *
 *         1   0  -5/2  0   1   0         1    0    0
 *         0  -r   -2  1/r  1   0       -2/3 -r/3 -1/3           1   1   1   1   1   0
 *   B^T = 0   r   -2 -1/r  1   0   G = -2/3  r/3 -1/3     A^T = 0  1/r-1/r  r  -r   0
 *         0 -1/r -1/2  r   1   0        1/6  r/6  1/3           0  1/2 1/2  2   2   0
 *         0  1/r -1/2 -r   1   0        1/6 -r/6  1/3           0  r/4-r/4 2r -2r   1
 *         0   1    0 -5/2  0   1         0    0    1
 *
 * and for 4x4 filters and 3x3 outputs, also 36 instead of 144, with the same B,
 *
 *         1    0    0    0
 *       -2/3 -r/3 -1/3 -r/6               1   1   1   1   1   0
 *   G = -2/3  r/3 -1/3  r/6         A^T = 0  1/r-1/r  r  -r   0
 *        1/6  r/6  1/3  r/3               0  1/2 1/2  2   2   1
 *        1/6 -r/6  1/3 -r/3
 *         0    0    0    1
 *
 * Both brackets are linear, so y's gradient h goes back to the filter as G^T [(A h A^T) o (B^T d B)] G.
 *
 * Polynomials are multiplied by their values at some points: at 0, 1, -1 and infinity, or at 0, 1/r, -1/r, r, -r and
 * infinity. Whole numbers, 0, 1, -1, 2, -2, which make fewer multiplications, double the error.
 *
 * Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016; Winograd, "Arithmetic Complexity of
 * Computations", 1980; Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution", 2020.
 *
 * Each element of a tile has a matrix of its own, `plane` apart from the next. Vectors run over channels or filters
 * and may write past the last one: that is the next tile, which is written after it, or room behind the matrix.
 */

#define ROOT ((REAL)1.4142135623730950488)
#define HALF_ROOT ((REAL)0.7071067811865475244)
#define LONGEST_LINE 6 /* of a tile's elements */
#define LONGEST_SIDE 4 /* of outputs or taps */
#define TAPS(side) ((side) == 3 ? 4 : 3)
#define LINE(side) ((side) + TAPS(side) - 1)

/* B^T d of a column or row of a tile; those of `to` are `step` apart. */
TARGET ALWAYS_INLINE void NAME(line_of_pixels)(const int side, const VECTOR *d, VECTOR *to, const int step)
{
    if (side == 2) {
        to[0 * step] = d[0] - d[2];
        to[1 * step] = d[1] + d[2];
        to[2 * step] = d[2] - d[1];
        to[3 * step] = d[1] - d[3];
    } else {
        const VECTOR even = d[4] - d[2] * 2, odd = d[3] - d[1] * 2;
        const VECTOR wide_even = d[4] - d[2] * (REAL)0.5, wide_odd = d[3] - d[1] * (REAL)0.5;
        to[0 * step] = (d[0] - d[2] * 2) + wide_even;
        to[1 * step] = even + odd * HALF_ROOT;
        to[2 * step] = even - odd * HALF_ROOT;
        to[3 * step] = wide_even + wide_odd * ROOT;
        to[4 * step] = wide_even - wide_odd * ROOT;
        to[5 * step] = (d[1] - d[3] * (REAL)2.5) + d[5];
    }
}

/* G g */
TARGET ALWAYS_INLINE void NAME(line_of_filter)(const int side, const VECTOR *g, VECTOR *to, const int step)
{
    to[0] = g[0];
    if (side == 2) {
        to[1 * step] = ((g[0] + g[2]) + g[1]) * (REAL)0.5;
        to[2 * step] = ((g[0] + g[2]) - g[1]) * (REAL)0.5;
        to[3 * step] = g[2];
    } else {
        const VECTOR even = (g[0] * 2 + g[2]) * ((REAL)-1 / 3), wide_even = (g[0] + g[2] * 2) * ((REAL)1 / 6);
        const VECTOR odd = (side == 3 ? g[1] * 2 + g[3] : g[1] * 2) * (ROOT / -6);
        const VECTOR wide_odd = (side == 3 ? g[1] + g[3] * 2 : g[1]) * (ROOT / 6);
        to[1 * step] = even + odd;
        to[2 * step] = even - odd;
        to[3 * step] = wide_even + wide_odd;
        to[4 * step] = wide_even - wide_odd;
        to[5 * step] = g[TAPS(side) - 1];
    }
}

/* A^T m */
TARGET ALWAYS_INLINE void NAME(line_of_outputs)(const int side, const VECTOR *m, VECTOR *to, const int step)
{
    if (side == 2) {
        to[0 * step] = (m[0] + m[1]) + m[2];
        to[1 * step] = (m[1] - m[2]) - m[3];
    } else {
        const VECTOR even = m[1] + m[2], odd = m[1] - m[2], wide_even = m[3] + m[4], wide_odd = m[3] - m[4];
        to[0 * step] = (m[0] + even) + wide_even;
        to[1 * step] = odd * HALF_ROOT + wide_odd * ROOT;
        to[2 * step] = even * (REAL)0.5 + wide_even * 2;
        if (side == 3)
            to[2 * step] += m[5];
        else
            to[3 * step] = (odd * (ROOT / 4) + wide_odd * (2 * ROOT)) + m[5];
    }
}

/* A h */
TARGET ALWAYS_INLINE void NAME(line_of_gradients)(const int side, const VECTOR *h, VECTOR *to, const int step)
{
    to[0] = h[0];
    if (side == 2) {
        to[1 * step] = h[0] + h[1];
        to[2 * step] = h[0] - h[1];
        to[3 * step] = -h[1];
    } else {
        const VECTOR even = h[0] + h[2] * (REAL)0.5, odd = side == 3 ? h[1] : h[1] + h[3] * (REAL)0.5;
        const VECTOR wide_even = h[0] + h[2] * 2, wide_odd = side == 3 ? h[1] : h[1] + h[3] * 2;
        to[1 * step] = even + odd * HALF_ROOT;
        to[2 * step] = even - odd * HALF_ROOT;
        to[3 * step] = wide_even + wide_odd * ROOT;
        to[4 * step] = wide_even - wide_odd * ROOT;
        to[5 * step] = h[side - 1];
    }
}

/* G^T s */
TARGET ALWAYS_INLINE void NAME(line_of_weights)(const int side, const VECTOR *s, VECTOR *to, const int step)
{
    if (side == 2) {
        const VECTOR s1 = s[1] * (REAL)0.5, s2 = s[2] * (REAL)0.5;
        to[0 * step] = s[0] + (s1 + s2);
        to[1 * step] = s1 - s2;
        to[2 * step] = (s1 + s2) + s[3];
    } else {
        const VECTOR even = (s[1] + s[2]) * ((REAL)-1 / 3), wide_even = (s[3] + s[4]) * ((REAL)1 / 6);
        to[0 * step] = s[0] + (even * 2 + wide_even);
        to[1 * step] = (s[1] - s[2]) * (ROOT / -3) + (s[3] - s[4]) * (ROOT / 6);
        to[2 * step] = even + wide_even * 2;
        if (side == 3)
            to[3 * step] = ((s[1] - s[2]) * (ROOT / -6) + (s[3] - s[4]) * (ROOT / 3)) + s[5];
        else
            to[2 * step] += s[5];
    }
}

/* Each a function of its own, in which the side is a constant. */
#define FOR_EACH_SIDE(function, ...)      \
    if (side == 2)                        \
        function(2, __VA_ARGS__);         \
    else if (side == 3)                   \
        function(3, __VA_ARGS__);         \
    else                                  \
        function(4, __VA_ARGS__);

/* B^T d B for a line of tiles, whose pixels' rows are `row` apart: a row of channels for each tile. */
TARGET ALWAYS_INLINE void NAME(transform_pixels)(const int side, ptrdiff_t tiles, ptrdiff_t channels, const REAL *line,
                                                 ptrdiff_t row, REAL *out_line, ptrdiff_t plane)
{
    const int length = LINE(side);
    for (ptrdiff_t t = 0; t < tiles; t++)
        for (ptrdiff_t c = 0; c < channels; c += LANES) {
            const REAL *x = line + side * t * channels + c;
            REAL *out = out_line + t * channels + c;
            VECTOR half[LONGEST_LINE * LONGEST_LINE];
#pragma GCC unroll 6
            for (int j = 0; j < length; j++) {
                VECTOR column[LONGEST_LINE];
#pragma GCC unroll 6
                for (int i = 0; i < length; i++)
                    column[i] = LOAD(x + i * row + j * channels);
                NAME(line_of_pixels)(side, column, half + j, length);
            }
#pragma GCC unroll 6
            for (int i = 0; i < length; i++) {
                VECTOR elements[LONGEST_LINE];
                NAME(line_of_pixels)(side, half + i * length, elements, 1);
#pragma GCC unroll 6
                for (int j = 0; j < length; j++)
                    STORE(out + (i * length + j) * plane, elements[j]);
            }
        }
}

TARGET static void NAME(winograd_pixels)(ptrdiff_t side, ptrdiff_t tiles, ptrdiff_t channels, const void *x,
                                         ptrdiff_t row, void *out, ptrdiff_t plane)
{
    FOR_EACH_SIDE(NAME(transform_pixels), tiles, channels, x, row, out, plane)
}

/* G g G^T for a piece of a panel of `columns` filters, `width` wide: a row for each channel. */
TARGET ALWAYS_INLINE void NAME(transform_filters)(const int side, const filter_piece *p, ptrdiff_t columns,
                                                  ptrdiff_t width, const REAL *w_, REAL *out_, ptrdiff_t plane)
{
    const int taps = TAPS(side), length = LINE(side);
    const VECTOR none = {0};
    for (ptrdiff_t c = 0; c < p->channels; c++)
        for (ptrdiff_t f = 0; f < width; f += LANES) {
            const ptrdiff_t lanes = columns - f < LANES ? columns - f : LANES;
            const REAL *w = w_ + c * p->channel + f;
            REAL *out = out_ + c * width + f;
            VECTOR half[LONGEST_LINE * LONGEST_SIDE];
#pragma GCC unroll 4
            for (int j = 0; j < taps; j++) {
                VECTOR column[LONGEST_SIDE];
#pragma GCC unroll 4
                for (int i = 0; i < taps; i++)
                    column[i] = i < p->rows && j < p->columns ? NAME(load_part)(w + i * p->tap_row + j * p->tap, lanes)
                                                              : none;
                NAME(line_of_filter)(side, column, half + j, taps);
            }
#pragma GCC unroll 6
            for (int i = 0; i < length; i++) {
                VECTOR elements[LONGEST_LINE];
                NAME(line_of_filter)(side, half + taps * i, elements, 1);
#pragma GCC unroll 6
                for (int j = 0; j < length; j++)
                    STORE(out + (i * length + j) * plane, elements[j]);
            }
        }
}

TARGET static void NAME(winograd_filters)(ptrdiff_t side, const filter_piece *p, ptrdiff_t columns, ptrdiff_t width,
                                          const void *w, void *out, ptrdiff_t plane)
{
    FOR_EACH_SIDE(NAME(transform_filters), p, columns, width, w, out, plane)
}

/* relu(A^T m A + bias) for a line of tiles, of which `rows` x `columns` outputs are kept; m has a row of `width` for
 * each tile. */
TARGET ALWAYS_INLINE void NAME(transform_outputs)(const int side, ptrdiff_t tiles, ptrdiff_t filters, ptrdiff_t width,
                                                  const REAL *m_, ptrdiff_t plane, const REAL *bias, int relu,
                                                  ptrdiff_t rows, ptrdiff_t columns, REAL *out_, ptrdiff_t row)
{
    const int length = LINE(side);
    for (ptrdiff_t t = 0; t < tiles; t++)
        for (ptrdiff_t f = 0; f < filters; f += LANES) {
            const ptrdiff_t lanes = filters - f < LANES ? filters - f : LANES;
            const REAL *m = m_ + t * width + f;
            REAL *out = out_ + side * t * filters + f;
            const VECTOR offset = LOAD(bias + f);
            VECTOR half[LONGEST_SIDE * LONGEST_LINE];
#pragma GCC unroll 6
            for (int j = 0; j < length; j++) {
                VECTOR column[LONGEST_LINE];
#pragma GCC unroll 6
                for (int i = 0; i < length; i++)
                    column[i] = LOAD(m + (i * length + j) * plane);
                NAME(line_of_outputs)(side, column, half + j, length);
            }
#pragma GCC unroll 4
            for (int i = 0; i < side; i++) {
                VECTOR y[LONGEST_SIDE];
                NAME(line_of_outputs)(side, half + i * length, y, 1);
                if (i >= rows)
                    break;
#pragma GCC unroll 4
                for (int j = 0; j < side; j++) {
                    REAL *to = out + i * row + j * filters;
                    VECTOR sum = y[j] + offset;
                    if (relu)
                        sum = RELU(sum);
                    if (side * t + j >= columns)
                        break;
                    NAME(store_part)(to, lanes, sum);
                }
            }
        }
}

TARGET static void NAME(winograd_outputs)(ptrdiff_t side, ptrdiff_t tiles, ptrdiff_t filters, ptrdiff_t width,
                                          const void *m, ptrdiff_t plane, const void *bias, int relu, ptrdiff_t rows,
                                          ptrdiff_t columns, void *out, ptrdiff_t row)
{
    FOR_EACH_SIDE(NAME(transform_outputs), tiles, filters, width, m, plane, bias, relu, rows, columns, out, row)
}

/* A h A^T for a line of tiles and a panel of `width` filters of all `filters`: a row for each tile. The sums of h are
 * added to those of `totals`. */
TARGET ALWAYS_INLINE void NAME(transform_gradients)(const int side, ptrdiff_t tiles, ptrdiff_t filters, ptrdiff_t width,
                                                    const REAL *h_, ptrdiff_t row, REAL *out_, ptrdiff_t plane,
                                                    REAL *totals)
{
    const int length = LINE(side);
    for (ptrdiff_t t = 0; t < tiles; t++)
        for (ptrdiff_t f = 0; f < width; f += LANES) {
            const REAL *h = h_ + side * t * filters + f;
            REAL *out = out_ + t * width + f;
            VECTOR half[LONGEST_LINE * LONGEST_SIDE], total = {0};
#pragma GCC unroll 4
            for (int j = 0; j < side; j++) {
                VECTOR column[LONGEST_SIDE], sum = {0};
#pragma GCC unroll 4
                for (int i = 0; i < side; i++) {
                    column[i] = LOAD(h + i * row + j * filters);
                    sum += column[i];
                }
                total += sum;
                NAME(line_of_gradients)(side, column, half + j, side);
            }
            STORE(totals + f, LOAD(totals + f) + total);
#pragma GCC unroll 6
            for (int i = 0; i < length; i++) {
                VECTOR elements[LONGEST_LINE];
                NAME(line_of_gradients)(side, half + i * side, elements, 1);
#pragma GCC unroll 6
                for (int j = 0; j < length; j++)
                    STORE(out + (i * length + j) * plane, elements[j]);
            }
        }
}

TARGET static void NAME(winograd_gradients)(ptrdiff_t side, ptrdiff_t tiles, ptrdiff_t filters, ptrdiff_t width,
                                            const void *h, ptrdiff_t row, void *out, ptrdiff_t plane, void *totals)
{
    FOR_EACH_SIDE(NAME(transform_gradients), tiles, filters, width, h, row, out, plane, totals)
}

/* G^T s G for a piece of a panel of `columns` filters, `width` wide, where s has a row for each channel. */
TARGET ALWAYS_INLINE void NAME(transform_weights)(const int side, const filter_piece *p, ptrdiff_t columns,
                                                  ptrdiff_t width, const REAL *sums_, ptrdiff_t plane, REAL *out_)
{
    const int taps = TAPS(side), length = LINE(side);
    for (ptrdiff_t c = 0; c < p->channels; c++)
        for (ptrdiff_t f = 0; f < columns; f += LANES) {
            const ptrdiff_t lanes = columns - f < LANES ? columns - f : LANES;
            const REAL *sums = sums_ + c * width + f;
            REAL *out = out_ + c * p->channel + f;
            VECTOR half[LONGEST_SIDE * LONGEST_LINE];
#pragma GCC unroll 6
            for (int j = 0; j < length; j++) {
                VECTOR column[LONGEST_LINE];
#pragma GCC unroll 6
                for (int i = 0; i < length; i++)
                    column[i] = LOAD(sums + (i * length + j) * plane);
                NAME(line_of_weights)(side, column, half + j, length);
            }
#pragma GCC unroll 4
            for (int i = 0; i < taps; i++) {
                VECTOR row[LONGEST_SIDE];
                NAME(line_of_weights)(side, half + i * length, row, 1);
#pragma GCC unroll 4
                for (int j = 0; j < taps; j++)
                    if (i < p->rows && j < p->columns)
                        NAME(store_part)(out + i * p->tap_row + j * p->tap, lanes, row[j]);
            }
        }
}

TARGET static void NAME(winograd_weights)(ptrdiff_t side, const filter_piece *p, ptrdiff_t columns, ptrdiff_t width,
                                          const void *sums, ptrdiff_t plane, void *out)
{
    FOR_EACH_SIDE(NAME(transform_weights), p, columns, width, sums, plane, out)
}

#undef FOR_EACH_SIDE
#undef LINE
#undef TAPS
#undef LONGEST_SIDE
#undef LONGEST_LINE
#undef HALF_ROOT
#undef ROOT
