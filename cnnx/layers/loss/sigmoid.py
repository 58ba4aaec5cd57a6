"""Sigmoid, element by element, with the binary cross-entropy loss.

    y = 1 / (1 + exp(-x))                                        probabilities
    dL/dx = g y (1 - y)                                          sigmoid alone
    loss = mean over the classes of  -t log(y) - (1 - t) log(1 - y)
         = mean over the classes of  max(x, 0) - x t + log(1 + exp(-|x|))
    dL/dx = (y - t) / (classes * batch)                          sigmoid and cross-entropy together

The second form of the loss neither overflows nor takes the logarithm of 0. Bishop, "Pattern Recognition and Machine
Learning", 2006, section 4.3.2. With focal loss, classes that are already right count less:

    loss = mean over the classes of  -t (1 - y)^gamma log(y) - (1 - t) y^gamma log(1 - y)
    dL/dx = (t (1 - y)^gamma (gamma y log(y) - (1 - y))
             + (1 - t) y^gamma (y - gamma (1 - y) log(1 - y))) / (classes * batch)

Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", ICCV 2017, section 3.2; for soft targets this
is its mean over labels drawn with the probability t.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.arguments import check_not_negative, check_positive
from cnnx.checks.arrays import check_numbers
from cnnx.layers.loss.output import OutputLayer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses


class SigmoidLayer(OutputLayer):
    """Probabilities, each for itself: (batch, ...) to the same shape.

    As a Model's output layer it has one probability for each class, (batch, classes), and training minimises their
    binary cross-entropy, its mean over the classes. The metric is the accuracy: the share of examples for which
    `Model.predict` is right, in all classes.

    - Binary, one output: labels are 0 or 1, or probabilities between them, (batch,) or (batch, 1). `predict` gives 0 or
      1, (batch,), and `predict_proba` the probabilities of 0 and of 1, (batch, 2), as scikit-learn does.
    - Multi-label, several outputs: labels are rows of 0 and 1, or probabilities between them, (batch, classes).
      `predict` gives rows of 0 and 1, and `predict_proba` the probabilities, both (batch, classes).

    Inside a Model it is an activation, for examples of any shape.

    Parameters
    ----------
    focal : float
        Exponent gamma of the focal loss, 0 or more; 0 is cross-entropy, and 2 is the paper's choice.
    threshold : float
        Probability, above 0 and below 1, over which `predict` says 1. The accuracy depends on it, training does not.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """

    uses: ClassVar[Uses] = Uses()
    metric: ClassVar[str] = "accuracy"
    may_be_hidden: ClassVar[bool] = True
    preferred_initializer: ClassVar[str | None] = "glorot_uniform"

    def __init__(self, focal: float = 0.0, threshold: float = 0.5) -> None:
        super().__init__()
        self.focal = check_not_negative(focal, f"{self.name}: focal")
        self.threshold = check_positive(threshold, f"{self.name}: threshold")
        if self.threshold >= 1:
            raise ValueError(f"{self.name}: threshold: expected a number below 1, got {threshold!r}")

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; the shape stays."""
        if len(input_shape) == 1:
            self._reserve_losses(input_shape)
        return input_shape

    def compute(self, x: Array, context: Context) -> Array:
        """Scores to probabilities, (batch, ...)."""
        y = context.array("output", len(x))
        _kernels.sigmoid_forward(x, y)
        context.keep(y, x)
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array:
        """(batch, ...) to the same shape."""
        y, _ = context.kept()
        out = context.array("input_gradient", len(y))
        _kernels.sigmoid_backward(grad, y, out)
        return out

    def check_labels(self, labels: Any, name: str) -> Array:
        """Numbers from 0 to 1, (batch, classes), or (batch,) for one output; integers where they are booleans."""
        classes = self._classes()
        checked = check_numbers(labels, f"{name}: labels")
        if checked.shape[1:] != (classes,) and not (classes == 1 and checked.ndim == 1):
            expected = "(batch,) or (batch, 1)" if classes == 1 else f"(batch, {classes})"
            raise ValueError(
                f"{name}: labels: expected numbers from 0 to 1 of shape {expected}, got shape {checked.shape}"
            )
        wrong = ~((checked >= 0) & (checked <= 1))
        if wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            where = index[0] if len(index) == 1 else index
            raise ValueError(f"{name}: labels: expected numbers from 0 to 1, got {checked[index]} at index {where}")
        return checked.astype(np.intp) if checked.dtype.kind == "b" else checked

    def encode(self, labels: Array, out: Array) -> None:
        """Probabilities, (batch, classes)."""
        out[...] = labels.reshape(out.shape)

    def fill_losses(self, x: Array, targets: Array, context: Context, losses: Array) -> Array:
        """The cross-entropy, or focal loss, of each example (batch,), and the probabilities (batch, classes)."""
        self._classes()
        if self.focal:
            _kernels.sigmoid_focal_forward(x, targets, self.focal, losses)
        else:
            _kernels.sigmoid_cross_entropy_forward(x, targets, losses)
        return self.compute(x, context)  # the same bits with a loss and without

    def fill_gradient(self, targets: Array, context: Context, out: Array) -> None:
        """(y - t) / (classes * batch), or the focal loss's gradient, (batch, classes)."""
        y, x = context.kept()
        if self.focal:
            _kernels.sigmoid_focal_backward(x, targets, self.focal, out)
        else:
            _kernels.sigmoid_cross_entropy_backward(y, targets, out)

    def decide(self, predictions: Array) -> Array:
        """0 or 1: (batch, classes), or (batch,) for one output."""
        labels = (predictions > self.threshold).astype(np.intp)
        return labels[:, 0] if self._classes() == 1 else labels

    def probabilities(self, predictions: Array) -> Array:
        """The predictions themselves, (batch, classes); for one output those of 0 and of 1, (batch, 2)."""
        if self._classes() > 1:
            return predictions
        return np.concatenate([1 - predictions, predictions], axis=1)

    def fill_rates(self, predictions: Array, targets: Array, out: Array) -> None:
        """Whether all of an example's classes are right, 1 or 0, (batch,); a soft target above 0.5 counts as 1."""
        _kernels.labels_agree(predictions, targets, self.threshold, out)

    def _classes(self) -> int:
        """How many there are; only an output layer must have that shape."""
        if len(self.input_shape) != 1 or self.input_shape[0] < 1:
            raise ValueError(
                f"{self.name}: as the output layer, expected examples of shape (classes,), got {self.input_shape}"
            )
        return self.input_shape[0]
