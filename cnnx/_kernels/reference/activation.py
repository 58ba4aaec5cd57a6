"""Activations."""

import numpy as np

from cnnx._typing import Array


def relu_forward(x: Array, out: Array) -> None:
    """out = max(0, x)."""
    np.maximum(x, 0, out=out)


def relu_backward(grad: Array, y: Array, out: Array) -> None:
    """The gradient passes where the output `y` is above zero (or NaN)."""
    out[...] = np.where(y <= 0, 0, grad)
