"""How good predictions are: figures of classification, ranking and regression.

>>> import cnnx
>>> cnnx.metrics.accuracy([0, 1, 2, 2], [0, 1, 2, 1])
0.75

Definitions are scikit-learn's, and values equal to its own. True values come first, predictions second. Classes are
integers from 0, as `Model.predict` gives them; where an example may have several, rows of 0 and 1.

    precision   share of a class's predictions that are right        right / predictions
    recall      share of a class's examples that are found           right / examples
    F1          harmonic mean of the two                             2 right / (predictions + examples)

van Rijsbergen, "Information Retrieval", 1979, chapter 7. The area under the ROC curve is the probability that an
example of the class has a higher score than another, a tie counting half: Fawcett, "An Introduction to ROC Analysis",
Pattern Recognition Letters 27, 2006.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cnnx._typing import Array
from cnnx.checks.arguments import check_count
from cnnx.checks.arrays import check_numbers

__all__ = [
    "ClassFigures",
    "PrecisionRecallF1",
    "accuracy",
    "class_figures",
    "confusion_matrix",
    "log_loss",
    "mean_absolute_error",
    "mean_squared_error",
    "median_absolute_error",
    "precision_recall_f1",
    "r2_score",
    "roc_auc",
    "top_k_accuracy",
]

# A stray label must not ask for endless memory; whoever has more classes says so.
MOST_CLASSES = 100_000


class PrecisionRecallF1(NamedTuple):
    """Arrays with one value for each class, (classes,), or averages over the classes."""

    precision: Any
    recall: Any
    f1: Any


class ClassFigures(NamedTuple):
    """Arrays with one value for each class, (classes,)."""

    examples: Array
    precision: Array
    recall: Array
    f1: Array


# -- Classification ------------------------------------------------------------------------------------


def accuracy(y: Any, predicted: Any, sample_weight: Any = None) -> float:
    """Share of examples, of 1, whose prediction is right.

    Parameters
    ----------
    y, predicted : array_like of shape (examples,), or rows of 0 and 1, (examples, classes)
        True and predicted classes; a row is right if all of it is.
    sample_weight : array_like of shape (examples,), optional
        How much each example counts, 0 or above.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or the lengths differ. So it is for all functions here.
    """
    y, predicted = _labels_alike(y, predicted)
    right = y == predicted
    return _average(right if right.ndim == 1 else right.all(axis=1), sample_weight)


def top_k_accuracy(y: Any, scores: Any, k: int, sample_weight: Any = None) -> float:
    """Share of examples, of 1, whose class is among the `k` with the largest scores.

    Parameters
    ----------
    y : array_like of shape (examples,)
        True classes.
    scores : array_like of shape (examples, classes)
        Probabilities, or other scores. Of equal ones, that of the later class ranks higher, as in scikit-learn.
    k : int
        1 to classes.
    sample_weight : array_like of shape (examples,), optional
        How much each example counts, 0 or above.
    """
    y, scores = _classes_and_columns(y, scores, "scores")
    if check_count(k, "k") > scores.shape[1]:
        raise ValueError(f"k: expected 1 to {scores.shape[1]} for {scores.shape[1]} classes, got {k}")
    best = np.argsort(scores, axis=1, kind="stable")[:, -k:]
    return _average((best == y[:, np.newaxis]).any(axis=1), sample_weight)


def confusion_matrix(y: Any, predicted: Any, classes: int | None = None, sample_weight: Any = None) -> Array:
    """How often each class is taken for each.

    Parameters
    ----------
    y, predicted : array_like of shape (examples,)
        True and predicted classes.
    classes : int, optional
        Number of classes; by default one more than the largest that occurs.
    sample_weight : array_like of shape (examples,), optional
        How much each example counts, 0 or above.

    Returns
    -------
    ndarray of shape (classes, classes)
        In row i and column j, the number of examples of class i predicted as j, or the sum of their weights.
    """
    y, predicted = _labels_alike(y, predicted)
    if y.ndim != 1:
        raise ValueError(f"y: expected integers of shape (examples,), got shape {y.shape}")
    size = _count_classes(y, predicted, classes)
    weights = _check_weights(sample_weight, len(y))
    return np.bincount(y * size + predicted, weights, size * size).reshape(size, size)


def precision_recall_f1(
    y: Any, predicted: Any, average: str | None = None, classes: int | None = None, sample_weight: Any = None
) -> PrecisionRecallF1:
    """Precision, recall and F1, class by class or on average.

    A share whose denominator is zero is 0, as in scikit-learn with ``zero_division=0``.

    Parameters
    ----------
    y, predicted : array_like of shape (examples,), or rows of 0 and 1, (examples, classes)
        True and predicted classes.
    average : {None, "macro", "micro", "weighted"}
        None gives each class's own figures; ``"macro"`` their mean; ``"weighted"`` their mean weighted with the
        classes' numbers of examples; ``"micro"`` the figures of all classes counted together.
    classes : int, optional
        Number of classes; by default one more than the largest that occurs, and then ``"macro"`` leaves out those
        that occur neither in `y` nor in `predicted`.
    sample_weight : array_like of shape (examples,), optional
        How much each example counts, 0 or above.

    Returns
    -------
    PrecisionRecallF1
        A named tuple of three arrays (classes,), or of three floats.
    """
    _check_average(average)
    y, predicted = _labels_alike(y, predicted)
    right, predictions, examples, occurs = _counts(y, predicted, classes, sample_weight)
    if average == "micro":
        right, predictions, examples = right.sum(), predictions.sum(), examples.sum()
    figures = _figures(right, predictions, examples)
    if average in ("macro", "weighted"):
        weights = examples if average == "weighted" else occurs.astype(np.float64)
        figures = PrecisionRecallF1(*(_quotient((figure * weights).sum(), weights.sum()) for figure in figures))
    return figures if average is None else PrecisionRecallF1(*(float(figure) for figure in figures))


def class_figures(y: Array, predicted: Array, classes: int) -> ClassFigures:
    """Number of examples, precision, recall and F1 of each class.

    Parameters
    ----------
    y, predicted : ndarray of shape (examples,)
        True and predicted classes, integers from 0 to classes - 1.
    classes : int

    Returns
    -------
    ClassFigures
        A share whose denominator is zero is 0, as in scikit-learn with ``zero_division=0``.
    """
    y, predicted = _labels_alike(y, predicted)
    right, predictions, examples, _ = _counts(y, predicted, classes, None)
    return ClassFigures(examples, *_figures(right, predictions, examples))


def roc_auc(y: Any, scores: Any, average: str | None = "macro", sample_weight: Any = None) -> Any:
    """Area under the ROC curve: how well scores tell the examples of a class from the others.

    Parameters
    ----------
    y : array_like of shape (examples,), or rows of 0 and 1, (examples, classes)
        True classes. With two classes, 1 is the one to be told from 0.
    scores : array_like of shape (examples,) or (examples, classes)
        Scores of class 1, (examples,) or (examples, 1); or scores of each class. With several classes, each is told
        from all others.
    average : {"macro", "micro", "weighted", None}
        For several classes: the mean of their areas; the area of all classes' examples and scores together; the mean
        weighted with the classes' numbers of examples; or an area for each.
    sample_weight : array_like of shape (examples,), optional
        How much each example counts, 0 or above.

    Returns
    -------
    float, or ndarray of shape (classes,)

    Raises
    ------
    ValueError
        If there are no examples of a class, or none but those of it: then it has no such area.
    """
    _check_average(average)
    y, scores = _check_labels(y, "y"), _finite(scores, "scores")
    if scores.shape[:1] != y.shape[:1]:
        raise ValueError(f"y and scores: expected the same number of examples, got {len(y)} and scores {scores.shape}")
    weights = _weights_or_ones(sample_weight, len(y))
    if y.ndim == 1 and scores.shape[1:] in ((), (1,), (2,)):
        if y.max() > 1:
            raise ValueError(
                f"y: expected 0 or 1 with scores of shape {scores.shape}, got {y.max()} at index {y.argmax()}"
            )
        return _area(y == 1, scores if scores.ndim == 1 else scores[:, -1], weights, "y")
    if y.ndim == 1:
        y, scores = _classes_and_columns(y, scores, "scores")
        y = np.eye(scores.shape[1], dtype=np.intp)[y]
    elif scores.shape != y.shape:
        raise ValueError(f"scores: expected shape {y.shape} as y, got {scores.shape}")
    belongs = y == 1
    if average == "micro":
        return _area(belongs.ravel(), scores.ravel(), np.repeat(weights, y.shape[1]), "y")
    areas = np.array([_area(belongs[:, c], scores[:, c], weights, f"y: class {c}") for c in range(y.shape[1])])
    if average is None:
        return areas
    return float(np.average(areas, weights=weights @ belongs if average == "weighted" else None))


def log_loss(y: Any, probabilities: Any, sample_weight: Any = None) -> float:
    """Mean of minus the logarithm of the probability that was given to the true class, in nats.

    Parameters
    ----------
    y : array_like of shape (examples,)
        True classes.
    probabilities : array_like of shape (examples, classes), rows with sum 1
        Or those of class 1 of two, (examples,) or (examples, 1). Those closer to 0 or 1 than the epsilon of their
        dtype are moved to that distance.
    sample_weight : array_like of shape (examples,), optional
        How much each example counts, 0 or above.
    """
    given = _finite(probabilities, "probabilities")
    if given.ndim == 1 or given.shape[1:] == (1,):
        given = given.reshape(-1, 1)
        given = np.concatenate([1 - given, given], axis=1)
    y, given = _classes_and_columns(y, given, "probabilities")
    wrong = ((given < 0) | (given > 1)).any(axis=1) | (np.abs(given.sum(axis=1) - 1) > 1e-4)
    if wrong.any():
        where = int(wrong.argmax())
        raise ValueError(
            f"probabilities: expected rows of numbers from 0 to 1 with sum 1, got {given[where]} at index {where}"
        )
    smallest = np.finfo(given.dtype).eps
    true = np.clip(given, smallest, 1 - smallest)[np.arange(len(y)), y]
    return _average(-np.log(true.astype(np.float64)), sample_weight)


# -- Regression ----------------------------------------------------------------------------------------


def mean_squared_error(y: Any, predicted: Any, sample_weight: Any = None) -> float:
    """Mean of the squared differences, over the examples and then over the outputs.

    Parameters
    ----------
    y, predicted : array_like of shape (examples,) or (examples, outputs)
        True and predicted values.
    sample_weight : array_like of shape (examples,), optional
        How much each example counts, 0 or above.
    """
    y, predicted = _values_alike(y, predicted)
    return _average((y - predicted) ** 2, sample_weight)


def mean_absolute_error(y: Any, predicted: Any, sample_weight: Any = None) -> float:
    """Mean of the absolute differences; arguments as in `mean_squared_error`."""
    y, predicted = _values_alike(y, predicted)
    return _average(np.abs(y - predicted), sample_weight)


def median_absolute_error(y: Any, predicted: Any, sample_weight: Any = None) -> float:
    """Median over the examples of the absolute differences, then mean over the outputs.

    With weights it is the difference below and above which the weights have equal sums; where that is
    fulfilled between two differences, their mean. Arguments as in `mean_squared_error`.
    """
    y, predicted = _values_alike(y, predicted)
    weights = _weights_or_ones(sample_weight, len(y))
    differences = np.abs(y - predicted)[weights > 0]
    weights = weights[weights > 0]
    return float(np.mean([_weighted_median(column, weights) for column in differences.T]))


def r2_score(y: Any, predicted: Any, sample_weight: Any = None) -> float:
    """Coefficient of determination: 1 minus the squared error over that of always predicting the mean.

    The mean over the outputs. An output whose true values are all the same has 1 if all predictions are right, else 0.

    Parameters
    ----------
    y, predicted : array_like of shape (examples,) or (examples, outputs)
        True and predicted values, for two examples or more.
    sample_weight : array_like of shape (examples,), optional
        How much each example counts, 0 or above.
    """
    y, predicted = _values_alike(y, predicted)
    if len(y) < 2:
        raise ValueError(f"y: expected two examples or more, got {len(y)}")
    mean = np.average(y, axis=0, weights=_check_weights(sample_weight, len(y)))
    weights = _weights_or_ones(sample_weight, len(y))
    error, spread = weights @ (y - predicted) ** 2, weights @ (y - mean) ** 2
    # As in scikit-learn, where the quotient is not finite.
    unexplained = np.divide(error, spread, out=(error != 0).astype(np.float64), where=spread != 0)
    return float(np.mean(1 - unexplained))


# -- Counts and areas ----------------------------------------------------------------------------------


def _counts(y: Array, predicted: Array, classes: int | None, sample_weight: Any) -> tuple[Array, Array, Array, Array]:
    """For each class right predictions, predictions, examples, and whether it counts in an average."""
    weights = _check_weights(sample_weight, len(y))
    if y.ndim == 2:
        if classes is not None and check_count(classes, "classes") != y.shape[1]:
            raise ValueError(f"classes: expected {y.shape[1]} as y has columns, got {classes}")
        counted = np.ones(len(y), np.intp) if weights is None else weights
        return counted @ (y * predicted), counted @ predicted, counted @ y, np.ones(y.shape[1], bool)
    size = _count_classes(y, predicted, classes)
    right = y == predicted
    occurs = np.bincount(y, minlength=size) + np.bincount(predicted, minlength=size) > 0
    return (
        np.bincount(y[right], None if weights is None else weights[right], size),
        np.bincount(predicted, weights, size),
        np.bincount(y, weights, size),
        occurs if classes is None else np.ones(size, bool),
    )


def _figures(right: Array, predictions: Array, examples: Array) -> PrecisionRecallF1:
    return PrecisionRecallF1(
        _quotient(right, predictions), _quotient(right, examples), _quotient(2 * right, predictions + examples)
    )


def _quotient(numerator: Array, denominator: Array) -> Array:
    """The quotient, 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros(np.shape(numerator)), where=denominator != 0)


