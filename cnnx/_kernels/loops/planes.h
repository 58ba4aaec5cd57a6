/* Pixels to planes and back: (pixel, channel) in memory, or a plane for each channel. A template like gemm.h.
 *
 * As numbers, the places in `planes` vectors of lanes have the bits of the plane, then those of the lane. Vectors of two
 * halves shuffled into each other move the first bit behind the last one: after a pass for each bit of the plane, the
 * planes of a pixel are neighbours. Even and odd lanes taken apart undo it.
 */

#ifdef VECTOR_BYTES
#if VECTOR_BYTES / REAL_BYTES == 2
#define LOW 0, 2
#define HIGH 1, 3
#define EVEN 0, 2
#define ODD 1, 3
#elif VECTOR_BYTES / REAL_BYTES == 4
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#elif VECTOR_BYTES / REAL_BYTES == 8
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#else
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#endif

#define MOST_PLANES 16          /* a power of two, that at a time are shuffled */
#define STAGED (4 * LANES)      /* pixels that go by way of a buffer: what has just been written in parts is slow to read */

/* `planes` is a constant power of two wherever these are inlined. */
TARGET ALWAYS_INLINE void NAME(to_pixels)(const int planes, VECTOR *vectors)
{
    VECTOR shuffled[MOST_PLANES];
#pragma GCC unroll 4
    for (int pass = 1; pass < planes; pass *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < planes / 2; i++) {
            shuffled[2 * i] = SHUFFLE(vectors[i], vectors[i + planes / 2], LOW);
            shuffled[2 * i + 1] = SHUFFLE(vectors[i], vectors[i + planes / 2], HIGH);
        }
#pragma GCC unroll 16
        for (int i = 0; i < planes; i++)
            vectors[i] = shuffled[i];
    }
}

TARGET ALWAYS_INLINE void NAME(to_planes)(const int planes, VECTOR *vectors)
{
    VECTOR shuffled[MOST_PLANES];
#pragma GCC unroll 4
    for (int pass = 1; pass < planes; pass *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < planes / 2; i++) {
            shuffled[i] = SHUFFLE(vectors[2 * i], vectors[2 * i + 1], EVEN);
            shuffled[i + planes / 2] = SHUFFLE(vectors[2 * i], vectors[2 * i + 1], ODD);
        }
#pragma GCC unroll 16
        for (int i = 0; i < planes; i++)
            vectors[i] = shuffled[i];
    }
}

#undef ODD
#undef EVEN
#undef HIGH
#undef LOW

