"""Lion: steps of one size, along signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.checks.arguments import check_share
from cnnx.optimizers.base import Optimizer, step_size
from cnnx.schedules import Schedule


@dataclass(eq=False, repr=False)
class Lion(Optimizer):
    """Steps of one size along the signs of the momentum: p = (1 - eta weight_decay) p - eta sign(b1 m + (1 - b1) g).

    Then m = b2 m + (1 - b2) g. It keeps half of Adam's state, and wants about a tenth of its learning rate.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.0001
    beta1, beta2 : float, default 0.9 and 0.99
        In [0, 1).
    weight_decay, clip_norm, clip_value, ema
        As in `Optimizer`; the decay is decoupled.

    Notes
    -----
    Chen and others, "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, algorithm 2.
    """

    arrays: ClassVar[tuple[str, ...]] = ("mean",)
    decoupled: ClassVar[bool] = True
    learning_rate: float | Schedule = step_size(1e-4)
    beta1: float = 0.9
    beta2: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        self.beta1, self.beta2 = check_share(self.beta1, "Lion: beta1"), check_share(self.beta2, "Lion: beta2")

    @property
    def leverage(self) -> float:
        """A step is as long as the learning rate."""
        return 1.0

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """p = p - eta sign(b1 m + (1 - b1) g)."""
        mean, decay = self.state["mean"], rate * self.weight_decay
        _kernels.lion_step(parameters, gradients, mean, decaying, rate, (self.beta1, self.beta2), decay)
