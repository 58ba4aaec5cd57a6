"""Watching one figure of a training run: its best value, and the epochs since."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from cnnx.checks.arguments import check_count, check_not_negative

MODES = ("min", "max")


class Monitor:
    """The best value of a figure so far, and the epochs since.

    Parameters
    ----------
    name : str
        A figure's name, such as "validation_loss".
    patience : int
        Epochs without improvement that are put up with, 0 or more.
    min_delta : float
        A figure improves if it is better than the best one by more than this; 0 or more.
    mode : {"min", "max"}, optional
        Which is better; by default "min" for a name that ends in loss or error, else "max".
    where : str
        Beginning of messages.
    """

    def __init__(self, name: str, patience: int, min_delta: float, mode: str | None, where: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{where}: monitor: expected the name of a figure, got {name!r}")
        if mode is not None and mode not in MODES:
            raise ValueError(f"{where}: mode: expected one of {MODES}, got {mode!r}")
        self.name, self.where = name, where
        self.patience = check_count(patience, f"{where}: patience", least=0)
        self.min_delta = check_not_negative(min_delta, f"{where}: min_delta")
        self.mode = mode
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.best: float | None = None
        self.waited = 0

    def check(self, names: Iterable[str]) -> None:
        """The figure must be one of those that a run has."""
        known = tuple(names)
        if self.name not in known:
            hint = "; give validation_data or validation_split" if self.name.startswith("validation_") else ""
            raise ValueError(f"{self.where}: monitor: expected one of {known}, got {self.name!r}{hint}")

    def observe(self, figures: Mapping[str, float]) -> bool:
        """Whether the figure has improved; NaN never does."""
        value = figures[self.name]
        smaller = self.mode == "min" or (self.mode is None and self.name.endswith(("loss", "error")))
        gain = math.inf if self.best is None else (self.best - value if smaller else value - self.best)
        improved = not math.isnan(value) and gain > self.min_delta
        self.best, self.waited = (value, 0) if improved else (self.best, self.waited + 1)
        return improved

    @property
    def exhausted(self) -> bool:
        """Whether the patience has come to its end."""
        return self.waited > self.patience

    def config(self) -> dict[str, Any]:
        """The arguments."""
        return {"monitor": self.name, "patience": self.patience, "min_delta": self.min_delta, "mode": self.mode}

    def state(self) -> dict[str, Any]:
        """What was seen, as plain JSON values."""
        return {"best": self.best, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        best, waited = state["best"], state["waited"]
        if type(waited) is not int or waited < 0 or not (best is None or isinstance(best, float | int)):
            raise ValueError(f"{self.where}: expected a best value and a count of epochs, got {best!r} and {waited!r}")
        self.best, self.waited = None if best is None else float(best), waited
