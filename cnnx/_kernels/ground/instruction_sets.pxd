from libc.stdint cimport uint8_t

cdef extern from "loops.h" nogil:
    ctypedef struct product:
        Py_ssize_t runs, depth
        Py_ssize_t a_row, a_depth
        const Py_ssize_t *a_rows
        const Py_ssize_t *a_runs
        Py_ssize_t b_depth
        const Py_ssize_t *b_runs
        Py_ssize_t c_row, columns
        const void *bias
        int accumulate, relu

    enum: MOST_VECTORS, CLOSED
    uint8_t *place_at(uint8_t *places, Py_ssize_t offset)

    ctypedef struct pooled_gradient:
        Py_ssize_t windows, window_columns, height, width
        Py_ssize_t channels
        Py_ssize_t step, position_row
        Py_ssize_t tile_row
        Py_ssize_t filter_rows, columns
        Py_ssize_t weights_row
        void *gradients
        Py_ssize_t *offsets
        Py_ssize_t *ends

    ctypedef struct window_band:
        Py_ssize_t rows, columns
        Py_ssize_t filters, filter_rows, filter_columns
        Py_ssize_t x_step, x_line, x_row
        Py_ssize_t grad_step, grad_line
        Py_ssize_t sums_row
        Py_ssize_t *cells

    ctypedef struct plane_band:
        Py_ssize_t rows, columns, taps
        Py_ssize_t x_row, grad_row, grad_plane

    ctypedef struct depthwise_window:
        Py_ssize_t channels
        Py_ssize_t rows, columns
        Py_ssize_t x_row, x_column
        Py_ssize_t w_row, w_column
        Py_ssize_t x_step, out_step
        Py_ssize_t x_line, out_line
        int relu

    ctypedef struct loops:
        void block(Py_ssize_t rows, const product *p, const void *a, const void *b, void *c) noexcept nogil
        void pool_block(
            Py_ssize_t windows, const product *p, Py_ssize_t a_line, const void *a, const void *b, void *best,
            uint8_t *places,
        ) noexcept nogil
        void pool_planes(
            Py_ssize_t filters, Py_ssize_t windows, const product *p, Py_ssize_t b_line, const void *a, const void *b,
            void *best, uint8_t *places,
        ) noexcept nogil
        void max_row(
            const void *image, Py_ssize_t height, Py_ssize_t width, Py_ssize_t row_step, Py_ssize_t column_stride,
            Py_ssize_t columns, Py_ssize_t channels, Py_ssize_t kept, int gated, void *best, uint8_t *places,
        ) noexcept nogil
        void max_plane_row(
            const void *rows, Py_ssize_t height, Py_ssize_t width, Py_ssize_t row_step, Py_ssize_t columns,
            const void *bias, int gated, Py_ssize_t channels, void *best, uint8_t *places,
        ) noexcept nogil
        void spread_row(
            const void *grad, const uint8_t *places, Py_ssize_t columns, Py_ssize_t width, Py_ssize_t first,
            Py_ssize_t channels, void *out,
        ) noexcept nogil
        void pooled_weights(
            const pooled_gradient *p, const void *grad, const uint8_t *places, const void *x, void *sums, void *bias,
        ) noexcept nogil
        void window_weights(
            const window_band *p, const void *grad, const uint8_t *places, const void *x, void *sums, void *totals,
        ) noexcept nogil
        void plane_weights(
            Py_ssize_t filters, const plane_band *p, const void *x, const Py_ssize_t *offsets, const void *grad,
            void *sums,
        ) noexcept nogil
        void pooled_inputs(
            const pooled_gradient *p, const void *grad, const uint8_t *places, const void *weights, void *tile,
        ) noexcept nogil
        void relu_row(const void *x, void *out, Py_ssize_t count) noexcept nogil
        void gate_row(const void *grad, const void *y, void *out, Py_ssize_t count) noexcept nogil
        void depthwise_row(
            Py_ssize_t positions, const depthwise_window *p, const void *x, const void *w, const void *bias,
            void *out,
        ) noexcept nogil
        void depthwise_weights(
            Py_ssize_t lines, Py_ssize_t positions, const depthwise_window *p, const void *x, const void *grad,
            void *sums, void *bias,
        ) noexcept nogil
        void winograd_pixels(
            Py_ssize_t tiles, Py_ssize_t channels, const void *x, Py_ssize_t row, void *out, Py_ssize_t plane,
        ) noexcept nogil
        void winograd_filters(
            Py_ssize_t channels, Py_ssize_t columns, Py_ssize_t width, const void *w, Py_ssize_t row, Py_ssize_t tap,
            void *out, Py_ssize_t plane,
        ) noexcept nogil
        void winograd_outputs(
            Py_ssize_t tiles, Py_ssize_t filters, Py_ssize_t width, const void *m, Py_ssize_t plane, const void *bias,
            int relu, Py_ssize_t rows, Py_ssize_t columns, void *out, Py_ssize_t row,
        ) noexcept nogil
        void winograd_gradients(
            Py_ssize_t tiles, Py_ssize_t filters, Py_ssize_t width, const void *h, Py_ssize_t row, void *out,
            Py_ssize_t plane,
        ) noexcept nogil
        void winograd_weights(
            Py_ssize_t channels, Py_ssize_t columns, Py_ssize_t width, const void *sums, Py_ssize_t plane, void *out,
            Py_ssize_t row, Py_ssize_t tap,
        ) noexcept nogil
        void split_row(
            const void *x, Py_ssize_t pixels, Py_ssize_t channels, Py_ssize_t plane, void *planes,
        ) noexcept nogil
        void merge_row(
            const void *planes, Py_ssize_t pixels, Py_ssize_t channels, Py_ssize_t plane, const void *bias, int relu,
            void *out,
        ) noexcept nogil
        void transpose(
            const void *x, Py_ssize_t x_row, Py_ssize_t rows, Py_ssize_t columns, void *out, Py_ssize_t out_row,
        ) noexcept nogil

    ctypedef struct instruction_set:
        const char *name
        loops for_float, for_double
        Py_ssize_t vector_bytes, tall_rows, wide_rows


cdef const instruction_set *in_use() noexcept nogil
cdef const loops *loops_for(Py_ssize_t itemsize) noexcept nogil
