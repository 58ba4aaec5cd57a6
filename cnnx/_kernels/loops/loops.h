/* The loops that every instruction set has, and how they are called. Strides and counts are in elements. */
#ifndef CNNX_LOOPS_H
#define CNNX_LOOPS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* How a block of a product is read and written; gemm.h has the formula. More than two vectors of columns are 4,
 * 8 or MOST_VECTORS whole ones, of a single row. */
#define MOST_VECTORS 12
typedef struct {
    ptrdiff_t runs, depth;
    ptrdiff_t a_row, a_depth;
    const ptrdiff_t *a_rows; /* where each row of a block begins, instead of a_row; or NULL */
    const ptrdiff_t *a_runs;
    ptrdiff_t b_depth;
    const ptrdiff_t *b_runs;
    ptrdiff_t c_row, columns;
    const void *bias; /* added to every row, or NULL; readable for whole vectors */
    int accumulate;   /* add to c instead of overwriting it */
    int relu;         /* then max(0, c); NaN stays NaN */
} product;

/* The place of a pooled maximum that ReLU has closed: its gradient goes nowhere. */
#define CLOSED 255

/* Places may be NULL where nobody asks for them: then that stays NULL. */
static inline uint8_t *place_at(uint8_t *places, ptrdiff_t offset)
{
    return places ? places + offset : NULL;
}

/* Rows of 2x2 windows in planes: so many from one row to the next, of which the first ones are kept. */
typedef struct {
    ptrdiff_t rows, row, kept;
} plane_windows;

/* A pooled gradient, and what lies below it; pooled_gradient.h has the formulas. */
typedef struct {
    ptrdiff_t windows, window_columns, height, width; /* rows of windows, windows in a row, their size */
    ptrdiff_t channels;                               /* of the gradient: filters */
    ptrdiff_t position_column, position_row;          /* in the tile: between positions, and rows of positions */
    ptrdiff_t tile_row;                               /* in the tile: between rows */
    ptrdiff_t filter_rows, columns;                   /* a filter's rows, and their length */
    ptrdiff_t weights_row;                            /* that length in whole vectors */
    void *gradients;                                  /* room for lists */
    ptrdiff_t *offsets;
    ptrdiff_t *ends;
} pooled_gradient;

/* A row of pixels and the windows of 3x3, 2 apart, that hold it, the first of which begins `left` pixels before it; `place`
 * is that of the row's first pixel in a window. pooling_gradient.h has the formula. */
typedef struct {
    ptrdiff_t pixels, columns, channels, left, place;
} overlapping_row;

/* Some rows of windows with a gradient each, and the pixels below them; window_gradient.h has the formula. */
typedef struct {
    ptrdiff_t rows, columns;                        /* of windows */
    ptrdiff_t filters, filter_rows, filter_columns; /* and the length of a filter's row */
    ptrdiff_t x_stride, x_line, x_row;              /* from window to window, from row to row of windows; of pixels */
    ptrdiff_t grad_stride, grad_line;
    ptrdiff_t sums_row;
    const ptrdiff_t *cells;                         /* where each place lies in its window; none, at the first */
} window_band;

/* Some rows of planes of images and of gradients; plane_gradient.h has the formula. */
typedef struct {
    ptrdiff_t rows, columns, taps;
    ptrdiff_t x_row, grad_row, grad_plane;
} plane_band;

/* The taps of a depthwise filter that fall into the image, for positions that share them; depthwise.h. */
#define POSITIONS 8 /* outputs in registers */
#define MOST_TAPS 3 /* rows, and columns, of weight gradients in registers */
typedef struct {
    ptrdiff_t channels;
    ptrdiff_t rows, columns;        /* taps */
    ptrdiff_t x_row, x_column;      /* from tap to tap in the image, */
    ptrdiff_t w_row, w_column;      /* and in the filter */
    ptrdiff_t x_stride, out_stride; /* from position to position in a line, */
    ptrdiff_t x_line, out_line;     /* and from line to line */
    int relu;                       /* then max(0, out); NaN stays NaN */
} depthwise_taps;

/* Some taps of a filter, as many as a transform takes, or fewer at the filter's end; winograd.h. */
typedef struct {
    ptrdiff_t rows, columns, channels;
    ptrdiff_t tap_row, tap, channel; /* how far one is from the next */
} filter_piece;

/* Every loop, and how it is called: the structure, prototypes and tables below, and Cython's declarations (setup.py),
 * all follow from this list. */
