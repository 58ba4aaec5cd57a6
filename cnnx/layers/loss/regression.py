"""Regression: any real numbers, with the squared, absolute or Huber loss.

    r = x - t                                    residuals, x being the predictions and t the targets
    loss = mean over the outputs of f(r)         for each example
    dL/dx = f'(r) / (outputs * batch)

    squared     f(r) = r^2                                       f'(r) = 2 r
    absolute    f(r) = |r|                                       f'(r) = sign(r), 0 at 0
    huber       f(r) = r^2 / 2          where |r| <= delta       f'(r) = r limited to [-delta, delta]
                       delta (|r| - delta / 2)      elsewhere

Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35, 1964.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.checks.arguments import check_positive
from cnnx.checks.arrays import check_numbers
from cnnx.layers.loss.output import OutputLayer, weigh

LOSSES = ("squared", "absolute", "huber")


class RegressionLayer(OutputLayer):
    """Predicted values: (batch, outputs) to the same values.

    As a Model's output layer, `predict` gives the values, (batch,) where there is one output, and training minimises
    their distance from the targets. The metric is the mean absolute error, in the unit of the targets.

    Labels are finite numbers (batch, outputs), or (batch,) for one output.

    Parameters
    ----------
    loss : {"squared", "absolute", "huber"}
    delta : float
        Residual from which on the Huber loss is linear, above 0, in the unit of the targets.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    Notes
    -----
    The losses are those of PyTorch's ``MSELoss``, ``L1Loss`` and ``HuberLoss``. Train on targets scaled to about
    [-1, 1]: the gradient grows with them.
    """

    metric: ClassVar[str] = "mean_absolute_error"

    def __init__(self, loss: str = "squared", delta: float = 1.0) -> None:
        super().__init__()
        if loss not in LOSSES:
            raise ValueError(f"{self.name}: loss: expected one of {LOSSES}, got {loss!r}")
        self.kind = loss
        self.delta = check_positive(delta, f"{self.name}: delta")

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; the shape stays."""
        if len(input_shape) != 1 or input_shape[0] < 1:
            raise ValueError(f"{self.name}: expected examples of shape (outputs,), got {input_shape}")
        self._reserve_losses(input_shape)
        return input_shape

    def check_labels(self, labels: Any, name: str) -> Array:
        """Finite numbers, (batch, outputs), or (batch,) for one output."""
        values = check_numbers(labels, f"{name}: labels")
        outputs = self.input_shape[0]
        if values.shape[1:] != (outputs,) and not (outputs == 1 and values.ndim == 1):
            expected = "(batch,) or (batch, 1)" if outputs == 1 else f"(batch, {outputs})"
            raise ValueError(f"{name}: labels: expected numbers of shape {expected}, got shape {values.shape}")
        # Finite in the layer's dtype: a larger number would become infinite there.
        wrong = ~(np.abs(values.astype(np.float64)) <= np.finfo(self.dtype).max)
        if wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            where = index[0] if len(index) == 1 else index
            raise ValueError(
                f"{name}: labels: expected finite numbers within {self.dtype}, got {values[index]} at index {where}"
            )
        return values

    def encode(self, labels: Array, training: bool = False) -> Array:
        """Values, (batch, outputs)."""
        targets = self._array("targets", len(labels), training)
        targets[...] = labels.reshape(targets.shape)
        return targets

    def loss(self, x: Array, targets: Array, training: bool = False) -> tuple[Array, Array]:
        """Values (batch, outputs) and the loss of each example (batch,)."""
        x = self._checked_input(x)
        losses = self._array("losses", len(x), training)
        # A loss that is not finite speaks for itself; training says so.
        with np.errstate(over="ignore", invalid="ignore"):
            np.mean(self._penalty(x - targets), axis=1, out=losses)
        if training:
            self._cache = (x,)
        return x, losses

    def _penalty(self, residuals: Array) -> Array:
        """f(r), (batch, outputs)."""
        if self.kind == "squared":
            return residuals**2
        distances: Array = np.abs(residuals)
        if self.kind == "absolute":
            return distances
        near = np.minimum(distances, self.delta)
        # near^2 / 2 where it is the distance itself, else delta (distance - delta / 2).
        huber: Array = near * (distances - near / 2)
        return huber

    def loss_backward(self, targets: Array, weights: Array | None = None) -> Array:
        """f'(r) / (outputs * batch) for each example, times its weight; (batch, outputs)."""
        targets, x = self._use_up_cache(targets)
        out = self._array("input_gradient", len(x))
        np.subtract(x, targets, out=out)
        if self.kind == "squared":
            out *= 2
        elif self.kind == "absolute":
            np.sign(out, out=out)
        else:
            np.clip(out, -self.delta, self.delta, out=out)
        out /= max(x.size, 1)
        return weigh(out, weights)

    def decide(self, predictions: Array) -> Array:
        """The values, (batch, outputs), or (batch,) for one output."""
        return predictions[:, 0] if predictions.shape[1] == 1 else predictions

    def rate(self, predictions: Array, targets: Array) -> Array:
        """The mean absolute error over the outputs, (batch,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            errors: Array = np.abs(predictions - targets).mean(axis=1)
        return errors

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"loss": self.kind, "delta": self.delta}
