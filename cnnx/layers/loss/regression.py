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

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.arguments import check_positive
from cnnx.checks.arrays import check_numbers
from cnnx.layers.loss.output import OutputLayer
from cnnx.memory.context import Context

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

    def encode(self, labels: Array, out: Array) -> None:
        """Values, (batch, outputs)."""
        out[...] = labels.reshape(out.shape)

    def fill_losses(self, x: Array, targets: Array, context: Context, losses: Array) -> Array:
        """The mean of f(r) of each example (batch,); the predictions are the values (batch, outputs)."""
        if self.kind == "squared":
            _kernels.squared_error_forward(x, targets, losses)
        elif self.kind == "absolute":
            _kernels.absolute_error_forward(x, targets, losses)
        else:
            _kernels.huber_forward(x, targets, self.delta, losses)
        context.keep(x)
        return x

    def fill_gradient(self, targets: Array, context: Context, out: Array) -> None:
        """f'(r) / (outputs * batch), (batch, outputs)."""
        (x,) = context.kept()
        if self.kind == "squared":
            _kernels.squared_error_backward(x, targets, out)
        elif self.kind == "absolute":
            _kernels.absolute_error_backward(x, targets, out)
        else:
            _kernels.huber_backward(x, targets, self.delta, out)

    def decide(self, predictions: Array) -> Array:
        """The values, (batch, outputs), or (batch,) for one output."""
        return predictions[:, 0] if predictions.shape[1] == 1 else predictions

    def fill_rates(self, predictions: Array, targets: Array, out: Array) -> None:
        """The mean absolute error over the outputs, (batch,)."""
        _kernels.absolute_errors(predictions, targets, out)

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"loss": self.kind, "delta": self.delta}
