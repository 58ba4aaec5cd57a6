"""What output layers have in common.

    L = mean over the batch of w_n * loss_n        with the weights w_n = 1 where none are given

The mean is taken here and nowhere else, so that a step does not depend on how many layers divide by the batch
(the deck's "scaling bug").
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.checks.arrays import check_labels
from cnnx.layers.base import Layer


class OutputLayer(Layer):
    """The last layer of a Model: it turns scores into predictions, and has the loss that training minimises.

    A subclass adds to a layer's methods `check_labels`, `encode`, `loss`, `loss_backward`, `decide` and `rate`.
    `forward` and `backward` are those of the predictions alone; unless a subclass says otherwise, predictions are the
    scores themselves.

    Attributes
    ----------
    metric : str
        What `rate` measures: the name of the figure beside the loss.
    may_be_hidden : bool
        Whether it may stand inside a Model too, as an activation.
    """

    metric: ClassVar[str]
    may_be_hidden: ClassVar[bool] = False

    def forward(self, x: Array, training: bool = False) -> Array:
        """The scores as they are, (batch, ...)."""
        x = self._checked_input(x)
        if training:
            self._cache = (x,)
        return x

    def backward(self, grad: Array) -> Array | None:
        """The gradient as it is, (batch, ...)."""
        grad, *_ = self._use_up_cache(grad)
        return grad

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

    def probabilities(self, predictions: Array) -> Array:
        """What `Model.predict_proba` returns for predictions, (batch, classes).

        Raises
        ------
        TypeError
            If predictions are no probabilities.
        """
        raise TypeError(f"{self.name}: predict_proba: its predictions are no probabilities; use predict")

    def rate(self, predictions: Array, targets: Array) -> Array:
        """The metric of each example, (batch,): a figure of a batch is its mean."""
        raise NotImplementedError

    def _reserve_losses(self, shape: Shape) -> None:
        """The working arrays of a loss."""
        self._reserve("input_gradient", shape)
        self._reserve("targets", shape)
        self._reserve("losses", ())


class ClassificationLayer(OutputLayer):
    """An output layer with a score for each of several classes, of which the largest decides.

    Labels are integers (batch,) from 0 to classes - 1, or rows of target probabilities (batch, classes).
    """

    metric: ClassVar[str] = "accuracy"
    fewest_classes: ClassVar[int] = 1

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; the shape stays."""
        if len(input_shape) != 1 or input_shape[0] < self.fewest_classes:
            least = f" with {self.fewest_classes} classes or more" if self.fewest_classes > 1 else ""
            raise ValueError(f"{self.name}: expected examples of shape (classes,){least}, got {input_shape}")
        self._reserve_losses(input_shape)
        return input_shape

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

    def decide(self, predictions: Array) -> Array:
        """The class with the largest score, (batch,)."""
        labels: Array = predictions.argmax(axis=1)
        return labels

    def rate(self, predictions: Array, targets: Array) -> Array:
        """Whether the class with the largest score is right, (batch,)."""
        right: Array = predictions.argmax(axis=1) == targets.argmax(axis=1)
        return right


def weigh(gradient: Array, weights: Array | None) -> Array:
    """Multiply each example's gradient by its weight, in place."""
    if weights is not None:
        gradient *= weights[:, np.newaxis]
    return gradient
