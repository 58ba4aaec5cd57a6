/* The gradients of pooling, a row of windows at a time; a template like gemm.h. Vectors run over channels. */

/* Windows that lie side by side: a row of them gives a row of pixels.
 *
 * What is left over of the channels is a last vector, which computes some a second time. With fewer channels than a
 * vector has lanes, what it holds beyond the last is the next pixel's, which is written after it; only where a vector
 * would pass the end are the values taken one by one. */

/* Channels from which on the vectors of a pixel begin; `left` values there are from the pixel on. */
#define EACH_VECTOR(c, left) \
    for (; c < channels && LANES <= (left); c += LANES)
#define VECTOR_AT(c) (c + LANES <= channels || channels < LANES ? c : channels - LANES)

TARGET ALWAYS_INLINE void NAME(spread_windows)(const REAL *grad, const uint8_t *places, ptrdiff_t columns,
                                               const ptrdiff_t width, ptrdiff_t first, ptrdiff_t channels, REAL *out)
{
    for (ptrdiff_t column = 0; column < columns; column++) {
        ptrdiff_t c = 0;
#ifdef VECTOR_BYTES
        EACH_VECTOR(c, (columns - column) * channels) {
            const ptrdiff_t at = VECTOR_AT(c);
            const VECTOR value = LOAD(grad + at);
            const MASK place = NAME(load_places)(places + at);
            for (ptrdiff_t j = 0; j < width; j++)
                STORE(out + j * channels + at, (VECTOR)((place == (BITS)(first + j)) & (MASK)value));
        }
#endif
        for (; c < channels; c++)
            for (ptrdiff_t j = 0; j < width; j++)
                out[j * channels + c] = places[c] == first + j ? grad[c] : 0;
        grad += channels;
        places += channels;
        out += width * channels;
    }
}

/* The maximum's gradient: out = grad where the place is the one asked for, else 0. `first` is the place of this row's
 * first pixel. */
TARGET static void NAME(spread_row)(const void *grad, const uint8_t *places, ptrdiff_t columns, ptrdiff_t width,
                                    ptrdiff_t first, ptrdiff_t channels, void *out)
{
    if (width == 2)
        NAME(spread_windows)(grad, places, columns, 2, first, channels, out);
    else
        NAME(spread_windows)(grad, places, columns, width, first, channels, out);
}

/* The mean's gradient: out = grad / pixels in each of the first row of their pixels. */
TARGET static void NAME(spread_average)(const void *grad_, ptrdiff_t pixels, ptrdiff_t columns, ptrdiff_t width,
                                        ptrdiff_t channels, void *out_)
{
    enum { few = 4 }; /* pixels in a row that are written one by one */
    const REAL *grad = grad_, divisor = (REAL)pixels;
    REAL *out = out_;
    const ptrdiff_t written = width < few ? width : 1;
    for (ptrdiff_t column = 0; column < columns; column++) {
        ptrdiff_t c = 0;
#ifdef VECTOR_BYTES
        EACH_VECTOR(c, (columns - column) * channels) {
            const ptrdiff_t at = VECTOR_AT(c);
            const VECTOR value = LOAD(grad + at) / divisor;
            for (ptrdiff_t j = 0; j < written; j++)
                STORE(out + j * channels + at, value);
        }
#endif
        for (; c < channels; c++) {
            const REAL value = grad[c] / divisor;
            for (ptrdiff_t j = 0; j < written; j++)
                out[j * channels + c] = value;
        }
        for (ptrdiff_t done = written, more; done < width; done += more) {
            more = done < width - done ? done : width - done;
            memcpy(out + done * channels, out, more * channels * sizeof(REAL));
        }
        grad += channels;
        out += width * channels;
    }
}

#undef VECTOR_AT
#undef EACH_VECTOR

#ifdef VECTOR_BYTES
TARGET ALWAYS_INLINE MASK NAME(load_some_places)(const uint8_t *places, ptrdiff_t lanes)
{
#if MASKED_MOVES && REAL_BYTES == 4
    return (MASK)_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8((__mmask16)((1u << lanes) - 1), places));
