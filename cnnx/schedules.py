"""Learning rates that change in the course of training.

A schedule is a function of the epochs trained so far, with their fractions: ``schedule(2.5)`` is the rate in the
middle of the third epoch. A step takes the rate at its own middle, so that none is taken at the rate 0 that a warm-up
begins with or a decay ends with. `Optimizer.progress` counts the epochs over all training runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from cnnx.checks.arguments import check_not_negative, check_positive, check_share
from cnnx.monitoring import Monitor

__all__ = ["CosineDecay", "ExponentialDecay", "OneCycle", "ReduceOnPlateau", "Schedule", "StepDecay"]

# Sums of fractions of epochs may lie a little past the end.
ROUNDING = 1 + 1e-9


class Schedule:
    """A learning rate as a function of the epochs trained so far; a subclass implements `rate` and `config`.

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
        return {"schedule": type(self).__name__, "learning_rate": self.learning_rate}

    def __repr__(self) -> str:
        arguments = (f"{name}={value!r}" for name, value in self.config().items() if name != "schedule")
        return f"{type(self).__name__}({', '.join(arguments)})"


class StepDecay(Schedule):
    """eta factor^floor(t / every).

    Parameters
    ----------
    learning_rate : float
        At the start.
    every : float
        Epochs from one drop to the next, above 0.
    factor : float, default 0.1
        What each drop leaves, above 0.
    """

    def __init__(self, learning_rate: float, every: float, factor: float = 0.1) -> None:
        super().__init__(learning_rate)
        self.every = check_positive(every, "StepDecay: every")
        self.factor = check_positive(factor, "StepDecay: factor")

    def rate(self, progress: float) -> float:
        """Constant from drop to drop."""
        return self.learning_rate * float(self.factor ** (progress // self.every))

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().config(), "every": self.every, "factor": self.factor}


class ExponentialDecay(Schedule):
    """eta factor^t.

    Parameters
    ----------
    learning_rate : float
        At the start.
    factor : float
        What an epoch leaves of it, above 0.
    """

    def __init__(self, learning_rate: float, factor: float) -> None:
        super().__init__(learning_rate)
        self.factor = check_positive(factor, "ExponentialDecay: factor")

    def rate(self, progress: float) -> float:
        """The same factor in every epoch, and in each part of one."""
        return self.learning_rate * float(self.factor**progress)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().config(), "factor": self.factor}


class CosineDecay(Schedule):
    """Half a cosine wave down to `final`, after a linear rise from 0 if there is a warm-up.

    eta t / warmup up to t = warmup, then final + (eta - final) (1 + cos(pi (t - warmup) / (epochs - warmup))) / 2.

    Parameters
    ----------
    learning_rate : float
        The largest rate.
    epochs : float
        Length of the whole schedule, above 0.
    warmup : float, default 0
        Epochs of the rise, fewer than `epochs`.
    final : float, default 0
        The rate at the end.

    Notes
    -----
    Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, without restarts; warm-up:
    Goyal and others, "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017, section 2.2.
    """

    def __init__(self, learning_rate: float, epochs: float, warmup: float = 0.0, final: float = 0.0) -> None:
        super().__init__(learning_rate)
        self.epochs = check_positive(epochs, "CosineDecay: epochs")
        self.warmup = check_not_negative(warmup, "CosineDecay: warmup")
        self.final = check_not_negative(final, "CosineDecay: final")
        if self.warmup >= self.epochs:
            raise ValueError(f"CosineDecay: warmup: expected fewer than the {epochs} epochs, got {warmup!r}")

    def rate(self, progress: float) -> float:
        """Up the line, then down the wave."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        share = (progress - self.warmup) / (self.epochs - self.warmup)
        return _cosine(self.learning_rate, self.final, share)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().config(), "epochs": self.epochs, "warmup": self.warmup, "final": self.final}


class OneCycle(Schedule):
    """From a small rate up to a large one and down to nearly none, each along half a cosine wave.

    Parameters
    ----------
    learning_rate : float
        The largest rate.
    epochs : float
        Length of the whole schedule, above 0.
    rise : float, default 0.3
        Share of it, above 0 and below 1, after which the rate is largest.
    initial : float, optional
        The rate at the start; a 25th of the largest by default.
    final : float, optional
        The rate at the end; a 10,000th of the initial one by default.

    Notes
    -----
    Smith, Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", 2017, with the
    waves and the defaults of PyTorch. The momentum stays as it is.
    """

    def __init__(
        self,
        learning_rate: float,
        epochs: float,
        rise: float = 0.3,
        initial: float | None = None,
        final: float | None = None,
    ) -> None:
        super().__init__(learning_rate)
        self.epochs = check_positive(epochs, "OneCycle: epochs")
        self.rise = check_share(check_positive(rise, "OneCycle: rise"), "OneCycle: rise")
        self.initial = self.learning_rate / 25 if initial is None else check_positive(initial, "OneCycle: initial")
        self.final = self.initial / 1e4 if final is None else check_not_negative(final, "OneCycle: final")

    def rate(self, progress: float) -> float:
        """Up the first wave, then down the second."""
        top = self.rise * self.epochs
        if progress < top:
            return _cosine(self.initial, self.learning_rate, progress / top)
        return _cosine(self.learning_rate, self.final, (progress - top) / (self.epochs - top))

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        shape = {"rise": self.rise, "initial": self.initial, "final": self.final}
        return {**super().config(), "epochs": self.epochs, **shape}


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
        self.drops = state["drops"]
        self.monitor.restore(state)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().config(), **self.monitor.config(), "factor": self.factor, "least": self.least}


def _cosine(start: float, end: float, share: float) -> float:
    """Half a wave from `start` to `end`, of which `share` has passed."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
