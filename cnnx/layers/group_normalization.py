"""Layer and group normalization: values of one example get mean 0 and variance 1, whatever else is in the batch.

    xhat = (x - mean) / sqrt(variance + epsilon)        y = gamma * xhat + beta

with a scale and a shift for each channel. Mean and variance are taken over the m values of a set: for `LayerNormLayer`
the channels of one position, for `GroupNormLayer` a group of neighbouring channels at all positions of one example.
Backward, with g = dL/dy and sums over a channel, means over a set:

    dL/dbeta  = sum of g
    dL/dgamma = sum of g * xhat
    dL/dx     = (g * gamma - mean of g * gamma - xhat * mean of g * gamma * xhat) / sqrt(variance + epsilon)

Training and inference are the same, and a batch may be of one example.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.arguments import check_positive
from cnnx.checks.geometry import check_extent
from cnnx.layers.base import Layer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses


class _SetNormalization(Layer):
    """What both have in common; a subclass says which values make a set."""

    uses: ClassVar[Uses] = Uses(output=False)
    epsilon: float
    groups: int

    def _view(self, array: Array) -> Array:
        """(batch, ..., channels) as (n, positions, channels): a set is a group of channels in one of n."""
        raise NotImplementedError

    def _moments_shape(self, input_shape: Shape) -> Shape:
        """Sets of one example, the groups last."""
        raise NotImplementedError

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Scale and shift, each (channels,); the shape stays."""
        channels = input_shape[-1:]
        self._add_parameter("gamma", channels, lambda: np.ones(channels))
        self._add_parameter("beta", channels, lambda: np.zeros(channels))
        self._reserve("mean", self._moments_shape(input_shape))
        self._reserve("inv_std", self._moments_shape(input_shape))
        return input_shape

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, ..., channels) to the same shape."""
        y = context.array("output", len(x))
        mean, inv_std = (context.array(name, len(x)).reshape(-1, self.groups) for name in ("mean", "inv_std"))
        gamma, beta = self.params["gamma"], self.params["beta"]
        _kernels.group_norm_forward(self._view(x), gamma, beta, self.epsilon, mean, inv_std, self._view(y))
        context.keep(x, mean, inv_std)
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array | None:
        """(batch, ..., channels) to the same shape."""
        x, mean, inv_std = context.kept()
        normalized = (self._view(grad), self._view(x), mean, inv_std)
        _kernels.group_norm_parameter_gradient(*normalized, self.grads["gamma"], self.grads["beta"])
        if not context.wants_gradient:
            return None
        out = context.array("input_gradient", len(x))
        _kernels.group_norm_input_gradient(*normalized, self.params["gamma"], self._view(out))
        return out


class LayerNormLayer(_SetNormalization):
    """Layer normalization over the channels of each position; (batch, ..., channels) to the same shape.

    Examples may be of any shape. For images (height, width, channels) each pixel is normalized by itself, as in Keras,
    whose default is the last axis, and in PyTorch with ``normalized_shape=channels``; vectors (features,) are
    normalized as a whole. ``GroupNormLayer(groups=1)`` takes all values of an image together.

    Parameters
    ----------
    epsilon : float, default 1e-5
        Added to the variance, so that equal values divide by no zero: PyTorch's default; Keras's is 1e-3.

    Raises
    ------
    TypeError, ValueError
        If `epsilon` is not a number above 0; from `build`, if examples have no channels.

    Notes
    -----
    ``params["gamma"]`` and ``params["beta"]`` are (channels,).

    Ba, Kiros, Hinton, "Layer Normalization", arXiv:1607.06450, 2016, eq. 4.
    """

    groups = 1

    def __init__(self, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = check_positive(epsilon, f"{self.name}: epsilon")

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Scale and shift, each (channels,); the shape stays."""
        if not input_shape or min(input_shape) < 1:
            raise ValueError(f"{self.name}: expected examples of shape (..., channels), got {input_shape}")
        return super().create(input_shape, rng)

    def _moments_shape(self, input_shape: Shape) -> Shape:
        return input_shape[:-1]

    def _view(self, array: Array) -> Array:
        return array.reshape(-1, 1, self.input_shape[-1])


class GroupNormLayer(_SetNormalization):
    """Group normalization: each group of channels of an example; (batch, ..., channels) to the same shape.

    Examples are images (height, width, channels), or vectors (features,), where each feature is a channel.

    Parameters
    ----------
    groups : int
        Groups of neighbouring channels, whose number it divides: 1 normalizes whole examples, and as many as there are
        channels is instance normalization.
    epsilon : float, default 1e-5
        Added to the variance, so that equal values divide by no zero.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above; from `build`, if examples have no channels, or `groups` does not divide them.

    Notes
    -----
    ``params["gamma"]`` and ``params["beta"]`` are (channels,).

    Wu, He, "Group Normalization", ECCV 2018, eq. 1 to 7.
    """

    def __init__(self, groups: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.groups = check_extent(groups, f"{self.name}: groups")
        self.epsilon = check_positive(epsilon, f"{self.name}: epsilon")

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Scale and shift, each (channels,); the shape stays."""
        if len(input_shape) not in (1, 3) or min(input_shape) < 1:
            raise ValueError(
                f"{self.name}: expected examples of shape (height, width, channels) or (features,), got {input_shape}"
            )
        if input_shape[-1] % self.groups:
            raise ValueError(
                f"{self.name}: groups: expected a divisor of the {input_shape[-1]} channels, got {self.groups}"
            )
        return super().create(input_shape, rng)

    def _moments_shape(self, input_shape: Shape) -> Shape:
        return (self.groups,)

    def _view(self, array: Array) -> Array:
        *positions, channels = self.input_shape
        return array.reshape(len(array), math.prod(positions), channels)
