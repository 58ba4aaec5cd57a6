"""Flatten: each example's values in one row, in C order. Backward gives the rows their shape back.

(The deck's ``Z.reshape(-1, batch)`` mixes the values of different examples; a row per example does not.)
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.layers.base import Layer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses


class Flatten(Layer):
    """(batch, height, width, channels), or any shape, to (batch, features); a view, not a copy."""

    uses: ClassVar[Uses] = Uses(input=False, output=False, view=True)

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; as many features as an example has values."""
        return (math.prod(input_shape),)

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, ...) to (batch, features)."""
        return x.reshape(len(x), *self.output_shape)

    def backpropagate(self, grad: Array, context: Context) -> Array:
        """(batch, features) to (batch, ...)."""
        return grad.reshape(len(grad), *self.input_shape)
