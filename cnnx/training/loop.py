"""The training loop: mini-batch gradient descent.

It draws the batches, has the model take one step on each, and tells the callbacks; the mathematics is in the
layers and the optimizer, the pictures are in the callbacks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnx._typing import Array
from cnnx.callbacks import Callback
from cnnx.errors import DivergenceError
from cnnx.optimizers import Optimizer
from cnnx.regularizers import Regularizer
from cnnx.schedules import Schedule
from cnnx.training.interruption import Interruption

if TYPE_CHECKING:
    from cnnx.augmentation.base import AnyStep
    from cnnx.data import Batches
    from cnnx.network import Model
    from cnnx.training.checkpoints import SavedRun


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
class TrainingRun:
    """What one call of `Model.train` does; all arguments are checked. Callbacks are given it.

    Attributes
    ----------
    model : Model
    source, validation : Batches
        What is trained on, and what is validated on, or None.
    optimizer : Optimizer
    epochs : int
    rng : numpy.random.Generator or None
        Where the order of the examples comes from; None keeps theirs.
    callbacks : sequence of Callback
    regularizers : sequence of Regularizer
    augment : sequence of steps
        How the examples are changed at random.
    augmentation_seed : list of int, optional
        Where these random numbers come from.
    saved : SavedRun, optional
        The run that this one goes on with.
    position : Position
        Where the run stands: after an epoch's last batch, at the start of the next one.
    averaged : bool
        Whether the model's parameters are, for the moment, the moving average of the weights.
    stopped : str or None
        Why the run ends early.
    """

    model: Model
    source: Batches
    optimizer: Optimizer
    epochs: int
    validation: Batches | None
    rng: np.random.Generator | None
    callbacks: Sequence[Callback]
    regularizers: Sequence[Regularizer] = ()
    augment: Sequence[AnyStep] = ()
    augmentation_seed: list[int] | None = None
    saved: SavedRun | None = None
    position: Position = field(default_factory=Position)
    averaged: bool = False
    stopped: str | None = None
    before: float = 0.0  # the optimizer's progress at the start

    @property
    def class_weight(self) -> dict[str, float] | None:
        """Weights of classes that the source's batches are given one by one."""
        weights = getattr(self.source, "class_weight", None)
        return None if weights is None else {str(label): float(weights[label]) for label in sorted(weights)}

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return len(self.source)

    @property
    def metric(self) -> str:
        """Name of the figure beside the loss."""
        return self.model._output_layer("train").metric

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of an epoch's figures, beside its seconds."""
        trained = ("loss", self.metric)
        return trained if self.validation is None else (*trained, *(f"validation_{name}" for name in trained))

    def stop(self, reason: str) -> None:
        """End the run after the current batch, or after the epoch if it has no more; for callbacks."""
        self.stopped = reason

    def fit(self) -> tuple[int, int] | None:
        """Train, and return the epoch and batch after which Ctrl-C stopped it, or None."""
        self.before = self.optimizer.progress
        if self.saved is None:
            self.optimizer.renew_average(self.model.parameters)
        else:
            self.saved.restore(self)
        if isinstance(self.optimizer.learning_rate, Schedule):
            self.optimizer.learning_rate.begin(self.before, self.epochs, self.figures)
        try:
            for callback in self.callbacks:
                callback.on_train_begin(self)
            if self.saved is not None:
                self.saved.restore_callbacks(self)
            from cnnx.training.sources import prepare

            self._prepared = prepare(self.source, self.model, self.augment, self.augmentation_seed)
            try:
                return self._fit_epochs()
            finally:
                self.optimizer.adopt_average(self.model.parameters)
        finally:
            for callback in self.callbacks:
                callback.on_train_end()

    def _fit_epochs(self) -> tuple[int, int] | None:
        with Interruption() as interruption:
            while self.position.epoch <= self.epochs and self.stopped is None:
                epoch = self.position.epoch
                last_batch = self._fit_epoch(interruption)
                if interruption.requested:
                    return (epoch, last_batch)
        return None

    def _fit_epoch(self, interruption: Interruption) -> int:
        """One pass over the data, or what is left of it; returns the number of its last batch."""
        position, epoch = self.position, self.position.epoch
        self._started = time.perf_counter() - position.seconds
        if position.order is None:
            position.order = self._order()
        # The order is drawn here, whatever is left out of it. Closing ends the worker thread, if there is one.
        with closing(self._prepared.epoch(self.rng, position.batch, epoch)) as batches:
            if self.saved is not None:
                self.saved.restore_generators(self)
                self.saved = None
            for callback in self.callbacks:
                callback.on_epoch_begin(epoch)
            for X, y, weights in batches:
                loss, metric = self._step(X, y, weights)
                position.add(loss, metric, len(X) if weights is None else float(weights.sum()), len(X))
                # The next batch can then be where this one was: fresh memory costs more than the copy.
                del X, y, weights
                figures = self._trained_figures()
                for callback in self.callbacks:
                    callback.on_batch_end(position.batch, figures)
                if (interruption.requested or self.stopped is not None) and position.batch < self.batches:
                    return position.batch
        figures = self._trained_figures()
        with self._averaged_weights():
            figures.update(self._validated_figures())
            figures["seconds"] = self.seconds
            if isinstance(self.optimizer.learning_rate, Schedule):
                self.optimizer.learning_rate.observe(figures)
            self.position = Position(epoch + 1)
            for callback in self.callbacks:
                callback.on_epoch_end(epoch, figures)
        return self.batches

    @property
    def seconds(self) -> float:
        """Time that the present epoch has taken."""
        return time.perf_counter() - self._started

    def _step(self, X: Array, y: Array, weights: Array | None) -> tuple[float, float]:
        """A step with the learning rate of its middle."""
        epoch, batch = self.position.epoch, self.position.batch + 1
        done = self.before + epoch - 1
        self.optimizer.progress = done + (batch - 0.5) / self.batches
        try:
            result = self.model.step(X, y, self.optimizer, weights, self.regularizers)
        except DivergenceError as error:
            raise DivergenceError(f"epoch {epoch}, batch {batch} of {self.batches}: {error}") from None
        self.optimizer.progress = done + batch / self.batches
        return result

    def _trained_figures(self) -> dict[str, float]:
        position = self.position
        metric = position.metric / position.weight if position.weight else 0.0
        return {"loss": position.loss / position.seen, self.metric: metric}

    def _validated_figures(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        loss, metric = self.model.evaluate(self.validation)
        return {"validation_loss": loss, f"validation_{self.metric}": metric}

    def _order(self) -> dict[str, Any] | None:
        return None if self.rng is None else dict(self.rng.bit_generator.state)

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """Inside, the model's parameters are their moving average, where the optimizer keeps one."""
        self.optimizer.swap_average(self.model.parameters)
        self.averaged = self.optimizer.ema is not None
        try:
            yield
        finally:
            self.optimizer.swap_average(self.model.parameters)
            self.averaged = False
