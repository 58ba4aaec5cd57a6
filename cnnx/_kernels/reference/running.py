"""Running averages of batch normalization, and what it divides by."""

import numpy as np

from cnnx._typing import Array


def running_average(average: Array, batch: Array, momentum: float, scale: float, out: Array) -> None:
    """out = momentum * average + (1 - momentum) * (scale * batch)."""
    out[...] = momentum * average + (1 - momentum) * (scale * batch)


def inverse_deviation(variance: Array, epsilon: float, out: Array) -> None:
    """out = 1 / sqrt(variance + epsilon)."""
    out[...] = 1 / np.sqrt(variance + epsilon)
