"""What output layers have in common.

    L = mean over the batch of w_n * loss_n        with the weights w_n = 1 where none are given

The mean is taken here and nowhere else, so that a step does not depend on how many layers divide by the batch
(the deck's "scaling bug").
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.arrays import check_labels
from cnnx.layers.base import Layer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses


class OutputLayer(Layer):
    """The last layer of a Model: it turns scores into predictions, and has the loss that training minimises.

    A subclass adds to a layer's methods `check_labels`, `encode`, `fill_losses`, `fill_gradient`, `decide` and
    `fill_rates`. `forward` and `backward` are those of the predictions alone; unless a subclass says otherwise,
    predictions are the scores themselves.

    Attributes
    ----------
    metric : str
        What `rate` measures: the name of the figure beside the loss.
    may_be_hidden : bool
        Whether it may stand inside a Model too, as an activation.
    """

    uses: ClassVar[Uses] = Uses(view=True)
    metric: ClassVar[str]
    may_be_hidden: ClassVar[bool] = False

    def compute(self, x: Array, context: Context) -> Array:
        """The scores as they are, (batch, ...)."""
        context.keep(x)
        return x

    def backpropagate(self, grad: Array, context: Context) -> Array:
        """The gradient as it is, (batch, ...)."""
        context.forget()
        return grad

    # -- What a subclass says ------------------------------------------------------------------------

    def check_labels(self, labels: Any, name: str) -> Array:
        """The labels as an array, once they are known to fit.

        Raises
        ------
        TypeError, ValueError
            If they do not; the message begins with `name`.
        """
        raise NotImplementedError

    def encode(self, labels: Array, out: Array) -> None:
        """Checked labels as the targets of the loss, (batch, ...)."""
        raise NotImplementedError

    def fill_losses(self, x: Array, targets: Array, context: Context, losses: Array) -> Array:
        """The loss of each example, (batch,), from scores and targets; returns the predictions, (batch, ...)."""
        raise NotImplementedError

    def fill_gradient(self, targets: Array, context: Context, out: Array) -> None:
        """The gradient of the batch's mean loss with respect to the scores, from what `fill_losses` has kept."""
        raise NotImplementedError

    def fill_rates(self, predictions: Array, targets: Array, out: Array) -> None:
        """The metric of each example, (batch,): a figure of a batch is its mean."""
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

    # -- What a model calls --------------------------------------------------------------------------

    def compute_loss(self, x: Array, targets: Array, context: Context) -> tuple[Array, Array]:
        """Predictions (batch, ...) and the loss of each example (batch,), from scores and targets."""
        losses = context.array("losses", len(x))
        return self.fill_losses(x, targets, context, losses), losses

    def backpropagate_loss(self, targets: Array, weights: Array | None, context: Context) -> Array:
        """The gradient of sum over n of weights[n] * loss[n] / batch; without `weights`, each is 1."""
        out = context.array("input_gradient", len(targets))
        self.fill_gradient(targets, context, out)
        if weights is not None:
            _kernels.weigh_rows(weights, out)
        return out

    # -- What a user calls ---------------------------------------------------------------------------

    def targets(self, labels: Any) -> Array:
        """Labels as targets, checked."""
        checked = self.check_labels(labels, self.name)
        out = self._context(False).array("targets", len(checked))
        self.encode(checked, out)
        return out

    def loss(self, x: Array, targets: Array, training: bool = False) -> tuple[Array, Array]:
        """Predictions and losses of a batch; with `training` the cache has what `loss_backward` needs.

        Parameters
        ----------
        x : array_like of shape (batch, *input_shape)
            Scores.
        targets : ndarray
            As from `targets`.
        training : bool

        Returns
        -------
        predictions : ndarray of shape (batch, *output_shape)
        losses : ndarray of shape (batch,)
        """
        x, context = self._checked_input(x), self._context(training)
        results = self.compute_loss(x, targets, context)
        if training:
            self._cache = (x, context)
        return results

    def loss_backward(self, targets: Array, weights: Array | None = None) -> Array:
        """The gradient of the batch's loss with respect to the scores.

        The loss is sum over n of weights[n] * loss[n] / batch; without `weights` (batch,), each is 1.
        """
        targets, _, context = self._use_up_cache(targets)
        if weights is not None:
            weights = np.require(weights, self.dtype, ["C", "A"])
        return self.backpropagate_loss(targets, weights, context)

    def rate(self, predictions: Array, targets: Array) -> Array:
        """The metric of each example, (batch,): a figure of a batch is its mean."""
        rates = self._context(False).array("rates", len(predictions))
        self.fill_rates(predictions, targets, rates)
        return rates

    def _reserve_losses(self, shape: Shape) -> None:
        """The working arrays of a loss."""
        self._reserve("input_gradient", shape)
        self._reserve("targets", shape)
        self._reserve("losses", ())
        self._reserve("rates", ())
        self._reserve("sums", (3,), np.float64, per_example=False)


class ClassificationLayer(OutputLayer):
    """An output layer with a score for each of several classes, of which the largest decides.

    Labels are integers (batch,) from 0 to classes - 1, or rows of target probabilities (batch, classes).
    """

    metric: ClassVar[str] = "accuracy"
    fewest_classes: ClassVar[int] = 1
    # Share of each target that is spread evenly over all classes.
    label_smoothing: float = 0.0

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

    def encode(self, labels: Array, out: Array) -> None:
        """Rows of probabilities, smoothed, (batch, classes)."""
        if labels.ndim == 1:
            _kernels.encode_classes(np.require(labels, np.intp, ["C", "A"]), self.label_smoothing, out)
        else:
            _kernels.smooth_rows(np.require(labels, out.dtype, ["C", "A"]), self.label_smoothing, out)

    def decide(self, predictions: Array) -> Array:
        """The class with the largest score, (batch,)."""
        labels: Array = predictions.argmax(axis=1)
        return labels

    def fill_rates(self, predictions: Array, targets: Array, out: Array) -> None:
        """Whether the class with the largest score is right, 1 or 0, (batch,)."""
        _kernels.classes_agree(predictions, targets, out)
