"""Weights of examples, from weights of classes and weights of examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnx._typing import Array
from cnnx.checks.weights import check_weights
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
        The weight of a class that does not occur is not used.
    sample_weight : array_like of shape (examples,), or None
    output : OutputLayer
        It knows which labels there can be.
    where : str
        Beginning of messages.

    Raises
    ------
    TypeError, ValueError
        If a class has no weight, or weights are negative, not finite, all zero, or of another number.
    """
    weights = None
    if sample_weight is not None:
        weights = check_weights(sample_weight, len(y), f"{where}: sample_weight", np.float64)
    if class_weight is not None:
        of_class = weights_by_class(y, class_weights(class_weight, y, output, where), where)
        weights = of_class if weights is None else weights * of_class
    if weights is not None and not weights.any():
        raise ValueError(f"{where}: expected a weight above 0, all are 0")
    return weights


def class_weights(class_weight: ClassWeight, y: Array | None, output: OutputLayer, where: str) -> dict[int, float]:
    """A weight for each class; "balanced" needs all labels."""
    if isinstance(class_weight, str) and class_weight == "balanced" and y is not None:
        classes, _, shares = _class_shares(y, where)
        return dict(zip(classes.tolist(), (1 / (len(classes) * shares)).tolist(), strict=True))
    if not isinstance(class_weight, Mapping):
        kind = ValueError if isinstance(class_weight, str) else TypeError
        raise kind(f"{where}: class_weight: expected a mapping or 'balanced', got {class_weight!r}")
    name = f"{where}: class_weight"
    if not class_weight:
        raise ValueError(f"{name}: expected a weight for each class, got none; None has all count the same")
    weights = check_weights(list(class_weight.values()), len(class_weight), name, np.float64)
    classes = output.check_labels(list(class_weight), name)
    _check_classes(classes, where)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))


def weights_by_class(y: Array, weights: Mapping[int, float], where: str) -> Array:
    """The weight of each example's class, (examples,) in float64, which may be 0 for all."""
    classes, places, _ = _class_shares(y, where)
    found = classes.tolist()
    missing = [label for label in found if label not in weights]
    if missing:
        raise ValueError(f"{where}: class_weight: expected a weight for each class, got none for {missing}")
    table = np.array([weights[label] for label in found])
    of_class: Array = y[:, classes] @ table if places is None else table[places]
    return of_class


def _class_shares(y: Array, where: str) -> tuple[Array, Array | None, Array]:
    """The classes that occur, the place among them of each integer label, and their shares of the examples."""
    if y.ndim == 2:
        shares = y.mean(axis=0)
        classes = np.flatnonzero(shares)
        return classes, None, shares[classes]
    _check_classes(y, where)
    classes, places, counts = np.unique(y, return_inverse=True, return_counts=True)
    return classes, places, counts / len(y)


def _check_classes(labels: Array, where: str) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise TypeError(f"{where}: class_weight: expected integer labels or rows of classes, got dtype {labels.dtype}")
