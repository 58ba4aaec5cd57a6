/* The passes of batch normalization over rows of whole positions; a template like gemm.h.
 *
 * `size` values are rows `width` long, with a number at each place of a row: that of a channel, repeated for each
 * position. The last row may be shorter. Numbers are rows behind each other: mean, gamma * inv_std and beta; for the
 * input gradient the mean of the gradients and the slope that takes the share of x from them, too.
 *
 * Where a row is no whole number of vectors, its last vector begins earlier and holds some values a second time: they
 * are written as they were, and left out of sums. Sums stay in registers for a sweep, a few vectors of some rows, so
 * that memory is read almost in its order.
 */

#define DEVIATION(x, mean) ((x) - (mean))
/* Written once, for the gradient asks again which outputs ReLU has closed. */
#define NORMALIZED(deviation, scale, beta) ((deviation) * (scale) + (beta))
#define INPUT_GRADIENT(grad, deviation, scale, average, slope) \
    ((scale) * (((grad) - (average)) - (deviation) * (slope)))

#ifdef VECTOR_BYTES

#define SWEEP_ROWS 16
#define SWEEP_VECTORS 4

/* Where the vectors of a sweep begin, whose last may be one that begins earlier, and its values that are its own. */
typedef struct {
    ptrdiff_t at[SWEEP_VECTORS], fresh;
} NAME(places_of_sweep);

TARGET ALWAYS_INLINE void NAME(add_sums)(const int vectors, const VECTOR *found, const NAME(places_of_sweep) *p,
                                         REAL *sums)
{
    for (int v = 0; v < vectors; v++)
        if (v < vectors - 1 || p->fresh == LANES)
            STORE(sums + p->at[v], LOAD(sums + p->at[v]) + found[v]);
        else {
            REAL last[LANES];
            STORE(last, found[v]);
            for (ptrdiff_t i = LANES - p->fresh; i < LANES; i++)
                sums[p->at[v] + i] += last[i];
        }
}

/* Sums of x - centre, and of their squares, of a few vectors of some rows. */
TARGET ALWAYS_INLINE void NAME(sweep_moments)(const int vectors, ptrdiff_t rows, ptrdiff_t width, const REAL *x,
                                              const REAL *centres, const NAME(places_of_sweep) *p, REAL *sums)
{
    VECTOR first[SWEEP_VECTORS], second[SWEEP_VECTORS], centre[SWEEP_VECTORS];
    for (int v = 0; v < vectors; v++) {
        first[v] = second[v] = (VECTOR){0};
        centre[v] = LOAD(centres + p->at[v]);
    }
    for (ptrdiff_t row = 0; row < rows; row++, x += width)
        for (int v = 0; v < vectors; v++) {
            const VECTOR deviation = DEVIATION(LOAD(x + p->at[v]), centre[v]);
            first[v] += deviation;
            second[v] += deviation * deviation;
        }
    NAME(add_sums)(vectors, first, p, sums);
    NAME(add_sums)(vectors, second, p, sums + width);
}

/* Sums of g and of g * (x - mean), where g is the gradient behind a ReLU, if there is one. */
TARGET ALWAYS_INLINE void NAME(sweep_gradients)(const int vectors, const int relu, ptrdiff_t rows, ptrdiff_t width,
                                                const REAL *grad, const REAL *x, const REAL *numbers,
                                                const NAME(places_of_sweep) *p, REAL *sums)
{
    VECTOR first[SWEEP_VECTORS], second[SWEEP_VECTORS], mean[SWEEP_VECTORS], scale[SWEEP_VECTORS], beta[SWEEP_VECTORS];
    for (int v = 0; v < vectors; v++) {
        first[v] = second[v] = (VECTOR){0};
        mean[v] = LOAD(numbers + p->at[v]);
        scale[v] = LOAD(numbers + width + p->at[v]);
        beta[v] = LOAD(numbers + 2 * width + p->at[v]);
    }
    for (ptrdiff_t row = 0; row < rows; row++, grad += width, x += width)
        for (int v = 0; v < vectors; v++) {
            const VECTOR deviation = DEVIATION(LOAD(x + p->at[v]), mean[v]);
            VECTOR g = LOAD(grad + p->at[v]);
            if (relu)
                g = (VECTOR)(~(NORMALIZED(deviation, scale[v], beta[v]) <= (VECTOR){0}) & (MASK)g);
            first[v] += g;
            second[v] += g * deviation;
        }
    NAME(add_sums)(vectors, first, p, sums);
    NAME(add_sums)(vectors, second, p, sums + width);
}

