"""Stochastic gradient descent, plain and with momentum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.checks.arguments import check_share
from cnnx.optimizers.base import Optimizer, step_size
from cnnx.schedules import Schedule


@dataclass(eq=False, repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for.

    v = momentum v + g, p = p - eta v; with Nesterov's momentum p = p - eta (g + momentum v).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    momentum : float, default 0
        In [0, 1).
    nesterov : bool, default False
        It needs a momentum above 0.
    weight_decay, clip_norm, clip_value, ema
        As in `Optimizer`; the decay is coupled.

    Notes
    -----
    Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013,
    in PyTorch's form, where the learning rate is no part of v.
    """

    learning_rate: float | Schedule = step_size(1e-3)
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.momentum, self.nesterov = check_share(self.momentum, "SGD: momentum"), bool(self.nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov: expected a momentum above 0 with it, got 0")

    @property
    def plain(self) -> bool:
        """Whether there is nothing to keep from step to step."""
        return not (self.momentum or self.weight_decay)

    def start(self, parameters: Array) -> dict[str, Array]:
        """The velocity, where there is one."""
        return {} if self.plain else {"velocity": np.zeros_like(parameters)}

    @property
    def leverage(self) -> float:
        """Nesterov's step has the gradient and the velocity."""
        return 2.0

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """p = p - eta v."""
        if self.plain:
            _kernels.sgd_step(parameters, gradients, rate)
        else:
            momentum, nesterov, decay = self.momentum, self.nesterov, self.weight_decay
            velocity = self.state["velocity"]
            _kernels.momentum_step(parameters, gradients, velocity, decaying, rate, momentum, nesterov, decay)
