"""Softmax, alone and with cross-entropy."""

import numpy as np

from cnnx._typing import Array


def softmax_forward(x: Array, out: Array) -> None:
    """out = exp(x) / sum of exp(x), of each row; shifting a row by its maximum changes nothing but overflow."""
    np.exp(x - x.max(axis=1, keepdims=True), out=out)
    out /= out.sum(axis=1, keepdims=True)


def softmax_backward(grad: Array, y: Array, out: Array) -> None:
    """The product with softmax's Jacobian diag(y) - y y^T."""
    out[...] = y * (grad - (grad * y).sum(axis=1, keepdims=True))


def softmax_cross_entropy_forward(x: Array, targets: Array, out: Array, losses: Array) -> None:
    """Probabilities, and for each row the sum of -target * log(probability)."""
    softmax_forward(x, out)
    shifted = x - x.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    losses[...] = -np.where(targets != 0, targets * log_probabilities, 0).sum(axis=1)


def softmax_cross_entropy_backward(y: Array, targets: Array, out: Array) -> None:
    """The gradient of the mean loss with respect to softmax's input: (y - targets) / batch."""
    out[...] = (y - targets) / max(len(y), 1)