def _area(belongs: Array, scores: Array, weights: Array, name: str) -> float:
    """Area under the ROC curve: it goes up for examples that belong, right for the others, aslant for ties."""
    order = np.argsort(-scores, kind="stable")
    # A point of the curve after the last of each run of equal scores.
    scores = scores[order]
    ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    up = np.append(0, np.cumsum(np.where(belongs, weights, 0)[order])[ends])
    right = np.append(0, np.cumsum(np.where(belongs, 0, weights)[order])[ends])
    if up[-1] == 0 or right[-1] == 0:
        missing = "examples of it" if up[-1] == 0 else "examples of others"
        raise ValueError(f"{name}: there is no area under the ROC curve without {missing}, with a weight above 0")
    return float(np.sum(np.diff(right) * (up[1:] + up[:-1]) / 2) / (up[-1] * right[-1]))


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    values, sums = values[order], np.cumsum(weights[order])
    half = sums[-1] / 2
    middle = min(int(np.searchsorted(sums, half)), len(values) - 1)
    between = sums[middle] - half <= np.finfo(np.float64).eps
    return float(values[middle : middle + 1 + between].mean())


def _average(values: Array, sample_weight: Any) -> float:
    """Mean over the examples, weighted, and then over the outputs."""
    return float(np.mean(np.average(values, axis=0, weights=_check_weights(sample_weight, len(values)))))


