/* The loops behind depthwise convolution; a template like gemm.h.
 *
 * Vectors run over neighbouring channels, whose weights are neighbours as well. A block of output positions is held
 * in registers, so that a weight is loaded once for all of them and pixels are operands straight from the cache; for
 * the weight gradient a block of taps is held instead. With fewer channels than a vector has lanes, and in plain C,
 * the loop over channels is left to the compiler.
 */

#ifdef VECTOR_BYTES

#define CACHE_LINE 64

/* `positions` and `shared`, and mostly `columns`, are constants wherever this is inlined. Where neighbouring positions
 * read neighbouring pixels, a pixel is loaded once for all the positions that share it. */
TARGET ALWAYS_INLINE void NAME(depthwise_block)(const int positions, const ptrdiff_t columns, const int shared,
                                                const depthwise_taps *p, const REAL *x, const REAL *w, const REAL *bias,
                                                REAL *out)
{
    const VECTOR zero = {0};
    VECTOR sums[POSITIONS], start = zero;
    if (bias)
        start = LOAD(bias);
    for (int t = 0; t < positions; t++)
        sums[t] = start;
    for (ptrdiff_t i = 0; i < p->rows; i++) {
        const REAL *pixels = x + i * p->x_row, *weights = w + i * p->w_row;
        if (shared) {
            VECTOR kept[MOST_TAPS];
            for (int j = 0; j < columns; j++)
                kept[j] = LOAD(weights + j * p->w_column);
            for (int q = 0; q < positions + columns - 1; q++) {
                const VECTOR pixel = LOAD(pixels);
                for (int j = 0; j < columns; j++)
                    if (q - j >= 0 && q - j < positions)
                        sums[q - j] += pixel * kept[j];
                pixels += p->x_stride;
            }
            continue;
        }
        for (ptrdiff_t j = 0; j < columns; j++) {
            const VECTOR weight = LOAD(weights);
            for (int t = 0; t < positions; t++)
                sums[t] += LOAD(pixels + t * p->x_stride) * weight;
            pixels += p->x_column;
            weights += p->w_column;
        }
    }
    for (int t = 0; t < positions; t++) {
        if (p->relu)
            sums[t] = RELU(sums[t]);
        STORE(out + t * p->out_stride, sums[t]);
    }
}

/* All channels of a block of positions; the last vector reaches back over the one before it.
 *
 * A block reads many pixels at once, a few channels of each, in which the processor sees no stream to read ahead: the
 * next line's last row of pixels, and its outputs, are asked for here. That takes a quarter to a third off
 * the time where a batch does not fit into the second-level cache; with a stride, which skips pixels, it costs more. */
TARGET ALWAYS_INLINE void NAME(depthwise_positions)(const int positions, const ptrdiff_t columns, const int shared,
                                                    const depthwise_taps *p, const REAL *x, const REAL *w,
                                                    const REAL *bias, REAL *out)
{
    const int ahead = positions >= 4 && p->x_stride == p->x_column;
    const REAL *next = x + (p->rows - 1) * p->x_row + p->x_line;
    ptrdiff_t c = 0;
    for (; c + LANES <= p->channels; c += LANES) {
        if (ahead && c * sizeof(REAL) % CACHE_LINE == 0)
            for (int t = 0; t < positions; t++) {
                __builtin_prefetch(next + t * p->x_stride + c);
                __builtin_prefetch(out + p->out_line + t * p->out_stride + c, 1);
            }
        NAME(depthwise_block)(positions, columns, shared, p, x + c, w + c, bias ? bias + c : bias, out + c);
    }
    if (c < p->channels) {
        c = p->channels - LANES;
        NAME(depthwise_block)(positions, columns, shared, p, x + c, w + c, bias ? bias + c : bias, out + c);
    }
}

#endif

/* One position, channel by channel. */
TARGET static void NAME(depthwise_cell)(const depthwise_taps *p, const REAL *x, const REAL *w, const REAL *bias,
                                        REAL *restrict out)
{
    const ptrdiff_t channels = p->channels;
    for (ptrdiff_t c = 0; c < channels; c++)
        out[c] = bias ? bias[c] : 0;
    for (ptrdiff_t i = 0; i < p->rows; i++)
        for (ptrdiff_t j = 0; j < p->columns; j++) {
            const REAL *pixels = x + i * p->x_row + j * p->x_column, *weights = w + i * p->w_row + j * p->w_column;
            for (ptrdiff_t c = 0; c < channels; c++)
                out[c] += pixels[c] * weights[c];
        }
    if (p->relu)
        for (ptrdiff_t c = 0; c < channels; c++)
            out[c] = out[c] <= 0 ? 0 : out[c];
}

#define BLOCKS(n)                                                                                       \
    for (; positions >= n; positions -= n, x += n * p->x_stride, out += n * p->out_stride) {            \
        if (p->columns == 3 && p->x_column == p->x_stride)                                              \
            NAME(depthwise_positions)(n, 3, 1, p, x, w, bias, out);                                     \
        else if (p->columns == 3)                                                                       \
            NAME(depthwise_positions)(n, 3, 0, p, x, w, bias, out);                                     \
        else                                                                                            \
            NAME(depthwise_positions)(n, p->columns, 0, p, x, w, bias, out);                            \
    }

