/* Loops over rows of values that other kernels call for each tile; a template like gemm.h.
 *
 * Vectors run over neighbouring values, which are channels. A window with fewer channels than a vector has
 * lanes is read and written with whole vectors all the same: what a vector reaches beyond the last channel
 * is the next position, which is written after it. Only where a vector would pass the end of the row are
 * the values taken one by one.
 */

#ifdef VECTOR_BYTES

#define PLACES NAME(places)
#define BYTES NAME(bytes)

typedef uint8_t PLACES __attribute__((vector_size(VECTOR_BYTES / sizeof(REAL)), aligned(1), may_alias));
typedef uint8_t BYTES __attribute__((vector_size(VECTOR_BYTES)));

/* mask ? a : b, lane by lane */
#define SELECT(mask, a, b) ((VECTOR)(((mask) & (MASK)(a)) | (~(mask) & (MASK)(b))))

/* The next cell of a window, if it is larger than those before; the first of equals, the first NaN above all. */
TARGET ALWAYS_INLINE void NAME(take_cell)(VECTOR value, int number, VECTOR *most, MASK *place)
{
    const MASK wins = ~(value <= *most) & (*most == *most);
    *most = SELECT(wins, value, *most);
    *place = (wins & number) | (~wins & *place);
}

/* ReLU of the largest cells: that is the same as before the maximum, and once instead of for every cell. */
TARGET ALWAYS_INLINE void NAME(gate_cells)(VECTOR *most, MASK *place)
{
    const MASK closed = *most <= (VECTOR){0};
    *place |= closed & CLOSED;
    *most = (VECTOR)(~closed & (MASK)*most);
}

/* The lowest byte of each lane. */
TARGET ALWAYS_INLINE void NAME(store_places)(MASK place, uint8_t *places)
{
#if defined(SHUFFLE_TO_FEWER) && VECTOR_BYTES == 32 && REAL_BYTES == 4
    *(PLACES *)places = SHUFFLE((BYTES)place, (BYTES)place, 0, 4, 8, 12, 16, 20, 24, 28);
#elif defined(SHUFFLE_TO_FEWER) && VECTOR_BYTES == 32
    *(PLACES *)places = SHUFFLE((BYTES)place, (BYTES)place, 0, 8, 16, 24);
#else
    *(PLACES *)places = __builtin_convertvector(place, PLACES);
#endif
}

/* A byte for each lane. GCC would take the bytes one by one. */
TARGET ALWAYS_INLINE MASK NAME(load_places)(const uint8_t *places)
{
#if defined(__x86_64__) && VECTOR_BYTES == 32 && REAL_BYTES == 4
    return (MASK)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)places));
#elif defined(__x86_64__) && VECTOR_BYTES == 64 && REAL_BYTES == 4 && !defined(CNNX_IMITATE_AVX512)
    return (MASK)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)places));
#else
    return __builtin_convertvector(*(const PLACES *)places, MASK);
#endif
}

/* The largest cell of a window and its place, if that is asked for. */
TARGET ALWAYS_INLINE void NAME(max_window)(const REAL *cells, const int height, const int width, ptrdiff_t image_row,
                                           ptrdiff_t channels, int gated, REAL *best, uint8_t *places)
{
    VECTOR most = LOAD(cells);
    MASK place = {0};
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++)
            NAME(take_cell)(LOAD(cells + i * image_row + j * channels), i * width + j, &most, &place);
    if (gated)
        NAME(gate_cells)(&most, &place);
    STORE(best, most);
    if (places)
        NAME(store_places)(place, places);
}

#endif

TARGET ALWAYS_INLINE void NAME(max_cell)(const REAL *cells, const int height, const int width, ptrdiff_t image_row,
                                         ptrdiff_t channels, int gated, REAL *best, uint8_t *places)
{
    REAL most = cells[0];
    int place = 0;
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) {
            const REAL value = cells[i * image_row + j * channels];
            const int wins = (value > most) | ((value != value) & (most == most));
            most = wins ? value : most;
            place = wins ? i * width + j : place;
        }
    const int closed = gated && most <= 0;
    *best = closed ? 0 : most;
    if (places)
        *places = (uint8_t)(closed ? CLOSED : place);
}

/* One row of whole windows. `channels` lie side by side in the image, of which the first `kept` are pooled. */
TARGET ALWAYS_INLINE void NAME(max_windows)(const REAL *image, const int height, const int width, ptrdiff_t image_row,
                                            ptrdiff_t column_stride, ptrdiff_t columns, ptrdiff_t channels,
                                            ptrdiff_t kept, int gated, REAL *best, uint8_t *places)
{
#ifdef VECTOR_BYTES
    const ptrdiff_t end = columns * kept;
    /* Image values that a vector may still reach in this row of windows. */
    const ptrdiff_t reach = ((columns - 1) * column_stride + width) * channels - (width - 1) * channels;
#endif
    for (ptrdiff_t column = 0; column < columns; column++) {
        const ptrdiff_t from = column * column_stride * channels, to = column * kept;
        ptrdiff_t c = 0;
#ifdef VECTOR_BYTES
        for (; c < kept && to + c + LANES <= end && from + c + LANES <= reach; c += LANES)
            NAME(max_window)(image + from + c, height, width, image_row, channels, gated, best + to + c,
                             place_at(places, to + c));
#endif
        for (; c < kept; c++)
            NAME(max_cell)(image + from + c, height, width, image_row, channels, gated, best + to + c,
                             place_at(places, to + c));
    }
}

