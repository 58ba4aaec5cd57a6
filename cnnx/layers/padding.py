"""Padding and cropping: rows and columns of zeros around an image, or taken away from it.

    padding     y[n, top + h, left + w, c] = x[n, h, w, c], and 0 elsewhere
    cropping    y[n, h, w, c] = x[n, top + h, left + w, c]

Each is the other's backward pass: the gradient of what was added goes nowhere, that of what was taken away is 0.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.geometry import Margins, check_image_shape, check_margins
from cnnx.layers.base import Layer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses


class PaddingLayer(Layer):
    """Zeros around images: (batch, height, width, channels) to (batch, rows, columns, channels).

    ``rows = top + height + bottom``, and ``columns = left + width + right``.

    Parameters
    ----------
    padding : int, pair of int, or pair of pairs of int
        Pixels on each side: the same number on all of them, (above and below, left and right), or
        ((top, bottom), (left, right)).

    Raises
    ------
    TypeError, ValueError
        If `padding` is not as above; from `build`, if examples are not images.
    """

    uses: ClassVar[Uses] = Uses(input=False, output=False)

    def __init__(self, padding: Margins) -> None:
        super().__init__()
        self.padding = check_margins(padding, "padding", self.name)

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters."""
        height, width, channels = check_image_shape(input_shape, self.name)
        rows, columns = self.padding
        return (height + sum(rows), width + sum(columns), channels)

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, height, width, channels) to (batch, rows, columns, channels)."""
        (top, _), (left, _) = self.padding
        y = context.array("output", len(x))
        _kernels.pad_images(x, top, left, y)
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array:
        """(batch, rows, columns, channels) to (batch, height, width, channels)."""
        (top, _), (left, _) = self.padding
        out = context.array("input_gradient", len(grad))
        _kernels.crop_images(grad, top, left, out)
        return out


class CroppingLayer(Layer):
    """Images without their margins: (batch, height, width, channels) to (batch, rows, columns, channels).

    ``rows = height - top - bottom``, and ``columns = width - left - right``.

    Parameters
    ----------
    cropping : int, pair of int, or pair of pairs of int
        Pixels taken away on each side: the same number on all of them, (above and below, left and right), or
        ((top, bottom), (left, right)).

    Raises
    ------
    TypeError, ValueError
        If `cropping` is not as above; from `build`, if examples are not images, or nothing would be left of them.
    """

    uses: ClassVar[Uses] = Uses(input=False, output=False)

    def __init__(self, cropping: Margins) -> None:
        super().__init__()
        self.cropping = check_margins(cropping, "cropping", self.name)

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters."""
        height, width, channels = check_image_shape(input_shape, self.name)
        rows, columns = self.cropping
        output_shape = (height - sum(rows), width - sum(columns), channels)
        if min(output_shape) < 1:
            raise ValueError(f"{self.name}: cropping {self.cropping} leaves nothing of an image of {height}x{width}")
        return output_shape

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, height, width, channels) to (batch, rows, columns, channels)."""
        (top, _), (left, _) = self.cropping
        y = context.array("output", len(x))
        _kernels.crop_images(x, top, left, y)
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array:
        """(batch, rows, columns, channels) to (batch, height, width, channels)."""
        (top, _), (left, _) = self.cropping
        out = context.array("input_gradient", len(grad))
        _kernels.pad_images(grad, top, left, out)
        return out
