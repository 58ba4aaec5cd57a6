/* Loops over rows of values that other kernels call for each tile; a template like gemm.h.
 *
 * Vectors run over neighbouring values, which are channels. A window with fewer channels than a vector has
 * lanes is read and written with whole vectors all the same: what a vector reaches beyond the last channel
 * is the next position, which is written after it. Only where a vector would pass the end of the row are
 * the values taken one by one.
 */

#ifdef VECTOR_BYTES

#define LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(REAL)))
#define VECTOR NAME(vector)
#define MASK NAME(bits)
#define PLACES NAME(places)
#define LOAD(p) (*(const NAME(unaligned) *)(p))
#define STORE(p, v) (*(NAME(unaligned) *)(p) = (v))

typedef uint8_t PLACES __attribute__((vector_size(VECTOR_BYTES / sizeof(REAL)), aligned(1), may_alias));

/* mask ? a : b, lane by lane */
#define SELECT(mask, a, b) ((VECTOR)(((mask) & (MASK)(a)) | (~(mask) & (MASK)(b))))

/* The largest cell of a window and its place; the first of equals, the first NaN above all. Where `gated`, ReLU
 * follows: that is the same as before the maximum, and once instead of for every cell. */
TARGET ALWAYS_INLINE void NAME(max_window)(const REAL *cells, const int height, const int width, ptrdiff_t row_step,
                                           ptrdiff_t channels, int gated, REAL *best, uint8_t *places)
{
    const VECTOR zero = {0};
    VECTOR most = LOAD(cells);
    MASK place = {0};
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) {
            const VECTOR value = LOAD(cells + i * row_step + j * channels);
            const MASK wins = (value > most) | ((value != value) & (most == most));
            most = SELECT(wins, value, most);
            place = (wins & (i * width + j)) | (~wins & place);
        }
    if (gated) {
        const MASK closed = most <= zero;
        place |= closed & CLOSED;
        most = (VECTOR)(~closed & (MASK)most);
    }
    STORE(best, most);
    *(PLACES *)places = __builtin_convertvector(place, PLACES);
}

#endif

TARGET ALWAYS_INLINE void NAME(max_cell)(const REAL *cells, const int height, const int width, ptrdiff_t row_step,
                                         ptrdiff_t channels, int gated, REAL *best, uint8_t *places)
{
    REAL most = cells[0];
    int place = 0;
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) {
            const REAL value = cells[i * row_step + j * channels];
            const int wins = (value > most) | ((value != value) & (most == most));
            most = wins ? value : most;
            place = wins ? i * width + j : place;
        }
    const int closed = gated && most <= 0;
    *best = closed ? 0 : most;
    *places = (uint8_t)(closed ? CLOSED : place);
}

/* One row of whole windows. `channels` lie side by side in the image, of which the first `kept` are pooled. */
TARGET ALWAYS_INLINE void NAME(max_row)(const REAL *image, const int height, const int width, ptrdiff_t row_step,
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
            NAME(max_window)(image + from + c, height, width, row_step, channels, gated, best + to + c, places + to + c);
#endif
        for (; c < kept; c++)
            NAME(max_cell)(image + from + c, height, width, row_step, channels, gated, best + to + c, places + to + c);
    }
}

TARGET static void NAME(any_max_row)(const void *image, ptrdiff_t height, ptrdiff_t width, ptrdiff_t row_step,
                                     ptrdiff_t column_stride, ptrdiff_t columns, ptrdiff_t channels, ptrdiff_t kept,
                                     int gated, void *best, uint8_t *places)
{
    if (height == 2 && width == 2)
        NAME(max_row)(image, 2, 2, row_step, column_stride, columns, channels, kept, gated, best, places);
    else
        NAME(max_row)(image, (int)height, (int)width, row_step, column_stride, columns, channels, kept, gated, best,
                      places);
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
                const MASK place = __builtin_convertvector(*(const PLACES *)(places + from + c), MASK);
                STORE(cell + c, (VECTOR)((place == (BITS)(first + j)) & (MASK)LOAD(grad + from + c)));
            }
#endif
            for (; c < channels; c++)
                cell[c] = places[from + c] == first + j ? grad[from + c] : 0;
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
        STORE(out + i, (VECTOR)(~(value <= (VECTOR){0}) & (MASK)value));
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
#undef STORE
#undef LOAD
#undef PLACES
#undef MASK
#undef VECTOR
#undef LANES
#endif
