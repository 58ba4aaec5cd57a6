/* Gradients of a convolution straight from the gradient of the max pooling behind it; a template like gemm.h.
 *
 * Only one position of each window has a gradient, and not even that one where ReLU has closed it or dropout has
 * struck it out. So these loops walk a list of the positions that have one, instead of all of them.
 *
 * A position that is left out would have added exactly zero, and the others are added in the order in which the
 * product over the spread gradient adds them, with the same multiply-add: no bit differs.
 */

#ifdef VECTOR_BYTES

/* As many sums as registers hold: rows of the filter, and vectors of a row. */
#define MOST_SUMS 12
#define CASES_OF_SIX(v) CASE(1, v) CASE(2, v) CASE(3, v) CASE(4, v) CASE(5, v) CASE(6, v)
#define CASES                                                                                       \
    CASES_OF_SIX(1) CASES_OF_SIX(2) CASE(1, 3) CASE(2, 3) CASE(3, 3) CASE(4, 3)                     \
    CASE(1, 4) CASE(2, 4) CASE(3, 4) CASE(1, 5) CASE(2, 5) CASE(1, 6) CASE(2, 6)                    \
    CASE(1, 7) CASE(1, 8) CASE(1, 9) CASE(1, 10) CASE(1, 11) CASE(1, 12)
#define KEY(rows, vectors) ((vectors) * 8 + (rows))

/* sums[i, k] += sum over n of gradients[n] * x[offsets[n] + i * x_row + k],   k < columns
 *
 * and the gradients to `total`, while the multipliers are busy. Vectors may read past the last column of x. */
TARGET ALWAYS_INLINE void NAME(add_weights)(const int rows, const int vectors, ptrdiff_t count, const REAL *gradients,
                                            const ptrdiff_t *offsets, const REAL *x, ptrdiff_t x_row, REAL *sums,
                                            ptrdiff_t sums_row, ptrdiff_t columns, REAL *total)
{
    REAL all = *total;
    VECTOR sum[MOST_SUMS];
#pragma GCC unroll 12
    for (int i = 0; i < rows * vectors; i++)
        sum[i] = (VECTOR){0};
    for (ptrdiff_t n = 0; n < count; n++) {
        const REAL *at = x + offsets[n];
        const VECTOR left = gradients[n] - (VECTOR){0};
        all += gradients[n];
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < vectors; v++)
                sum[i * vectors + v] += left * LOAD(at + i * x_row + v * LANES);
    }
    *total = all;
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 12
        for (int v = 0; v < vectors; v++) {
            REAL *target = sums + i * sums_row + v * LANES;
            if ((v + 1) * LANES <= columns)
                STORE(target, LOAD(target) + sum[i * vectors + v]);
            else
                for (ptrdiff_t k = 0; k < columns - v * LANES; k++)
                    target[k] += sum[i * vectors + v][k];
        }
}

/* tile[i, k] += sum over n of gradients[n] * weights[offsets[n] + i * weights_row + k] */
TARGET ALWAYS_INLINE void NAME(add_inputs)(const int rows, const int vectors, ptrdiff_t count, const REAL *gradients,
                                           const ptrdiff_t *offsets, const REAL *weights, ptrdiff_t weights_row,
                                           REAL *tile, ptrdiff_t tile_row)
{
    VECTOR sum[MOST_SUMS];
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++)
            sum[i * vectors + v] = LOAD(tile + i * tile_row + v * LANES);
    for (ptrdiff_t n = 0; n < count; n++) {
        const REAL *at = weights + offsets[n];
        const VECTOR left = gradients[n] - (VECTOR){0};
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < vectors; v++)
                sum[i * vectors + v] += left * LOAD(at + i * weights_row + v * LANES);
    }
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++)
            STORE(tile + i * tile_row + v * LANES, sum[i * vectors + v]);
}

#endif

/* Not zero, of either sign; NaN is not. As integers, for a branch or a comparison of numbers would cost more. */
TARGET ALWAYS_INLINE int NAME(not_zero)(const REAL *value)
{
    const BITS without_sign = (BITS)(((uint64_t)1 << (8 * sizeof(BITS) - 1)) - 1);
    BITS bits;
    memcpy(&bits, value, sizeof bits);
    return (bits & without_sign) != 0;
}

