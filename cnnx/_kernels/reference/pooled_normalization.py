"""Batch normalization, perhaps ReLU, and max pooling of windows that do not overlap, one after the other."""

import numpy as np

from cnnx._kernels.families import CLOSED
from cnnx._kernels.reference.normalization import (
    Pair,
    batch_norm_forward,
    batch_norm_input_gradient,
    batch_norm_parameter_gradient,
)
from cnnx._kernels.reference.pooling import max_pool_backward, max_pool_forward
from cnnx._typing import Array, Pair as Size


def batch_norm_pool_forward(
    x: Array, statistics: Pair, affine: Pair, filter_size: Size, relu: bool, out: Array, argmax: Array | None
) -> None:
    """The largest normalised value of each window and its place; with `relu`, 0 and CLOSED where none is above 0."""
    y = np.empty_like(x)
    places = np.empty(out.shape, np.uint8) if argmax is None else argmax
    batch_norm_forward(x, statistics, affine, False, y)
    max_pool_forward(y, filter_size, filter_size, (0, 0), out, places)
    if relu:
        closed = out <= 0
        out[closed] = 0
        places[closed] = CLOSED


def batch_norm_pool_parameter_gradient(
    grad: Array,
    argmax: Array,
    x: Array,
    statistics: Pair,
    affine: Pair,
    filter_size: Size,
    gamma_grad: Array,
    beta_grad: Array,
) -> None:
    """Those of batch normalization, for the gradient of the pooled outputs at their places."""
    g = _spread(grad, argmax, x, filter_size)
    batch_norm_parameter_gradient(g, x, statistics, affine, False, gamma_grad, beta_grad)


def batch_norm_pool_input_gradient(
    grad: Array,
    argmax: Array,
    x: Array,
    statistics: Pair,
    affine: Pair,
    filter_size: Size,
    gradients: Pair,
    out: Array,
) -> None:
    """That of batch normalization, for the gradient of the pooled outputs at their places."""
    g = _spread(grad, argmax, x, filter_size)
    batch_norm_input_gradient(g, x, statistics, affine, *gradients, False, out)


def _spread(grad: Array, argmax: Array, x: Array, filter_size: Size) -> Array:
    g = np.empty_like(x)
    max_pool_backward(grad, argmax, filter_size, filter_size, (0, 0), g)
    return g