/* LANES rows of as many values, transposed, of which `kept` columns are written. */
TARGET ALWAYS_INLINE void NAME(transpose_block)(const REAL *x, ptrdiff_t x_row, const ptrdiff_t kept, REAL *out,
                                                ptrdiff_t out_row)
{
    VECTOR rows[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        rows[i] = LOAD(x + i * x_row);
    NAME(to_pixels)(LANES, rows);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        if (i < kept)
            STORE(out + i * out_row, rows[i]);
}

#endif

/* out[k, j] = x[j, k], of `rows` and `columns` of x */
TARGET static void NAME(transpose)(const void *x_, ptrdiff_t x_row, ptrdiff_t rows, ptrdiff_t columns, void *out_,
                                   ptrdiff_t out_row)
{
    const REAL *x = x_;
    REAL *out = out_;
    ptrdiff_t j = 0;
#ifdef VECTOR_BYTES
    for (; j + LANES <= rows; j += LANES) {
        ptrdiff_t k = 0;
        for (; k + LANES <= columns; k += LANES)
            NAME(transpose_block)(x + j * x_row + k, x_row, LANES, out + k * out_row + j, out_row);
        /* Half a vector or more, which reads on into the next row. */
        if (2 * (columns - k) >= LANES && columns <= x_row && j + LANES < rows) {
            NAME(transpose_block)(x + j * x_row + k, x_row, columns - k, out + k * out_row + j, out_row);
            continue;
        }
        for (; k < columns; k++)
            for (ptrdiff_t i = j; i < j + LANES; i++)
                out[k * out_row + i] = x[i * x_row + k];
    }
#endif
    for (; j < rows; j++)
        for (ptrdiff_t k = 0; k < columns; k++)
            out[k * out_row + j] = x[j * x_row + k];
}

#ifdef VECTOR_BYTES

/* `channels`, of which there are no more than `planes`, of some pixels, STAGED or fewer. */
TARGET ALWAYS_INLINE void NAME(split_staged)(const int planes, const REAL *x, ptrdiff_t x_pixel, ptrdiff_t pixels,
                                             ptrdiff_t channels, ptrdiff_t plane, REAL *out)
{
    REAL staged[STAGED * MOST_PLANES + LANES];
    const REAL *from = x;
    if (x_pixel != planes || channels != planes || pixels % LANES) {
        from = staged;
        for (ptrdiff_t pixel = 0; pixel < pixels; pixel++)
            for (ptrdiff_t c = 0; c < channels; c += LANES) {
                const ptrdiff_t left = (pixels - 1 - pixel) * x_pixel + channels - c;
                const REAL *at = x + pixel * x_pixel + c;
                if (left >= LANES)
                    STORE(staged + pixel * planes + c, LOAD(at));
                else
                    STORE(staged + pixel * planes + c, NAME(load_part)(at, left));
            }
    }
    for (ptrdiff_t pixel = 0; pixel < pixels; pixel += LANES) {
        const ptrdiff_t lanes = pixels - pixel < LANES ? pixels - pixel : LANES;
        VECTOR vectors[MOST_PLANES];
#pragma GCC unroll 16
        for (int i = 0; i < planes; i++)
            vectors[i] = LOAD(from + pixel * planes + i * LANES);
        NAME(to_planes)(planes, vectors);
        for (ptrdiff_t c = 0; c < channels; c++)
            NAME(store_part)(out + c * plane + pixel, lanes, vectors[c]);
    }
}

/* The reverse, of the first `channels` of `planes`, with relu(value + bias). */
TARGET ALWAYS_INLINE void NAME(merge_staged)(const int planes, const REAL *x, ptrdiff_t pixels, ptrdiff_t channels,
                                             ptrdiff_t plane, const REAL *bias, int relu, REAL *out, ptrdiff_t out_pixel)
{
    REAL staged[STAGED * MOST_PLANES + LANES];
    const int direct = out_pixel == planes && channels == planes && pixels % LANES == 0;
    REAL *to = direct ? out : staged;
    for (ptrdiff_t pixel = 0; pixel < pixels; pixel += LANES) {
        VECTOR vectors[MOST_PLANES];
#pragma GCC unroll 16
        for (int c = 0; c < planes; c++) {
            vectors[c] = (VECTOR){0};
            if (c < channels) {
                vectors[c] = LOAD(x + c * plane + pixel);
                if (bias)
                    vectors[c] += bias[c] - (VECTOR){0};
                if (relu)
                    vectors[c] = RELU(vectors[c]);
            }
        }
        NAME(to_pixels)(planes, vectors);
#pragma GCC unroll 16
        for (int i = 0; i < planes; i++)
            STORE(to + pixel * planes + i * LANES, vectors[i]);
    }
    /* What a vector writes past the last channel is the next pixel, unless other channels are there. */
    for (ptrdiff_t pixel = 0; !direct && pixel < pixels; pixel++)
        for (ptrdiff_t c = 0; c < channels; c += LANES) {
            const ptrdiff_t left = channels - c + (out_pixel == channels ? (pixels - 1 - pixel) * out_pixel : 0);
            REAL *at = out + pixel * out_pixel + c;
            if (left >= LANES)
                STORE(at, LOAD(staged + pixel * planes + c));
            else
                NAME(store_part)(at, left, LOAD(staged + pixel * planes + c));
        }
}

#define BY_PLANES(count, CALL)              \
    if ((count) <= 2)                       \
        CALL(2);                            \
    else if ((count) <= 4)                  \
        CALL(4);                            \
    else if ((count) <= 8)                  \
        CALL(8);                            \
    else                                    \
        CALL(MOST_PLANES);

#endif

/* Where the compiler knows that there are three channels it shuffles whole vectors: colours are worth that. */
TARGET ALWAYS_INLINE void NAME(split_pixels)(const REAL *restrict x, ptrdiff_t x_pixel, ptrdiff_t pixels,
                                             const ptrdiff_t channels, ptrdiff_t plane, REAL *restrict planes)
{
    for (ptrdiff_t pixel = 0; pixel < pixels; pixel++)
        for (ptrdiff_t c = 0; c < channels; c++)
            planes[c * plane + pixel] = x[pixel * x_pixel + c];
}

TARGET ALWAYS_INLINE void NAME(merge_pixels)(const REAL *restrict planes, ptrdiff_t pixels, const ptrdiff_t channels,
                                             ptrdiff_t plane, const REAL *bias, const int relu, REAL *restrict out)
{
    for (ptrdiff_t pixel = 0; pixel < pixels; pixel++)
        for (ptrdiff_t c = 0; c < channels; c++) {
            const REAL value = planes[c * plane + pixel] + (bias ? bias[c] : 0);
            out[pixel * channels + c] = relu && value <= 0 ? 0 : value;
        }
}

/* A row of pixels, which are `x_pixel` apart, each channel into its own plane. */
TARGET static void NAME(split_row)(const void *x_, ptrdiff_t x_pixel, ptrdiff_t pixels, ptrdiff_t channels,
                                   ptrdiff_t plane, void *planes_)
{
    const REAL *x = x_;
    REAL *planes = planes_;
    if (channels == 1 && x_pixel == 1) {
        memcpy(planes, x, pixels * sizeof(REAL));
        return;
    }
    if (channels == 3 && x_pixel == 3) {
        NAME(split_pixels)(x, 3, pixels, 3, plane, planes);
        return;
    }
#ifdef VECTOR_BYTES
#define SPLIT(count) NAME(split_staged)(count, x + p * x_pixel + c, x_pixel, some, kept, plane, planes + c * plane + p)
    for (ptrdiff_t p = 0; channels > 1 && p < pixels; p += STAGED) {
        const ptrdiff_t some = pixels - p < STAGED ? pixels - p : STAGED;
        for (ptrdiff_t c = 0; c < channels; c += MOST_PLANES) {
            const ptrdiff_t kept = channels - c < MOST_PLANES ? channels - c : MOST_PLANES;
            BY_PLANES(kept, SPLIT)
        }
    }
    if (channels > 1)
        return;
#undef SPLIT
#endif
    NAME(split_pixels)(x, x_pixel, pixels, channels, plane, planes);
}

/* The reverse, with relu(value + bias), where pixels are neighbours. Whole vectors of a plane are read. */
TARGET static void NAME(merge_row)(const void *planes_, ptrdiff_t pixels, ptrdiff_t channels, ptrdiff_t plane,
                                   const void *bias_, int relu, void *out_)
{
    const REAL *planes = planes_, *bias = bias_;
    REAL *out = out_;
    if (channels == 3) {
        NAME(merge_pixels)(planes, pixels, 3, plane, bias, relu, out);
        return;
    }
#ifdef VECTOR_BYTES
#define MERGE(count)                                                                                              \
    NAME(merge_staged)(count, planes + c * plane + p, some, kept, plane, bias ? bias + c : bias, relu,             \
                       out + p * channels + c, channels)
    for (ptrdiff_t p = 0; channels > 1 && p < pixels; p += STAGED) {
        const ptrdiff_t some = pixels - p < STAGED ? pixels - p : STAGED;
        for (ptrdiff_t c = 0; c < channels; c += MOST_PLANES) {
            const ptrdiff_t kept = channels - c < MOST_PLANES ? channels - c : MOST_PLANES;
            BY_PLANES(kept, MERGE)
        }
    }
    if (channels > 1)
        return;
#undef MERGE
#endif
    NAME(merge_pixels)(planes, pixels, channels, plane, bias, relu, out);
}

#ifdef VECTOR_BYTES
#undef BY_PLANES
#undef STAGED
#undef MOST_PLANES
#endif
