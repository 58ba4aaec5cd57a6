"""Transposed convolution: each input spreads over a window of the output, times a filter, plus a bias.

    y = b, plus for each n, h, w, i, j, c:    y[n, h*s + i*d - p, w*s + j*d - p, f] += x[n, h, w, c] * W[i, j, f, c]

for stride s, padding p and dilation d. That is the input gradient of a convolution with the weights W, from images of f
channels to images of c channels; so backward is that convolution. With g = dL/dy:

    dL/dx[n, h, w, c] = sum over i, j, f of g[n, h*s + i*d - p, w*s + j*d - p, f] * W[i, j, f, c]
    dL/dW[i, j, f, c] = sum over n, h, w of g[n, h*s + i*d - p, w*s + j*d - p, f] * x[n, h, w, c]
    dL/db[f]          = sum over all n, h, w of g[n, h, w, f]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.geometry import check_extent, check_image_shape, check_reach, pair
from cnnx.layers.base import Layer
from cnnx.layers.initializers import check_initializer, find_initializer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses


class TransposedConvolutionLayer(Layer):
    """Learned upsampling of NHWC images, as PyTorch's ``ConvTranspose2d``.

    Images are (batch, height, width, channels); the output is (batch, rows, columns, filters) with
    ``rows = (height - 1) * stride - 2 * padding + dilation * (filter_height - 1) + output_padding + 1``, and columns
    likewise.

    Parameters
    ----------
    filters : int
        Number of channels of the output.
    filter_size : int or pair of int
        Height and width of the window that one input spreads over, in pixels.
    stride : int or pair of int, default 1
        Distance of the windows of neighbouring inputs, in pixels.
    padding : int or pair of int, default 0
        Rows cut off above and below, and columns left and right of the output.
    output_padding : int or pair of int, default 0
        Rows more below, and columns more to the right; less than the stride or the dilation. A convolution with a
        stride maps images of several sizes to one, and this says which of them to come back to.
    initializer : str, float or None
        Starting weights: 'he_normal', 'he_uniform', 'glorot_normal' or 'glorot_uniform'. By default a
        `Model` takes He before ReLU, and Glorot otherwise. Biases start at zero.
    dilation : int or pair of int, default 1
        Distance of neighbouring outputs of the window that one input spreads over.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or, from `build`, if no output is left between the padding.

    Notes
    -----
    ``params["W"]`` is (filter_height, filter_width, filters, channels), ``params["b"]`` is (filters,). An output
    sums about ``filter_height * filter_width / stride**2`` windows of each channel: that is taken as the fan-in.

    Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", 2016, chapter 4.
    """

    uses: ClassVar[Uses] = Uses(output=False, gradient_over_input=True)
    has_weights: ClassVar[bool] = True

    def __init__(
        self,
        filters: int,
        filter_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        initializer: str | float | None = None,
        dilation: int | Sequence[int] = 1,
    ) -> None:
        super().__init__()
        self.filters = check_extent(filters, f"{self.name}: filters")
        self.filter_size = pair(filter_size, "filter_size", self.name)
        self.stride = pair(stride, "stride", self.name)
        self.padding = pair(padding, "padding", self.name, least=0)
        self.output_padding = pair(output_padding, "output_padding", self.name, least=0)
        self.dilation = pair(dilation, "dilation", self.name)
        if any(more >= max(s, d) for more, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True)):
            raise ValueError(
                f"{self.name}: output_padding: expected less than the stride {self.stride} or the dilation "
                f"{self.dilation}, got {output_padding!r}"
            )
        self.initializer = check_initializer(initializer, self.name)

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Weights (filter_height, filter_width, filters, channels) and biases (filters,)."""
        height, width, channels = check_image_shape(input_shape, self.name)
        self.window = (self.stride, self.padding, self.dilation)
        rows, columns = (
            (n - 1) * s - 2 * p + d * (f - 1) + more + 1
            for n, s, p, d, f, more in zip(
                (height, width), *self.window, self.filter_size, self.output_padding, strict=True
            )
        )
        if rows < 1 or columns < 1:
            raise ValueError(
                f"{self.name}: padding {self.padding} leaves nothing of the output of an image of {height}x{width}: "
                f"{rows}x{columns}"
            )
        most = max(channels, self.filters)
        check_reach((rows, columns), (height, width), self.filter_size, self.window, most, self.name)
        pixels = self.filter_size[0] * self.filter_size[1]
        windows = max(1, pixels // (self.stride[0] * self.stride[1]))
        initialize = find_initializer(self.initializer, self.default_initializer)
        shape = (*self.filter_size, self.filters, channels)
        self._add_parameter("W", shape, lambda: initialize(rng, shape, windows * channels, pixels * self.filters))
        self._add_parameter("b", (self.filters,), lambda: np.zeros(self.filters))
        # The kernels' biases are those of the convolution, which goes the other way and has none.
        self._no_bias = np.zeros(channels, self.dtype)
        self._reserve("no_bias_gradient", (channels,), per_example=False, backward_only=True)
        return (rows, columns, self.filters)

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, height, width, channels) to (batch, rows, columns, filters)."""
        y = context.array("output", len(x))
        _kernels.convolution_input_gradient(x, self.params["W"], self.window, y)
        _kernels.add_bias(self.params["b"], y)
        context.keep(x)
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array | None:
        """(batch, rows, columns, filters) to (batch, height, width, channels)."""
        (x,) = context.kept()
        _kernels.convolution_weight_gradient(grad, x, self.window, self.grads["W"], context.array("no_bias_gradient"))
        _kernels.bias_gradient(grad, self.grads["b"])
        if not context.wants_gradient:
            return None
        out = context.array("input_gradient", len(x))
        _kernels.convolution_forward(grad, self.params["W"], self._no_bias, self.window, False, out)
        return out
