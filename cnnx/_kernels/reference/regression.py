"""Losses of regression: the mean over each row of f(r) for the residuals r, and f'(r) / (outputs * batch)."""

import numpy as np

from cnnx._typing import Array


@np.errstate(over="ignore", invalid="ignore")
def squared_error_forward(x: Array, targets: Array, losses: Array) -> None:
    """f(r) = r^2."""
    np.mean((x - targets) ** 2, axis=1, out=losses)


@np.errstate(over="ignore", invalid="ignore")
def squared_error_backward(x: Array, targets: Array, out: Array) -> None:
    """f'(r) = 2 r."""
    out[...] = 2 * (x - targets) / max(x.size, 1)


@np.errstate(over="ignore", invalid="ignore")
def absolute_error_forward(x: Array, targets: Array, losses: Array) -> None:
    """f(r) = |r|."""
    np.mean(np.abs(x - targets), axis=1, out=losses)


@np.errstate(over="ignore", invalid="ignore")
def absolute_error_backward(x: Array, targets: Array, out: Array) -> None:
    """f'(r) = sign(r), 0 at 0."""
    out[...] = np.sign(x - targets) / max(x.size, 1)


@np.errstate(over="ignore", invalid="ignore")
def huber_forward(x: Array, targets: Array, delta: float, losses: Array) -> None:
    """f(r) = r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2)."""
    distances = np.abs(x - targets)
    near = np.minimum(distances, delta)
    np.mean(near * (distances - near / 2), axis=1, out=losses)


@np.errstate(over="ignore", invalid="ignore")
def huber_backward(x: Array, targets: Array, delta: float, out: Array) -> None:
    """f'(r) = r limited to [-delta, delta]."""
    out[...] = np.clip(x - targets, -delta, delta) / max(x.size, 1)


def absolute_errors(predictions: Array, targets: Array, out: Array) -> None:
    """The absolute loss by the name it has as a metric: the mean distance of each row from its targets."""
    absolute_error_forward(predictions, targets, out)
