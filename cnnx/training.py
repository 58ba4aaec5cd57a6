"""The training loop: mini-batch gradient descent.

It draws the batches, has the model take one step on each, and tells the callbacks; the mathematics is in the
layers, the pictures are in the callbacks.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnx._typing import Array
from cnnx.callbacks import Callback
from cnnx.optimizers import Optimizer
from cnnx.schedules import Schedule

if TYPE_CHECKING:
    from cnnx.network import Model


class DivergenceError(FloatingPointError):
    """The loss became NaN or infinite; the model has the weights it had before that batch."""


class Interruption:
    """While active, the first Ctrl-C only sets `requested`; a second one raises KeyboardInterrupt as usual."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None
        # Python delivers signals to the main thread alone.
        self._active = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Interruption:
        if self._active:
            self._previous = signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            signal.signal(signal.SIGINT, self._previous)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


def draw_batches(examples: int, batch_size: int, rng: np.random.Generator | None) -> Iterator[Array | slice]:
    """Indices of each batch, shuffled where `rng` is given; the last batch may be smaller."""
    order = None if rng is None else rng.permutation(examples)
    for start in range(0, examples, batch_size):
        stop = min(start + batch_size, examples)
        yield slice(start, stop) if order is None else order[start:stop]


@dataclass
class TrainingRun:
    """What one call of `Model.train` does; all arguments are checked."""

    model: Model
    X: Array
    y: Array
    optimizer: Optimizer
    batch_size: int
    epochs: int
    validation_data: tuple[Array, Array] | None
    rng: np.random.Generator | None
    callbacks: Sequence[Callback]

    def fit(self) -> tuple[int, int] | None:
        """Train, and return the epoch and batch after which Ctrl-C stopped it, or None."""
        rate = self.optimizer.learning_rate
        if isinstance(rate, Schedule):
            rate.begin(self.optimizer.progress, self.epochs, self.figures)
        self._before = self.optimizer.progress
        for callback in self.callbacks:
            callback.on_train_begin(self.epochs, self.batches)
        try:
            with Interruption() as interruption:
                for epoch in range(1, self.epochs + 1):
                    last_batch = self._fit_epoch(epoch, interruption)
                    if interruption.requested:
                        return (epoch, last_batch)
        finally:
            self.optimizer.adopt_average(self.model.parameters)
            for callback in self.callbacks:
                callback.on_train_end()
        return None

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return math.ceil(len(self.X) / self.batch_size)

    @property
    def metric(self) -> str:
        """Name of the figure beside the loss."""
        return self.model._output_layer("train").metric

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of an epoch's figures."""
        trained = ("loss", self.metric)
        return trained if self.validation_data is None else (*trained, *(f"validation_{name}" for name in trained))

    def _step(self, X: Array, y: Array, epoch: int, batch: int) -> tuple[float, float]:
        """A step with the learning rate of its middle."""
        done = self._before + epoch - 1
        self.optimizer.progress = done + (batch - 0.5) / self.batches
        result = self.model.step(X, y, self.optimizer)
        self.optimizer.progress = done + batch / self.batches
        return result

    def _fit_epoch(self, epoch: int, interruption: Interruption) -> int:
        """One pass over the data; the number of its last batch, where an interruption ends it early."""
        started = time.perf_counter()
        total_loss, total_metric, seen = 0.0, 0.0, 0
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch)
        for batch, indices in enumerate(draw_batches(len(self.X), self.batch_size, self.rng), start=1):
            X, y = self.X[indices], self.y[indices]
            try:
                loss, metric = self._step(X, y, epoch, batch)
            except DivergenceError as error:
                raise DivergenceError(f"epoch {epoch}, batch {batch} of {self.batches}: {error}") from None
            total_loss, total_metric = total_loss + loss * len(X), total_metric + metric * len(X)
            seen += len(X)
            figures = {"loss": total_loss / seen, self.metric: total_metric / seen}
            for callback in self.callbacks:
                callback.on_batch_end(batch, figures)
            if interruption.requested and seen < len(self.X):
                return batch
        self.optimizer.swap_average(self.model.parameters)
        try:
            if self.validation_data is not None:
                loss, metric = self.model.evaluate(*self.validation_data)
                figures.update({"validation_loss": loss, f"validation_{self.metric}": metric})
            figures["seconds"] = time.perf_counter() - started
            if isinstance(self.optimizer.learning_rate, Schedule):
                self.optimizer.learning_rate.observe(figures)
            for callback in self.callbacks:
                callback.on_epoch_end(epoch, figures)
        finally:
            self.optimizer.swap_average(self.model.parameters)
        return self.batches
