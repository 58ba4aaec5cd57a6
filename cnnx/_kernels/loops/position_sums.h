/* The gradient of biases; a template like gemm.h.
 *
 *   sums[f] += sum over positions of  grad[position * row + f],   f < filters
 *
 * Four positions at a time, which need not wait for each other.
 */
TARGET static void NAME(position_sums)(ptrdiff_t positions, ptrdiff_t filters, const void *grad_, ptrdiff_t row,
                                       void *sums_)
{
    const REAL *grad = grad_;
    REAL *sums = sums_;
#ifdef VECTOR_BYTES
    for (ptrdiff_t f = 0; f < filters; f += LANES) {
        /* Vectors may read on into the next positions, but not past the last one. */
        const ptrdiff_t kept = filters - f < LANES ? filters - f : LANES, beyond = LANES - kept;
        const ptrdiff_t left = (beyond + row - 1) / row, whole = left < positions ? positions - left : 0;
        VECTOR sum[4] = {{0}, {0}, {0}, {0}};
        ptrdiff_t position = 0;
        for (; position + 4 <= whole; position += 4)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                sum[i] += LOAD(grad + (position + i) * row + f);
        const VECTOR all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        for (ptrdiff_t k = 0; k < kept; k++) {
            REAL rest = 0;
            for (ptrdiff_t p = position; p < positions; p++)
                rest += grad[p * row + f + k];
            sums[f + k] += all[k] + rest;
        }
    }
#else
    for (ptrdiff_t f = 0; f < filters; f++)
        for (ptrdiff_t position = 0; position < positions; position++)
            sums[f] += grad[position * row + f];
#endif
}
