"""A run that ends when its time is up."""

from __future__ import annotations

import time

from cnnx.checks.arguments import check_positive
from cnnx.training.run import Callback, Figures, Run


class TimeLimit(Callback):
    """End the run after the batch in which a time is up.

    Parameters
    ----------
    seconds : float
        Above 0, from the beginning of this run.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = check_positive(seconds, "TimeLimit: seconds")

    def on_train_begin(self, run: Run) -> None:
        """The time begins."""
        self._run, self._end = run, time.monotonic() + self.seconds

    def on_batch_end(self, batch: int, figures: Figures) -> None:
        """Look at the clock."""
        if time.monotonic() >= self._end:
            self._run.stop(f"the time limit of {self.seconds:g} seconds is reached")
