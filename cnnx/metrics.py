"""How good predictions are, class by class.

Precision is the share of a class's predictions that are right, recall the share of its examples that are found, F1
their harmonic mean: van Rijsbergen, "Information Retrieval", 1979, chapter 7.
"""

from typing import NamedTuple

import numpy as np

from cnnx._typing import Array


class ClassFigures(NamedTuple):
    """Arrays with one value for each class, (classes,)."""

    examples: Array
    precision: Array
    recall: Array
    f1: Array


def class_figures(y: Array, predicted: Array, classes: int) -> ClassFigures:
    """Count examples and compute precision, recall and F1 of each class.

    Parameters
    ----------
    y, predicted : ndarray of shape (examples,)
        True and predicted labels, integers from 0 to classes - 1.
    classes : int

    Returns
    -------
    ClassFigures
        A share whose denominator is zero is 0, as in scikit-learn with ``zero_division=0``.
    """
    examples = np.bincount(y, minlength=classes)
    predictions = np.bincount(predicted, minlength=classes)
    right = np.bincount(y[y == predicted], minlength=classes)
    precision = right / np.maximum(predictions, 1)
    recall = right / np.maximum(examples, 1)
    f1 = 2 * right / np.maximum(examples + predictions, 1)
    return ClassFigures(examples, precision, recall, f1)
