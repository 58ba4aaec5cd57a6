"""Schedules that are a formula of the epochs trained so far."""

from __future__ import annotations

import math

from cnnx.checks.arguments import check_not_negative, check_positive, check_share
from cnnx.schedules.base import Schedule


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


def _cosine(start: float, end: float, share: float) -> float:
    """Half a wave from `start` to `end`, of which `share` has passed."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
