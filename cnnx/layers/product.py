"""Layers whose output is a product of the input and weights W, plus biases b: dense layers and convolutions."""

from typing import ClassVar

from cnnx._typing import Array
from cnnx.layers.base import Layer


class ProductLayer(Layer):
    """The passes of such a layer.

    A subclass fills `out` in `product` and `input_gradient`, and `grads` in `weight_gradient`; fused steps call these
    as well.
    """

    has_weights: ClassVar[bool] = True
    frees_input: ClassVar[bool] = True
    reads_output: ClassVar[bool] = False

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, *input_shape) to (batch, *output_shape)."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        self.product(x, training, False, y)
        if training:
            self._cache = (x,)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, *output_shape) to (batch, *input_shape)."""
        grad, x = self._use_up_cache(grad)
        self.weight_gradient(x, grad)
        if not self.needs_input_gradient:
            return None
        out = self._array("input_gradient", len(x))
        self.input_gradient(grad, out)
        return out

    def product(self, x: Array, training: bool, relu: bool, out: Array) -> None:
        """Fill `out` with x W + b, with ReLU in the same pass if `relu`."""
        raise NotImplementedError

    def weight_gradient(self, x: Array, grad: Array) -> None:
        """Fill `grads` with dL/dW and dL/db."""
        raise NotImplementedError

    def input_gradient(self, grad: Array, out: Array) -> None:
        """Fill `out` with dL/dx."""
        raise NotImplementedError