/* Lists one channel's positions that have a gradient, in row-major order. */
TARGET ALWAYS_INLINE ptrdiff_t NAME(list_channel)(const pooled_gradient *p, const REAL *grad, const uint8_t *places,
                                                  REAL *restrict gradients, ptrdiff_t *restrict offsets)
{
    /* Read once: the compiler cannot know that the lists do not overlap `p`. */
    const ptrdiff_t windows = p->windows, window_columns = p->window_columns, channels = p->channels;
    const ptrdiff_t height = p->height, width = p->width;
    const ptrdiff_t position_column = p->position_column, position_row = p->position_row;
    ptrdiff_t count = 0;
    for (ptrdiff_t row = 0; row < windows * height; row++) {
        const ptrdiff_t first = row / height * window_columns * channels, end = first + window_columns * channels;
        const ptrdiff_t low = row % height * width;
        ptrdiff_t offset = row * position_row - low * position_column;
        for (ptrdiff_t at = first; at < end; at += channels, offset += width * position_column) {
            const ptrdiff_t place = places[at];
            gradients[count] = grad[at];
            offsets[count] = offset + place * position_column;
            count += ((size_t)(place - low) < (size_t)width) & NAME(not_zero)(grad + at);
        }
    }
    return count;
}

/* Adds one channel's part to the gradient of its filter:
 *
 *   sums[i, k] += sum over positions of  gradient(position) * x[i * tile_row + position + k],  i < filter_rows, k < columns
 *
 * and its gradients to `bias`. */
TARGET static void NAME(pooled_weight_gradient)(const pooled_gradient *p, const void *grad, const uint8_t *places,
                                                const void *x_, void *sums_, void *bias)
{
    const REAL *x = x_, *gradients = p->gradients;
    REAL *sums = sums_, *total = bias;
    const ptrdiff_t *offsets = p->offsets;
    const ptrdiff_t count = NAME(list_channel)(p, grad, places, p->gradients, p->offsets);
#ifdef VECTOR_BYTES
    REAL ignored = 0; /* the total is taken once, with the first rows */
    const ptrdiff_t all = (p->columns + LANES - 1) / LANES, parts = (all + MOST_SUMS - 1) / MOST_SUMS;
    for (ptrdiff_t part = 0; part < parts; part++) {
        const ptrdiff_t first = all * part / parts, vectors = all * (part + 1) / parts - first;
        const ptrdiff_t most = MOST_SUMS / vectors < 6 ? MOST_SUMS / vectors : 6;
        const ptrdiff_t columns = p->columns - first * LANES;
        for (ptrdiff_t i = 0; i < p->filter_rows; i += most) {
            const REAL *from = x + i * p->tile_row + first * LANES;
            REAL *to = sums + i * p->columns + first * LANES;
            switch (KEY(p->filter_rows - i < most ? p->filter_rows - i : most, vectors)) {
#define CASE(rows, vectors)                                                                                         \
    case KEY(rows, vectors):                                                                                        \
        NAME(add_weights)(rows, vectors, count, gradients, offsets, from, p->tile_row, to, p->columns, columns,     \
                          total);                                                                                   \
        break;
                CASES
#undef CASE
            }
            total = &ignored;
        }
    }
#else
    for (ptrdiff_t n = 0; n < count; n++)
        *total += gradients[n];
    for (ptrdiff_t i = 0; i < p->filter_rows; i++)
        for (ptrdiff_t k = 0; k < p->columns; k++) {
            REAL sum = 0;
            for (ptrdiff_t n = 0; n < count; n++)
                sum += gradients[n] * x[offsets[n] + i * p->tile_row + k];
            sums[i * p->columns + k] += sum;
        }
#endif
}

/* Lists, for each position of a row, the filters that have a gradient there: their weights begin at the offsets.
 * `place` is that of the row's first cell. */