/* Outputs side by side under the same taps. */
TARGET static void NAME(depthwise_row)(ptrdiff_t positions, const depthwise_taps *p, const void *x_, const void *w_,
                                       const void *bias_, void *out_)
{
    const REAL *x = x_, *w = w_, *bias = bias_;
    REAL *out = out_;
#ifdef VECTOR_BYTES
    if (p->channels >= LANES) {
        BLOCKS(8)
        BLOCKS(6)
        BLOCKS(4)
        BLOCKS(3)
        BLOCKS(2)
        BLOCKS(1)
        return;
    }
#endif
    for (ptrdiff_t t = 0; t < positions; t++)
        NAME(depthwise_cell)(p, x + t * p->x_stride, w, bias, out + t * p->out_stride);
}

#undef BLOCKS

#ifdef VECTOR_BYTES

/* `rows` and `columns` are constants wherever this is inlined. */
TARGET ALWAYS_INLINE void NAME(add_products)(const int rows, const int columns, ptrdiff_t lines, ptrdiff_t positions,
                                             const depthwise_taps *p, const REAL *x, const REAL *grad, REAL *sums,
                                             REAL *bias)
{
    VECTOR kept[MOST_TAPS * MOST_TAPS];
    VECTOR total = {0};
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++)
            kept[i * columns + j] = LOAD(sums + i * p->w_row + j * p->w_column);
    if (bias)
        total = LOAD(bias);
    for (ptrdiff_t line = 0; line < lines; line++) {
        const REAL *pixels = x + line * p->x_line, *gradients = grad + line * p->out_line;
        for (ptrdiff_t t = 0; t < positions; t++) {
            const VECTOR g = LOAD(gradients);
            total += g;
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < columns; j++)
                    kept[i * columns + j] += LOAD(pixels + i * p->x_row + j * p->x_column) * g;
            pixels += p->x_stride;
            gradients += p->out_stride;
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++)
            STORE(sums + i * p->w_row + j * p->w_column, kept[i * columns + j]);
    if (bias)
        STORE(bias, total);
}

#define CASE(r, c)                                                                                      \
    case (r) * 4 + (c):                                                                                 \
        NAME(add_products)(r, c, lines, positions, p, x, grad, sums, bias);                           \
        break;

/* One vector of channels: any number of taps, a few at a time. Without taps the biases' gradient remains. */
TARGET static void NAME(depthwise_vector)(ptrdiff_t lines, ptrdiff_t positions, const depthwise_taps *p, const REAL *x,
                                          const REAL *grad, REAL *sums, REAL *bias)
{
    if (p->rows == 0 || p->columns == 0) {
        NAME(add_products)(0, 0, lines, positions, p, x, grad, sums, bias);
        return;
    }
    const REAL *image = x;
    REAL *all_sums = sums;
    for (ptrdiff_t i = 0; i < p->rows; i += MOST_TAPS)
        for (ptrdiff_t j = 0; j < p->columns; j += MOST_TAPS) {
            const ptrdiff_t rows = p->rows - i < MOST_TAPS ? p->rows - i : MOST_TAPS;
            const ptrdiff_t columns = p->columns - j < MOST_TAPS ? p->columns - j : MOST_TAPS;
            x = image + i * p->x_row + j * p->x_column;
            sums = all_sums + i * p->w_row + j * p->w_column;
            switch (rows * 4 + columns) {
                CASE(1, 1) CASE(1, 2) CASE(1, 3)
                CASE(2, 1) CASE(2, 2) CASE(2, 3)
                CASE(3, 1) CASE(3, 2) CASE(3, 3)
            }
            bias = NULL;
        }
}

#undef CASE

#endif

/* Add to the sums of taps, and of biases, what a rectangle of positions under the same taps adds. */
TARGET static void NAME(depthwise_weights)(ptrdiff_t lines, ptrdiff_t positions, const depthwise_taps *p,
                                           const void *x_, const void *grad_, void *sums_, void *bias_)
{
    const REAL *x = x_, *grad = grad_;
    REAL *sums = sums_, *bias = bias_;
    const ptrdiff_t channels = p->channels;
    ptrdiff_t done = 0;
#ifdef VECTOR_BYTES
    for (; done + LANES <= channels; done += LANES)
        NAME(depthwise_vector)(lines, positions, p, x + done, grad + done, sums + done, bias + done);
#endif
    if (done == channels)
        return;
    for (ptrdiff_t line = 0; line < lines; line++)
        for (ptrdiff_t t = 0; t < positions; t++) {
            const REAL *pixels = x + line * p->x_line + t * p->x_stride;
            const REAL *g = grad + line * p->out_line + t * p->out_stride;
            for (ptrdiff_t c = done; c < channels; c++)
                bias[c] += g[c];
            for (ptrdiff_t i = 0; i < p->rows; i++)
                for (ptrdiff_t j = 0; j < p->columns; j++) {
                    const REAL *pixel = pixels + i * p->x_row + j * p->x_column;
                    REAL *sum = sums + i * p->w_row + j * p->w_column;
                    for (ptrdiff_t c = done; c < channels; c++)
                        sum[c] += pixel[c] * g[c];
                }
        }
}

#ifdef VECTOR_BYTES
#undef CACHE_LINE
#endif
