"""The training loop: mini-batch gradient descent.

It draws the batches, has the model take one step on each, and tells the callbacks; the mathematics is in the
layers and the optimizer, the pictures are in the callbacks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from cnnx.errors import DivergenceError
from cnnx.schedules import Schedule
from cnnx.training.checkpoints import SavedRun
from cnnx.training.run import Callback, Position, Run
from cnnx.training.steps import Epochs, Steps


def fit(run: Run, steps: Steps, saved: SavedRun | None = None) -> tuple[int, int] | None:
    """Train, and return the epoch and batch after which Ctrl-C stopped the run, or None.

    A `saved` run is gone on with; it takes back what it has kept once that can be used.
    """
    with steps.together(run):
        return _fit(run, steps, saved)


def _fit(run: Run, steps: Steps, saved: SavedRun | None) -> tuple[int, int] | None:
    model, optimizer = run.model, run.optimizer
    run.before = optimizer.progress
    if saved is None:
        optimizer.renew_average(model.parameters)
    else:
        saved.restore(run)
    if isinstance(optimizer.learning_rate, Schedule):
        optimizer.learning_rate.begin(run.before, run.epochs, run.figures)
    with _all_told_of_the_end(run.told):
        for callback in run.told:
            callback.on_train_begin(run)
        if saved is not None:
            saved.restore_callbacks(run)
        try:
            return _fit_epochs(run, steps, saved)
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


def _fit_epochs(run: Run, steps: Steps, saved: SavedRun | None) -> tuple[int, int] | None:
    prepared = steps.batches(run)
    with run.interruption:
        ends = steps.settle(run)
        while run.position.epoch <= run.epochs and not ends:
            position = run.position
            _fit_epoch(run, steps, prepared, saved)
            saved = None
            if position.batch == run.batches:
                _end_epoch(run, steps)
            ends = steps.settle(run)
            if ends and run.interruption.came:
                return position.epoch, position.batch
    return None


def _fit_epoch(run: Run, steps: Steps, prepared: Epochs, saved: SavedRun | None) -> None:
    """The steps of one pass over the data, or of what is left of it; they may end early."""
    position = run.position
    run.started = time.perf_counter() - position.seconds
    if position.order is None and run.rng is not None:
        position.order = dict(run.rng.bit_generator.state)
    # The order is drawn here, whatever is left out of it. Closing ends the worker thread, if there is one.
    with closing(prepared.epoch(run.rng, position.batch, position.epoch)) as batches:
        if saved is not None:
            saved.restore_generators(run)
        told, count, before = run.told, run.batches, run.before + position.epoch - 1
        for callback in told:
            callback.on_epoch_begin(position.epoch)
        for batch in batches:
            number = position.batch + 1
            # The learning rate is that of the step's middle.
            run.optimizer.progress = before + (number - 0.5) / count
            try:
                taken = steps.take(run, batch)
            except DivergenceError as error:
                raise DivergenceError(f"epoch {position.epoch}, batch {number} of {count}: {error}") from None
            run.optimizer.progress = before + number / count
            position.add(*taken)
            # The next batch can then be where this one was: fresh memory costs more than the copy.
            del batch
            figures = run.trained_figures()
            for callback in told:
                callback.on_batch_end(number, figures)
            if steps.ends(run) and number < count:
                return


def _end_epoch(run: Run, steps: Steps) -> None:
    """Validate, and tell of the epoch, with the weights that are validated."""
    epoch, figures = run.position.epoch, run.trained_figures()
    with _averaged_weights(run):
        if run.validation is not None:
            loss, metric = steps.evaluate(run, run.validation)
            figures |= {"validation_loss": loss, f"validation_{run.metric}": metric}
        figures |= steps.times(run)
        if isinstance(run.optimizer.learning_rate, Schedule):
            run.optimizer.learning_rate.observe(figures)
        run.position = Position(epoch + 1)
        for callback in run.told:
            callback.on_epoch_end(epoch, figures)


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
