"""Adam, and AdamW with decoupled weight decay."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.checks.arguments import check_positive, check_share
from cnnx.optimizers.base import Optimizer, step_size
from cnnx.schedules import Schedule


@dataclass(eq=False, repr=False)
class Adam(Optimizer):
    """Steps along the mean gradient divided by the root of the mean square, both moving averages, bias corrected.

    m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p = p - eta m' / (sqrt(v') + epsilon) with m' = m / (1 - b1^t) and
    v' = v / (1 - b2^t).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1).
    epsilon : float, default 1e-8
    weight_decay, clip_norm, clip_value, ema
        As in `Optimizer`; the decay is coupled.

    Notes
    -----
    Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """

    arrays: ClassVar[tuple[str, ...]] = ("mean", "square")
    learning_rate: float | Schedule = step_size(1e-3)
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        self.beta1, self.beta2 = check_share(self.beta1, f"{name}: beta1"), check_share(self.beta2, f"{name}: beta2")
        self.epsilon = check_positive(self.epsilon, f"{name}: epsilon")

    @property
    def leverage(self) -> float:
        """The mean is corrected by 1 - b1 at most, and divided by epsilon at least; Nadam adds the gradient."""
        return 2 / ((1 - self.beta1) * self.epsilon)

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """p = p - eta m' / (sqrt(v') + epsilon)."""
        self._move(parameters, gradients, decaying, rate, (rate / (1 - self.beta1**self.steps), 0.0))

    def _move(
        self, parameters: Array, gradients: Array, decaying: Array, rate: float, rates: tuple[float, float]
    ) -> None:
        """p = p - (mean_rate m + grad_rate g) / (sqrt(v') + epsilon), with both `rates`."""
        scale = 1 / math.sqrt(1 - self.beta2**self.steps)
        decay = (0.0, rate * self.weight_decay) if self.decoupled else (self.weight_decay, 0.0)
        moments, betas = (self.state["mean"], self.state["square"]), (self.beta1, self.beta2)
        divisor = (scale, self.epsilon)
        _kernels.adam_step(parameters, gradients, moments, decaying, betas, rates, divisor, decay)


@dataclass(eq=False, repr=False)
class AdamW(Adam):
    """Adam with decoupled weight decay: p = (1 - eta weight_decay) p, and Adam's step on g alone.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon
        As in `Adam`.
    weight_decay : float, default 0.01
    clip_norm, clip_value, ema
        As in `Optimizer`.

    Notes
    -----
    Loshchilov, Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """

    decoupled: ClassVar[bool] = True
    weight_decay: float = field(default=1e-2, kw_only=True)
