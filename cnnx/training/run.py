"""A training run: what it is made of, where it stands, and whom it tells."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from cnnx.augmentation.base import AnyAugmentation
from cnnx.optimizers.base import Optimizer
from cnnx.regularizers import Regularizer
from cnnx.training.interruption import Interruption
from cnnx.training.sources import Checked
from cnnx.training.trainable import Trainable

Figures = Mapping[str, float]


class Callback:
    """Told of a training run's events; each method may be overridden.

    A callback that counts or keeps something from which it goes on in a run that is resumed overrides `state` and
    `restore` too.
    """

    # Called after those without it, with what they have made of the event.
    comes_last: ClassVar[bool] = False
    # In a run of several processes, called in each of them; else in the first one alone.
    everywhere: ClassVar[bool] = False

    def on_train_begin(self, run: Run) -> None:
        """Before the first epoch.

        The run has `model`, `optimizer`, `epochs`, `batches` (in an epoch), `figures` (names of an epoch's figures),
        `position` (where it goes on from), and `stop(reason)`, which ends it after the current batch.
        """

    def on_epoch_begin(self, epoch: int) -> None:
        """Before each epoch, counted from 1."""

    def on_batch_end(self, batch: int, figures: Figures) -> None:
        """After each batch, counted from 1, with the epoch's mean loss and metric so far."""

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """After each epoch, with all its figures.

        The model has the weights that were validated: their moving average, where the optimizer keeps one.
        """

    def on_train_end(self) -> None:
        """After the last epoch, an interruption or an error.

        All callbacks are told, whatever others raise, and even if one before this one failed in its `on_train_begin`;
        of all errors the first is raised.
        """

    def state(self) -> dict[str, Any]:
        """What a run that is resumed goes on from: JSON values and arrays."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`; it is called after `on_train_begin`."""


@dataclass
class Position:
    """Where a run goes on from, and the sums of the epoch so far.

    Attributes
    ----------
    epoch, batch : int
        The epoch, from 1, and how many of its batches are done.
    loss, metric, weight : float
        Sums over the examples that are done: of loss, of metric times weight, and of weight.
    seen : int
        Examples that are done.
    seconds : float
        Time that the epoch has taken in runs before this one.
    order : dict, optional
        State of the generator that the order of the examples is drawn from, before the epoch.
    """

    epoch: int = 1
    batch: int = 0
    loss: float = 0.0
    metric: float = 0.0
    weight: float = 0.0
    seen: int = 0
    seconds: float = 0.0
    order: dict[str, Any] | None = None

    def add(self, loss: float, metric: float, weight: float, examples: int) -> None:
        """Take in a batch's mean loss, its weighted mean metric and its sum of weights."""
        self.batch += 1
        self.loss, self.metric = self.loss + loss * examples, self.metric + metric * weight
        self.weight, self.seen = self.weight + weight, self.seen + examples


@dataclass
class Run:
    """What one call of `Model.train` does; all arguments are checked. Callbacks are given it."""

    model: Trainable
    metric: str  # name of the figure beside the loss
    source: Checked
    validation: Checked | None
    optimizer: Optimizer
    epochs: int
    rng: np.random.Generator | None  # where the order of the examples comes from; None keeps theirs
    callbacks: Sequence[Callback]
    regularizers: Sequence[Regularizer]
    augment: Sequence[AnyAugmentation]
    augmentation_seed: list[int] | None
    position: Position = field(default_factory=Position)  # after an epoch's last batch, at the start of the next one
    before: float = 0.0  # the optimizer's progress at the start
    started: float = 0.0  # of the present epoch, on the clock of `perf_counter`, less what it had taken before
    averaged: bool = False  # whether the parameters are, for the moment, the moving average of the weights
    stopped: str | None = None  # why the run ends early
    interruption: Interruption = field(default_factory=Interruption)
    first: bool = True  # whether this process is the only one, or the first of those that take steps together
    shards: int | None = None  # the blocks that each batch is cut into

    @property
    def class_weight(self) -> dict[str, float] | None:
        """Weights of classes that the source's batches are given one by one."""
        weights = self.source.class_weight
        return None if weights is None else {str(label): float(weights[label]) for label in sorted(weights)}

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return len(self.source)

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of an epoch's figures, beside its seconds."""
        trained = ("loss", self.metric)
        return trained if self.validation is None else (*trained, *(f"validation_{name}" for name in trained))

    @property
    def times(self) -> tuple[str, ...]:
        """Names of what an epoch's time is spent on."""
        return ("seconds",) if self.shards is None else ("seconds", "communication")

    @property
    def told(self) -> list[Callback]:
        """The callbacks that are told of the run in this process."""
        return [callback for callback in self.callbacks if self.tells(callback)]

    @property
    def seconds(self) -> float:
        """Time that the present epoch has taken."""
        return time.perf_counter() - self.started

    def tells(self, callback: Callback) -> bool:
        """Whether a callback is told of the run in this process."""
        return self.first or callback.everywhere

    def trained_figures(self) -> dict[str, float]:
        """Loss and metric of the epoch so far."""
        position = self.position
        metric = position.metric / position.weight if position.weight else 0.0
        return {"loss": position.loss / position.seen, self.metric: metric}

    def stop(self, reason: str) -> None:
        """End the run after the current batch, or after the epoch if it has no more; for callbacks."""
        self.stopped = reason
