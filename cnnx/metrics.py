"""How good predictions are: figures of classification, ranking and calibration.

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

A model is calibrated if it is right as often as it says: of the predictions that it gives a probability of 0.8, 80 %.
`calibration` puts predictions into bins by their confidence, the probability of the class that was predicted:

    expected calibration error = sum over bins b of n_b / n |accuracy_b - confidence_b|

Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, eq. 3.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from cnnx._typing import Array
from cnnx.checks.arguments import check_count, check_positive
from cnnx.checks.arrays import check_numbers

__all__ = [
    "Calibration",
    "ClassFigures",
    "PrecisionRecallF1",
    "accuracy",
    "accuracy_interval",
    "calibration",
    "class_figures",
    "confusion_matrix",
    "precision_recall_f1",
    "roc_auc",
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


class Calibration(NamedTuple):
    """Bins of confidence, (bins,) each: `confidence` and `accuracy` are means, NaN in a bin without examples."""

    edges: Array
    examples: Array
    confidence: Array
    accuracy: Array
    expected_error: float


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


def accuracy_interval(right: int, examples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Between which shares the accuracy on all such data lies, when `right` of `examples` were right.

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    with p = right / n and z the quantile of the normal distribution: Wilson, "Probable Inference, the Law of
    Succession, and Statistical Inference", JASA 22, 1927. It holds for examples that were drawn independently.

    Parameters
    ----------
    right, examples : int
        0 <= right <= examples, and at least one example.
    confidence : float
        Above 0 and below 1.

    Returns
    -------
    (float, float)
        The lower and the upper end, from 0 to 1.
    """
    n, k = check_count(examples, "examples"), check_count(right, "right", least=0)
    if k > n:
        raise ValueError(f"right: expected {n} or fewer, as there are examples, got {k}")
    if not 0 < check_positive(confidence, "confidence") < 1:
        raise ValueError(f"confidence: expected a number above 0 and below 1, got {confidence!r}")
    p, z = k / n, NormalDist().inv_cdf((1 + confidence) / 2)
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends of the scale the formula gives 0 and 1 but for rounding.
    return 0.0 if k == 0 else (middle - half) / scale, 1.0 if k == n else (middle + half) / scale


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


def calibration(right: Any, confidence: Any, bins: int = 10) -> Calibration:
    """How often predictions are right, by how sure they were.

    Parameters
    ----------
    right : array_like of shape (examples,)
        Whether each prediction was right, 1 or 0.
    confidence : array_like of shape (examples,)
        The probability that each gave to what it predicted, from 0 to 1.
    bins : int
        Of equal width from 0 to 1; one takes its upper end in, and the first one 0, too.

    Returns
    -------
    Calibration
        With `edges` (bins + 1,), and the expected calibration error as `expected_error`.
    """
    hits, sure = _check_labels(right, "right"), _finite(confidence, "confidence")
    if hits.ndim != 1 or hits.max() > 1 or sure.shape != hits.shape:
        raise ValueError(
            f"right and confidence: expected 0 or 1 and a probability each, got shapes {hits.shape} and {sure.shape}"
        )
    if sure.min() < 0 or sure.max() > 1:
        raise ValueError(f"confidence: expected numbers from 0 to 1, got {sure.min():g} to {sure.max():g}")
    edges = np.linspace(0, 1, check_count(bins, "bins") + 1)
    place = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
    examples = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        said = np.bincount(place, sure, bins) / examples
        found = np.bincount(place, hits, bins) / examples
    error = float(np.nansum(examples * np.abs(found - said)) / len(hits))
    return Calibration(edges, examples, said, found, error)


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