/* The vectors of a row are shared out to as few sweeps as there can be, whose numbers of vectors differ by one at most;
 * `count` values of a row, at least a vector. */
#define EACH_SWEEP(call)                                                                     \
    const ptrdiff_t all = (count + LANES - 1) / LANES;                                       \
    const ptrdiff_t sweeps = (all + SWEEP_VECTORS - 1) / SWEEP_VECTORS;                      \
    for (ptrdiff_t sweep = 0; sweep < sweeps; sweep++) {                                     \
        const ptrdiff_t begin = all * sweep / sweeps, end = all * (sweep + 1) / sweeps;      \
        NAME(places_of_sweep) p;                                                             \
        for (ptrdiff_t v = begin; v < end; v++)                                              \
            p.at[v - begin] = v < all - 1 ? v * LANES : count - LANES;                       \
        p.fresh = end < all ? LANES : count - (all - 1) * LANES;                             \
        switch (end - begin) {                                                               \
        case 1: call(1) break;                                                               \
        case 2: call(2) break;                                                               \
        case 3: call(3) break;                                                               \
        default: call(4) break;                                                              \
        }                                                                                    \
    }

#define MOMENTS(vectors) NAME(sweep_moments)(vectors, rows, width, x, centres, &p, sums);
TARGET NOINLINE void NAME(sweep_moment_rows)(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t count, const REAL *x,
                                             const REAL *centres, REAL *sums)
{
    EACH_SWEEP(MOMENTS)
}
#undef MOMENTS

#define GRADIENTS(vectors) NAME(sweep_gradients)(vectors, 0, rows, width, grad, x, numbers, &p, sums);
#define GATED(vectors) NAME(sweep_gradients)(vectors, 1, rows, width, grad, x, numbers, &p, sums);
TARGET NOINLINE void NAME(sweep_gradient_rows)(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t count, const REAL *grad,
                                               const REAL *x, const REAL *numbers, REAL *sums)
{
    EACH_SWEEP(GRADIENTS)
}
TARGET NOINLINE void NAME(sweep_gated_rows)(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t count, const REAL *grad,
                                            const REAL *x, const REAL *numbers, REAL *sums)
{
    EACH_SWEEP(GATED)
}
#undef GATED
#undef GRADIENTS
#undef EACH_SWEEP

#endif

/* Rows from `start` on that are taken together: some whole ones, or what there is of the last. */
TARGET ALWAYS_INLINE ptrdiff_t NAME(rows_together)(ptrdiff_t left, ptrdiff_t width, ptrdiff_t most)
{
    const ptrdiff_t whole = left / width;
    return whole > most ? most : whole > 0 ? whole : 1;
}

/* Adds to `sums` those of x - centre, and behind them those of (x - centre)^2, of each place of a row. */
TARGET static void NAME(add_moments)(ptrdiff_t size, ptrdiff_t width, const void *x_, const void *centres_, void *sums_)
{
    const REAL *x = x_, *centres = centres_;
    REAL *restrict sums = sums_;
    for (ptrdiff_t rows = 0; size > 0; size -= rows * width, x += rows * width) {
        const ptrdiff_t count = size < width ? size : width;
#ifdef VECTOR_BYTES
        if (count >= LANES) {
            rows = NAME(rows_together)(size, width, SWEEP_ROWS);
            NAME(sweep_moment_rows)(rows, width, count, x, centres, sums);
            continue;
        }
#endif
        rows = 1;
        for (ptrdiff_t i = 0; i < count; i++) {
            const REAL deviation = DEVIATION(x[i], centres[i]);
            sums[i] += deviation;
            sums[width + i] += deviation * deviation;
        }
    }
}

