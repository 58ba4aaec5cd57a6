"""Layers whose output is a product of the input and weights W, plus biases b: dense layers and convolutions."""

from typing import ClassVar

from cnnx._typing import Array, Prepared
from cnnx.layers.base import Layer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses


class ProductLayer(Layer):
    """The passes of such a layer.

    A subclass fills `out` in `product` and `input_gradient`, and `grads` in `weight_gradient`; fused passes call these
    as well.
    """

    uses: ClassVar[Uses] = Uses(output=False, gradient_over_input=True)
    has_weights: ClassVar[bool] = True

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, *input_shape) to (batch, *output_shape)."""
        y = context.array("output", len(x))
        self.product(x, False, y, context.prepared)
        context.keep(x)
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array | None:
        """(batch, *output_shape) to (batch, *input_shape)."""
        (x,) = context.kept()
        return self.gradients(x, grad, context)

    def gradients(self, x: Array, grad: Array, context: Context) -> Array | None:
        """Fill `grads`, and return the input gradient, where it is wanted, from the input and the output's gradient."""
        self.weight_gradient(x, grad)
        if not context.wants_gradient:
            return None
        out = context.array("input_gradient", len(x))
        self.input_gradient(grad, out)
        return out

    def product(self, x: Array, relu: bool, out: Array, prepared: Prepared | None) -> None:
        """Fill `out` with x W + b, with ReLU in the same pass if `relu`; kernels may keep what they make of W."""
        raise NotImplementedError

    def weight_gradient(self, x: Array, grad: Array) -> None:
        """Fill `grads` with dL/dW and dL/db."""
        raise NotImplementedError

    def input_gradient(self, grad: Array, out: Array) -> None:
        """Fill `out` with dL/dx."""
        raise NotImplementedError
