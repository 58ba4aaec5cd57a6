"""What happens beside a training run: recording and showing its progress, keeping it, and ending it early."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from cnnx._typing import Array
from cnnx.checks.arguments import check_count, check_positive
from cnnx.schedules.monitoring import Monitor

if TYPE_CHECKING:
    from cnnx.training.loop import TrainingRun

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "JSONLog",
    "ProgressBar",
    "TensorBoard",
    "TimeLimit",
]

Figures = Mapping[str, float]
UNITS = ("epoch", "step")


class Callback:
    """Told of a training run's events; each method may be overridden.

    A callback that counts or keeps something from which it goes on in a run that is resumed overrides `state` and
    `restore` too.
    """

    # Called after those without it, with what they have made of the event.
    comes_last: ClassVar[bool] = False

    def on_train_begin(self, run: TrainingRun) -> None:
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
        """After the last epoch, an interruption or an error."""

    def state(self) -> dict[str, Any]:
        """What a run that is resumed goes on from: JSON values and arrays."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`; it is called after `on_train_begin`."""


class History(dict[str, list[float]], Callback):
    """Figures of a training run, one value an epoch.

    Keys: ``"loss"`` (mean cross-entropy, in nats), ``"accuracy"`` (share of 1), ``"seconds"``, and with
    validation data ``"validation_loss"`` and ``"validation_accuracy"``. The loss and accuracy of an epoch are
    means over its batches as they were trained, so the weights they belong to change on the way. A run that was
    resumed has the figures of all its epochs.

    Attributes
    ----------
    interrupted : tuple of (int, int) or None
        Epoch and batch, counted from 1, after which Ctrl-C stopped the run; figures of an unfinished epoch
        are not recorded.
    stopped : str or None
        Why a callback ended the run.
    """

    interrupted: tuple[int, int] | None = None
    stopped: str | None = None

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """Append each figure to its list."""
        for name, value in figures.items():
            self.setdefault(name, []).append(value)

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row for each epoch, counted from 1, and a column for each figure.

        It needs the extra `pandas`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("History.to_frame needs pandas: python -m pip install 'cnnx[pandas]'") from error
        epochs = max((len(values) for values in self.values()), default=0)
        return pandas.DataFrame(dict(self), index=pandas.RangeIndex(1, epochs + 1, name="epoch"))

    def state(self) -> dict[str, Any]:
        """All figures."""
        return {"figures": dict(self)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The figures of the epochs before."""
        self.update(state["figures"])


class ProgressBar(Callback):
    """A tqdm bar for each epoch, with loss and accuracy."""

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(self, run: TrainingRun) -> None:
        """Keep what the bars show."""
        self._run = run

    def on_epoch_begin(self, epoch: int) -> None:
        """Open a bar."""
        from tqdm import tqdm

        done, run = self._run.position.batch, self._run
        self._bar = tqdm(total=run.batches, initial=done, desc=f"epoch {epoch}/{run.epochs}", unit="batch")

    def on_batch_end(self, batch: int, figures: Figures) -> None:
        """Advance, and renew the figures whenever the bar is drawn."""
        if self._bar.update():
            self._show(figures)

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """Close the bar with the epoch's last figures."""
        self._show({name: value for name, value in figures.items() if name != "seconds"})
        self._bar.close()
        self._bar = None

    def on_train_end(self) -> None:
        """Close a bar that an interruption left open."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, figures: Figures) -> None:
        self._bar.set_postfix_str(", ".join(f"{name} {value:.4f}" for name, value in figures.items()))


class EarlyStopping(Callback):
    """End the run once a figure has not improved for more than `patience` epochs.

    Parameters
    ----------
    monitor : str, default "validation_loss"
        Name of the figure.
    patience : int, default 5
        Epochs without improvement that are put up with, 0 or more.
    min_delta : float, default 0
        An improvement is more than this.
    restore_best : bool, default True
        Leave the model with the weights, and the running averages, of its best epoch, however the run ends.
    mode : {"min", "max"}, optional
        Which is better; by default "min" for a name that ends in loss or error, else "max".

    Notes
    -----
    Prechelt, "Early Stopping - But When?", in "Neural Networks: Tricks of the Trade", 1998.
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: str | None = None,
    ) -> None:
        self.monitor = Monitor(monitor, patience, min_delta, mode, "EarlyStopping")
        self.restore_best = bool(restore_best)
        self._best: dict[str, Array] = {}

    def on_train_begin(self, run: TrainingRun) -> None:
        """The figure must be one of the run's."""
        self._best = {}
        self.monitor.check(run.figures)
        self.monitor.reset()
        self._run = run

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """Keep the weights if they are the best so far; end the run if the patience is at its end."""
        from cnnx.training.checkpoints import model_arrays

        if self.monitor.observe(figures) and self.restore_best:
            self._best = model_arrays(self._run.model)
        self._stop_if_exhausted()

    def on_train_end(self) -> None:
        """Give the model its best weights back."""
        from cnnx.training.checkpoints import set_model_arrays

        if self._best:
            set_model_arrays(self._run.model, self._best)

    def state(self) -> dict[str, Any]:
        """The best value, the epochs since, and the best weights."""
        return {**self.monitor.state(), **self._best}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        counted = self.monitor.state().keys()
        self.monitor.restore(state)
        self._best = {name: value for name, value in state.items() if name not in counted}
        self._stop_if_exhausted()

    def _stop_if_exhausted(self) -> None:
        if self.monitor.exhausted:
            self._run.stop(f"{self.monitor.name} has not improved for {self.monitor.waited} epochs")


