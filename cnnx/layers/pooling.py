"""Pooling: each window of an image becomes one value, channel by channel.

    max        y = the largest pixel of the window; its gradient goes to that pixel alone, the first of equals
    average    y = the mean of the window's pixels; its gradient is shared equally

and global pooling, where the whole image is one window.

(the deck's "Max Pooling Shrinks Height and Width, Preserves Strongest Activations").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Pair, Shape
from cnnx.checks.geometry import Padding, check_image_shape, check_padding, pair, slide
from cnnx.layers.base import Layer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses

MODES = ("max", "average")


class _Pooling(Layer):
    """The passes of both: windows of `filter_size` pixels `stride` apart, the first one `offset` outside the image."""

    uses: ClassVar[Uses] = Uses(input=False, output=False)
    mode: str

    def create_windows(self, filter_size: Pair, stride: Pair, offset: Pair, output: Pair, channels: int) -> None:
        """Take the windows; the place of a largest pixel is a byte where that suffices."""
        self.windows, self.pooled_shape = (filter_size, stride, offset), (*output, channels)
        if self.mode == "max":
            pixels = math.prod(filter_size)
            place = np.uint8 if pixels <= 256 else np.int32 if pixels < 2**31 else np.int64
            self._reserve("argmax", self.pooled_shape, place)

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, height, width, channels) to the output."""
        y = context.array("output", len(x))
        pooled = y.reshape(len(x), *self.pooled_shape)
        if self.mode == "max":
            argmax = context.array("argmax", len(x)) if context.keeps else None
            _kernels.max_pool_forward(x, *self.windows, pooled, argmax)
            context.keep(argmax)
        else:
            _kernels.average_pool_forward(x, *self.windows, pooled)
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array:
        """The output's gradient to (batch, height, width, channels)."""
        out = context.array("input_gradient", len(grad))
        pooled = grad.reshape(len(grad), *self.pooled_shape)
        if self.mode == "max":
            (argmax,) = context.kept()
            _kernels.max_pool_backward(pooled, argmax, *self.windows, out)
        else:
            _kernels.average_pool_backward(pooled, *self.windows, out)
        return out


def _check_mode(mode: str, layer: str) -> str:
    if mode not in MODES:
        raise ValueError(f"{layer}: mode: expected one of {MODES}, got {mode!r}")
    return mode


class PoolLayer(_Pooling):
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
        self.mode = _check_mode(mode, self.name)
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
        self.fits = windows.padding == (0, 0) and all(
            (positions - 1) * s + f <= n
            for positions, s, f, n in zip(windows.output, self.stride, self.filter_size, (height, width), strict=True)
        )
        self.create_windows(self.filter_size, self.stride, windows.padding, windows.output, channels)
        return self.pooled_shape


class GlobalPoolLayer(_Pooling):
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
        self.mode = _check_mode(mode, self.name)

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; a value for each channel."""
        height, width, channels = check_image_shape(input_shape, self.name)
        self.create_windows((height, width), (1, 1), (0, 0), (1, 1), channels)
        return (channels,)
