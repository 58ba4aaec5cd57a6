"""Multi-class hinge loss: every other class is to stay a margin of 1 below the right one.

    m_k = max(0, 1 - x_t + x_k) for k != t, m_t = 0            violations of the margin, t being the right class
    loss = sum over k of m_k^p / classes                       p = 1, or 2 for the squared hinge
    dL/dx_k = p m_k^(p-1) [m_k > 0] / (classes * batch)        for k != t; that of x_t is minus the sum of the others

Weston, Watkins, "Support Vector Machines for Multi-Class Pattern Recognition", ESANN 1999.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.layers.loss.output import ClassificationLayer
from cnnx.memory.context import Context


class HingeLayer(ClassificationLayer):
    """Scores trained with a hinge loss: (batch, classes) to the same scores.

    As a Model's output layer, `predict` gives the class with the largest score and `Model.forward` the scores; they are
    no probabilities, so `predict_proba` is an error. The metric is the accuracy.

    Labels are integers (batch,) from 0 to classes - 1, or one-hot rows (batch, classes).

    Parameters
    ----------
    squared : bool
        Square each violation of the margin.

    Notes
    -----
    All classes that violate the margin count, and the sum is divided by the number of classes, as in PyTorch's
    ``MultiMarginLoss``. Keras' ``CategoricalHinge`` takes only the largest violation. With two classes it is half the
    binary hinge loss of the difference of their scores.
    """

    fewest_classes: ClassVar[int] = 2

    def __init__(self, squared: bool = False) -> None:
        super().__init__()
        if not isinstance(squared, bool):
            raise TypeError(f"{self.name}: squared: expected True or False, got {squared!r}")
        self.squared = squared

    def check_labels(self, labels: Any, name: str) -> Array:
        """Integers from 0 to classes - 1, (batch,), or one-hot rows, (batch, classes)."""
        checked = super().check_labels(labels, name)
        if checked.ndim == 2:
            soft = (checked.max(axis=1) != 1) | (np.count_nonzero(checked, axis=1) != 1)
            if soft.any():
                where = int(soft.argmax())
                raise ValueError(f"{name}: labels: expected one-hot rows, got {checked[where]} at index {where}")
        return checked

    def fill_losses(self, x: Array, targets: Array, context: Context, losses: Array) -> Array:
        """The hinge loss of each example (batch,); the predictions are the scores (batch, classes)."""
        _kernels.hinge_forward(x, targets, self.squared, losses)
        context.keep(x)
        return x

    def fill_gradient(self, targets: Array, context: Context, out: Array) -> None:
        """dL/dx as above, (batch, classes)."""
        (x,) = context.kept()
        _kernels.hinge_backward(x, targets, self.squared, out)
