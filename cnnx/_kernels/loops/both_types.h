/* One instruction set's loops for float and for double. */
#define REAL float
#define REAL_BYTES 4
#define BITS int32_t
#include "gemm.h"
#include "rows.h"
#include "pooled_product.h"
#include "pooled.h"
#include "window_weights.h"
#include "plane_weights.h"
#include "depthwise.h"
#include "winograd.h"
static const loops NAME(loops) = LOOPS;
#undef BITS
#undef REAL_BYTES
#undef REAL

#define REAL double
#define REAL_BYTES 8
#define BITS int64_t
#include "gemm.h"
#include "rows.h"
#include "pooled_product.h"
#include "pooled.h"
#include "window_weights.h"
#include "plane_weights.h"
#include "depthwise.h"
#include "winograd.h"
static const loops NAME(loops) = LOOPS;
#undef BITS
#undef REAL_BYTES
#undef REAL
