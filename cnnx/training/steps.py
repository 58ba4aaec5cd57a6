"""Who takes a run's steps, and how: here this process alone, each step on a whole batch.

`cnnx.parallel` has another way, in which several processes take each step together.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import numpy as np

from cnnx._typing import Seed
from cnnx.training.evaluation import evaluate
from cnnx.training.run import Run
from cnnx.training.sources import Checked, prepare

Made = TypeVar("Made")


class Epochs(Protocol):
    """What the loop takes batches from; what such a batch is, `Steps.take` knows."""

    def epoch(self, rng: np.random.Generator | None, first: int = 0, number: int = 1) -> Generator[Any, None, None]:
        """As `Batches.epoch`."""
        ...


class Steps:
    """One process, and steps on whole batches.

    Attributes
    ----------
    first : bool
        Whether this process is the one that writes files and tells callbacks.
    shards : int or None
        The number of blocks that each batch is cut into.
    """

    first: bool = True
    shards: int | None = None

    def shared(self) -> AbstractContextManager[None]:
        """Inside, what each of the processes does by itself; an error of one is an error of all."""
        return nullcontext()

    def together(self, run: Run) -> AbstractContextManager[None]:
        """Inside, the run, which all processes begin and end together."""
        return nullcontext()

    def once(self, what: str, make: Callable[[], Made]) -> Made:
        """What the first process makes for all of them."""
        return make()

    def seed(self, seed: Seed) -> Seed:
        """The seed that all processes have."""
        return seed

    def batches(self, run: Run) -> Epochs:
        """Where the batches come from that this process takes."""
        return prepare(run.source, run.augment, run.augmentation_seed)

    def take(self, run: Run, batch: Any) -> tuple[float, float, float, int]:
        """One step: the batch's mean loss and metric before it, its sum of weights, and its number of examples."""
        X, y, weights = batch
        loss, metric = run.model.step(X, y, run.optimizer, weights, run.regularizers)
        return loss, metric, len(X) if weights is None else float(weights.sum()), len(X)

    def ends(self, run: Run) -> bool:
        """Whether the run is to end after the step that was taken last."""
        return run.interruption.requested or run.stopped is not None

    def settle(self, run: Run) -> bool:
        """Whether the run is to end here, at its beginning or between two epochs; and all processes know why."""
        return self.ends(run)

    def evaluate(self, run: Run, source: Checked) -> tuple[float, float]:
        """Weighted means of loss and metric over the validation data."""
        return evaluate(run.model, source, "validation_data")

    def times(self, run: Run) -> dict[str, float]:
        """The seconds that the present epoch has taken, and perhaps more of the kind."""
        return {"seconds": run.seconds}