TARGET ALWAYS_INLINE void NAME(list_row)(const pooled_gradient *p, const REAL *grad, const uint8_t *places,
                                         ptrdiff_t place, REAL *restrict gradients, ptrdiff_t *restrict offsets,
                                         ptrdiff_t *restrict ends)
{
    const ptrdiff_t channels = p->channels, width = p->width, filter = p->filter_rows * p->weights_row;
    ptrdiff_t count = 0;
    for (ptrdiff_t column = 0; column < p->window_columns; column++, grad += channels, places += channels)
        for (ptrdiff_t j = 0; j < width; j++) {
            ptrdiff_t offset = 0;
            /* So short a loop would be a fifth slower where it happens to lie badly in memory. */
#pragma GCC unroll 4
            for (ptrdiff_t f = 0; f < channels; f++, offset += filter) {
                gradients[count] = grad[f];
                offsets[count] = offset;
                count += (places[f] == place + j) & NAME(not_zero)(grad + f);
            }
            *ends++ = count;
        }
}

/* Adds what the rows of windows pass back to the image below them:
 *
 *   tile[i * tile_row + position + k] += sum over filters of  gradient(position, filter) * weights[filter, i, k]
 *
 * The positions are walked in row-major order, and at each one the filters in theirs. A filter's row of weights is
 * filled up with zeros to `weights_row`, whole vectors. */
TARGET static void NAME(pooled_input_gradient)(const pooled_gradient *p, const void *grad_, const uint8_t *places,
                                               const void *weights_, void *tile_)
{
    const REAL *grad = grad_, *weights = weights_;
    REAL *tile = tile_, *gradients = p->gradients;
    const ptrdiff_t positions = p->window_columns * p->width;
#ifdef VECTOR_BYTES
    const ptrdiff_t all = p->weights_row / LANES, parts = (all + MOST_SUMS - 1) / MOST_SUMS;
#endif
    for (ptrdiff_t row = 0; row < p->windows * p->height; row++) {
        const ptrdiff_t first = row / p->height * p->window_columns * p->channels;
        NAME(list_row)(p, grad + first, places + first, row % p->height * p->width, gradients,
                       p->offsets, p->ends);
        REAL *tile_rows = tile + row * p->position_row;
#ifdef VECTOR_BYTES
        /* From the last columns of the filter to the first: a pixel lies under these for later positions. */
        for (ptrdiff_t part = parts - 1; part >= 0; part--) {
            const ptrdiff_t begin = all * part / parts, vectors = all * (part + 1) / parts - begin;
            const ptrdiff_t most = MOST_SUMS / vectors < 6 ? MOST_SUMS / vectors : 6;
            for (ptrdiff_t i = 0; i < p->filter_rows; i += most) {
                const REAL *from = weights + i * p->weights_row + begin * LANES;
                const ptrdiff_t key = KEY(p->filter_rows - i < most ? p->filter_rows - i : most, vectors);
                for (ptrdiff_t position = 0, n = 0; position < positions; n = p->ends[position++]) {
                    REAL *to = tile_rows + i * p->tile_row + position * p->position_column + begin * LANES;
                    const ptrdiff_t here = p->ends[position] - n;
                    if (here == 0)
                        continue;
                    switch (key) {
#define CASE(rows, vectors)                                                                                         \
    case KEY(rows, vectors):                                                                                        \
        NAME(add_inputs)(rows, vectors, here, gradients + n, p->offsets + n, from, p->weights_row, to, p->tile_row);\
        break;
                        CASES
#undef CASE
                    }
                }
            }
        }
#else
        for (ptrdiff_t position = 0, n = 0; position < positions; position++)
            for (; n < p->ends[position]; n++)
                for (ptrdiff_t i = 0; i < p->filter_rows; i++)
                    for (ptrdiff_t k = 0; k < p->weights_row; k++)
                        tile_rows[i * p->tile_row + position * p->position_column + k] +=
                            gradients[n] * weights[p->offsets[n] + i * p->weights_row + k];
#endif
    }
}

#ifdef VECTOR_BYTES
#undef KEY
#undef CASES
#undef CASES_OF_SIX
#undef MOST_SUMS
#endif
