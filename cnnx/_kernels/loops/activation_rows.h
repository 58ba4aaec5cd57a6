/* Activations and their derivatives, for one instruction set and one floating type; a template like gemm.h.
 *
 * Everything is plain arithmetic without a call or a branch, so that compilers turn the loops below into vectors. All
 * series are Taylor's, long enough that what they leave out is below half a unit in the last place of their result.
 */

#if REAL_BYTES == 8
#define UNSIGNED uint64_t
#define MAGNITUDE fabs
#define MANTISSA 52
#define BIAS 1023
#define LOWEST (-708.0)
#define HIGHEST 709.0
#define LARGEST DBL_MAX
/* ln 2 in two parts: n times the first is exact. Cody, Waite, "Software Manual for the Elementary Functions", 1980, ch. 6 */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define CLOSENESS 4
#else
#define UNSIGNED uint32_t
#define MAGNITUDE fabsf
#define MANTISSA 23
#define BIAS 127
#define LOWEST (-87.0f)
#define HIGHEST 88.0f
#define LARGEST FLT_MAX
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#define CLOSENESS 3
#endif
#define INTEGERS ((REAL)1.5 * ((BITS)1 << MANTISSA)) /* a sum with it is rounded to an integer */
#define INLINE TARGET ALWAYS_INLINE REAL
#define TERM(c) sum = sum * z + (REAL)(c);

/* exp(x) = 2^n * (1 + q) with n = round(x / ln 2): gives 2^n and q = exp(x - n ln 2) - 1, for LOWEST <= x <= HIGHEST. */
INLINE NAME(exp_parts)(REAL x, REAL *power)
{
    const REAL integers = INTEGERS, shifted = x * (REAL)1.44269504088896340736 + integers, n = shifted - integers;
    const REAL z = (x - n * LN2_HIGH) - n * LN2_LOW;
    BITS bits, zero;
    memcpy(&bits, &shifted, sizeof(REAL));
    memcpy(&zero, &integers, sizeof(REAL));
    bits = (BITS)((UNSIGNED)(bits - zero + BIAS) << MANTISSA);
    memcpy(power, &bits, sizeof(REAL));
    REAL sum = 0;
#if REAL_BYTES == 8
    TERM(1.0 / 6227020800) TERM(1.0 / 479001600) TERM(1.0 / 39916800) TERM(1.0 / 3628800) TERM(1.0 / 362880)
    TERM(1.0 / 40320)
#endif
    TERM(1.0 / 5040) TERM(1.0 / 720) TERM(1.0 / 120) TERM(1.0 / 24) TERM(1.0 / 6) TERM(1.0 / 2)
    return z + z * z * sum;
}

/* 0 below LOWEST and infinity above HIGHEST, where the result would be outside the normal numbers, or near to it */
INLINE NAME(exponential)(REAL x)
{
    REAL power;
    const REAL bounded = x < LOWEST ? LOWEST : x > HIGHEST ? HIGHEST : x;
    const REAL q = NAME(exp_parts)(bounded, &power), y = power + power * q;
    return x < LOWEST ? 0 : x > HIGHEST ? (REAL)INFINITY : y;
}

/* exp(x) - 1 without loss of digits near 0, for x <= 0 */
INLINE NAME(exponential_minus_1)(REAL x)
{
    REAL power;
    const REAL q = NAME(exp_parts)(x < LOWEST ? LOWEST : x, &power);
    return power * q + (power - 1);
}

/* log(1 + x) = 2 artanh(x / (2 + x)), for 0 <= x <= 1 */
INLINE NAME(log_plus_1)(REAL x)
{
    const REAL s = x / (2 + x), z = s * s;
    REAL sum = 0;
#if REAL_BYTES == 8
    TERM(1.0 / 33) TERM(1.0 / 31) TERM(1.0 / 29) TERM(1.0 / 27) TERM(1.0 / 25) TERM(1.0 / 23) TERM(1.0 / 21)
    TERM(1.0 / 19) TERM(1.0 / 17)
#endif
    TERM(1.0 / 15) TERM(1.0 / 13) TERM(1.0 / 11) TERM(1.0 / 9) TERM(1.0 / 7) TERM(1.0 / 5) TERM(1.0 / 3)
    return 2 * s + 2 * s * (z * sum);
}

