"""Batch normalization: each channel gets mean 0 and variance 1 over the batch, then a scale and a shift of its own.

    xhat = (x - mean) / sqrt(variance + epsilon)        y = gamma * xhat + beta

Mean and variance are taken over all m positions of a channel: over the batch, and over the rows and columns of images.
Backward, with g = dL/dy:

    dL/dbeta  = sum of g
    dL/dgamma = sum of g * xhat
    dL/dx     = gamma / sqrt(variance + epsilon) * (g - dL/dbeta / m - xhat * dL/dgamma / m)

In inference, running averages that training has gathered stand in for mean and variance:

    running = momentum * running + (1 - momentum) * batch
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.arguments import check_positive, check_share
from cnnx.layers.base import Layer


class BatchNormLayer(Layer):
    """Batch normalization of each channel; (batch, ..., channels) to the same shape.

    Examples are images (height, width, channels), or vectors (features,), where each feature is a channel.

    Parameters
    ----------
    momentum : float, default 0.9
        Share of its old value that a running average keeps at each step, in [0, 1): Keras's meaning, and 1 minus
        PyTorch's.
    epsilon : float, default 1e-5
        Added to the variance, so that a channel of equal values divides by no zero.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above; from `build`, if examples have no channels; from `forward` in training, if a
        channel has a single value in the batch, which is always its own mean.

    Notes
    -----
    ``params["gamma"]`` and ``params["beta"]`` are (channels,), and so are ``state["mean"]`` and ``state["variance"]``,
    the running averages. A batch is divided by its biased variance (divisor m), as in the paper; the running average
    takes the unbiased one (divisor m - 1), as in the paper's algorithm 2 and in PyTorch. An empty batch leaves
    the averages as they are.

    Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    ICML 2015.
    """

    reads_output: ClassVar[bool] = False
    overwrites_input: ClassVar[bool] = True
    recomputes: ClassVar[bool] = True

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum = check_share(momentum, f"{self.name}: momentum")
        self.epsilon = check_positive(epsilon, f"{self.name}: epsilon")

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Scale, shift and running averages, each (channels,); the shape stays."""
        if len(input_shape) not in (1, 3) or min(input_shape) < 1:
            raise ValueError(
                f"{self.name}: expected examples of shape (height, width, channels) or (features,), got {input_shape}"
            )
        channels = input_shape[-1:]
        self._add_parameter("gamma", channels, lambda: np.ones(channels))
        self._add_parameter("beta", channels, lambda: np.zeros(channels))
        self._add_state("mean", channels, lambda: np.zeros(channels))
        self._add_state("variance", channels, lambda: np.ones(channels))
        self._reserve("output", input_shape)
        self._reserve("input_gradient", input_shape)
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, ..., channels) to the same shape; with `training`, the running averages take a step."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        mean, inv_std = self.normalize(x, training, False, y)
        if training:
            self._cache = (x, mean, inv_std)
        return y

    def recompute(self) -> None:
        """The normalized values, from what `forward` has kept."""
        if self._cache is not None:
            x, mean, inv_std = self._cache
            self.apply(x, mean, inv_std, False, self._array("output", len(x)))

    def backward(self, grad: Array) -> Array | None:
        """(batch, ..., channels) to the same shape."""
        grad, x, mean, inv_std = self._use_up_cache(grad)
        out = self._array("input_gradient", len(x)) if self.needs_input_gradient else None
        self.normalize_backward(grad, x, mean, inv_std, False, out)
        return out

    def normalize(self, x: Array, training: bool, relu: bool, out: Array) -> tuple[Array, Array]:
        """Fill `out`, with ReLU in the same pass if `relu`; returns the mean and 1 / deviation that were used."""
        mean, variance = self._batch_statistics(x) if training else (self.state["mean"], self.state["variance"])
        inv_std = 1 / np.sqrt(variance + self.dtype.type(self.epsilon))
        self.apply(x, mean, inv_std, relu, out)
        return mean, inv_std

    def apply(self, x: Array, mean: Array, inv_std: Array, relu: bool, out: Array) -> None:
        """Fill `out` with what given statistics make of `x`."""
        _kernels.batch_norm_forward(x, mean, inv_std, self.params["gamma"], self.params["beta"], relu, out)

    def normalize_backward(
        self, grad: Array, x: Array, mean: Array, inv_std: Array, relu: bool, out: Array | None
    ) -> None:
        """Fill `grads` and, where it is wanted, the input gradient `out`."""
        normalized = (grad, x, mean, inv_std, self.params["gamma"], self.params["beta"])
        gamma_grad, beta_grad = self.grads["gamma"], self.grads["beta"]
        _kernels.batch_norm_parameter_gradient(*normalized, relu, gamma_grad, beta_grad)
        if out is not None:
            _kernels.batch_norm_input_gradient(*normalized, gamma_grad, beta_grad, relu, out)

    def _batch_statistics(self, x: Array) -> tuple[Array, Array]:
        """Mean and biased variance of the batch, (channels,), which the running averages take in."""
        positions = len(x) * math.prod(self.input_shape[:-1])
        if positions == 1:
            raise ValueError(
                f"{self.name}: expected more than one value for each channel in training, got shape {x.shape}"
            )
        mean, variance = np.empty_like(self.params["beta"]), np.empty_like(self.params["beta"])
        _kernels.batch_norm_statistics(x, mean, variance)
        if positions:
            unbiased = variance * (positions / (positions - 1))
            self.state = {
                "mean": self._running(self.state["mean"], mean),
                "variance": self._running(self.state["variance"], unbiased),
            }
        return mean, variance

    def _running(self, average: Array, batch: Array) -> Array:
        running: Array = self.momentum * average + (1 - self.momentum) * batch
        return running

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"momentum": self.momentum, "epsilon": self.epsilon}
