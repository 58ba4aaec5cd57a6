"""Upsampling: each pixel of an image becomes `size` pixels along each axis.

    nearest     y[n, oh, ow, c] = x[n, floor(oh / size_h), floor(ow / size_w), c]
    bilinear    y[oh] = (1 - t) x[h] + t x[h + 1] along each axis,  h + t = (oh + 1/2) / size_h - 1/2

The 1/2 says that pixels are squares with their values in the middle; beyond the middles of the outermost pixels their
value goes on. Both are linear, and backward is the adjoint: each pixel's gradient is the sum of those of the outputs
that it took part in, with the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.geometry import check_image_shape, pair
from cnnx.layers.base import Layer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses

MODES = ("nearest", "bilinear")


class UpsampleLayer(Layer):
    """Larger images: (batch, height, width, channels) to (batch, size_h * height, size_w * width, channels).

    Parameters
    ----------
    size : int or pair of int, default 2
        How many rows and columns of outputs a pixel becomes.
    mode : {'nearest', 'bilinear'}
        Repeat pixels, or interpolate between them, with half-pixel centres: PyTorch's ``align_corners=False``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above; from `build`, if examples are not images.
    """

    uses: ClassVar[Uses] = Uses(input=False, output=False)

    def __init__(self, size: int | Sequence[int] = 2, mode: Literal["nearest", "bilinear"] = "nearest") -> None:
        super().__init__()
        self.size = pair(size, "size", self.name)
        if mode not in MODES:
            raise ValueError(f"{self.name}: mode: expected one of {MODES}, got {mode!r}")
        self.mode = mode

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters."""
        height, width, channels = check_image_shape(input_shape, self.name)
        return (self.size[0] * height, self.size[1] * width, channels)

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, height, width, channels) to (batch, size_h * height, size_w * width, channels)."""
        y = context.array("output", len(x))
        if self.mode == "nearest":
            _kernels.nearest_upsample_forward(x, y)
        else:
            _kernels.bilinear_upsample_forward(x, y)
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array:
        """(batch, size_h * height, size_w * width, channels) to (batch, height, width, channels)."""
        out = context.array("input_gradient", len(grad))
        if self.mode == "nearest":
            _kernels.nearest_upsample_backward(grad, out)
        else:
            _kernels.bilinear_upsample_backward(grad, out)
        return out
