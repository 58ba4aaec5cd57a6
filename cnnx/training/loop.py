"""The training loop: mini-batch gradient descent.

It draws the batches, has the model take one step on each, and tells the callbacks; the mathematics is in the
layers and the optimizer, the pictures are in the callbacks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from cnnx._typing import Array
from cnnx.data.base import Batches
from cnnx.errors import DivergenceError
from cnnx.schedules import Schedule
from cnnx.training.checkpoints import SavedRun
from cnnx.training.evaluation import evaluate
from cnnx.training.interruption import Interruption
from cnnx.training.run import Callback, Position, Run
from cnnx.training.sources import prepare


def fit(run: Run, saved: SavedRun | None = None) -> tuple[int, int] | None:
    """Train, and return the epoch and batch after which Ctrl-C stopped the run, or None.

    A `saved` run is gone on with; it takes back what it has kept once that can be used.
    """
    model, optimizer = run.model, run.optimizer
    run.before = optimizer.progress
    if saved is None:
        optimizer.renew_average(model.parameters)
    else:
        saved.restore(run)
    if isinstance(optimizer.learning_rate, Schedule):
        optimizer.learning_rate.begin(run.before, run.epochs, run.figures)
    with _all_told_of_the_end(run.callbacks):
        for callback in run.callbacks:
            callback.on_train_begin(run)
        if saved is not None:
            saved.restore_callbacks(run)
        prepared = prepare(run.source, run.augment, run.augmentation_seed)
        try:
            return _fit_epochs(run, prepared, saved)
        finally:
            optimizer.adopt_average(model.parameters)


@contextmanager
def _all_told_of_the_end(callbacks: Sequence[Callback]) -> Iterator[None]:
    """Inside, a run; at its end each callback is told, whatever others raise. The first error of all is raised."""
    first: BaseException | None = None
    try:
        yield
    except BaseException as error:
        first = error
    for callback in callbacks:
        try:
            callback.on_train_end()
        except BaseException as error:
            first = error if first is None else first
    if first is not None:
        raise first


def _fit_epochs(run: Run, prepared: Batches, saved: SavedRun | None) -> tuple[int, int] | None:
    with Interruption() as interruption:
        while run.position.epoch <= run.epochs and run.stopped is None:
            position = run.position
            _fit_epoch(run, prepared, saved, interruption)
            saved = None
            if position.batch == run.batches:
                _end_epoch(run)
            if interruption.requested:
                return position.epoch, position.batch
    return None


def _fit_epoch(run: Run, prepared: Batches, saved: SavedRun | None, interruption: Interruption) -> None:
    """The steps of one pass over the data, or of what is left of it; they may end early."""
    position = run.position
    run.started = time.perf_counter() - position.seconds
    if position.order is None and run.rng is not None:
        position.order = dict(run.rng.bit_generator.state)
    # The order is drawn here, whatever is left out of it. Closing ends the worker thread, if there is one.
    with closing(prepared.epoch(run.rng, position.batch, position.epoch)) as batches:
        if saved is not None:
            saved.restore_generators(run)
        for callback in run.callbacks:
            callback.on_epoch_begin(position.epoch)
        for X, y, weights in batches:
            loss, metric = _step(run, X, y, weights)
            position.add(loss, metric, len(X) if weights is None else float(weights.sum()), len(X))
            # The next batch can then be where this one was: fresh memory costs more than the copy.
            del X, y, weights
            figures = run.trained_figures()
            for callback in run.callbacks:
                callback.on_batch_end(position.batch, figures)
            if (interruption.requested or run.stopped is not None) and position.batch < run.batches:
                return


def _end_epoch(run: Run) -> None:
    """Validate, and tell of the epoch, with the weights that are validated."""
    epoch, figures = run.position.epoch, run.trained_figures()
    with _averaged_weights(run):
        if run.validation is not None:
            loss, metric = evaluate(run.model, run.validation, "validation_data")
            figures |= {"validation_loss": loss, f"validation_{run.metric}": metric}
        figures["seconds"] = run.seconds
        if isinstance(run.optimizer.learning_rate, Schedule):
            run.optimizer.learning_rate.observe(figures)
        run.position = Position(epoch + 1)
        for callback in run.callbacks:
            callback.on_epoch_end(epoch, figures)


def _step(run: Run, X: Array, y: Array, weights: Array | None) -> tuple[float, float]:
    """A step with the learning rate of its middle."""
    epoch, batch = run.position.epoch, run.position.batch + 1
    done = run.before + epoch - 1
    run.optimizer.progress = done + (batch - 0.5) / run.batches
    try:
        result = run.model.step(X, y, run.optimizer, weights, run.regularizers)
    except DivergenceError as error:
        raise DivergenceError(f"epoch {epoch}, batch {batch} of {run.batches}: {error}") from None
    run.optimizer.progress = done + batch / run.batches
    return result


@contextmanager
def _averaged_weights(run: Run) -> Iterator[None]:
    """Inside, the model's parameters are their moving average, where the optimizer keeps one."""
    run.optimizer.swap_average(run.model.parameters)
    run.averaged = run.optimizer.ema is not None
    try:
        yield
    finally:
        run.optimizer.swap_average(run.model.parameters)
        run.averaged = False
