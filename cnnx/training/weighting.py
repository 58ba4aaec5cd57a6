"""Weights of examples, from weights of classes and weights of examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnx._typing import Array
from cnnx.checks.arrays import check_numbers
from cnnx.layers.loss import OutputLayer

ClassWeight = Mapping[int, float] | str


def example_weights(
    y: Array, class_weight: ClassWeight | None, sample_weight: Any, output: OutputLayer, where: str
) -> Array | None:
    """The product of both weights of each example, (examples,) in float64; None where none is given.

    Parameters
    ----------
    y : ndarray of shape (examples,) or (examples, classes)
        Checked labels. Rows of probabilities weigh as much as their classes on average.
    class_weight : mapping of int to float, "balanced", or None
        "balanced" is examples / (classes * examples of the class), over the classes that occur, as in scikit-learn.
    sample_weight : array_like of shape (examples,), or None
    output : OutputLayer
        It knows which labels there can be.
    where : str
        Beginning of messages; in "train", each class with a weight must occur in `y`.

    Raises
    ------
    TypeError, ValueError
        If a class has no weight or does not occur, or weights are negative, not finite, all zero, or of another number.
    """
    weights = None if sample_weight is None else _check_weights(sample_weight, len(y), where)
    if class_weight is not None:
        of_class = class_weights(y, class_weight, output, where)
        weights = of_class if weights is None else weights * of_class
    if weights is not None and not weights.any():
        raise ValueError(f"{where}: expected a weight above 0, all are 0")
    return weights


def balanced_weights(y: Array) -> dict[int, float]:
    """The weights that "balanced" stands for, one for each class."""
    labels, _, shares = _class_shares(y)
    return dict(zip(labels.tolist(), (1 / (len(labels) * shares)).tolist(), strict=True))


def _class_shares(y: Array) -> tuple[Array, Array | None, Array]:
    """The classes that occur, the place among them of each integer label, and their shares of the examples."""
    if y.ndim == 1:
        labels, places, counts = np.unique(y, return_inverse=True, return_counts=True)
        return labels, places, counts / len(y)
    shares = y.mean(axis=0)
    labels = np.flatnonzero(shares)
    return labels, None, shares[labels]


def _check_weights(sample_weight: Any, examples: int, where: str) -> Array:
    weights = check_numbers(sample_weight, f"{where}: sample_weight").astype(np.float64)
    if weights.shape != (examples,):
        raise ValueError(f"{where}: sample_weight: expected shape ({examples},), got {weights.shape}")
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        index = int(wrong.argmax())
        raise ValueError(
            f"{where}: sample_weight: expected finite numbers of 0 or more, got {weights[index]} at index {index}"
        )
    return weights


def class_weights(y: Array, class_weight: ClassWeight, output: OutputLayer, where: str) -> Array:
    """The weight of each example's class, (examples,) in float64; as in `example_weights`, but all may be 0."""
    if y.ndim != 2 and not (y.ndim == 1 and y.dtype.kind in "iub"):
        raise TypeError(f"{where}: class_weight: expected integer labels or rows of classes, got dtype {y.dtype}")
    labels, places, shares = _class_shares(y)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"{where}: class_weight: expected a mapping or 'balanced', got {class_weight!r}")
        table = 1 / (len(labels) * shares)
    else:
        table = _looked_up(labels, class_weight, output, where)
    weights: Array = y[:, labels] @ table if places is None else table[places]
    return weights


def _looked_up(labels: Array, class_weight: Mapping[int, float], output: OutputLayer, where: str) -> Array:
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"{where}: class_weight: expected a mapping or 'balanced', got {class_weight!r}")
    given = _check_weights(list(class_weight.values()), len(class_weight), f"{where}: class_weight")
    keys = output.check_labels(list(class_weight), f"{where}: class_weight")
    table = dict(zip(keys.tolist(), given.tolist(), strict=True))
    found = labels.tolist()
    missing = [label for label in found if label not in table]
    if missing:
        raise ValueError(f"{where}: class_weight: expected a weight for each class, got none for {missing}")
    unused = sorted(table.keys() - set(found))
    if where == "train" and unused:
        raise ValueError(f"{where}: class_weight: the classes {unused} have weights, but no examples")
    return np.array([table[label] for label in found])
