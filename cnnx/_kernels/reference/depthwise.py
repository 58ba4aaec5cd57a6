"""Depthwise convolution: each channel has filters of its own.

Weights are (filter_height, filter_width, channels, multiplier), and output channel c * multiplier + m is that of
filter m of channel c.
"""

import numpy as np

from cnnx._kernels.reference.activation import relu_forward
from cnnx._kernels.reference.windows import dilated, inside, padded, pixels_at, place, taps
from cnnx._typing import Array, Window


def _by_filter(out: Array, W: Array) -> Array:
    """(images, rows, columns, channels * multiplier) as (images, rows, columns, channels, multiplier)."""
    return out.reshape(*out.shape[:3], *W.shape[2:])


def depthwise_forward(x: Array, W: Array, b: Array, window: Window, relu: bool, out: Array) -> None:
    """Each output is b + the sum over i, j of a pixel of its channel times W[i, j, c, m]; then max(0, out), if `relu`.

    The pixel of out[n, oh, ow] is x[n, oh*stride + i*dilation - padding, ow*stride + j*dilation - padding].
    """
    stride, padding, dilation = window
    canvas = padded(x, dilated(W.shape[:2], dilation), stride, padding, out)
    out[...] = b
    for tap in taps(W.shape[:2]):
        pixels = pixels_at(canvas, place(tap, dilation), stride, out)
        _by_filter(out, W)[...] += pixels[..., np.newaxis] * W[tap]
    if relu:
        relu_forward(out, out)


def depthwise_input_gradient(grad: Array, W: Array, window: Window, out: Array) -> None:
    """Each output gradient goes back to the pixels it came from, times the weight between them."""
    stride, padding, dilation = window
    canvas = padded(np.zeros_like(out), dilated(W.shape[:2], dilation), stride, padding, grad)
    for tap in taps(W.shape[:2]):
        pixels = pixels_at(canvas, place(tap, dilation), stride, grad)
        pixels += (_by_filter(grad, W) * W[tap]).sum(axis=-1)
    out[...] = inside(canvas, out, padding)


def depthwise_weight_gradient(x: Array, grad: Array, window: Window, W_grad: Array, b_grad: Array) -> None:
    """W_grad[i, j, c, m] = sum over outputs of the pixel under (i, j) times the output's gradient."""
    stride, padding, dilation = window
    canvas = padded(x, dilated(W_grad.shape[:2], dilation), stride, padding, grad)
    for tap in taps(W_grad.shape[:2]):
        pixels = pixels_at(canvas, place(tap, dilation), stride, grad)
        W_grad[tap] = (pixels[..., np.newaxis] * _by_filter(grad, W_grad)).sum(axis=(0, 1, 2))
    b_grad[...] = grad.sum(axis=(0, 1, 2))
