"""What output layers do for each batch besides their loss: targets, rates, weights and sums."""

import numpy as np

from cnnx._typing import Array


def encode_classes(labels: Array, smoothing: float, out: Array) -> None:
    """Rows of `out` are 1 at the label and 0 elsewhere; with smoothing s, (1 - s) of that + s / classes."""
    out[...] = 0
    out[np.arange(len(labels)), labels] = 1
    _smooth(smoothing, out)


def smooth_rows(rows: Array, smoothing: float, out: Array) -> None:
    """out = (1 - s) * rows + s / classes, the rows themselves where s is 0."""
    out[...] = rows
    _smooth(smoothing, out)


def _smooth(smoothing: float, out: Array) -> None:
    if smoothing:
        out *= 1 - smoothing
        out += smoothing / out.shape[1]


def classes_agree(predictions: Array, targets: Array, out: Array) -> None:
    """1 where both rows have their (first) maximum at the same place, else 0; NaN counts as the largest."""
    out[...] = predictions.argmax(axis=1) == targets.argmax(axis=1)


def labels_agree(predictions: Array, targets: Array, threshold: float, out: Array) -> None:
    """1 where a row's predictions are above the threshold wherever its targets are above a half, else 0."""
    out[...] = ((predictions > threshold) == (targets > 0.5)).all(axis=1)


def weigh_rows(weights: Array, out: Array) -> None:
    """Multiply each row by its weight, in place."""
    out *= weights[:, np.newaxis]


def batch_sums(losses: Array, rates: Array, weights: Array | None, sums: Array) -> None:
    """Sums, in double precision, of the weighted losses, the weighted rates and the weights, 1 where there are none."""
    given = np.ones(len(losses)) if weights is None else weights
    with np.errstate(over="ignore", invalid="ignore"):
        sums[...] = (given * losses).sum(), (given * rates).sum(), given.sum()
