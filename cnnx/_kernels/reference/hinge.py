"""Multi-class hinge loss."""

import numpy as np

from cnnx._typing import Array


@np.errstate(over="ignore", invalid="ignore")
def hinge_forward(x: Array, targets: Array, squared: bool, losses: Array) -> None:
    """The mean over each row of the violations of the margin, or of their squares."""
    violations = _violations(x, targets)
    np.mean(violations**2 if squared else violations, axis=1, out=losses)


@np.errstate(over="ignore", invalid="ignore")
def hinge_backward(x: Array, targets: Array, squared: bool, out: Array) -> None:
    """The gradient of the mean loss: each violation pushes its class down, and all of them the right one up."""
    violations = _violations(x, targets)
    slopes = 2 * violations if squared else (violations > 0).astype(x.dtype)
    out[...] = (slopes - targets * slopes.sum(axis=1, keepdims=True)) / max(x.size, 1)


def _violations(x: Array, targets: Array) -> Array:
    """How far each class is above the right one less the margin, (batch, classes); 0 for the right one."""
    right = np.take_along_axis(x, targets.argmax(axis=1, keepdims=True), axis=1)
    return np.where(targets == 1, 0, np.maximum(0, 1 - right + x))
