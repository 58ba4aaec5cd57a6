"""The progress of a run, shown."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cnnx.training.run import Callback, Figures, Run


class ProgressBar(Callback):
    """A tqdm bar for each epoch, with loss and accuracy.

    Where nobody can see it, as with a standard error that is closed, there is none, and training goes on.
    """

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(self, run: Run) -> None:
        """Keep what the bars show."""
        self._run = run

    def on_epoch_begin(self, epoch: int) -> None:
        """Open a bar."""
        from tqdm import tqdm

        done, run = self._run.position.batch, self._run
        self._bar = tqdm(
            total=run.batches,
            initial=done,
            desc=f"epoch {epoch}/{run.epochs}",
            unit="batch",
            file=_Screen(sys.stderr),
            dynamic_ncols=True,
            disable=sys.stderr is None or getattr(sys.stderr, "closed", False),
        )

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
        self._bar.set_postfix_str(", ".join(_shown(name, value) for name, value in figures.items()))


def _shown(name: str, value: float) -> str:
    if name == "communication":
        return f"{1000 * value:.2f} ms of communication a step"
    return f"{name} {value:.4f}"


class _Screen:
    """A stream on which what cannot be written is lost; an error in the middle of tqdm would leave its lock taken."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        """Write, if that can be done."""
        self._try(self._stream.write, text)

    def flush(self) -> None:
        """Show what was written."""
        self._try(self._stream.flush)

    def _try(self, do: Callable[..., object], *arguments: str) -> None:
        with suppress(OSError, ValueError):  # a closed pipe or terminal, a full disk
            do(*arguments)
