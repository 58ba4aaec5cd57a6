/* The loops of an instruction set and a floating type, and their table. */
#define LOOP(name, parameters) TARGET static void NAME(name) parameters;
LOOPS
#undef LOOP

#include "parts.h"
#include "gemm.h"
#include "rows.h"
#include "pooling_gradient.h"
#include "planes.h"
#include "pooled_product.h"
#include "pooled_gradient.h"
#include "window_gradient.h"
#include "plane_gradient.h"
#include "position_sums.h"
#include "depthwise.h"
#include "winograd.h"
#include "normalization_rows.h"

#define LOOP(name, parameters) .name = NAME(name),
static const loops NAME(loops) = {LOOPS};
#undef LOOP