/* The normal distribution function and exp(-x^2 / 2), from which its density is made. With u = |x| / sqrt(2),
 *
 *   erfc(u) = exp(-u^2) z P(z),  z = k / (k + u)
 *
 * in the manner of Shepherd, Laframboise, "Chebyshev Approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x < infinity",
 * Math. Comp. 36, 1981. P interpolates in the Chebyshev nodes of the z that belong to 0 <= u <= 10 (float) and 27
 * (double), beyond which erfc is 0; its relative error is 5e-9 and 2e-16. */
INLINE NAME(normal)(REAL x, REAL *bell)
{
    const REAL u = MAGNITUDE(x) * (REAL)0.70710678118654752440, z = CLOSENESS / (CLOSENESS + u);
    REAL sum = 0;
#if REAL_BYTES == 8
    TERM(-0.001669601638415487748) TERM(0.01562757191867462906) TERM(-0.06226557049356455925)
    TERM(0.1333305856087403774) TERM(-0.1525288179237882471) TERM(0.04937709109877898190)
    TERM(0.1323988769491948941) TERM(-0.2825479538505100088) TERM(0.3103739860888748068)
    TERM(-0.2277733939304140715) TERM(0.1511517967944666768) TERM(-0.03050132047382406369)
    TERM(0.06548240056386184430) TERM(0.05683873705724519640) TERM(0.08227284671229226767)
    TERM(0.09883722391554541707) TERM(0.1150389926366156562) TERM(0.1278219580795201027)
    TERM(0.1366398043308988596) TERM(0.1410473905757908859) TERM(0.1410473959800157927)
#else
    TERM(0.05704096532) TERM(-0.2993730934) TERM(0.5528358778) TERM(-0.4642043544) TERM(0.4228917418)
    TERM(-0.01248239662) TERM(0.1958655789) TERM(0.1706077573) TERM(0.1887875917) TERM(0.1880303332)
#endif
    *bell = NAME(exponential)(-u * u);
    const REAL tail = (REAL)0.5 * *bell * (z * sum);
    return x < 0 ? tail : 1 - tail;
}

/* So that 0 * infinity does not make NaN of a limit that is 0. */
INLINE NAME(bounded_below)(REAL x) { return x < -LARGEST ? -LARGEST : x; }
INLINE NAME(bounded)(REAL x) { return x > LARGEST ? LARGEST : NAME(bounded_below)(x); }

/* -- y = f(x), and dy/dx from x or from y, whichever is named. ---------------------------------------------------- */

INLINE NAME(sigmoid)(REAL x, REAL a, REAL b) { return 1 / (1 + NAME(exponential)(-x)); }
INLINE NAME(sigmoid_slope)(REAL y, REAL a, REAL b) { return y * (1 - y); }

INLINE NAME(leaky_relu)(REAL x, REAL a, REAL b) { return x > 0 ? x : a * x; }
INLINE NAME(leaky_relu_slope)(REAL y, REAL a, REAL b) { return y > 0 ? 1 : a; }

INLINE NAME(elu)(REAL x, REAL a, REAL b)
{
    const REAL below = a * NAME(exponential_minus_1)(x > 0 ? 0 : x);
    return b * (x > 0 ? x : below);
}
INLINE NAME(elu_slope)(REAL y, REAL a, REAL b) { return y > 0 ? b : y + a * b; }

