"""The learning rate range test: train a little while the rate rises from tiny to huge, and look at the loss.

While the rate is tiny the loss stays where it is; then it falls, at rates that are worth training with; then it
explodes. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnx._typing import Array
from cnnx.checks.arguments import check_count, check_positive
from cnnx.data.base import Batch, Batches
from cnnx.errors import DivergenceError
from cnnx.layers.base import walk_generators
from cnnx.optimizers import Optimizer, check_optimizer
from cnnx.training.sources import Checked, prepare
from cnnx.training.trainable import Trainable, model_arrays, set_model_arrays

# The loss of a batch is noisy: this is the share of the past in its moving average.
SMOOTHING = 0.9
# The test ends once the averaged loss is so many times its least value.
EXPLODED = 4.0
FEWEST = 3
# The rate of the least loss is divided by this. The steepest fall, which others take, drowns in the noise of batches.
MARGIN = 10.0


@dataclass(frozen=True)
class RangeTest:
    """What a range test has measured.

    Attributes
    ----------
    rates : ndarray of shape (steps,)
        The learning rates, rising in equal ratios, up to where the loss exploded.
    losses : ndarray of shape (steps,)
        The loss of the batch before each step.
    smoothed : ndarray of shape (steps,)
        The moving average of the losses.
    suggestion : float
        A tenth of the rate at which the averaged loss is least: there it still falls, and well before it explodes.
    """

    rates: Array
    losses: Array
    smoothed: Array
    suggestion: float

    def plot(self, axes: Any = None) -> Any:
        """Draw losses over rates, and the suggestion; it needs the extra `plot`.

        Parameters
        ----------
        axes : matplotlib.axes.Axes, optional
            Where to draw; new ones by default.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if axes is None:
            try:
                from matplotlib import pyplot
            except ImportError as error:
                raise ImportError("RangeTest.plot needs matplotlib: python -m pip install 'cnnx[plot]'") from error
            axes = pyplot.figure().add_subplot()
        axes.plot(self.rates, self.losses, color="0.8", label="loss of each batch")
        axes.plot(self.rates, self.smoothed, label="its moving average")
        axes.axvline(self.suggestion, color="0.3", linestyle="--", label=f"suggestion {self.suggestion:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.legend()
        return axes


def check_rates(lowest: Any, highest: Any, steps: Any) -> Array:
    """Rates that rise in equal ratios, (steps,)."""
    lowest, highest = check_positive(lowest, "lowest"), check_positive(highest, "highest")
    if lowest >= highest:
        raise ValueError(f"find_learning_rate: highest: expected more than lowest ({lowest:g}), got {highest:g}")
    return np.geomspace(lowest, highest, check_count(steps, "steps", least=FEWEST))


def fresh_optimizer(optimizer: Optimizer | str, rate: float) -> Optimizer:
    """A new optimizer of the same kind, with the same arguments but for the rate."""
    chosen = check_optimizer(optimizer, None, "find_learning_rate")
    return type(chosen)(**{**chosen.config(), "learning_rate": rate})


def search_rate(
    model: Trainable, source: Checked, optimizer: Optimizer, rates: Array, rng: np.random.Generator
) -> RangeTest:
    """Take a step at each rate, and leave the model as it was."""
    arrays = model_arrays(model)
    generators = [(generator, generator.bit_generator.state) for generator in walk_generators(model.layers)]
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    try:
        for rate, (X, y, _) in zip(rates.tolist(), _endless(prepare(source), rng), strict=False):
            optimizer.learning_rate = rate
            try:
                loss = model.step(X, y, optimizer)[0]
            except DivergenceError:
                break
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            losses.append(loss)
            smoothed.append(average / (1 - SMOOTHING ** len(losses)))
            if smoothed[-1] > EXPLODED * min(smoothed):
                break
    finally:
        set_model_arrays(model, arrays)
        for generator, state in generators:
            generator.bit_generator.state = state
    if len(losses) < FEWEST:
        raise DivergenceError(
            f"find_learning_rate: the loss explodes within {FEWEST} steps; try a smaller lowest rate (it is "
            f"{rates[0]:g}), or inputs scaled to about [0, 1] or [-1, 1]"
        )
    least = int(np.argmin(smoothed))
    return RangeTest(rates[: len(losses)], np.array(losses), np.array(smoothed), float(rates[least]) / MARGIN)


def _endless(batches: Batches, rng: np.random.Generator) -> Iterator[Batch]:
    """One epoch after the other."""
    while True:
        yield from batches.epoch(rng)
