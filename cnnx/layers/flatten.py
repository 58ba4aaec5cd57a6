"""Flatten: each example's values in one row, in C order. Backward gives the rows their shape back.

(The deck's ``Z.reshape(-1, batch)`` mixes the values of different examples; a row per example does not.)
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.layers.base import Layer


class Flatten(Layer):
    """(batch, height, width, channels), or any shape, to (batch, features); a view, not a copy."""

    hands_on: ClassVar[bool] = True

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; as many features as an example has values."""
        return (math.prod(input_shape),)

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, ...) to (batch, features)."""
        x = self._checked_input(x)
        if training:
            self._cache = (x,)
        return x.reshape(len(x), *self.output_shape)

    def backward(self, grad: Array) -> Array | None:
        """(batch, features) to (batch, ...)."""
        grad, x = self._use_up_cache(grad)
        reshaped: Array = grad.reshape(x.shape)
        return reshaped
