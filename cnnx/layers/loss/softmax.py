"""Softmax, with the cross-entropy loss.

    y_k = exp(x_k) / sum over j of exp(x_j)                   probabilities, for each example
    dL/dx = y * (g - sum over j of g_j y_j)                   softmax alone: the full Jacobian product
    loss = -sum over k of t_k log(y_k)                        cross-entropy with targets t
    dL/dx = (y - t) / batch                                   softmax and cross-entropy together

Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.4. With label smoothing s, the targets are

    t' = (1 - s) t + s / classes

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer Vision", CVPR 2016,
section 7. With focal loss, terms of classes that are already probable count less:

    loss = -sum over k of t_k (1 - y_k)^gamma log(y_k)
    dL/dx = (c - y sum over k of c_k) / batch
    c_k = t_k (1 - y_k)^gamma (gamma y_k log(y_k) / (1 - y_k) - 1)

Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", ICCV 2017, section 3.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.arguments import check_not_negative, check_share
from cnnx.layers.loss.output import ClassificationLayer, weigh


class SoftmaxLayer(ClassificationLayer):
    """Class probabilities from scores: (batch, classes) to (batch, classes), rows that sum to 1.

    As a Model's output layer, `predict_proba` gives its output, `predict` the most probable class, and training
    minimises its cross-entropy. The metric is the accuracy.

    Labels are integers (batch,) from 0 to classes - 1, or rows of target probabilities (batch, classes), one-hot or
    soft.

    Parameters
    ----------
    label_smoothing : float
        Share of each target that is spread evenly over all classes, in [0, 1). It is part of the loss, wherever that
        is computed.
    focal : float
        Exponent gamma of the focal loss, 0 or more; 0 is cross-entropy, and 2 is the paper's choice.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """

    def __init__(self, label_smoothing: float = 0.0, focal: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = check_share(label_smoothing, f"{self.name}: label_smoothing")
        self.focal = check_not_negative(focal, f"{self.name}: focal")

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; the shape stays."""
        self._reserve("output", super().create(input_shape, rng))
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Scores to probabilities, (batch, classes)."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        _kernels.softmax_forward(x, y)
        if training:
            self._cache = (y, x)
        return y

    def backward(self, grad: Array) -> Array | None:
        """The full Jacobian product, (batch, classes)."""
        grad, y, _ = self._use_up_cache(grad)
        out = self._array("input_gradient", len(y))
        _kernels.softmax_backward(grad, y, out)
        return out

    def encode(self, labels: Array, training: bool = False) -> Array:
        """Rows of probabilities, smoothed, (batch, classes)."""
        targets = super().encode(labels, training)
        if self.label_smoothing:
            targets *= 1 - self.label_smoothing
            targets += self.label_smoothing / self.input_shape[0]
        return targets

    def loss(self, x: Array, targets: Array, training: bool = False) -> tuple[Array, Array]:
        """Probabilities (batch, classes) and the cross-entropy, or focal loss, of each example (batch,)."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        losses = self._array("losses", len(x), training)
        if self.focal:
            _kernels.softmax_forward(x, y)
            # A loss that is not finite speaks for itself; training says so.
            with np.errstate(over="ignore", invalid="ignore"):
                losses[...] = _focal_losses(_log_softmax(x), targets, self.focal)
        else:
            _kernels.softmax_cross_entropy_forward(x, targets, y, losses)
        if training:
            self._cache = (y, x)
        return y, losses

    def loss_backward(self, targets: Array, weights: Array | None = None) -> Array:
        """(y - t) / batch for each example, or the focal loss's gradient, times its weight; (batch, classes)."""
        targets, y, x = self._use_up_cache(targets)
        out = self._array("input_gradient", len(y))
        if self.focal:
            out[...] = _focal_gradient(_log_softmax(x), targets, self.focal)
        else:
            _kernels.softmax_cross_entropy_backward(y, targets, out)
        return weigh(out, weights)

    def probabilities(self, predictions: Array) -> Array:
        """The predictions themselves, (batch, classes)."""
        return predictions

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"label_smoothing": self.label_smoothing, "focal": self.focal}


def _log_softmax(x: Array) -> Array:
    """Logarithms of the probabilities, from the scores: finite where a probability underflows."""
    shifted = x - x.max(axis=1, keepdims=True)
    log_y: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_y


def _focal_losses(log_y: Array, targets: Array, gamma: float) -> Array:
    """(batch, classes) to (batch,)."""
    losses: Array = -_where_targeted(targets, (-np.expm1(log_y)) ** gamma * log_y).sum(axis=1)
    return losses


def _focal_gradient(log_y: Array, targets: Array, gamma: float) -> Array:
    """The gradient of the batch's mean with respect to the scores, (batch, classes)."""
    y, rest = np.exp(log_y), -np.expm1(log_y)
    # log(y) / (1 - y) tends to -1 where y tends to 1.
    ratio = np.divide(log_y, rest, out=np.full_like(y, -1), where=rest != 0)
    c = _where_targeted(targets, rest**gamma * (gamma * y * ratio - 1))
    gradient: Array = (c - y * c.sum(axis=1, keepdims=True)) / max(len(y), 1)
    return gradient


def _where_targeted(targets: Array, terms: Array) -> Array:
    """Each term times its target; nothing where that is 0, for 0 * inf is not 0."""
    return np.where(targets != 0, targets * terms, 0)