/* At most PART values. Two loops, for compilers give up on vectors where a choice and sums stand together. */
#define PART 64
TARGET static void NAME(add_row_gradients)(ptrdiff_t count, ptrdiff_t width, const REAL *grad, const REAL *x,
                                           const REAL *numbers, int relu, REAL *restrict sums)
{
    REAL behind[PART];
    const REAL *mean = numbers, *scale = numbers + width, *beta = numbers + 2 * width;
    if (relu) {
        for (ptrdiff_t i = 0; i < count; i++) {
            const REAL value = grad[i];
            behind[i] = NORMALIZED(DEVIATION(x[i], mean[i]), scale[i], beta[i]) <= 0 ? 0 : value;
        }
        grad = behind;
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        sums[i] += grad[i];
        sums[width + i] += grad[i] * DEVIATION(x[i], mean[i]);
    }
}

/* Adds to `sums` those of g, and behind them those of g * (x - mean), of each place of a row. */
TARGET static void NAME(add_gradients)(ptrdiff_t size, ptrdiff_t width, const void *grad_, const void *x_,
                                       const void *numbers_, int relu, void *sums_)
{
    const REAL *grad = grad_, *x = x_, *numbers = numbers_;
    REAL *restrict sums = sums_;
    for (ptrdiff_t rows = 0; size > 0; size -= rows * width, grad += rows * width, x += rows * width) {
        const ptrdiff_t count = size < width ? size : width;
#ifdef VECTOR_BYTES
        if (count >= LANES) {
            rows = NAME(rows_together)(size, width, SWEEP_ROWS);
            (relu ? NAME(sweep_gated_rows) : NAME(sweep_gradient_rows))(rows, width, count, grad, x, numbers, sums);
            continue;
        }
#endif
        rows = 1;
        for (ptrdiff_t first = 0; first < count; first += PART)
            NAME(add_row_gradients)(count - first < PART ? count - first : PART, width, grad + first, x + first,
                                    numbers + first, relu, sums + first);
    }
}

/* -- Element by element: a row at a time; `out` may be an input. -------------------------------------------------- */

/* Sets out[i] = one(i) for a row of `count`; a last vector that begins earlier is computed before others are written. */
#ifdef VECTOR_BYTES
#define EACH_VALUE(count, vector, one)                    \
    if ((count) >= LANES) {                               \
        const ptrdiff_t last = (count) - LANES;           \
        const VECTOR end = vector(last);                  \
        for (ptrdiff_t i = 0; i < last; i += LANES)       \
            STORE(out + i, vector(i));                    \
        STORE(out + last, end);                           \
    } else                                                \
        for (ptrdiff_t i = 0; i < (count); i++)           \
            out[i] = one(i);
#else
#define EACH_VALUE(count, vector, one)          \
    for (ptrdiff_t i = 0; i < (count); i++)     \
        out[i] = one(i);
#endif

TARGET ALWAYS_INLINE REAL NAME(normalized_value)(const int relu, REAL x, REAL mean, REAL scale, REAL beta)
{
    const REAL y = NORMALIZED(DEVIATION(x, mean), scale, beta);
    return relu && y <= 0 ? 0 : y;
}

TARGET ALWAYS_INLINE REAL NAME(input_gradient_value)(const int relu, REAL grad, REAL x, const REAL *numbers,
                                                     ptrdiff_t width)
{
    const REAL deviation = DEVIATION(x, numbers[0]), scale = numbers[width];
    const REAL g = relu && NORMALIZED(deviation, scale, numbers[2 * width]) <= 0 ? 0 : grad;
    return INPUT_GRADIENT(g, deviation, scale, numbers[3 * width], numbers[4 * width]);
}

