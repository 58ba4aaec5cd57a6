"""What every schedule has: its learning rate, its end, and what training tells it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from cnnx._configured import Configured
from cnnx.checks.arguments import check_positive

# Sums of fractions of epochs may lie a little past the end.
ROUNDING = 1 + 1e-9


class Schedule(Configured):
    """A learning rate as a function of the epochs trained so far; a subclass implements `rate`.

    Attributes
    ----------
    learning_rate : float
        What the schedule scales.
    epochs : float
        Where the schedule ends; infinite if it does not.
    """

    epochs: float = math.inf

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = check_positive(learning_rate, f"{type(self).__name__}: learning_rate")

    def __call__(self, progress: float) -> float:
        """The learning rate after `progress` epochs.

        Raises
        ------
        ValueError
            If `progress` is below 0 or past the schedule's end.
        """
        if not 0 <= progress <= self.epochs * ROUNDING:
            raise ValueError(f"{self!r}: expected 0 to {self.epochs:g} epochs, got {progress!r}")
        return self.rate(min(progress, self.epochs))

    def rate(self, progress: float) -> float:
        """The formula, for a checked `progress`."""
        raise NotImplementedError

    def begin(self, progress: float, epochs: int, figures: Iterable[str]) -> None:
        """Before a run of so many more epochs with such figures: an error if it does not fit."""
        if progress + epochs > self.epochs * ROUNDING:
            so_far = f" after {progress:g} before" if progress else ""
            raise ValueError(f"epochs: {self!r} ends after {self.epochs:g} epochs, got {epochs}{so_far}")

    def observe(self, figures: Mapping[str, float]) -> None:
        """Take in the figures of an epoch at its end."""

    def state(self) -> dict[str, Any]:
        """What training has changed, as plain JSON values."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values, with the class's name as "schedule"."""
        return {"schedule": type(self).__name__, **self.arguments()}
