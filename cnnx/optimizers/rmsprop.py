"""RMSprop: steps divided by the root of a moving average of squared gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.checks.arguments import check_positive, check_share
from cnnx.optimizers.base import Optimizer, step_size
from cnnx.schedules import Schedule


@dataclass(eq=False, repr=False)
class RMSprop(Optimizer):
    """Steps divided by the root of a moving average of squared gradients.

    s = smoothing s + (1 - smoothing) g^2, p = p - eta g / (sqrt(s) + epsilon).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
    smoothing : float, default 0.99
        Share of its old value that the average keeps, in [0, 1).
    epsilon : float, default 1e-8
    weight_decay, clip_norm, clip_value, ema
        As in `Optimizer`; the decay is coupled.

    Notes
    -----
    Hinton, "Neural Networks for Machine Learning", lecture 6e, 2012.
    """

    arrays: ClassVar[tuple[str, ...]] = ("squares",)
    learning_rate: float | Schedule = step_size(1e-2)
    smoothing: float = 0.99
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.smoothing = check_share(self.smoothing, "RMSprop: smoothing")
        self.epsilon = check_positive(self.epsilon, "RMSprop: epsilon")

    @property
    def leverage(self) -> float:
        """The gradient is divided by epsilon at least."""
        return 1 / self.epsilon

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """p = p - eta g / (sqrt(s) + epsilon)."""
        shares = (self.smoothing, 1 - self.smoothing)
        squares, decay = self.state["squares"], self.weight_decay
        _kernels.adagrad_step(parameters, gradients, squares, decaying, rate, shares, self.epsilon, decay)
