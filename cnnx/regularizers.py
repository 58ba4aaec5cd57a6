"""Penalties on large weights, and a limit to their norm.

    L1        loss + strength sum of |w|          gradient + strength sign(w)
    L2        loss + strength sum of w^2          gradient + 2 strength w
    MaxNorm   after each step, weights into a unit or filter with a norm above `limit` are scaled down to it

They act on weights alone: on the parameters that a layer's `decays` names, not on biases nor on the scale and shift of
a normalization. Goodfellow, Bengio, Courville, "Deep Learning", 2016, section 7.1; for the norm Srivastava and others,
"Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15, 2014, section 5.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnx import _kernels
from cnnx._configured import Configured
from cnnx._typing import Array
from cnnx.checks.arguments import check_positive
from cnnx.layers.base import Layer, walk_parameters

__all__ = ["L1", "L2", "MaxNorm", "Regularizer"]


class Regularizer(Configured):
    """Something done in every step: a penalty added to loss and gradients, or a constraint after the step."""

    def penalize(self, parameters: Array, gradients: Array, decaying: Array) -> float:
        """Add the penalty's gradient to `gradients`, and return the penalty.

        Parameters
        ----------
        parameters, gradients : ndarray of shape (parameters,)
        decaying : ndarray of shape (ranges, 2)
            First element, and the one after the last, of each range of weights.
        """
        return 0.0

    def constrain(self, layers: Sequence[Layer]) -> None:
        """Change the layers' weights in place."""

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values, with the class's name as "regularizer"."""
        return {"regularizer": type(self).__name__, **self.arguments()}


class L1(Regularizer):
    """strength times the sum of ``|w|``, which makes many weights nearly zero.

    Parameters
    ----------
    strength : float
        Above 0.
    """

    def __init__(self, strength: float) -> None:
        self.strength = check_positive(strength, "L1: strength")

    def penalize(self, parameters: Array, gradients: Array, decaying: Array) -> float:
        """The gradient is strength sign(w)."""
        sums = np.empty(2)
        _kernels.penalty(parameters, gradients, decaying, self.strength, 0.0, sums)
        return self.strength * float(sums[0])


class L2(Regularizer):
    """strength times the sum of w^2, without the half that some put before it.

    Parameters
    ----------
    strength : float
        Above 0. For plain gradient descent it is the coupled weight decay of twice its value.
    """

    def __init__(self, strength: float) -> None:
        self.strength = check_positive(strength, "L2: strength")

    def penalize(self, parameters: Array, gradients: Array, decaying: Array) -> float:
        """The gradient is 2 strength w."""
        sums = np.empty(2)
        _kernels.penalty(parameters, gradients, decaying, 0.0, self.strength, sums)
        return self.strength * float(sums[1])


class MaxNorm(Regularizer):
    """The weights into each unit or filter, those with the same last index, have at most a norm of `limit`.

    Parameters
    ----------
    limit : float
        Above 0; 3 or 4 in the paper.
    """

    def __init__(self, limit: float) -> None:
        self.limit = check_positive(limit, "MaxNorm: limit")

    def constrain(self, layers: Sequence[Layer]) -> None:
        """w = w min(1, limit / norm of w), for each unit or filter."""
        for value, decays in walk_parameters(layers):
            if decays:
                weights = value.reshape(-1, value.shape[-1])
                norms = np.sqrt(np.einsum("iu,iu->u", weights, weights))
                if not np.isfinite(norms.max()):  # the squares are too large
                    largest = np.abs(weights).max(axis=0)
                    norms = largest * np.linalg.norm(weights / np.maximum(largest, 1), axis=0)
                if norms.max() > self.limit:
                    weights *= (self.limit / np.maximum(norms, self.limit)).astype(value.dtype)