TARGET static void NAME(max_row)(const void *image, ptrdiff_t height, ptrdiff_t width, ptrdiff_t image_row,
                                 ptrdiff_t column_stride, ptrdiff_t columns, ptrdiff_t channels, ptrdiff_t kept,
                                 int gated, void *best, uint8_t *places)
{
    if (height == 2 && width == 2)
        NAME(max_windows)(image, 2, 2, image_row, column_stride, columns, channels, kept, gated, best, places);
    else if (height == 3 && width == 3)
        NAME(max_windows)(image, 3, 3, image_row, column_stride, columns, channels, kept, gated, best, places);
    else
        NAME(max_windows)(image, (int)height, (int)width, image_row, column_stride, columns, channels, kept, gated,
                          best, places);
}

/* The mean of each window of a row, which are all whole: pixels are added in their order, and the sum is divided. */
TARGET ALWAYS_INLINE void NAME(average_windows)(const REAL *image, const ptrdiff_t height, const ptrdiff_t width,
                                                ptrdiff_t image_row, ptrdiff_t column_stride, ptrdiff_t columns,
                                                ptrdiff_t channels, REAL *out)
{
    const REAL pixels = (REAL)(height * width);
    for (ptrdiff_t column = 0; column < columns; column++) {
        const REAL *cells = image + column * column_stride * channels;
        ptrdiff_t c = 0;
#ifdef VECTOR_BYTES
        /* What is left over is a last vector, which computes some channels a second time. */
        for (ptrdiff_t from = 0; channels >= LANES && c < channels; from += LANES) {
            const ptrdiff_t at = from + LANES <= channels ? from : channels - LANES;
            VECTOR sum = {0};
            for (ptrdiff_t i = 0; i < height; i++)
                for (ptrdiff_t j = 0; j < width; j++)
                    sum += LOAD(cells + i * image_row + j * channels + at);
            STORE(out + at, sum / pixels);
            c = at + LANES;
        }
#endif
        for (; c < channels; c++) {
            REAL sum = 0;
            for (ptrdiff_t i = 0; i < height; i++)
                for (ptrdiff_t j = 0; j < width; j++)
                    sum += cells[i * image_row + j * channels + c];
            out[c] = sum / pixels;
        }
        out += channels;
    }
}

TARGET static void NAME(average_row)(const void *image, ptrdiff_t height, ptrdiff_t width, ptrdiff_t image_row,
                                     ptrdiff_t column_stride, ptrdiff_t columns, ptrdiff_t channels, void *out)
{
    if (height == 2 && width == 2)
        NAME(average_windows)(image, 2, 2, image_row, column_stride, columns, channels, out);
    else
        NAME(average_windows)(image, height, width, image_row, column_stride, columns, channels, out);
}

/* One row of whole windows of one channel that lies in a plane of its own, plus its bias; the maxima are `channels`
 * apart. */
TARGET static void NAME(max_plane_row)(const void *rows_, ptrdiff_t height, ptrdiff_t width, ptrdiff_t plane_row,
                                       ptrdiff_t columns, const void *bias_, int gated, ptrdiff_t channels, void *best_,
                                       uint8_t *places)
{
    const REAL *rows = rows_, bias = bias_ ? *(const REAL *)bias_ : 0;
    REAL *best = best_;
    for (ptrdiff_t column = 0; column < columns; column++) {
        REAL most = rows[column * width] + bias;
        ptrdiff_t place = 0;
        for (ptrdiff_t i = 0; i < height; i++)
            for (ptrdiff_t j = 0; j < width; j++) {
                const REAL value = rows[i * plane_row + column * width + j] + bias;
                const int wins = (value > most) | ((value != value) & (most == most));
                most = wins ? value : most;
                place = wins ? i * width + j : place;
            }
        const int closed = gated && most <= 0;
        best[column * channels] = closed ? 0 : most;
        if (places)
            places[column * channels] = (uint8_t)(closed ? CLOSED : place);
    }
}

/* out = grad where the place is the one asked for, else 0: one row of a pooled gradient, spread out again.
 * The row of windows has `columns`, each `width` wide; `first` is the place of this row's first cell. */
