"""Nadam: Adam with Nesterov's momentum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnnx._typing import Array
from cnnx.checks.arguments import check_not_negative
from cnnx.optimizers.adam import Adam
from cnnx.optimizers.base import step_size
from cnnx.schedules import Schedule


@dataclass(eq=False, repr=False)
class Nadam(Adam):
    """Adam with Nesterov's momentum, which looks one step ahead.

    p = p - eta (mu_(t+1) m / (1 - M_(t+1)) + (1 - mu_t) g / (1 - M_t)) / (sqrt(v') + epsilon)

    with mu_t = b1 (1 - 0.96^(t momentum_decay) / 2) and M_t the product of mu_1 to mu_t.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.002
    beta1, beta2, epsilon
        As in `Adam`.
    momentum_decay : float, default 0.004
        How fast mu_t rises from b1 / 2 to b1; 0 or more.
    weight_decay, clip_norm, clip_value, ema
        As in `Optimizer`; the decay is coupled.

    Notes
    -----
    Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016.
    """

    learning_rate: float | Schedule = step_size(2e-3)
    momentum_decay: float = 4e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.momentum_decay = check_not_negative(self.momentum_decay, "Nadam: momentum_decay")

    def start(self, parameters: Array) -> dict[str, Array]:
        """Both averages, and the product of all momenta so far."""
        return {**super().start(parameters), "product": np.ones(1)}

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """p = p - eta (mu_(t+1) m / (1 - M_(t+1)) + (1 - mu_t) g / (1 - M_t)) / (sqrt(v') + epsilon)."""
        momentum, following = self._momentum(self.steps), self._momentum(self.steps + 1)
        self.state["product"] *= momentum
        product = float(self.state["product"][0])
        rates = (rate * following / (1 - product * following), rate * (1 - momentum) / (1 - product))
        self._move(parameters, gradients, decaying, rate, rates)

    def _momentum(self, step: int) -> float:
        return self.beta1 * (1 - 0.5 * float(0.96 ** (step * self.momentum_decay)))