INLINE NAME(gelu)(REAL x, REAL a, REAL b)
{
    REAL bell;
    return NAME(bounded_below)(x) * NAME(normal)(x, &bell);
}
INLINE NAME(gelu_slope)(REAL x, REAL a, REAL b)
{
    REAL bell;
    const REAL share = NAME(normal)(x, &bell);
    return share + NAME(bounded)(x) * (bell * (REAL)0.39894228040143267794);
}

INLINE NAME(silu)(REAL x, REAL a, REAL b) { return NAME(bounded_below)(x) * NAME(sigmoid)(x, a, b); }
INLINE NAME(silu_slope)(REAL x, REAL a, REAL b)
{
    const REAL share = NAME(sigmoid)(x, a, b);
    return share * (1 + NAME(bounded)(x) * (1 - share));
}

INLINE NAME(tanh)(REAL x, REAL a, REAL b)
{
    const REAL below = NAME(exponential_minus_1)(-2 * MAGNITUDE(x)), y = below / (2 + below);
    return x < 0 ? y : 0 - y;
}
INLINE NAME(tanh_slope)(REAL y, REAL a, REAL b) { return 1 - y * y; }

INLINE NAME(softplus)(REAL x, REAL a, REAL b)
{
    return (x > 0 ? x : 0) + NAME(log_plus_1)(NAME(exponential)(-MAGNITUDE(x)));
}
INLINE NAME(softplus_slope)(REAL y, REAL a, REAL b) { return -NAME(exponential_minus_1)(-y); }

INLINE NAME(hard_swish)(REAL x, REAL a, REAL b)
{
    const REAL gate = x < -3 ? 0 : x > 3 ? 1 : (x + 3) / 6;
    return NAME(bounded_below)(x) * gate;
}
INLINE NAME(hard_swish_slope)(REAL x, REAL a, REAL b) { return x <= -3 ? 0 : x >= 3 ? 1 : (2 * x + 3) / 6; }

#define ROWS(name)                                                                                                      \
    TARGET static void NAME(name##_forward_row)(const void *x_, const void *unused, void *out_, ptrdiff_t count,        \
                                                double a_, double b_)                                                   \
    {                                                                                                                   \
        const REAL *x = x_, a = (REAL)a_, b = (REAL)b_;                                                                 \
        REAL *out = out_;                                                                                               \
        for (ptrdiff_t i = 0; i < count; i++)                                                                           \
            out[i] = NAME(name)(x[i], a, b);                                                                            \
    }                                                                                                                   \
    TARGET static void NAME(name##_backward_row)(const void *grad_, const void *kept_, void *out_, ptrdiff_t count,     \
                                                 double a_, double b_)                                                  \
    {                                                                                                                   \
        const REAL *grad = grad_, *kept = kept_, a = (REAL)a_, b = (REAL)b_;                                            \
        REAL *out = out_;                                                                                               \
        for (ptrdiff_t i = 0; i < count; i++)                                                                           \
            out[i] = grad[i] * NAME(name##_slope)(kept[i], a, b);                                                       \
    }
ROWS(sigmoid)
ROWS(leaky_relu)
ROWS(elu)
ROWS(gelu)
ROWS(silu)
ROWS(tanh)
ROWS(softplus)
ROWS(hard_swish)
#undef ROWS

/* In the order of `enum activation`. */
#define ENTRY(name) {NAME(name##_forward_row), NAME(name##_backward_row)}
static const activation_rows NAME(rows)[] = {ENTRY(sigmoid), ENTRY(leaky_relu), ENTRY(elu),      ENTRY(gelu),
                                             ENTRY(silu),    ENTRY(tanh),       ENTRY(softplus), ENTRY(hard_swish)};
#undef ENTRY

#undef TERM
#undef INLINE
#undef INTEGERS
#undef CLOSENESS
#undef LN2_LOW
#undef LN2_HIGH
#undef LARGEST
#undef HIGHEST
#undef LOWEST
#undef BIAS
#undef MANTISSA
#undef MAGNITUDE
#undef UNSIGNED