#elif MASKED_MOVES
    return (MASK)_mm512_cvtepu8_epi64(_mm_maskz_loadu_epi8((__mmask16)((1u << lanes) - 1), places));
#else
    uint8_t some[LANES] = {0};
    if (lanes == LANES)
        return NAME(load_places)(places);
    memcpy(some, places, lanes);
    return NAME(load_places)(some);
#endif
}

/* `lanes` channels of a row. Of each window, the first column is the last one of the window before. */
TARGET ALWAYS_INLINE void NAME(collect_part)(const int rows, ptrdiff_t lanes, const overlapping_row *p, const REAL *grad,
                                             const uint8_t *places, REAL *out)
{
    const ptrdiff_t line = p->columns * p->channels, end = 2 * (p->columns + 1) - p->left;
    VECTOR last[2] = {{0}, {0}};
    for (ptrdiff_t window = 0; window <= p->columns; window++) {
        const ptrdiff_t pixel = 2 * window - p->left;
        VECTOR first = {0}, middle = {0};
        for (int row = 0; row < rows; row++) {
            first += last[row];
            if (window < p->columns) {
                const ptrdiff_t from = row * line + window * p->channels;
                const VECTOR value = NAME(load_part)(grad + from, lanes);
                const MASK place = NAME(load_some_places)(places + from, lanes) - (BITS)(p->place - row * 2 * 3);
                first += (VECTOR)((place == 0) & (MASK)value);
                middle += (VECTOR)((place == 1) & (MASK)value);
                last[row] = (VECTOR)((place == 2) & (MASK)value);
            }
        }
        if (pixel >= 0 && pixel < p->pixels)
            NAME(store_part)(out + pixel * p->channels, lanes, first);
        if (pixel >= -1 && pixel < p->pixels - 1)
            NAME(store_part)(out + (pixel + 1) * p->channels, lanes, middle);
    }
    for (ptrdiff_t pixel = end; pixel < p->pixels; pixel++)
        NAME(store_part)(out + pixel * p->channels, lanes, (VECTOR){0});
}
#endif

/* The maximum's gradient, for windows of 3x3 that are 2 apart: a pixel's is the sum of the gradients of those windows
 * whose largest it is, of the one or two rows of windows that hold a row of pixels. */
TARGET static void NAME(collect_row)(ptrdiff_t rows, const overlapping_row *p, const void *grad_, const uint8_t *places,
                                     void *out_)
{
    const REAL *grad = grad_;
    REAL *out = out_;
#ifdef VECTOR_BYTES
    for (ptrdiff_t c = 0; c < p->channels; c += LANES) {
        const ptrdiff_t left = p->channels - c, lanes = left < LANES ? left : LANES;
        /* What is left over is a last vector, which computes some channels a second time, or a part of one. */
        const ptrdiff_t at = lanes < LANES && p->channels > LANES && !MASKED_MOVES ? p->channels - LANES : c;
        if (lanes < LANES && at == c)
            (rows == 1 ? NAME(collect_part)(1, lanes, p, grad + at, places + at, out + at)
                       : NAME(collect_part)(2, lanes, p, grad + at, places + at, out + at));
        else if (rows == 1)
            NAME(collect_part)(1, LANES, p, grad + at, places + at, out + at);
        else
            NAME(collect_part)(2, LANES, p, grad + at, places + at, out + at);
    }
#else
    const ptrdiff_t C = p->channels;
    memset(out, 0, p->pixels * C * sizeof(REAL));
    for (ptrdiff_t row = 0; row < rows; row++)
        for (ptrdiff_t i = 0; i < p->columns * C; i++, grad++, places++) {
            const ptrdiff_t cell = *places - (p->place - row * 2 * 3), pixel = i / C * 2 - p->left + cell;
            if (cell >= 0 && cell < 3 && pixel >= 0 && pixel < p->pixels)
                out[pixel * C + i % C] += *grad;
        }
#endif
}