# -- Checks --------------------------------------------------------------------------------------------


def _check_average(average: str | None) -> None:
    if average not in (None, "macro", "micro", "weighted"):
        raise ValueError(f"average: expected None, 'macro', 'micro' or 'weighted', got {average!r}")


def _check_labels(labels: Any, name: str) -> Array:
    """Classes (examples,), integers from 0, or rows of 0 and 1, (examples, classes)."""
    checked = check_numbers(labels, name)
    if checked.ndim not in (1, 2) or checked.size == 0:
        raise ValueError(
            f"{name}: expected classes of shape (examples,) or rows of 0 and 1, (examples, classes), "
            f"got shape {checked.shape}"
        )
    largest = np.iinfo(np.int32).max if checked.ndim == 1 else 1
    wrong = ~((checked >= 0) & (checked <= largest) & (checked == np.floor(checked)))
    if wrong.any():
        allowed = "integers from 0" if checked.ndim == 1 else "rows of 0 and 1"
        where, value = _first(wrong, checked)
        raise ValueError(f"{name}: expected {allowed}, got {value} at index {where}")
    return checked.astype(np.intp)


def _labels_alike(y: Any, predicted: Any) -> tuple[Array, Array]:
    true, guessed = _check_labels(y, "y"), _check_labels(predicted, "predicted")
    if true.shape != guessed.shape:
        raise ValueError(f"y and predicted: expected the same shape, got {true.shape} and {guessed.shape}")
    return true, guessed


