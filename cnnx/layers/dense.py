"""A dense (fully connected) layer, one row for each example.

    y = x W + b        dL/dW = x^T g        dL/db = sum of g over the batch        dL/dx = g W^T

with g = dL/dy. The deck writes Z = W A + B with a column for each example, which is the transpose.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Prepared, Shape
from cnnx.checks.geometry import check_extent
from cnnx.layers.initializers import check_initializer, find_initializer
from cnnx.layers.product import ProductLayer
from cnnx.memory.uses import Uses


class DenseLayer(ProductLayer):
    """Every output is a weighted sum of all inputs: (batch, inputs) to (batch, units).

    Parameters
    ----------
    units : int
        Number of outputs. The last dense layer has one for each class.
    initializer : str, float or None
        Starting weights: 'he_normal', 'he_uniform', 'glorot_normal', 'glorot_uniform', 'lecun_normal',
        'lecun_uniform', 'orthogonal' or 'zeros', or a number, which all of them are. By default a `Model` takes what
        the next activation prefers, such as He before ReLU, and Glorot otherwise. Biases start at zero.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or, from `build`, if examples are not vectors.

    Notes
    -----
    ``params["W"]`` is (inputs, units), ``params["b"]`` is (units,).
    Gradients: Goodfellow, Bengio, Courville, "Deep Learning", 2016, section 6.5.
    """

    uses: ClassVar[Uses] = ProductLayer.uses._replace(prepares=True)

    def __init__(self, units: int, initializer: str | float | None = None) -> None:
        super().__init__()
        self.units = check_extent(units, f"{self.name}: units")
        self.initializer = check_initializer(initializer, self.name)

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Weights (inputs, units) and biases (units,)."""
        if len(input_shape) != 1 or input_shape[0] < 1:
            hint = "; a Flatten layer before it makes vectors of images" if len(input_shape) > 1 else ""
            raise ValueError(f"{self.name}: expected examples of shape (inputs,), got {input_shape}{hint}")
        initialize = find_initializer(self.initializer, self.default_initializer)
        shape = (input_shape[0], self.units)
        self._add_parameter("W", shape, lambda: initialize(rng, shape, *shape))
        self._add_parameter("b", (self.units,), lambda: np.zeros(self.units))
        return (self.units,)

    def product(self, x: Array, relu: bool, out: Array, prepared: Prepared | None) -> None:
        """(batch, inputs) to (batch, units), perhaps with ReLU."""
        _kernels.dense_forward(x, self.params["W"], self.params["b"], relu, out, prepared)

    def weight_gradient(self, x: Array, grad: Array) -> None:
        """(batch, inputs) and (batch, units) to `grads`."""
        _kernels.dense_weight_gradient(x, grad, self.grads["W"], self.grads["b"])

    def input_gradient(self, grad: Array, out: Array) -> None:
        """(batch, units) to (batch, inputs)."""
        _kernels.dense_input_gradient(grad, self.params["W"], out)
