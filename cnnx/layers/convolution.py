"""Convolution: each output is the sum of an image window times a filter, plus a bias.

    y[n, oh, ow, f] = b[f] + sum over i, j, c of x[n, oh*s + i*d - p, ow*s + j*d - p, c] * W[i, j, c, f]

for stride s, padding p and dilation d (the deck's "Convolutions are Element-Wise Multiplication and Summation", where d
is 1). Backward, with g = dL/dy:

    dL/dW[i, j, c, f] = sum over n, oh, ow of x[n, oh*s + i*d - p, ow*s + j*d - p, c] * g[n, oh, ow, f]
    dL/db[f]          = sum over n, oh, ow of g[n, oh, ow, f]
    dL/dx             = each g[n, oh, ow, f] back to its window, times the filter

With `groups`, channels and filters are cut into as many equal parts, and a filter sees the channels of its own part
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Prepared, Shape
from cnnx.checks.geometry import Padding, check_extent, check_image_shape, check_padding, check_reach, pair, slide
from cnnx.layers.initializers import check_initializer, find_initializer
from cnnx.layers.product import ProductLayer
from cnnx.memory.uses import Uses


class ConvolutionLayer(ProductLayer):
    """Two-dimensional convolution of NHWC images.

    Images are (batch, height, width, channels); the output is (batch, rows, columns, filters) with
    ``rows = floor((height + 2 * padding - dilation * (filter_height - 1) - 1) / stride) + 1``, and columns likewise.

    Parameters
    ----------
    filters : int
        Number of filters, which are the channels of the output.
    filter_size : int or pair of int
        Height and width of a filter, in pixels.
    stride : int or pair of int, default 1
        Distance of neighbouring windows, in pixels.
    padding : int, pair of int, 'same' or 'valid', default 0
        Zero rows above and below, and columns left and right of the image. 'same' gives
        ``ceil(height / stride)`` rows, 'valid' is 0.
    initializer : str, float or None
        Starting weights: 'he_normal', 'he_uniform', 'glorot_normal', 'glorot_uniform', 'lecun_normal',
        'lecun_uniform', 'orthogonal' or 'zeros', or a number, which all of them are. By default a `Model` takes what
        the next activation prefers, such as He before ReLU, and Glorot otherwise. Biases start at zero.
    dilation : int or pair of int, default 1
        Distance of neighbouring pixels under a filter.
    groups : int, default 1
        Equal parts into which channels and filters are cut; it divides both. Filter f sees the channels of part
        ``f // (filters // groups)``, as in PyTorch. `DepthwiseConvolutionLayer` has a part for each channel without
        being told their number.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or, from `build`, if a filter does not fit into the padded image, or
        the channels cannot be cut into `groups`.

    Notes
    -----
    ``params["W"]`` is (filter_height, filter_width, channels // groups, filters), ``params["b"]`` is (filters,).
    Gradients: Goodfellow, Bengio, Courville, "Deep Learning", 2016, section 9.5. Groups: Krizhevsky, Sutskever,
    Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012. Dilation: Yu, Koltun,
    "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016.
    """

    uses: ClassVar[Uses] = ProductLayer.uses._replace(prepares=True)

    def __init__(
        self,
        filters: int,
        filter_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        initializer: str | float | None = None,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.filters = check_extent(filters, f"{self.name}: filters")
        self.filter_size = pair(filter_size, "filter_size", self.name)
        self.stride = pair(stride, "stride", self.name)
        self.padding = check_padding(padding, self.name)
        self.initializer = check_initializer(initializer, self.name)
        self.dilation = pair(dilation, "dilation", self.name)
        self.groups = check_extent(groups, f"{self.name}: groups")
        if self.filters % self.groups:
            raise ValueError(f"{self.name}: groups: expected a divisor of {self.filters} filters, got {groups!r}")

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Weights (filter_height, filter_width, channels // groups, filters) and biases (filters,)."""
        height, width, channels = check_image_shape(input_shape, self.name)
        if channels % self.groups:
            raise ValueError(f"{self.name}: groups: expected a divisor of {channels} channels, got {self.groups}")
        # A part for each channel is a kernel of its own; with one channel only dilation is worth it.
        self.depthwise = self.groups == channels and (self.groups > 1 or self.dilation != (1, 1))
        windows = slide((height, width), self.filter_size, self.stride, self.padding, self.name, self.dilation)
        self.window = (self.stride, windows.padding, self.dilation)
        if not self.depthwise:
            most = max(channels, self.filters) // self.groups
            check_reach((height, width), windows.output, self.filter_size, self.window, most, self.name)
        pixels = self.filter_size[0] * self.filter_size[1]
        initialize = find_initializer(self.initializer, self.default_initializer)
        seen, seeing = channels // self.groups, self.filters // self.groups
        shape = (*self.filter_size, seen, self.filters)
        self._add_parameter("W", shape, lambda: initialize(rng, shape, pixels * seen, pixels * seeing))
        self._add_parameter("b", (self.filters,), lambda: np.zeros(self.filters))
        return (*windows.output, self.filters)

    def product(self, x: Array, relu: bool, out: Array, prepared: Prepared | None) -> None:
        """(batch, height, width, channels) to (batch, rows, columns, filters), perhaps with ReLU."""
        W, b, window = self.params["W"], self.params["b"], self.window
        if self.depthwise:
            _kernels.depthwise_forward(x, self._by_channel(W), b, window, relu, out)
        elif self.groups == 1:
            _kernels.convolution_forward(x, W, b, window, relu, out, prepared)
        else:
            _kernels.grouped_convolution_forward(x, W, b, window, self.groups, relu, out)

    def weight_gradient(self, x: Array, grad: Array) -> None:
        """(batch, height, width, channels) and (batch, rows, columns, filters) to `grads`."""
        W_grad, b_grad, window = self.grads["W"], self.grads["b"], self.window
        if self.depthwise:
            _kernels.depthwise_weight_gradient(x, grad, window, self._by_channel(W_grad), b_grad)
        elif self.groups == 1:
            _kernels.convolution_weight_gradient(x, grad, window, W_grad, b_grad)
        else:
            _kernels.grouped_convolution_weight_gradient(x, grad, window, self.groups, W_grad, b_grad)

    def input_gradient(self, grad: Array, out: Array) -> None:
        """(batch, rows, columns, filters) to (batch, height, width, channels)."""
        W, window = self.params["W"], self.window
        if self.depthwise:
            _kernels.depthwise_input_gradient(grad, self._by_channel(W), window, out)
        elif self.groups == 1:
            _kernels.convolution_input_gradient(grad, W, window, out)
        else:
            _kernels.grouped_convolution_input_gradient(grad, W, window, self.groups, out)

    def _by_channel(self, W: Array) -> Array:
        """Weights (filter_height, filter_width, 1, filters), seen as (..., channels, filters // channels)."""
        return W.reshape(*self.filter_size, self.groups, -1)
