"""The figures of a model on data, without training."""

from __future__ import annotations

from contextlib import closing

from cnnx.checks.arrays import ALLOW_NAN, check_finite
from cnnx.training.sources import Checked, prepare
from cnnx.training.trainable import Trainable


def evaluate(model: Trainable, source: Checked, where: str, allow_nan: bool = False) -> tuple[float, float]:
    """Weighted means of loss and metric over a source of checked batches; messages begin with `where`."""
    instead = ALLOW_NAN if where == "evaluate" else ""
    loss, metric, weight = 0.0, 0.0, 0.0
    with closing(prepare(source).epoch(None)) as batches:
        for number, (X, y, weights) in enumerate(batches, start=1):
            if not allow_nan:
                check_finite(X, f"{where}: batch {number} of {len(source)}: X", instead=instead)
            losses, metrics, counted = model.measure(X, y, weights)
            loss, metric, weight = loss + losses, metric + metrics, weight + counted
    if not weight:
        raise ValueError(f"{where}: expected a weight above 0, all are 0")
    return loss / weight, metric / weight
