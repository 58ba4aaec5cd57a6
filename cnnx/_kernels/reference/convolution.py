"""Convolution, alone and with the ReLU and the max pooling that follow it."""

import numpy as np

from cnnx._kernels.reference.activation import relu_forward
from cnnx._kernels.reference.pooling import max_pool_backward, max_pool_forward
from cnnx._kernels.reference.windows import inside, padded, pixels_at, taps
from cnnx._typing import Array, Pair

# The place of a pooled maximum that ReLU has closed.
CLOSED = 255


def convolution_forward(x: Array, W: Array, b: Array, stride: Pair, padding: Pair, relu: bool, out: Array) -> None:
    """out[n, oh, ow, f] = b[f] + sum of x[n, oh*stride + i - padding, ow*stride + j - padding, c] * W[i, j, c, f].

    Then max(0, out), if `relu`.
    """
    canvas = padded(x, W.shape[:2], stride, padding, out)
    out[...] = b
    for tap in taps(W.shape[:2]):
        out += pixels_at(canvas, tap, stride, out) @ W[tap]
    if relu:
        relu_forward(out, out)


def convolution_input_gradient(grad: Array, W: Array, stride: Pair, padding: Pair, out: Array) -> None:
    """Each output gradient goes back to the pixels it came from, times the weight between them."""
    canvas = padded(np.zeros_like(out), W.shape[:2], stride, padding, grad)
    for tap in taps(W.shape[:2]):
        pixels_at(canvas, tap, stride, grad)[...] += grad @ W[tap].T
    out[...] = inside(canvas, out, padding)


def convolution_weight_gradient(
    x: Array, grad: Array, stride: Pair, padding: Pair, W_grad: Array, b_grad: Array
) -> None:
    """W_grad[i, j, c, f] = sum over outputs of the pixel under (i, j) times the output's gradient."""
    canvas = padded(x, W_grad.shape[:2], stride, padding, grad)
    for tap in taps(W_grad.shape[:2]):
        W_grad[tap] = np.tensordot(pixels_at(canvas, tap, stride, grad), grad, axes=([0, 1, 2], [0, 1, 2]))
    b_grad[...] = grad.sum(axis=(0, 1, 2))


def convolution_pool_forward(
    x: Array,
    W: Array,
    b: Array,
    stride: Pair,
    padding: Pair,
    size: Pair,
    pool_size: Pair,
    relu: bool,
    out: Array,
    argmax: Array,
) -> None:
    """Convolution to `size` positions, ReLU if `relu`, then the largest of each window of `pool_size`.

    Windows do not overlap. The place of a maximum that ReLU has made 0 is `CLOSED`: its gradient goes nowhere.
    """
    y = np.empty((len(x), *size, out.shape[3]), out.dtype)
    convolution_forward(x, W, b, stride, padding, relu, y)
    max_pool_forward(y, pool_size, pool_size, (0, 0), out, argmax)
    if relu:
        argmax[out <= 0] = CLOSED


def _spread(grad: Array, argmax: Array, size: Pair, pool_size: Pair) -> Array:
    """The gradient of a pooling's input of `size` positions."""
    out = np.empty((len(grad), *size, grad.shape[3]), grad.dtype)
    max_pool_backward(grad, argmax, pool_size, pool_size, (0, 0), out)
    return out


def convolution_pool_input_gradient(
    grad: Array, argmax: Array, W: Array, stride: Pair, padding: Pair, size: Pair, pool_size: Pair, out: Array
) -> None:
    """`convolution_input_gradient` of what the pooling passes back."""
    convolution_input_gradient(_spread(grad, argmax, size, pool_size), W, stride, padding, out)


def convolution_pool_weight_gradient(
    x: Array,
    grad: Array,
    argmax: Array,
    stride: Pair,
    padding: Pair,
    size: Pair,
    pool_size: Pair,
    W_grad: Array,
    b_grad: Array,
) -> None:
    """`convolution_weight_gradient` of what the pooling passes back."""
    convolution_weight_gradient(x, _spread(grad, argmax, size, pool_size), stride, padding, W_grad, b_grad)
