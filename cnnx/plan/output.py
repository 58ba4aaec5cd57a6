"""The last pass of a plan: an output layer's loss, from scores to the gradient that goes back."""

from __future__ import annotations

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.layers.loss import OutputLayer
from cnnx.memory.arrays import Arrays
from cnnx.memory.context import FRESH, Context


class OutputPass(Context):
    """What an output layer is given, and when it is called.

    Attributes
    ----------
    layer : OutputLayer
    starts, measures, returns : int
        Its moments in a step: before the first pass the targets, behind the last one the loss, then the gradient.
    """

    def __init__(self, layer: OutputLayer, training: bool) -> None:
        super().__init__(layer.name, layer.reserved, FRESH, training)
        self.layer = layer
        self.starts = self.measures = self.returns = 0

    def bind(self, arrays: Arrays) -> None:
        """Fix what is called, and who gives the arrays."""
        self.arrays = arrays
        shape = self.layer.input_shape
        self.encode = arrays.watch(self._encode, self.name, self.starts, shape)
        self.measure = arrays.watch(self._measure, self.name, self.measures, None)
        self.backward = arrays.watch(self._backward, self.name, self.returns, shape)

    def forward(self, x: Array) -> Array:
        """Predictions alone, from scores."""
        return self.layer.compute(x, self)

    def check_targets(self, targets: Array) -> None:
        """As many as there were examples in the batch that went forward."""
        examples = len(self.look()[0])
        if len(targets) != examples:
            raise ValueError(f"{self.name}: expected a batch of {examples} as in forward, got {len(targets)}")

    def _encode(self, labels: Array) -> Array:
        """Targets of the loss, from checked labels."""
        targets = self.array("targets", len(labels))
        self.layer.encode(labels, targets)
        return targets

    def _measure(self, x: Array, targets: Array, weights: Array | None) -> Array:
        """Sums over the batch of weight times loss, weight times metric, and weight, (3,), from scores."""
        predictions, losses = self.layer.compute_loss(x, targets, self)
        rates, sums = self.array("rates", len(x)), self.array("sums")
        self.layer.fill_rates(predictions, targets, rates)
        _kernels.batch_sums(losses, rates, weights, sums)
        return sums

    def _backward(self, targets: Array, weights: Array | None) -> Array:
        """The gradient of the batch's loss with respect to the scores."""
        return self.layer.backpropagate_loss(targets, weights, self)
