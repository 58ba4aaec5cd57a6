"""Weights of examples: what scikit-learn's users may give, and what a network is trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnx._typing import Array
from cnnx.checks.weights import check_weights

ClassWeight = Mapping[Any, float] | str | None


def check_sample_weight(sample_weight: Any, examples: int, owner: str) -> Array | None:
    """A weight for each example, (examples,) in float64, not zero for all; None stays."""
    if sample_weight is None:
        return None
    weights = check_weights(sample_weight, examples, f"{owner}: sample_weight", np.float64)
    if not weights.any():
        raise ValueError(f"{owner}: sample_weight: expected a weight above zero, got zero for all examples")
    return weights


def weights_of_classes(
    class_weight: ClassWeight, places: Array, classes: Array, sample_weight: Array | None, owner: str
) -> Array:
    """A weight for each class, (classes,).

    Parameters
    ----------
    class_weight : mapping of label to float, or "balanced"
        A class that the mapping does not name has the weight 1. "balanced" is the sum of all weights of examples,
        divided by the number of classes that occur and by the sum of the class: what repetitions would give.
    places : ndarray of shape (examples,)
        The place among `classes` of each example's label.
    classes : ndarray of shape (classes,)
    sample_weight : ndarray of shape (examples,) or None
    owner : str
        Beginning of messages.
    """
    if isinstance(class_weight, str) and class_weight == "balanced":
        sums = np.bincount(places, sample_weight, len(classes)).astype(np.float64)
        # The weight of a class that does not occur is not used.
        balanced: Array = sums.sum() / (np.count_nonzero(sums) * np.where(sums > 0, sums, 1.0))
        return balanced
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"{owner}: class_weight: expected a mapping, 'balanced' or None, got {class_weight!r}")
    labels = classes.tolist()
    missing = [label for label in labels if label not in class_weight]
    if missing and len(class_weight) != len(labels) - len(missing):
        raise ValueError(
            f"{owner}: class_weight: expected weights of the classes {labels}, got none for {missing}, and weights of "
            f"others: {[label for label in class_weight if label not in labels]}"
        )
    given = [class_weight.get(label, 1.0) for label in labels]
    return check_weights(given, len(labels), f"{owner}: class_weight", np.float64)


def with_mean_one(weights: Array, owner: str) -> Array:
    """Weights, scaled: a step then is as long as without weights."""
    mean = weights.mean()
    if not (np.isfinite(mean) and mean > 0):
        raise ValueError(f"{owner}: expected weights with a finite mean above zero, got the mean {mean}")
    scaled: Array = weights / mean
    return scaled
