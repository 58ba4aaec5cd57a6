"""Depthwise convolution: each channel has filters of its own, and no sum runs over channels.

    y[n, oh, ow, c*M + m] = b[c*M + m] + sum over i, j of x[n, oh*s + i*d - p, ow*s + j*d - p, c] * W[i, j, c, m]

for M filters a channel, stride s, dilation d and padding p. Backward, with g = dL/dy:

    dL/dW[i, j, c, m] = sum over n, oh, ow of x[n, oh*s + i*d - p, ow*s + j*d - p, c] * g[n, oh, ow, c*M + m]
    dL/db[f]          = sum over n, oh, ow of g[n, oh, ow, f]
    dL/dx             = each g[n, oh, ow, f] back to its window, times the filter

A 1x1 convolution after it mixes the channels: together they are the "depthwise separable convolution" of MobileNets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Prepared, Shape
from cnnx.checks.geometry import Padding, check_extent, check_image_shape, check_padding, pair, slide
from cnnx.layers.initializers import check_initializer, find_initializer
from cnnx.layers.product import ProductLayer


class DepthwiseConvolutionLayer(ProductLayer):
    """Two-dimensional convolution of each channel of NHWC images by itself.

    Images are (batch, height, width, channels); the output is (batch, rows, columns, channels * multiplier) with
    ``rows = floor((height + 2 * padding - dilation * (filter_height - 1) - 1) / stride) + 1``, and columns likewise.

    Parameters
    ----------
    filter_size : int or pair of int
        Height and width of a filter, in pixels.
    multiplier : int, default 1
        Filters of each channel. Output channel ``c * multiplier + m`` is that of filter m of channel c.
    stride : int or pair of int, default 1
        Distance of neighbouring windows, in pixels.
    padding : int, pair of int, 'same' or 'valid', default 0
        Zero rows above and below, and columns left and right of the image. 'same' gives
        ``ceil(height / stride)`` rows, 'valid' is 0.
    dilation : int or pair of int, default 1
        Distance of neighbouring pixels under a filter.
    initializer : str, float or None
        Starting weights: 'he_normal', 'he_uniform', 'glorot_normal' or 'glorot_uniform'. By default a
        `Model` takes He before ReLU, and Glorot otherwise. Biases start at zero.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or, from `build`, if a filter does not fit into the padded image.

    Notes
    -----
    ``params["W"]`` is (filter_height, filter_width, channels, multiplier), ``params["b"]`` is
    (channels * multiplier,). `ConvolutionLayer` with ``groups`` equal to the channels computes the same; its
    weights are these, reshaped to (filter_height, filter_width, 1, channels * multiplier).

    Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017, section
    3.1. Dilation: Yu, Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016.
    """

    def __init__(
        self,
        filter_size: int | Sequence[int],
        multiplier: int = 1,
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
        initializer: str | float | None = None,
    ) -> None:
        super().__init__()
        self.filter_size = pair(filter_size, "filter_size", self.name)
        self.multiplier = check_extent(multiplier, f"{self.name}: multiplier")
        self.stride = pair(stride, "stride", self.name)
        self.padding = check_padding(padding, self.name)
        self.dilation = pair(dilation, "dilation", self.name)
        self.initializer = check_initializer(initializer, self.name)

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Weights (filter_height, filter_width, channels, multiplier) and biases (channels * multiplier,)."""
        height, width, channels = check_image_shape(input_shape, self.name)
        windows = slide((height, width), self.filter_size, self.stride, self.padding, self.name, self.dilation)
        self.window = (self.stride, windows.padding, self.dilation)
        pixels = self.filter_size[0] * self.filter_size[1]
        initialize = find_initializer(self.initializer, self.default_initializer)
        shape, filters = (*self.filter_size, channels, self.multiplier), channels * self.multiplier
        self._add_parameter("W", shape, lambda: initialize(rng, shape, pixels, pixels * self.multiplier))
        self._add_parameter("b", (filters,), lambda: np.zeros(filters))
        return (*windows.output, filters)

    def product(self, x: Array, relu: bool, out: Array, prepared: Prepared | None) -> None:
        """(batch, height, width, channels) to (batch, rows, columns, channels * multiplier), perhaps with ReLU."""
        W, b = self.params["W"], self.params["b"]
        _kernels.depthwise_forward(x, W, b, self.window, relu, out)

    def weight_gradient(self, x: Array, grad: Array) -> None:
        """(batch, height, width, channels) and (batch, rows, columns, channels * multiplier) to `grads`."""
        W_grad, b_grad = self.grads["W"], self.grads["b"]
        _kernels.depthwise_weight_gradient(x, grad, self.window, W_grad, b_grad)

    def input_gradient(self, grad: Array, out: Array) -> None:
        """(batch, rows, columns, channels * multiplier) to (batch, height, width, channels)."""
        _kernels.depthwise_input_gradient(grad, self.params["W"], self.window, out)
