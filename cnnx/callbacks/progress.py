"""The progress of a run, shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cnnx.callbacks.notebook import widget_bar
from cnnx.training.run import Callback, Figures, Run

# Figures come first, and the times are left out where there is no room for them.
SHORT = "{desc}{postfix} {percentage:3.0f}%|{bar}|"
LONG = SHORT + " {elapsed}<{remaining}"
# Columns that a bar takes beside its title and its figures, at least, and what the times add to that.
PERCENTAGE, TIMES = len(" 100%|#|"), len(" 00:00<00:00")
# Where it is not known how wide a terminal is.
USUAL_WIDTH = 80


class ProgressBar(Callback):
    """A tqdm bar for each epoch, with its figures, as many as there is room for; one plain line where no terminal is.

    In a notebook it is tqdm's widget, where ipywidgets is there. Where nobody can see it, as with a standard error that
    is closed, there is none, and training goes on. If the variable NO_COLOR is set, a colour that tqdm's own variables
    ask for is not used.
    """

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(self, run: Run) -> None:
        """Keep what the bars show."""
        self._run = run

    def on_epoch_begin(self, epoch: int) -> None:
        """Open a bar."""
        if (widget := widget_bar()) is not None:
            done = self._run.position.batch
            self._bar = widget(total=self._run.batches, initial=done, desc=self._title(epoch), unit="batch")
            return
        if not _is_terminal(sys.stderr):
            return
        from tqdm import tqdm

        plain = {"colour": None} if os.environ.get("NO_COLOR") else {}
        self._bar = tqdm(
            total=self._run.batches,
            initial=self._run.position.batch,
            desc=self._title(epoch),
            file=_Screen(sys.stderr),
            dynamic_ncols=True,
            bar_format=LONG,
            **plain,
        )

    def on_batch_end(self, batch: int, figures: Figures) -> None:
        """Advance, and renew the figures whenever the bar is drawn."""
        if self._bar is not None and self._bar.update():
            self._show(figures)

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """Close the bar with the epoch's last figures, or write them."""
        shown = {name: value for name, value in figures.items() if name != "seconds"}
        if self._bar is not None:
            self._show(shown)
            self._bar.close()
            self._bar = None
        elif sys.stderr is not None:
            words = [*_words(shown), f"{figures['seconds']:.1f} s"]
            screen = _Screen(sys.stderr)
            screen.write(f"{self._title(epoch)}: {', '.join(words)}\n")
            screen.flush()

    def on_train_end(self) -> None:
        """Close a bar that an interruption left open."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _title(self, epoch: int) -> str:
        return f"epoch {epoch}/{self._run.epochs}"

    def _show(self, figures: Figures) -> None:
        room = (self._bar.format_dict["ncols"] or USUAL_WIDTH) - len(self._bar.desc) - PERCENTAGE
        text = fitting(figures, room)
        if self._bar.bar_format is not None:  # a widget has a layout of its own
            self._bar.bar_format = LONG if text == fitting(figures, room - TIMES) else SHORT
        self._bar.set_postfix_str(text)


def fitting(figures: Figures, width: int) -> str:
    """The figures that fit into so many columns, the most wanted first: the loss, the accuracies, all others."""
    wanted = sorted(figures, key=lambda name: (name != "loss", name.endswith("loss")))
    text = ""
    for word in _words({name: figures[name] for name in wanted}):
        longer = f"{text}, {word}" if text else word
        if len(longer) + len(", ") > width:
            break
        text = longer
    return text


def _words(figures: Figures) -> list[str]:
    return [
        f"{1000 * value:.2f} ms of messages a step" if name == "communication" else f"{name} {value:.4f}"
        for name, value in figures.items()
    ]


def _is_terminal(stream: Any) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):  # it is closed
        return False


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
