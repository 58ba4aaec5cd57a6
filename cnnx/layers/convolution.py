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

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks import check_count
from cnnx.geometry import Padding, check_image_shape, check_padding, pair, slide
from cnnx.initializers import check_initializer, find_initializer
from cnnx.layers.product import ProductLayer


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
        self.filters = check_count(filters, f"{self.name}: filters")
        self.filter_size = pair(filter_size, "filter_size", self.name)
        self.stride = pair(stride, "stride", self.name)
        self.padding = check_padding(padding, self.name)
        self.initializer = check_initializer(initializer, self.name)
        self.dilation = pair(dilation, "dilation", self.name)
        self.groups = check_count(groups, f"{self.name}: groups")
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
        self.offset = windows.padding
        self.window = (self.stride, self.offset, self.dilation)
        pixels = self.filter_size[0] * self.filter_size[1]
        initialize = find_initializer(self.initializer, self.default_initializer)
        seen, seeing = channels // self.groups, self.filters // self.groups
        shape = (*self.filter_size, seen, self.filters)
        self._add_parameter("W", shape, lambda: initialize(rng, shape, pixels * seen, pixels * seeing))
        self._add_parameter("b", (self.filters,), lambda: np.zeros(self.filters))
        output_shape = (*windows.output, self.filters)
        self._reserve("output", output_shape)
        self._reserve("input_gradient", input_shape)
        if self.groups > 1 and not self.depthwise:
            self._reserve("part_input", (height, width, seen))
            self._reserve("part_output", (*windows.output, seeing))
        return output_shape

    def product(self, x: Array, training: bool, relu: bool, out: Array) -> None:
        """(batch, height, width, channels) to (batch, rows, columns, filters), perhaps with ReLU."""
        W, b, window = self.params["W"], self.params["b"], self.window
        if self.depthwise:
            W = self._by_channel(W)
            _kernels.depthwise_forward(x, W, b, *window, relu, out)
        elif self.groups == 1:
            _kernels.convolution_forward(x, W, b, *window, relu, out, self.prepared)
        else:
            for channels, filters in self._parts():
                x_part, y_part = (self._array(name, len(x), training) for name in ("part_input", "part_output"))
                x_part[...] = x[..., channels]
                W_part = np.ascontiguousarray(W[..., filters])
                _kernels.convolution_forward(x_part, W_part, b[filters], *window, relu, y_part)
                out[..., filters] = y_part

    def weight_gradient(self, x: Array, grad: Array) -> None:
        """(batch, height, width, channels) and (batch, rows, columns, filters) to `grads`."""
        W_grad, b_grad, window = self.grads["W"], self.grads["b"], self.window
        if self.depthwise:
            W_grad = self._by_channel(W_grad)
            _kernels.depthwise_weight_gradient(x, grad, *window, W_grad, b_grad)
        elif self.groups == 1:
            _kernels.convolution_weight_gradient(x, grad, *window, W_grad, b_grad)
        else:
            for channels, filters in self._parts():
                x_part, grad_part = self._array("part_input", len(x)), self._array("part_output", len(x))
                x_part[...], grad_part[...] = x[..., channels], grad[..., filters]
                W_part = np.empty_like(W_grad[..., filters], order="C")
                _kernels.convolution_weight_gradient(x_part, grad_part, *window, W_part, b_grad[filters])
                W_grad[..., filters] = W_part

    def input_gradient(self, grad: Array, out: Array) -> None:
        """(batch, rows, columns, filters) to (batch, height, width, channels)."""
        W, window = self.params["W"], self.window
        if self.depthwise:
            W = self._by_channel(W)
            _kernels.depthwise_input_gradient(grad, W, *window, out)
        elif self.groups == 1:
            _kernels.convolution_input_gradient(grad, W, *window, out)
        else:
            for channels, filters in self._parts():
                out_part, grad_part = self._array("part_input", len(out)), self._array("part_output", len(out))
                grad_part[...] = grad[..., filters]
                W_part = np.ascontiguousarray(W[..., filters])
                _kernels.convolution_input_gradient(grad_part, W_part, *window, out_part)
                out[..., channels] = out_part

    def _parts(self) -> Iterator[tuple[slice, slice]]:
        """The channels and the filters of each group."""
        seen, seeing = self.input_shape[2] // self.groups, self.filters // self.groups
        for group in range(self.groups):
            yield slice(group * seen, (group + 1) * seen), slice(group * seeing, (group + 1) * seeing)

    def _by_channel(self, W: Array) -> Array:
        """Weights (filter_height, filter_width, 1, filters), seen as (..., channels, filters // channels)."""
        return W.reshape(*self.filter_size, self.groups, -1)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "filters": self.filters,
            "filter_size": list(self.filter_size),
            "stride": list(self.stride),
            "padding": self.padding if isinstance(self.padding, str) else list(self.padding),
            "initializer": self.initializer,
            "dilation": list(self.dilation),
            "groups": self.groups,
        }