class TimeLimit(Callback):
    """End the run after the batch in which a time is up.

    Parameters
    ----------
    seconds : float
        Above 0, from the beginning of this run.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = check_positive(seconds, "TimeLimit: seconds")

    def on_train_begin(self, run: TrainingRun) -> None:
        """The time begins."""
        self._run, self._end = run, time.monotonic() + self.seconds

    def on_batch_end(self, batch: int, figures: Figures) -> None:
        """Look at the clock."""
        if time.monotonic() >= self._end:
            self._run.stop(f"the time limit of {self.seconds:g} seconds is reached")


class Checkpoint(Callback):
    """Write a file from which the run can be resumed, with ``train(..., resume=path)``.

    The file is replaced as a whole each time; an interruption leaves the last one. It is written after all other
    callbacks have heard of the same event.

    Parameters
    ----------
    path : str or path-like
    every : int, default 1
        Epochs, or steps, from one file to the next.
    unit : {"epoch", "step"}, default "epoch"
        Steps are counted anew in each epoch.
    """

    comes_last: ClassVar[bool] = True

    def __init__(self, path: str | os.PathLike[str], every: int = 1, unit: str = "epoch") -> None:
        self.path, self.every = os.fspath(path), check_count(every, "Checkpoint: every")
        if unit not in UNITS:
            raise ValueError(f"Checkpoint: unit: expected one of {UNITS}, got {unit!r}")
        self.unit = unit

    def on_train_begin(self, run: TrainingRun) -> None:
        """Before an hour of training, not after it: the folder must be there."""
        from pathlib import Path

        folder = Path(self.path).resolve().parent
        if not folder.is_dir():
            raise FileNotFoundError(f"Checkpoint: path: the folder {folder} does not exist")
        self._run = run

    def on_batch_end(self, batch: int, figures: Figures) -> None:
        """Write after so many steps."""
        if self.unit == "step" and batch % self.every == 0:
            self._write()

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """Write after so many epochs."""
        if self.unit == "epoch" and epoch % self.every == 0:
            self._write()

    def _write(self) -> None:
        from cnnx.training.checkpoints import write_checkpoint

        write_checkpoint(self.path, self._run)


class _Log(Callback):
    """A file with a line for each epoch; a run that is resumed goes on behind the epochs that it had done."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        from pathlib import Path

        self.path = Path(path)

    def on_train_begin(self, run: TrainingRun) -> None:
        """Begin the file, or drop what a run that was cut off had written after its checkpoint."""
        done, kept = run.position.epoch - 1, ""
        if done and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = "".join(line for line in lines if self._epoch(line) <= done)
        self._columns = ["epoch", *run.figures, "seconds", "learning_rate"]
        self._run = run
        self.path.write_text(kept or self._head(), encoding="utf-8", newline="")

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """Add a line, with the learning rate at the end of the epoch."""
        row = {"epoch": epoch, **figures, "learning_rate": self._run.optimizer.rate}
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(self._line(row))

    def _head(self) -> str:
        return ""

    def _line(self, row: dict[str, float]) -> str:
        raise NotImplementedError

    def _epoch(self, line: str) -> int:
        """The epoch of a line; 0 for the head."""
        raise NotImplementedError


class CSVLog(_Log):
    """A CSV file with the figures of each epoch, its seconds and learning rate, under a line with their names.

    Parameters
    ----------
    path : str or path-like
        A file that is there is replaced, unless the run is resumed.
    """

    def _head(self) -> str:
        return ",".join(self._columns) + "\n"

    def _line(self, row: dict[str, float]) -> str:
        return ",".join(repr(row[name]) for name in self._columns) + "\n"

    def _epoch(self, line: str) -> int:
        first = line.partition(",")[0]
        return int(first) if first.isdecimal() else 0


class JSONLog(_Log):
    """A file of JSON lines: for each epoch one object with its figures, seconds and learning rate.

    Parameters
    ----------
    path : str or path-like
        A file that is there is replaced, unless the run is resumed.
    """

    def _line(self, row: dict[str, float]) -> str:
        import json

        return json.dumps(row) + "\n"

    def _epoch(self, line: str) -> int:
        import json

        return int(json.loads(line)["epoch"])


class TensorBoard(Callback):
    """Write the figures of each epoch, and the learning rate, for TensorBoard; it needs the extra `tensorboard`.

    Parameters
    ----------
    folder : str or path-like
        Each run writes a file of its own into it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self._writer: Any = None

    def on_train_begin(self, run: TrainingRun) -> None:
        """Open the file."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoard needs tensorboardX: python -m pip install 'cnnx[tensorboard]'") from error
        self._run, self._writer = run, SummaryWriter(self.folder)

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """Add each figure."""
        for name, value in {**figures, "learning_rate": self._run.optimizer.rate}.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def on_train_end(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
