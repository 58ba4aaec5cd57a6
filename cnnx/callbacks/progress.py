"""The progress of a run, shown."""

from __future__ import annotations

from typing import Any

from cnnx.training.run import Callback, Figures, Run


class ProgressBar(Callback):
    """A tqdm bar for each epoch, with loss and accuracy."""

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(self, run: Run) -> None:
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
