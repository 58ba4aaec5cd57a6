"""A run that ends once it no longer gets better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnx._typing import Array
from cnnx.schedules.monitoring import Monitor
from cnnx.training.run import Callback, Figures, Run
from cnnx.training.trainable import check_model_arrays, model_arrays, set_model_arrays


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

    def on_train_begin(self, run: Run) -> None:
        """The figure must be one of the run's."""
        self._best = {}
        self.monitor.check(run.figures)
        self.monitor.reset()
        self._run = run

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """Keep the weights if they are the best so far; end the run if the patience is at its end."""
        if self.monitor.observe(figures) and self.restore_best:
            self._best = model_arrays(self._run.model)
        self._stop_if_exhausted()

    def on_train_end(self) -> None:
        """Give the model its best weights back, and keep nothing for another run."""
        best, self._best = self._best, {}
        if best:
            set_model_arrays(self._run.model, best)

    def state(self) -> dict[str, Any]:
        """The best value, the epochs since, and the best weights."""
        return {**self.monitor.state(), **self._best}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        counted = self.monitor.state().keys()
        best = {name: value for name, value in state.items() if name not in counted}
        if best:
            check_model_arrays(self._run.model, best)
        self.monitor.restore(state)
        self._best = best
        self._stop_if_exhausted()

    def _stop_if_exhausted(self) -> None:
        if self.monitor.exhausted:
            self._run.stop(f"{self.monitor.name} has not improved for {self.monitor.waited} epochs")
