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
from typing import ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.arguments import check_positive, check_share
from cnnx.layers.base import Layer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses


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
        channel has a single value in the batch, which is always its own mean. `Model.train` makes no such batch.

    Notes
    -----
    ``params["gamma"]`` and ``params["beta"]`` are (channels,), and so are ``state["mean"]`` and ``state["variance"]``,
    the running averages. A batch is divided by its biased variance (divisor m), as in the paper; the running average
    takes the unbiased one (divisor m - 1), as in the paper's algorithm 2 and in PyTorch. An empty batch leaves
    the averages as they are. With `cnnx.parallel.Shards`, each block of a batch is normalized by itself.

    Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    ICML 2015.
    """

    uses: ClassVar[Uses] = Uses(output=False, gradient_over_input=True, recomputed=True)

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
        for name in ("mean", "variance", "inv_std"):
            self._reserve(name, channels, per_example=False)
        return input_shape

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, ..., channels) to the same shape; in training, the running averages move."""
        return self.normalize(x, False, context)

    def recompute(self, context: Context) -> None:
        """Write the output of the last `compute` again."""
        self.normalize_again(False, context)

    def backpropagate(self, grad: Array, context: Context) -> Array | None:
        """(batch, ..., channels) to the same shape."""
        return self.gradients(grad, False, context)

    def normalize(self, x: Array, relu: bool, context: Context) -> Array:
        """The output, with ReLU in the same pass if `relu`."""
        mean, inv_std = self.statistics(x, context)
        y = context.array("output", len(x))
        _kernels.batch_norm_forward(x, (mean, inv_std), self.affine, relu, y)
        context.keep(x, mean, inv_std)
        return y

    def statistics(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Mean and inverse deviation, (channels,): those of the batch in training, else of the running averages."""
        if context.training:
            mean, variance = self._batch_statistics(x, context)
        else:
            mean, variance = self.state["mean"], self.state["variance"]
        inv_std = context.array("inv_std")
        _kernels.inverse_deviation(variance, self.epsilon, inv_std)
        return mean, inv_std

    def normalize_again(self, relu: bool, context: Context) -> None:
        """Write the output of `normalize` again, from what that has kept."""
        x, mean, inv_std = context.look()
        y = context.array("output", len(x))
        _kernels.batch_norm_forward(x, (mean, inv_std), self.affine, relu, y)

    def gradients(self, grad: Array, relu: bool, context: Context) -> Array | None:
        """Fill `grads`, and return the input gradient where it is wanted."""
        x, mean, inv_std = context.kept()
        normalized = (grad, x, (mean, inv_std), self.affine)
        gamma_grad, beta_grad = self.grads["gamma"], self.grads["beta"]
        _kernels.batch_norm_parameter_gradient(*normalized, relu, gamma_grad, beta_grad)
        if not context.wants_gradient:
            return None
        out = context.array("input_gradient", len(x))
        _kernels.batch_norm_input_gradient(*normalized, gamma_grad, beta_grad, relu, out)
        return out

    @property
    def affine(self) -> tuple[Array, Array]:
        """Scale and shift, (channels,)."""
        return self.params["gamma"], self.params["beta"]

    @property
    def values_per_example(self) -> int:
        """Of each channel: 1 of vectors, and of images of one pixel."""
        return math.prod(self.input_shape[:-1])

    def _batch_statistics(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Mean and biased variance of the batch, (channels,), which the running averages take in."""
        positions = len(x) * self.values_per_example
        if positions == 1:
            raise ValueError(
                f"{self.name}: expected more than one value for each channel in training, got shape {x.shape}; give "
                "2 examples or more in each batch"
            )
        mean, variance = context.array("mean"), context.array("variance")
        _kernels.batch_norm_statistics(x, mean, variance)
        if positions:
            state = {key: np.empty_like(value) for key, value in self.state.items()}
            _kernels.running_average(self.state["mean"], mean, self.momentum, 1.0, state["mean"])
            unbiased = positions / (positions - 1)
            _kernels.running_average(self.state["variance"], variance, self.momentum, unbiased, state["variance"])
            self.state = state
        return mean, variance
