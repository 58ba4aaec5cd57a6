"""Convolution: each output is the sum of an image window times a filter, plus a bias.

    y[n, oh, ow, f] = b[f] + sum over i, j, c of x[n, oh*s + i - p, ow*s + j - p, c] * W[i, j, c, f]

(the deck's "Convolutions are Element-Wise Multiplication and Summation"). Backward, with g = dL/dy:

    dL/dW[i, j, c, f] = sum over n, oh, ow of x[n, oh*s + i - p, ow*s + j - p, c] * g[n, oh, ow, f]
    dL/db[f]          = sum over n, oh, ow of g[n, oh, ow, f]
    dL/dx             = each g[n, oh, ow, f] back to its window, times the filter
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks import check_count
from cnnx.geometry import Padding, check_image_shape, check_padding, pair, slide
from cnnx.initializers import check_initializer, find_initializer
from cnnx.layers.base import Layer


class ConvolutionLayer(Layer):
    """Two-dimensional convolution of NHWC images.

    Images are (batch, height, width, channels); the output is (batch, rows, columns, filters) with
    ``rows = floor((height + 2 * padding - filter_height) / stride) + 1``, and columns likewise.

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

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or, from `build`, if a filter does not fit into the padded image.

    Notes
    -----
    ``params["W"]`` is (filter_height, filter_width, channels, filters), ``params["b"]`` is (filters,).
    Gradients: Goodfellow, Bengio, Courville, "Deep Learning", 2016, section 9.5.
    """

    reads_output: ClassVar[bool] = False

    has_weights: ClassVar[bool] = True
    frees_input: ClassVar[bool] = True

    def __init__(
        self,
        filters: int,
        filter_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        initializer: str | float | None = None,
    ) -> None:
        super().__init__()
        self.filters = check_count(filters, f"{self.name}: filters")
        self.filter_size = pair(filter_size, "filter_size", self.name)
        self.stride = pair(stride, "stride", self.name)
        self.padding = check_padding(padding, self.name)
        self.initializer = check_initializer(initializer, self.name)

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Weights (filter_height, filter_width, channels, filters) and biases (filters,)."""
        height, width, channels = check_image_shape(input_shape, self.name)
        windows = slide((height, width), self.filter_size, self.stride, self.padding, self.name)
        self.offset = windows.padding
        pixels = self.filter_size[0] * self.filter_size[1]
        initialize = find_initializer(self.initializer, self.default_initializer)
        shape = (*self.filter_size, channels, self.filters)
        self._add_parameter("W", shape, lambda: initialize(rng, shape, pixels * channels, pixels * self.filters))
        self._add_parameter("b", (self.filters,), lambda: np.zeros(self.filters))
        output_shape = (*windows.output, self.filters)
        self._reserve("output", output_shape)
        self._reserve("input_gradient", input_shape)
        return output_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, height, width, channels) to (batch, rows, columns, filters)."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        _kernels.convolution_forward(x, self.params["W"], self.params["b"], self.stride, self.offset, False, y)
        if training:
            self._cache = (x,)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, rows, columns, filters) to (batch, height, width, channels)."""
        grad, x = self._use_up_cache(grad)
        _kernels.convolution_weight_gradient(x, grad, self.stride, self.offset, self.grads["W"], self.grads["b"])
        if not self.needs_input_gradient:
            return None
        out = self._array("input_gradient", len(x))
        _kernels.convolution_input_gradient(grad, self.params["W"], self.stride, self.offset, out)
        return out

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "filters": self.filters,
            "filter_size": list(self.filter_size),
            "stride": list(self.stride),
            "padding": self.padding if isinstance(self.padding, str) else list(self.padding),
            "initializer": self.initializer,
        }
