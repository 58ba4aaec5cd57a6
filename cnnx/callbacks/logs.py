"""Files with a line for each epoch."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cnnx.training.run import Callback, Figures, Run


class _Log(Callback):
    """A file with a line for each epoch; a run that is resumed goes on behind the epochs that it had done."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_train_begin(self, run: Run) -> None:
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
        return json.dumps(row) + "\n"

    def _epoch(self, line: str) -> int:
        return int(json.loads(line)["epoch"])