#define LOOPS                                                                                                        \
    LOOP(block, (ptrdiff_t rows, const product *p, const void *a, const void *b, void *c))                           \
    LOOP(pool_block, (ptrdiff_t windows, const product *p, ptrdiff_t a_line, const void *a, const void *b,           \
        void *best, uint8_t *places))                                                                                \
    LOOP(pool_planes, (ptrdiff_t filters, const plane_windows *windows, const product *p, const void *a,             \
        const void *b, void *best, uint8_t *places))                                                                 \
    LOOP(max_row, (const void *image, ptrdiff_t height, ptrdiff_t width, ptrdiff_t image_row,                        \
        ptrdiff_t column_stride, ptrdiff_t columns, ptrdiff_t channels, ptrdiff_t kept, int gated, void *best,       \
        uint8_t *places))                                                                                            \
    LOOP(average_row, (const void *image, ptrdiff_t height, ptrdiff_t width, ptrdiff_t image_row,                    \
        ptrdiff_t column_stride, ptrdiff_t columns, ptrdiff_t channels, void *out))                                  \
    LOOP(max_plane_row, (const void *rows, ptrdiff_t height, ptrdiff_t width, ptrdiff_t plane_row,                   \
        ptrdiff_t columns, const void *bias, int gated, ptrdiff_t channels, void *best, uint8_t *places))            \
    LOOP(spread_row, (const void *grad, const uint8_t *places, ptrdiff_t columns, ptrdiff_t width, ptrdiff_t first,  \
        ptrdiff_t channels, void *out))                                                                              \
    LOOP(spread_average, (const void *grad, ptrdiff_t pixels, ptrdiff_t columns, ptrdiff_t width,                    \
        ptrdiff_t channels, void *out))                                                                              \
    LOOP(collect_row, (ptrdiff_t rows, const overlapping_row *p, const void *grad, const uint8_t *places, void *out)) \
    LOOP(pooled_weight_gradient, (const pooled_gradient *p, const void *grad, const uint8_t *places, const void *x,  \
        void *sums, void *bias))                                                                                     \
    LOOP(window_gradient, (const window_band *p, const void *grad, const uint8_t *places, const void *x, void *sums, \
        void *totals))                                                                                               \
    LOOP(plane_gradient, (ptrdiff_t filters, const plane_band *p, const void *x, const ptrdiff_t *offsets,           \
        const void *grad, void *sums))                                                                               \
    LOOP(position_sums, (ptrdiff_t positions, ptrdiff_t filters, const void *grad, ptrdiff_t row, void *sums))       \
    LOOP(pooled_input_gradient, (const pooled_gradient *p, const void *grad, const uint8_t *places,                  \
        const void *weights, void *tile))                                                                            \
    LOOP(relu_row, (const void *x, void *out, ptrdiff_t count))                                                      \
    LOOP(gate_row, (const void *grad, const void *y, void *out, ptrdiff_t count))                                    \
    LOOP(add_moments, (ptrdiff_t size, ptrdiff_t width, const void *x, const void *centres, void *sums))             \
    LOOP(add_gradients, (ptrdiff_t size, ptrdiff_t width, const void *grad, const void *x, const void *numbers,      \
        int relu, void *sums))                                                                                       \
    LOOP(normalize_rows, (ptrdiff_t size, ptrdiff_t width, const void *x, const void *numbers, int relu, void *out)) \
    LOOP(normalization_gradient_rows, (ptrdiff_t size, ptrdiff_t width, const void *grad, const void *x,             \
        const void *numbers, int relu, void *out))                                                                   \
    LOOP(depthwise_row, (ptrdiff_t positions, const depthwise_taps *p, const void *x, const void *w,                 \
        const void *bias, void *out))                                                                                \
    LOOP(depthwise_weights, (ptrdiff_t lines, ptrdiff_t positions, const depthwise_taps *p, const void *x,           \
        const void *grad, void *sums, void *bias))                                                                   \
    LOOP(winograd_pixels, (ptrdiff_t side, ptrdiff_t tiles, ptrdiff_t channels, const void *x, ptrdiff_t row,        \
        void *out, ptrdiff_t plane))                                                                                 \
    LOOP(winograd_filters, (ptrdiff_t side, const filter_piece *p, ptrdiff_t columns, ptrdiff_t width,               \
        const void *w, void *out, ptrdiff_t plane))                                                                  \
    LOOP(winograd_outputs, (ptrdiff_t side, ptrdiff_t tiles, ptrdiff_t filters, ptrdiff_t width, const void *m,      \
        ptrdiff_t plane, const void *bias, int relu, ptrdiff_t rows, ptrdiff_t columns, void *out, ptrdiff_t row))   \
    LOOP(winograd_gradients, (ptrdiff_t side, ptrdiff_t tiles, ptrdiff_t filters, ptrdiff_t width, const void *h,    \
        ptrdiff_t row, void *out, ptrdiff_t plane, void *totals))                                                    \
    LOOP(winograd_weights, (ptrdiff_t side, const filter_piece *p, ptrdiff_t columns, ptrdiff_t width,               \
        const void *sums, ptrdiff_t plane, void *out))                                                               \
    LOOP(split_row, (const void *x, ptrdiff_t x_pixel, ptrdiff_t pixels, ptrdiff_t channels, ptrdiff_t plane, void *planes))            \
    LOOP(merge_row, (const void *planes, ptrdiff_t pixels, ptrdiff_t channels, ptrdiff_t plane, const void *bias,    \
        int relu, void *out))                                                                                        \
    LOOP(transpose, (const void *x, ptrdiff_t x_row, ptrdiff_t rows, ptrdiff_t columns, void *out,                   \
        ptrdiff_t out_row))

#define LOOP(name, parameters) void (*name) parameters;
typedef struct {
    LOOPS
} loops;
#undef LOOP

typedef struct {
    const char *name;
    loops for_float, for_double;
    ptrdiff_t vector_bytes;
    ptrdiff_t tall_rows, wide_rows; /* most rows of a block one vector wide, and two */
} instruction_set;

#endif
