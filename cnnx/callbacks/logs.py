"""Files with a line for each epoch."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from cnnx.training.run import Callback, Figures, Run


class _Log(Callback):
    """A file with a line for each epoch; a run that is resumed goes on behind the epochs that it had done.

    A line is written whole and brought to the disk before anything else hears of the epoch's end, a checkpoint above
    all: the file has every epoch of the checkpoint, and at most a cut line more, which is gone when the run goes on.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_train_begin(self, run: Run) -> None:
        """Begin the file, or drop what a run that was cut off had written after its checkpoint."""
        self._run, self._columns = run, ["epoch", *run.figures, *run.times, "learning_rate"]
        # The folder where training began, whatever becomes of the working directory.
        self._file = self.path.absolute()
        done, kept = run.position.epoch - 1, self._head()
        if not done or not self._file.exists():
            self._file.write_bytes(kept)
            return
        content = self._file.read_bytes()
        whole = content.split(b"\n")[:-1]
        kept += b"".join(line + b"\n" for line in whole if 0 < self._epoch(line) <= done)
        if content.startswith(kept):
            os.truncate(self._file, len(kept))
        else:
            self._file.write_bytes(kept)

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """Add a line, with the learning rate at the end of the epoch."""
        line = self._line({"epoch": epoch, **figures, "learning_rate": self._run.optimizer.rate})
        with self._file.open("ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                while line:
                    line = line[file.write(line) :]
            except OSError:
                with suppress(OSError):
                    file.truncate(before)  # a part of a line is none
                raise
            with suppress(OSError):  # what is no file on a disk, such as a pipe, cannot be brought there
                os.fsync(file.fileno())

    def _head(self) -> bytes:
        return b""

    def _line(self, row: dict[str, float]) -> bytes:
        raise NotImplementedError

    def _epoch(self, line: bytes) -> int:
        """The epoch of a line; 0 of what is none, such as the head or a part of a line."""
        raise NotImplementedError


class CSVLog(_Log):
    """A CSV file with the figures of each epoch, its seconds and learning rate, under a line with their names.

    Parameters
    ----------
    path : str or path-like
        A file that is there is replaced, unless the run is resumed. A relative path begins at the working directory in
        which training begins.
    """

    def _head(self) -> bytes:
        return (",".join(self._columns) + "\n").encode()

    def _line(self, row: dict[str, float]) -> bytes:
        return (",".join(repr(row[name]) for name in self._columns) + "\n").encode()

    def _epoch(self, line: bytes) -> int:
        first, *others = line.split(b",")
        try:
            figures = [float(value) for value in others]
            return int(first) if first.isdigit() and len(figures) == len(self._columns) - 1 else 0
        except ValueError:
            return 0


class JSONLog(_Log):
    """A file of JSON lines: for each epoch one object with its figures, seconds and learning rate.

    Parameters
    ----------
    path : str or path-like
        A file that is there is replaced, unless the run is resumed. A relative path begins at the working directory in
        which training begins.
    """

    def _line(self, row: dict[str, float]) -> bytes:
        return (json.dumps(row) + "\n").encode()

    def _epoch(self, line: bytes) -> int:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return 0
        epoch = row.get("epoch") if isinstance(row, dict) else None
        return epoch if type(epoch) is int else 0
