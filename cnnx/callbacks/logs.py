"""Files with a line for each epoch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnnx.checks.files import open_regular
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


# Of a log that is read, bytes and columns: more epochs and figures than anybody trains for.
LARGEST, MOST_COLUMNS = 1 << 26, 1000


def read_log(path: str | os.PathLike[str]) -> dict[str, list[float]]:
    """The figures that a `CSVLog` or a `JSONLog` wrote, by their names, with a value for each epoch.

    A last line that was cut off, as of a process that was killed, is left out.

    Raises
    ------
    ValueError
        If it is no such file; the message names the line.
    OSError
        If it cannot be read.
    """
    with open_regular(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"{os.fspath(path)}: expected a log of at most {LARGEST} bytes")
    lines = content.split(b"\n")[:-1]
    figures: dict[str, list[float]] = {}
    for number, row in enumerate(_rows(lines), start=1):
        row.pop("epoch", None)
        if number == 1:
            figures = {name: [] for name in row}
        if row.keys() != figures.keys() or not all(type(value) in (int, float) for value in row.values()):
            expected = ", ".join(figures)[:200]
            raise ValueError(f"{os.fspath(path)}: epoch {number}: expected a number for each of {expected}")
        for name, value in row.items():
            figures[name].append(float(value))
    if not figures:
        raise ValueError(f"{os.fspath(path)}: expected a file that CSVLog or JSONLog wrote, with an epoch or more")
    return figures


def _rows(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    """The figures of each line as they are; of a line that is none, nothing that is a figure."""
    is_json = bool(lines) and lines[0].startswith(b"{")
    names = [] if is_json or not lines else lines[0].decode("utf-8", "replace").split(",")[:MOST_COLUMNS]
    for line in lines if is_json else lines[1:]:
        try:
            values = json.loads(line) if is_json else dict(zip(names, map(float, line.split(b",")), strict=True))
        except (ValueError, RecursionError):
            values = None
        yield values if isinstance(values, dict) else {"": None}
