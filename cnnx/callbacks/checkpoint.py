"""A file from which a run goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from cnnx.checks.arguments import check_count
from cnnx.training.checkpoints import write_checkpoint
from cnnx.training.run import Callback, Figures, Run

UNITS = ("epoch", "step")


class Checkpoint(Callback):
    """Write a file from which the run can be resumed, with ``train(..., resume=path)``.

    The file is replaced as a whole each time; an interruption leaves the last one. The one before stays beside it, as
    ``PATH.previous``, for the case that the newest is damaged. It is written after all other callbacks have heard of
    the same event.

    Parameters
    ----------
    path : str or path-like
        A relative one begins at the working directory in which training begins.
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

    def on_train_begin(self, run: Run) -> None:
        """Before an hour of training, not after it: the folder must be there."""
        self._file = Path(self.path).absolute()
        folder = self._file.resolve().parent
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
        write_checkpoint(self._file, self._run)
