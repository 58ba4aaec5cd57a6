"""Adagrad: steps divided by the root of the sum of all squared gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.checks.arguments import check_positive
from cnnx.optimizers.base import Optimizer, step_size
from cnnx.schedules import Schedule


@dataclass(eq=False, repr=False)
class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients: p = p - eta g / (sqrt(s) + epsilon), s = s + g^2.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
    epsilon : float, default 1e-10
    weight_decay, clip_norm, clip_value, ema
        As in `Optimizer`; the decay is coupled.

    Notes
    -----
    Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", JMLR 12, 2011.
    """

    arrays: ClassVar[tuple[str, ...]] = ("squares",)
    learning_rate: float | Schedule = step_size(1e-2)
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.epsilon = check_positive(self.epsilon, "Adagrad: epsilon")

    @property
    def leverage(self) -> float:
        """The gradient is divided by epsilon at least."""
        return 1 / self.epsilon

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """p = p - eta g / (sqrt(s) + epsilon)."""
        squares, decay = self.state["squares"], self.weight_decay
        _kernels.adagrad_step(parameters, gradients, squares, decaying, rate, (1.0, 1.0), self.epsilon, decay)