def _count_classes(y: Array, predicted: Array, classes: int | None) -> int:
    largest = int(max(y.max(), predicted.max()))
    if classes is None and largest >= MOST_CLASSES:
        raise ValueError(f"classes: expected their number, for the largest is {largest}: are these labels?")
    if classes is None:
        return largest + 1
    if largest >= check_count(classes, "classes"):
        name = "y" if y.max() == largest else "predicted"
        raise ValueError(f"{name}: expected 0 to {classes - 1} for {classes} classes, got {largest}")
    return classes


def _classes_and_columns(y: Any, columns: Any, name: str) -> tuple[Array, Array]:
    """Classes (examples,), and a column of finite numbers for each, (examples, classes)."""
    labels, values = _check_labels(y, "y"), _finite(columns, name)
    if labels.ndim != 1:
        raise ValueError(f"y: expected integers of shape (examples,), got shape {labels.shape}")
    if values.ndim != 2 or len(values) != len(labels) or values.shape[1] < 2:
        raise ValueError(f"{name}: expected shape ({len(labels)}, classes), got {values.shape}")
    if labels.max() >= values.shape[1]:
        raise ValueError(
            f"y: expected 0 to {values.shape[1] - 1} for {values.shape[1]} columns of {name}, got {labels.max()} "
            f"at index {int(labels.argmax())}"
        )
    return labels, values


