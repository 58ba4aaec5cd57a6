"""Activations: y = f(x), element by element.

    ReLU    y = max(0, x)        dL/dx = g where x > 0, else 0

with g = dL/dy. The deck's "ReLU Acts as a Differentiable Gate"; at 0 the gradient is 0.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.layers.base import Layer


class ReluLayer(Layer):
    """Rectified linear unit, max(0, x), for examples of any shape; NaN stays NaN.

    Notes
    -----
    Nair, Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", ICML 2010.
    """

    reads_input: ClassVar[bool] = False

    preferred_initializer: ClassVar[str | None] = "he_normal"

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; the shape stays."""
        self._reserve("output", input_shape)
        self._reserve("input_gradient", input_shape)
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, ...) to the same shape."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        _kernels.relu_forward(x, y)
        if training:
            self._cache = (y,)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, ...) to the same shape."""
        grad, y = self._use_up_cache(grad)
        if not self.needs_input_gradient:
            return None
        out = self._array("input_gradient", len(y))
        _kernels.relu_backward(grad, y, out)
        return out
