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

/* The lowest byte of each of the first lanes; without masks these are all. */
TARGET ALWAYS_INLINE void NAME(store_places)(MASK place, ptrdiff_t lanes, uint8_t *places)
{
#if MASKED_MOVES && REAL_BYTES == 4
    _mm_mask_storeu_epi8(places, (__mmask16)((1u << lanes) - 1), _mm512_cvtepi32_epi8((__m512i)place));
#elif MASKED_MOVES
    _mm_mask_storeu_epi8(places, (__mmask16)((1u << lanes) - 1), _mm512_cvtepi64_epi8((__m512i)place));
#elif defined(SHUFFLE_TO_FEWER) && VECTOR_BYTES == 32 && REAL_BYTES == 4
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

/* The larger of two, the first of equals, and NaN above all. */
TARGET ALWAYS_INLINE VECTOR NAME(larger)(VECTOR most, VECTOR value)
{
#if MASKED_MOVES && REAL_BYTES == 4
    /* The instruction gives its second operand where both are zeros or either is NaN. */
    const __m512 larger = _mm512_max_ps((__m512)value, (__m512)most);
    const __mmask16 none = _mm512_cmp_ps_mask((__m512)value, (__m512)value, _CMP_UNORD_Q);
    return (VECTOR)_mm512_mask_mov_ps(larger, none, (__m512)value);
#else
    const MASK wins = ~(value <= most) & (most == most);
    return SELECT(wins, value, most);
#endif
}

/* The largest cell of a window, and its place if that is asked for, of so many channels. */
TARGET ALWAYS_INLINE void NAME(max_window)(const REAL *cells, ptrdiff_t lanes, const int height, const int width,
                                           ptrdiff_t image_row, ptrdiff_t channels, int gated, REAL *best,
                                           uint8_t *places)
{
    VECTOR most = NAME(load_part)(cells, lanes);
    MASK place = {0};
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) {
            const VECTOR value = NAME(load_part)(cells + i * image_row + j * channels, lanes);
            if (places)
                NAME(take_cell)(value, i * width + j, &most, &place);
            else
                most = NAME(larger)(most, value);
        }
    if (gated)
        NAME(gate_cells)(&most, &place);
    NAME(store_part)(best, lanes, most);
    if (places)
        NAME(store_places)(place, lanes, places);
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
#if defined(VECTOR_BYTES) && !MASKED_MOVES
    const ptrdiff_t end = columns * kept;
    /* Image values that a vector may still reach in this row of windows. */
    const ptrdiff_t reach = ((columns - 1) * column_stride + width) * channels - (width - 1) * channels;
#endif
    for (ptrdiff_t column = 0; column < columns; column++) {
        const ptrdiff_t from = column * column_stride * channels, to = column * kept;
        ptrdiff_t c = 0;
#if MASKED_MOVES
        for (; c < kept; c += LANES)
            NAME(max_window)(image + from + c, kept - c < LANES ? kept - c : LANES, height, width, image_row, channels,
                             gated, best + to + c, place_at(places, to + c));
#elif defined(VECTOR_BYTES)
        for (; c < kept && to + c + LANES <= end && from + c + LANES <= reach; c += LANES)
            NAME(max_window)(image + from + c, LANES, height, width, image_row, channels, gated, best + to + c,
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
        /* Without masks, what is left over is a last vector, which computes some channels a second time. */
        for (; c < channels && (MASKED_MOVES || channels >= LANES); c += LANES) {
            const ptrdiff_t lanes = MASKED_MOVES && channels - c < LANES ? channels - c : LANES;
            const ptrdiff_t at = c + lanes <= channels ? c : channels - LANES;
            VECTOR sum = {0};
            for (ptrdiff_t i = 0; i < height; i++)
                for (ptrdiff_t j = 0; j < width; j++)
                    sum += NAME(load_part)(cells + i * image_row + j * channels + at, lanes);
            NAME(store_part)(out + at, lanes, sum / pixels);
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