#ifdef VECTOR_BYTES
TARGET ALWAYS_INLINE VECTOR NAME(normalized_vector)(const int relu, const REAL *x, const REAL *numbers, ptrdiff_t width)
{
    const VECTOR y = NORMALIZED(DEVIATION(LOAD(x), LOAD(numbers)), LOAD(numbers + width), LOAD(numbers + 2 * width));
    return relu ? RELU(y) : y;
}

TARGET ALWAYS_INLINE VECTOR NAME(input_gradient_vector)(const int relu, const REAL *grad, const REAL *x,
                                                        const REAL *numbers, ptrdiff_t width)
{
    const VECTOR deviation = DEVIATION(LOAD(x), LOAD(numbers)), scale = LOAD(numbers + width);
    VECTOR g = LOAD(grad);
    if (relu)
        g = (VECTOR)(~(NORMALIZED(deviation, scale, LOAD(numbers + 2 * width)) <= (VECTOR){0}) & (MASK)g);
    return INPUT_GRADIENT(g, deviation, scale, LOAD(numbers + 3 * width), LOAD(numbers + 4 * width));
}
#endif

TARGET ALWAYS_INLINE void NAME(normalize_some)(const int relu, ptrdiff_t size, ptrdiff_t width, const REAL *x,
                                               const REAL *numbers, REAL *out)
{
#define VECTOR_AT(i) NAME(normalized_vector)(relu, x + (i), numbers + (i), width)
#define ONE_AT(i) NAME(normalized_value)(relu, x[i], numbers[i], numbers[width + (i)], numbers[2 * width + (i)])
    for (; size > 0; size -= width, x += width, out += width) {
        const ptrdiff_t count = size < width ? size : width;
        EACH_VALUE(count, VECTOR_AT, ONE_AT)
    }
#undef ONE_AT
#undef VECTOR_AT
}

/* out = (x - mean) * scale + beta, and max(0, out) of that with `relu`; NaN stays NaN */
TARGET static void NAME(normalize_rows)(ptrdiff_t size, ptrdiff_t width, const void *x, const void *numbers, int relu,
                                        void *out)
{
    if (relu)
        NAME(normalize_some)(1, size, width, x, numbers, out);
    else
        NAME(normalize_some)(0, size, width, x, numbers, out);
}

TARGET ALWAYS_INLINE void NAME(input_gradient_some)(const int relu, ptrdiff_t size, ptrdiff_t width, const REAL *grad,
                                                    const REAL *x, const REAL *numbers, REAL *out)
{
#define VECTOR_AT(i) NAME(input_gradient_vector)(relu, grad + (i), x + (i), numbers + (i), width)
#define ONE_AT(i) NAME(input_gradient_value)(relu, grad[i], x[i], numbers + (i), width)
    for (; size > 0; size -= width, grad += width, x += width, out += width) {
        const ptrdiff_t count = size < width ? size : width;
        EACH_VALUE(count, VECTOR_AT, ONE_AT)
    }
#undef ONE_AT
#undef VECTOR_AT
}

/* out = scale * ((g - average) - (x - mean) * slope) */
TARGET static void NAME(normalization_gradient_rows)(ptrdiff_t size, ptrdiff_t width, const void *grad, const void *x,
                                                     const void *numbers, int relu, void *out)
{
    if (relu)
        NAME(input_gradient_some)(1, size, width, grad, x, numbers, out);
    else
        NAME(input_gradient_some)(0, size, width, grad, x, numbers, out);
}

#ifdef VECTOR_BYTES
#undef SWEEP_VECTORS
#undef SWEEP_ROWS
#endif
#undef EACH_VALUE
#undef PART
#undef INPUT_GRADIENT
#undef NORMALIZED
#undef DEVIATION
