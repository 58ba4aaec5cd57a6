"""The figures of a model on data, without training."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import islice

from cnnx.checks.arrays import ALLOW_NAN, check_finite
from cnnx.training.sources import Checked, prepare
from cnnx.training.trainable import Trainable


def evaluate(model: Trainable, source: Checked, where: str, allow_nan: bool = False) -> tuple[float, float]:
    """Weighted means of loss and metric over a source of checked batches; messages begin with `where`."""
    return means(batch_sums(model, source, range(len(source)), where, allow_nan), where)


def batch_sums(
    model: Trainable, source: Checked, numbers: range, where: str, allow_nan: bool = False
) -> list[tuple[float, float, float]]:
    """The sums of `Trainable.measure` over each of these batches, which are counted from 0."""
    instead, sums = ALLOW_NAN if where == "evaluate" else "", []
    # Who takes the last one asks for another, so that a source is found out that has too many.
    count = None if numbers.stop == len(source) else len(numbers)
    with closing(prepare(source).epoch(None, numbers.start)) as batches:
        for number, (X, y, weights) in enumerate(islice(batches, count), start=numbers.start + 1):
            if not allow_nan:
                check_finite(X, f"{where}: batch {number} of {len(source)}: X", instead=instead)
            sums.append(model.measure(X, y, weights))
    return sums


def means(sums: Sequence[tuple[float, float, float]], where: str) -> tuple[float, float]:
    """Weighted means of loss and metric, from the sums over all batches."""
    loss, metric, weight = 0.0, 0.0, 0.0
    for losses, metrics, counted in sums:
        loss, metric, weight = loss + losses, metric + metrics, weight + counted
    if not weight:
        raise ValueError(f"{where}: expected a weight above 0, all are 0")
    return loss / weight, metric / weight
