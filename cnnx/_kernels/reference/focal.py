"""Focal loss, after softmax and after sigmoid."""

import numpy as np

from cnnx._kernels.reference.softmax import softmax_forward
from cnnx._typing import Array


@np.errstate(over="ignore", invalid="ignore")
def softmax_focal_forward(x: Array, targets: Array, gamma: float, out: Array, losses: Array) -> None:
    """Probabilities y, and for each row the sum of -target * (1 - y)^gamma * log(y)."""
    softmax_forward(x, out)
    log_y = _log_softmax(x)
    losses[...] = -_where_targeted(targets, (-np.expm1(log_y)) ** gamma * log_y).sum(axis=1)


@np.errstate(over="ignore", invalid="ignore")
def softmax_focal_backward(x: Array, targets: Array, gamma: float, out: Array) -> None:
    """The gradient of the mean loss: (c - y * sum of c) / batch, c being y times the derivative by y."""
    log_y = _log_softmax(x)
    y, rest = np.exp(log_y), -np.expm1(log_y)
    # log(y) / (1 - y) tends to -1 where y tends to 1.
    ratio = np.divide(log_y, rest, out=np.full_like(y, -1), where=rest != 0)
    c = _where_targeted(targets, rest**gamma * (gamma * y * ratio - 1))
    out[...] = (c - y * c.sum(axis=1, keepdims=True)) / max(len(y), 1)


def _log_softmax(x: Array) -> Array:
    """Logarithms of the probabilities, from the scores: finite where a probability underflows."""
    shifted = x - x.max(axis=1, keepdims=True)
    log_y: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_y


def _where_targeted(targets: Array, terms: Array) -> Array:
    """Each term times its target; nothing where that is 0, for 0 * inf is not 0."""
    return np.where(targets != 0, targets * terms, 0)


@np.errstate(over="ignore", invalid="ignore")
def sigmoid_focal_forward(x: Array, targets: Array, gamma: float, losses: Array) -> None:
    """The mean over each row of -t (1 - y)^gamma log(y) - (1 - t) y^gamma log(1 - y)."""
    y, log_y, log_rest = _logistic(x)
    terms = targets * np.exp(log_rest) ** gamma * log_y + (1 - targets) * y**gamma * log_rest
    losses[...] = -terms.mean(axis=1)


@np.errstate(over="ignore", invalid="ignore")
def sigmoid_focal_backward(x: Array, targets: Array, gamma: float, out: Array) -> None:
    """The gradient of the mean loss with respect to sigmoid's input, for classes * batch terms."""
    y, log_y, log_rest = _logistic(x)
    rest = np.exp(log_rest)
    out[...] = targets * rest**gamma * (gamma * y * log_y - rest)
    out += (1 - targets) * y**gamma * (y - gamma * rest * log_rest)
    out /= max(x.size, 1)


def _logistic(x: Array) -> tuple[Array, Array, Array]:
    """y, log(y) and log(1 - y) from the scores: finite where a probability underflows."""
    small = np.exp(-np.abs(x))
    rest = np.log1p(small)
    return np.where(x < 0, small, 1) / (1 + small), np.minimum(x, 0) - rest, np.minimum(-x, 0) - rest
