"""Softmax as the output layer, with the cross-entropy loss.

    y_k = exp(x_k) / sum over j of exp(x_j)                          probabilities, for each example
    dL/dx = y * (g - sum over j of g_j y_j)                          softmax alone: the full Jacobian product
    L = mean over the batch of -sum over k of t_k log(y_k)           cross-entropy with targets t
    dL/dx = (y - t) / batch                                          softmax and cross-entropy together

The mean is taken here and nowhere else, so that a step does not depend on how many layers divide by the batch
(the deck's "scaling bug"). Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks import check_labels
from cnnx.layers.base import Layer


class SoftmaxLayer(Layer):
    """Class probabilities from scores: (batch, classes) to (batch, classes), rows that sum to 1.

    It is a Model's output layer: `predict_proba` gives its output, and training minimises its cross-entropy.

    Labels are integers (batch,) from 0 to classes - 1, or rows of target probabilities (batch, classes).
    """

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; the shape stays."""
        if len(input_shape) != 1 or input_shape[0] < 1:
            raise ValueError(f"{self.name}: expected examples of shape (classes,), got {input_shape}")
        self._reserve("output", input_shape)
        self._reserve("input_gradient", input_shape)
        self._reserve("targets", input_shape)
        self._reserve("losses", ())
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Scores to probabilities, (batch, classes)."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        _kernels.softmax_forward(x, y)
        if training:
            self._cache = (y,)
        return y

    def backward(self, grad: Array) -> Array | None:
        """The full Jacobian product, (batch, classes)."""
        grad, y = self._use_up_cache(grad)
        out = self._array("input_gradient", len(y))
        _kernels.softmax_backward(grad, y, out)
        return out

    def targets(self, labels: Any) -> Array:
        """Labels as rows of probabilities, (batch, classes).

        Raises
        ------
        TypeError, ValueError
            If labels are not integers in range, nor rows of probabilities.
        """
        return self.encode(check_labels(labels, self.output_shape[0], self.name))

    def encode(self, labels: Array, training: bool = False) -> Array:
        """`targets` for labels that have been checked."""
        targets = self._array("targets", len(labels), training)
        if labels.ndim == 2:
            targets[...] = labels
        else:
            targets[...] = 0
            targets[np.arange(len(labels)), labels] = 1
        return targets

    def cross_entropy(self, x: Array, targets: Array, training: bool = False) -> tuple[Array, Array]:
        """Probabilities (batch, classes) and the loss of each example (batch,), from scores and targets."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        losses = self._array("losses", len(x), training)
        _kernels.softmax_cross_entropy_forward(x, targets, y, losses)
        if training:
            self._cache = (y,)
        return y, losses

    def cross_entropy_backward(self, targets: Array) -> Array:
        """The gradient of the mean loss with respect to the scores, (batch, classes)."""
        targets, y = self._use_up_cache(targets)
        out = self._array("input_gradient", len(y))
        _kernels.softmax_cross_entropy_backward(y, targets, out)
        return out
