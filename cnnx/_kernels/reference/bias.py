"""A bias for each filter."""

import numpy as np

from cnnx._typing import Array


def add_bias(b: Array, out: Array) -> None:
    """out[..., f] += b[f], in place."""
    out += b


def bias_gradient(grad: Array, out: Array) -> None:
    """The sum of `grad` over all but its last axis."""
    out[...] = grad.sum(axis=tuple(range(grad.ndim - 1)), dtype=np.float64)
