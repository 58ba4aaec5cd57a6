"""Padding and cropping: rows and columns of zeros around an image, or taken away from it.

    padding     y[n, top + h, left + w, c] = x[n, h, w, c], and 0 elsewhere
    cropping    y[n, h, w, c] = x[n, top + h, left + w, c]

Each is the other's backward pass: the gradient of what was added goes nowhere, that of what was taken away is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnx._typing import Array, Pair, Shape
from cnnx.checks.geometry import Margins, check_image_shape, check_margins
from cnnx.layers.base import Layer


def pad(x: Array, rows: Pair, columns: Pair, out: Array) -> None:
    """Fill `out` with the images `x` and zeros around them."""
    top, left = rows[0], columns[0]
    height, width = x.shape[1:3]
    out[:, :top] = 0
    out[:, top + height :] = 0
    middle = out[:, top : top + height]
    middle[:, :, :left] = 0
    middle[:, :, left + width :] = 0
    middle[:, :, left : left + width] = x


def crop(x: Array, rows: Pair, columns: Pair, out: Array) -> None:
    """Fill `out` with the images `x` without their margins."""
    top, left = rows[0], columns[0]
    out[...] = x[:, top : top + out.shape[1], left : left + out.shape[2]]


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

    def __init__(self, padding: Margins) -> None:
        super().__init__()
        self.padding = check_margins(padding, "padding", self.name)

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters."""
        height, width, channels = check_image_shape(input_shape, self.name)
        rows, columns = self.padding
        output_shape = (height + sum(rows), width + sum(columns), channels)
        self._reserve("output", output_shape)
        self._reserve("input_gradient", input_shape)
        return output_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, height, width, channels) to (batch, rows, columns, channels)."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        pad(x, *self.padding, y)
        if training:
            self._cache = (y,)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, rows, columns, channels) to (batch, height, width, channels)."""
        grad, _ = self._use_up_cache(grad)
        if not self.needs_input_gradient:
            return None
        out = self._array("input_gradient", len(grad))
        crop(grad, *self.padding, out)
        return out

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"padding": [list(axis) for axis in self.padding]}


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
        self._reserve("output", output_shape)
        self._reserve("input_gradient", input_shape)
        return output_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, height, width, channels) to (batch, rows, columns, channels)."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        crop(x, *self.cropping, y)
        if training:
            self._cache = (y,)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, rows, columns, channels) to (batch, height, width, channels)."""
        grad, _ = self._use_up_cache(grad)
        if not self.needs_input_gradient:
            return None
        out = self._array("input_gradient", len(grad))
        pad(grad, *self.cropping, out)
        return out

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"cropping": [list(axis) for axis in self.cropping]}