TARGET static void NAME(spread_row)(const void *grad_, const uint8_t *places, ptrdiff_t columns, ptrdiff_t width,
                                    ptrdiff_t first, ptrdiff_t channels, void *out_)
{
    const REAL *grad = grad_;
    REAL *out = out_;
#ifdef VECTOR_BYTES
    const ptrdiff_t end = columns * channels;
#endif
    for (ptrdiff_t column = 0; column < columns; column++)
        for (ptrdiff_t j = 0; j < width; j++) {
            REAL *cell = out + (column * width + j) * channels;
            const ptrdiff_t from = column * channels;
            ptrdiff_t c = 0;
#ifdef VECTOR_BYTES
            for (; c < channels && from + c + LANES <= end; c += LANES) {
                const MASK here = NAME(load_places)(places + from + c) == (BITS)(first + j);
                STORE(cell + c, (VECTOR)(here & (MASK)LOAD(grad + from + c)));
            }
#endif
            for (; c < channels; c++)
                cell[c] = places[from + c] == first + j ? grad[from + c] : 0;
        }
}

#ifdef VECTOR_BYTES
#if VECTOR_BYTES / REAL_BYTES == 2
#define LOW 0, 2
#define HIGH 1, 3
#elif VECTOR_BYTES / REAL_BYTES == 4
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#elif VECTOR_BYTES / REAL_BYTES == 8
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif

/* LANES rows of as many values, transposed, of which `kept` columns are written: each pass shuffles the lower half of the
 * rows into the upper one. */
TARGET ALWAYS_INLINE void NAME(transpose_block)(const REAL *x, ptrdiff_t x_row, const ptrdiff_t kept, REAL *out,
                                                ptrdiff_t out_row)
{
    VECTOR rows[LANES], shuffled[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        rows[i] = LOAD(x + i * x_row);
#pragma GCC unroll 4
    for (int pass = 1; pass < LANES; pass *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < LANES / 2; i++) {
            shuffled[2 * i] = SHUFFLE(rows[i], rows[i + LANES / 2], LOW);
            shuffled[2 * i + 1] = SHUFFLE(rows[i], rows[i + LANES / 2], HIGH);
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++)
            rows[i] = shuffled[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        if (i < kept)
            STORE(out + i * out_row, rows[i]);
}

#undef HIGH
#undef LOW
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

TARGET ALWAYS_INLINE void NAME(split_pixels)(const REAL *restrict x, ptrdiff_t pixels, const ptrdiff_t channels,
                                             ptrdiff_t plane, REAL *restrict planes)
{
    for (ptrdiff_t pixel = 0; pixel < pixels; pixel++)
        for (ptrdiff_t c = 0; c < channels; c++)
            planes[c * plane + pixel] = x[pixel * channels + c];
}

/* A row of pixels, each channel into its own plane. */
TARGET static void NAME(split_row)(const void *x, ptrdiff_t pixels, ptrdiff_t channels, ptrdiff_t plane, void *planes)
{
    /* The compiler shuffles whole vectors where it knows the number of channels: colours are worth that. */
    if (channels == 3)
        NAME(split_pixels)(x, pixels, 3, plane, planes);
#ifdef VECTOR_BYTES
    else if (2 * channels >= LANES)
        NAME(transpose)(x, channels, pixels, channels, planes, plane);
#endif
    else
        NAME(split_pixels)(x, pixels, channels, plane, planes);
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

/* The reverse of `split_row`, with relu(value + bias). */
TARGET static void NAME(merge_row)(const void *planes, ptrdiff_t pixels, ptrdiff_t channels, ptrdiff_t plane,
                                   const void *bias, int relu, void *out)
{
    if (channels == 1)
        NAME(merge_pixels)(planes, pixels, 1, plane, bias, relu, out);
    else if (channels == 3)
        NAME(merge_pixels)(planes, pixels, 3, plane, bias, relu, out);
    else
        NAME(merge_pixels)(planes, pixels, channels, plane, bias, relu, out);
}

TARGET static void NAME(relu_row)(const void *x_, void *out_, ptrdiff_t count)
{
    const REAL *x = x_;
    REAL *out = out_;
    ptrdiff_t i = 0;
#ifdef VECTOR_BYTES
    for (; i + LANES <= count; i += LANES) {
        const VECTOR value = LOAD(x + i);
        STORE(out + i, RELU(value));
    }
#endif
    for (; i < count; i++)
        out[i] = x[i] <= 0 ? 0 : x[i];
}

/* out = grad where y > 0 (or is NaN), else 0 */
TARGET static void NAME(gate_row)(const void *grad_, const void *y_, void *out_, ptrdiff_t count)
{
    const REAL *grad = grad_, *y = y_;
    REAL *out = out_;
    ptrdiff_t i = 0;
#ifdef VECTOR_BYTES
    for (; i + LANES <= count; i += LANES)
        STORE(out + i, (VECTOR)(~(LOAD(y + i) <= (VECTOR){0}) & (MASK)LOAD(grad + i)));
#endif
    for (; i < count; i++)
        out[i] = y[i] <= 0 ? 0 : grad[i];
}

#ifdef VECTOR_BYTES
#undef SELECT
#undef BYTES
#undef PLACES
#endif
