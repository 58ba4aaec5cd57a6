"""Output layers: softmax, with the cross-entropy loss.

    y_k = exp(x_k) / sum over j of exp(x_j)                          probabilities, for each example
    dL/dx = y * (g - sum over j of g_j y_j)                          softmax alone: the full Jacobian product
    L = mean over the batch of -sum over k of t_k log(y_k)           cross-entropy with targets t
    dL/dx = (y - t) / batch                                          softmax and cross-entropy together

The mean is taken here and nowhere else, so that a step does not depend on how many layers divide by the batch
(the deck's "scaling bug"). Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.4.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks import check_labels
from cnnx.layers.base import Layer


class OutputLayer(Layer):
    """The last layer of a Model: it turns scores into predictions, and has the loss that training minimises.

    A subclass adds to a layer's methods `check_labels`, `encode`, `loss`, `loss_backward`, `decide` and `rate`.

    Attributes
    ----------
    metric : str
        What `rate` measures: the name of the figure beside the loss.
    """

    metric: ClassVar[str]

    def check_labels(self, labels: Any, name: str) -> Array:
        """The labels as an array, once they are known to fit.

        Raises
        ------
        TypeError, ValueError
            If they do not; the message begins with `name`.
        """
        raise NotImplementedError

    def encode(self, labels: Array, training: bool = False) -> Array:
        """Checked labels as the targets of the loss, (batch, ...)."""
        raise NotImplementedError

    def targets(self, labels: Any) -> Array:
        """Labels as targets, checked."""
        return self.encode(self.check_labels(labels, self.name))

    def loss(self, x: Array, targets: Array, training: bool = False) -> tuple[Array, Array]:
        """Predictions (batch, ...) and the loss of each example (batch,), from scores and targets."""
        raise NotImplementedError

    def loss_backward(self, targets: Array, weights: Array | None = None) -> Array:
        """The gradient of the batch's loss with respect to the scores.

        The loss is sum over n of weights[n] * loss[n] / batch; without `weights` (batch,), each is 1.
        """
        raise NotImplementedError

    def decide(self, predictions: Array) -> Array:
        """What `Model.predict` returns for predictions: labels, or the values themselves."""
        raise NotImplementedError

    def rate(self, predictions: Array, targets: Array) -> Array:
        """The metric of each example, (batch,): a figure of a batch is its mean."""
        raise NotImplementedError


class SoftmaxLayer(OutputLayer):
    """Class probabilities from scores: (batch, classes) to (batch, classes), rows that sum to 1.

    It is a Model's output layer: `predict_proba` gives its output, and training minimises its cross-entropy.

    Labels are integers (batch,) from 0 to classes - 1, or rows of target probabilities (batch, classes).
    """

    metric: ClassVar[str] = "accuracy"

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

    def check_labels(self, labels: Any, name: str) -> Array:
        """Integers from 0 to classes - 1, (batch,), or rows of probabilities, (batch, classes)."""
        return check_labels(labels, self.input_shape[0], name)

    def encode(self, labels: Array, training: bool = False) -> Array:
        """Rows of probabilities, (batch, classes)."""
        targets = self._array("targets", len(labels), training)
        if labels.ndim == 2:
            targets[...] = labels
        else:
            targets[...] = 0
            targets[np.arange(len(labels)), labels] = 1
        return targets

    def loss(self, x: Array, targets: Array, training: bool = False) -> tuple[Array, Array]:
        """Probabilities (batch, classes) and the cross-entropy of each example (batch,)."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        losses = self._array("losses", len(x), training)
        _kernels.softmax_cross_entropy_forward(x, targets, y, losses)
        if training:
            self._cache = (y,)
        return y, losses

    def loss_backward(self, targets: Array, weights: Array | None = None) -> Array:
        """(y - t) / batch for each example, times its weight; (batch, classes)."""
        targets, y = self._use_up_cache(targets)
        out = self._array("input_gradient", len(y))
        _kernels.softmax_cross_entropy_backward(y, targets, out)
        if weights is not None:
            out *= weights[:, np.newaxis]
        return out

    def decide(self, predictions: Array) -> Array:
        """The most probable class, (batch,)."""
        labels: Array = predictions.argmax(axis=1)
        return labels

    def rate(self, predictions: Array, targets: Array) -> Array:
        """Whether the most probable class is right, (batch,)."""
        right: Array = predictions.argmax(axis=1) == targets.argmax(axis=1)
        return right
