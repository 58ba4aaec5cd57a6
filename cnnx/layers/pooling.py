"""Pooling: each window of an image becomes one value, channel by channel.

    max        y = the largest pixel of the window; its gradient goes to that pixel alone, the first of equals
    average    y = the mean of the window's pixels; its gradient is shared equally

and global pooling, where the whole image is one window.

(the deck's "Max Pooling Shrinks Height and Width, Preserves Strongest Activations").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.geometry import Padding, check_image_shape, check_padding, pair, slide
from cnnx.layers.base import Layer

MODES = ("max", "average")


class PoolLayer(Layer):
    """Max or average pooling of NHWC images: (batch, height, width, channels) to (batch, rows, columns, channels).

    Parameters
    ----------
    filter_size : int or pair of int
        Height and width of a window, in pixels.
    stride : int or pair of int, optional
        Distance of neighbouring windows, in pixels; by default the window's size, so that windows do not overlap.
    mode : {'max', 'average'}
    padding : int, pair of int, 'same' or 'valid', default 0
        Smaller than the window. Padding is never the largest pixel and is not counted in an average.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or, from `build`, if a window does not fit into the padded image.

    Notes
    -----
    NaN in a window gives NaN. The place of the largest pixel is kept in one byte for windows of up to 256 pixels.
    """

    reads_input: ClassVar[bool] = False
    reads_output: ClassVar[bool] = False

    def __init__(
        self,
        filter_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        mode: Literal["max", "average"] = "max",
        padding: Padding = 0,
    ) -> None:
        super().__init__()
        self.filter_size = pair(filter_size, "filter_size", self.name)
        self.stride = self.filter_size if stride is None else pair(stride, "stride", self.name)
        if mode not in MODES:
            raise ValueError(f"{self.name}: mode: expected one of {MODES}, got {mode!r}")
        self.mode = mode
        self.padding = check_padding(padding, self.name)
        if not isinstance(self.padding, str) and any(
            p >= f for p, f in zip(self.padding, self.filter_size, strict=True)
        ):
            raise ValueError(
                f"{self.name}: padding: expected less than the window's size {self.filter_size}, got {padding!r}"
            )

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters."""
        height, width, channels = check_image_shape(input_shape, self.name)
        windows = slide((height, width), self.filter_size, self.stride, self.padding, self.name)
        self.offset = windows.padding
        self.fits = self.offset == (0, 0) and all(
            (positions - 1) * s + f <= n
            for positions, s, f, n in zip(windows.output, self.stride, self.filter_size, (height, width), strict=True)
        )
        output_shape = (*windows.output, channels)
        self._reserve("output", output_shape)
        self._reserve("input_gradient", input_shape)
        if self.mode == "max":
            places = self.filter_size[0] * self.filter_size[1]
            self._reserve("argmax", output_shape, np.uint8 if places <= 256 else np.int32)
        return output_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, height, width, channels) to (batch, rows, columns, channels)."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        argmax = None
        if self.mode == "max":
            argmax = self._array("argmax", len(x), training)
            _kernels.max_pool_forward(x, self.filter_size, self.stride, self.offset, y, argmax)
        else:
            _kernels.average_pool_forward(x, self.filter_size, self.stride, self.offset, y)
        if training:
            self._cache = (y, argmax)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, rows, columns, channels) to (batch, height, width, channels)."""
        grad, _, argmax = self._use_up_cache(grad)
        if not self.needs_input_gradient:
            return None
        out = self._array("input_gradient", len(grad))
        if self.mode == "max":
            _kernels.max_pool_backward(grad, argmax, self.filter_size, self.stride, self.offset, out)
        else:
            _kernels.average_pool_backward(grad, self.filter_size, self.stride, self.offset, out)
        return out

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "filter_size": list(self.filter_size),
            "stride": list(self.stride),
            "mode": self.mode,
            "padding": self.padding if isinstance(self.padding, str) else list(self.padding),
        }


class GlobalPoolLayer(Layer):
    """Each channel of an image becomes one value: (batch, height, width, channels) to (batch, channels).

    Parameters
    ----------
    mode : {'average', 'max'}

    Raises
    ------
    ValueError
        If `mode` is not one of the two, or, from `build`, if examples are not images.

    Notes
    -----
    NaN in a channel gives NaN. Lin, Chen, Yan, "Network In Network", ICLR 2014, section 3.2.
    """

    def __init__(self, mode: Literal["average", "max"] = "average") -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"{self.name}: mode: expected one of {MODES}, got {mode!r}")
        self.mode = mode

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; a value for each channel."""
        height, width, channels = check_image_shape(input_shape, self.name)
        self.window = ((height, width), (1, 1), (0, 0))
        self._reserve("output", (channels,))
        self._reserve("input_gradient", input_shape)
        if self.mode == "max":
            self._reserve("argmax", (1, 1, channels), np.uint8 if height * width <= 256 else np.int32)
        return (channels,)

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, height, width, channels) to (batch, channels)."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        argmax = None
        if self.mode == "max":
            argmax = self._array("argmax", len(x), training)
            _kernels.max_pool_forward(x, *self.window, y[:, np.newaxis, np.newaxis], argmax)
        else:
            _kernels.average_pool_forward(x, *self.window, y[:, np.newaxis, np.newaxis])
        if training:
            self._cache = (y, argmax)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, channels) to (batch, height, width, channels)."""
        grad, _, argmax = self._use_up_cache(grad)
        if not self.needs_input_gradient:
            return None
        out = self._array("input_gradient", len(grad))
        if self.mode == "max":
            _kernels.max_pool_backward(grad[:, np.newaxis, np.newaxis], argmax, *self.window, out)
        else:
            _kernels.average_pool_backward(grad[:, np.newaxis, np.newaxis], *self.window, out)
        return out

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"mode": self.mode}