def _values_alike(y: Any, predicted: Any) -> tuple[Array, Array]:
    """Two arrays of finite numbers, (examples, outputs)."""
    true, guessed = _finite(y, "y"), _finite(predicted, "predicted")
    if true.shape != guessed.shape or true.ndim not in (1, 2) or true.size == 0:
        raise ValueError(
            f"y and predicted: expected the same shape, (examples,) or (examples, outputs), got {true.shape} and "
            f"{guessed.shape}"
        )
    columns = (len(true), -1)
    return true.reshape(columns).astype(np.float64), guessed.reshape(columns).astype(np.float64)


def _finite(values: Any, name: str) -> Array:
    """Finite numbers of a floating dtype."""
    array = check_numbers(values, name)
    array = array if array.dtype.kind == "f" else array.astype(np.float64)
    if not np.isfinite(array).all():
        where, value = _first(~np.isfinite(array), array)
        raise ValueError(f"{name}: expected finite numbers, got {value} at index {where}")
    return array


def _first(wrong: Array, values: Array) -> tuple[Any, Any]:
    """Where the first wrong value is, and what it is."""
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    return index[0] if len(index) == 1 else index, values[index]


def _check_weights(sample_weight: Any, examples: int) -> Array | None:
    if sample_weight is None:
        return None
    weights = check_numbers(sample_weight, "sample_weight").astype(np.float64)
    if weights.shape != (examples,):
        raise ValueError(f"sample_weight: expected shape ({examples},), got {weights.shape}")
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        where, value = _first(wrong, weights)
        raise ValueError(f"sample_weight: expected finite numbers, 0 or above, got {value} at index {where}")
    if not weights.any():
        raise ValueError("sample_weight: expected a number above 0, got none")
    return weights


def _weights_or_ones(sample_weight: Any, examples: int) -> Array:
    weights = _check_weights(sample_weight, examples)
    return np.ones(examples) if weights is None else weights
