"""Convolution, alone and with the ReLU and the max pooling that follow it."""

import numpy as np

from cnnx._kernels.families import CLOSED
from cnnx._kernels.reference.activation import relu_forward
from cnnx._kernels.reference.pooling import max_pool_backward, max_pool_forward
from cnnx._kernels.reference.windows import dilated, inside, padded, pixels_at, place, taps
from cnnx._typing import Array, Pair, PooledWindow, Prepared, Window


def convolution_forward(
    x: Array,
    W: Array,
    b: Array,
    window: Window,
    relu: bool,
    out: Array,
    prepared: Prepared | None = None,
) -> None:
    """Each output is b + the sum over i, j, c of a pixel times W[i, j, c, f]; then max(0, out), if `relu`.

    The pixel of out[n, oh, ow, f] is x[n, oh*stride + i*dilation - padding, ow*stride + j*dilation - padding, c], where
    `window` is (stride, padding, dilation).

    In `prepared`, which belongs to one W in memory that cannot be written, compiled kernels keep what they make of W.
    """
    stride, padding, dilation = window
    canvas = padded(x, dilated(W.shape[:2], dilation), stride, padding, out)
    out[...] = b
    for tap in taps(W.shape[:2]):
        out += pixels_at(canvas, place(tap, dilation), stride, out) @ W[tap]
    if relu:
        relu_forward(out, out)


def convolution_input_gradient(grad: Array, W: Array, window: Window, out: Array) -> None:
    """Each output gradient goes back to the pixels it came from, times the weight between them."""
    stride, padding, dilation = window
    canvas = padded(np.zeros_like(out), dilated(W.shape[:2], dilation), stride, padding, grad)
    for tap in taps(W.shape[:2]):
        pixels_at(canvas, place(tap, dilation), stride, grad)[...] += grad @ W[tap].T
    out[...] = inside(canvas, out, padding)


def convolution_weight_gradient(x: Array, grad: Array, window: Window, W_grad: Array, b_grad: Array) -> None:
    """W_grad[i, j, c, f] = sum over outputs of the pixel under (i, j) times the output's gradient."""
    stride, padding, dilation = window
    canvas = padded(x, dilated(W_grad.shape[:2], dilation), stride, padding, grad)
    for tap in taps(W_grad.shape[:2]):
        pixels = pixels_at(canvas, place(tap, dilation), stride, grad)
        W_grad[tap] = np.tensordot(pixels, grad, axes=([0, 1, 2], [0, 1, 2]))
    b_grad[...] = grad.sum(axis=(0, 1, 2))


def convolution_pool_forward(
    x: Array,
    W: Array,
    b: Array,
    window: PooledWindow,
    relu: bool,
    out: Array,
    argmax: Array | None,
    prepared: Prepared | None = None,
) -> None:
    """Convolution to `size` positions, ReLU if `relu`, then the largest of each window of `pool_size`.

    Here `window` is (stride, padding, size, pool_size). Pooled windows do not overlap. The place of a maximum that ReLU
    has made 0 is `CLOSED`: its gradient goes nowhere. Without an `argmax` the places are not kept. `prepared` as in
    `convolution_forward`.
    """
    stride, padding, size, pool_size = window
    if argmax is None:
        argmax = np.empty(out.shape, np.uint8)
    y = np.empty((len(x), *size, out.shape[3]), out.dtype)
    convolution_forward(x, W, b, (stride, padding, (1, 1)), relu, y)
    max_pool_forward(y, pool_size, pool_size, (0, 0), out, argmax)
    if relu:
        argmax[out <= 0] = CLOSED


def _spread(grad: Array, argmax: Array, size: Pair, pool_size: Pair) -> Array:
    """The gradient of a pooling's input of `size` positions."""
    out = np.empty((len(grad), *size, grad.shape[3]), grad.dtype)
    max_pool_backward(grad, argmax, pool_size, pool_size, (0, 0), out)
    return out


def convolution_pool_input_gradient(grad: Array, argmax: Array, W: Array, window: PooledWindow, out: Array) -> None:
    """`convolution_input_gradient` of what the pooling passes back."""
    stride, padding, size, pool_size = window
    convolution_input_gradient(_spread(grad, argmax, size, pool_size), W, (stride, padding, (1, 1)), out)


def convolution_pool_weight_gradient(
    x: Array,
    grad: Array,
    argmax: Array,
    window: PooledWindow,
    W_grad: Array,
    b_grad: Array,
) -> None:
    """`convolution_weight_gradient` of what the pooling passes back."""
    stride, padding, size, pool_size = window
    spread = _spread(grad, argmax, size, pool_size)
    convolution_weight_gradient(x, spread, (stride, padding, (1, 1)), W_grad, b_grad)
