"""A schedule that goes by the figures of the epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cnnx.checks.arguments import check_count, check_not_negative, check_positive, check_share
from cnnx.schedules.base import Schedule
from cnnx.schedules.monitoring import Monitor

MOST_DROPS = 2**31


class ReduceOnPlateau(Schedule):
    """The rate drops once a figure has not improved for more than `patience` epochs.

    Parameters
    ----------
    learning_rate : float
        At the start.
    monitor : str, default "validation_loss"
        Name of the figure.
    factor : float, default 0.1
        What a drop leaves, in (0, 1).
    patience : int, default 10
        Epochs without improvement that are put up with.
    min_delta : float, default 0
        An improvement is more than this.
    least : float, default 0
        The rate never falls below it.
    mode : {"min", "max"}, optional
        Which is better; by default "min" for a name that ends in loss or error, else "max".
    """

    def __init__(
        self,
        learning_rate: float,
        monitor: str = "validation_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        least: float = 0.0,
        mode: str | None = None,
    ) -> None:
        super().__init__(learning_rate)
        self.monitor = Monitor(monitor, patience, min_delta, mode, "ReduceOnPlateau")
        self.factor = check_share(check_positive(factor, "ReduceOnPlateau: factor"), "ReduceOnPlateau: factor")
        self.least = check_not_negative(least, "ReduceOnPlateau: least")
        self.drops = 0

    def rate(self, progress: float) -> float:
        """It depends on the figures alone."""
        return max(self.learning_rate * self.factor**self.drops, self.least)

    def begin(self, progress: float, epochs: int, figures: Iterable[str]) -> None:
        """The figure must be one of the run's."""
        self.monitor.check(figures)

    def observe(self, figures: Mapping[str, float]) -> None:
        """Drop, and begin to wait anew, when the patience has come to its end."""
        self.monitor.observe(figures)
        if self.monitor.exhausted:
            self.drops += 1
            self.monitor.waited = 0

    def state(self) -> dict[str, Any]:
        """The number of drops, and what was seen."""
        return {"drops": self.drops, **self.monitor.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.monitor.restore(state)
        drops = check_count(state["drops"], "ReduceOnPlateau: drops", least=0)
        if drops > MOST_DROPS:
            raise ValueError(f"ReduceOnPlateau: drops: expected {MOST_DROPS} or fewer, got {drops}")
        self.drops = drops

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "learning_rate": self.learning_rate,
            **self.monitor.config(),
            "factor": self.factor,
            "least": self.least,
        }
