"""The figures of a model on data, without training."""

from __future__ import annotations

from contextlib import closing

from cnnx.training.sources import Checked, prepare
from cnnx.training.trainable import Trainable


def evaluate(model: Trainable, source: Checked) -> tuple[float, float]:
    """Weighted means of loss and metric over a source of checked batches."""
    loss, metric, weight = 0.0, 0.0, 0.0
    with closing(prepare(source).epoch(None)) as batches:
        for X, y, weights in batches:
            losses, metrics, counted = model.measure(X, y, weights)
            loss, metric, weight = loss + losses, metric + metrics, weight + counted
    if not weight:
        raise ValueError("evaluate: expected a weight above 0, all are 0")
    return loss / weight, metric / weight
