"""What happens beside a training run: recording, and showing, its progress."""

from collections.abc import Mapping
from typing import Any

Figures = Mapping[str, float]


class Callback:
    """Told of a training run's events; each method may be overridden."""

    def on_train_begin(self, epochs: int, batches: int) -> None:
        """Before the first epoch; `batches` is the number of batches in each."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before each epoch, counted from 1."""

    def on_batch_end(self, batch: int, figures: Figures) -> None:
        """After each batch, counted from 1, with the epoch's mean loss and accuracy so far."""

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """After each epoch, with all its figures."""

    def on_train_end(self) -> None:
        """After the last epoch, an interruption or an error."""


class History(dict[str, list[float]], Callback):
    """Figures of a training run, one value an epoch.

    Keys: ``"loss"`` (mean cross-entropy, in nats), ``"accuracy"`` (share of 1), ``"seconds"``, and with
    validation data ``"validation_loss"`` and ``"validation_accuracy"``. The loss and accuracy of an epoch are
    means over its batches as they were trained, so the weights they belong to change on the way.

    Attributes
    ----------
    interrupted : tuple of (int, int) or None
        Epoch and batch, counted from 1, after which Ctrl-C stopped the run; figures of an unfinished epoch
        are not recorded.
    """

    interrupted: tuple[int, int] | None = None

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """Append each figure to its list."""
        for name, value in figures.items():
            self.setdefault(name, []).append(value)


class ProgressBar(Callback):
    """A tqdm bar for each epoch, with loss and accuracy."""

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(self, epochs: int, batches: int) -> None:
        """Keep what the bars show."""
        self._epochs, self._batches = epochs, batches

    def on_epoch_begin(self, epoch: int) -> None:
        """Open a bar."""
        from tqdm import tqdm

        self._bar = tqdm(total=self._batches, desc=f"epoch {epoch}/{self._epochs}", unit="batch")

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
