"""What a model says of examples whose classes are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.checks.arrays import check_finite, check_numbers, check_same_length, check_shape
from cnnx.layers.base import Layer
from cnnx.layers.loss import OutputLayer, RegressionLayer

# Examples at a time.
BATCH = 256


class Classifier(Protocol):
    """A built model, of which pictures and reports need no more than this."""

    layers: list[Layer]
    input_shape: Shape
    dtype: np.dtype[Any]
    built: bool

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Name of each class."""
        ...

    @property
    def pixel_max(self) -> float | None:
        """Value of a white pixel."""
        ...

    def forward(self, X: Any, training: bool = False) -> Array:
        """The output for a batch."""
        ...


@dataclass(frozen=True)
class Outcomes:
    """What is true, and what was said.

    Attributes
    ----------
    classes : int
    truth, said : ndarray of shape (examples,), or rows of 0 and 1, (examples, classes)
        Rows where an example may have several labels.
    probabilities : ndarray of shape (examples, classes) or None
        None where the model has none, as after `HingeLayer`.
    """

    classes: int
    truth: Array
    said: Array
    probabilities: Array | None

    @property
    def several(self) -> bool:
        """Whether an example may have several labels."""
        return self.truth.ndim == 2

    @property
    def right(self) -> Array:
        """Whether all that was said of an example is right, (examples,)."""
        agree: Array = np.equal(self.truth, self.said)
        return np.all(agree, axis=1) if self.several else agree

    @property
    def confidence(self) -> Array | None:
        """The probability of what was said, (examples,); of several labels, that of the one it was least sure of."""
        if self.probabilities is None:
            return None
        if self.several:
            sure: Array = np.where(self.said == 1, self.probabilities, 1 - self.probabilities).min(axis=1)
            return sure
        return self._of(self.said)

    @property
    def mistakes(self) -> Array:
        """Numbers of the examples that were wrong, the one that the model was surest of first."""
        wrong = np.flatnonzero(~self.right)
        return wrong if self.probabilities is None else wrong[np.argsort(-self._error()[wrong], kind="stable")]

    def probability_of(self, example: int, label: int) -> float | None:
        """What the model gave to a class."""
        return None if self.probabilities is None else float(self.probabilities[example, label])

    def _of(self, labels: Array) -> Array:
        assert self.probabilities is not None
        chosen: Array = self.probabilities[np.arange(len(labels)), labels]
        return chosen

    def _error(self) -> Array:
        """How sure the model was of what is wrong."""
        assert self.probabilities is not None
        if not self.several:
            return self._of(self.said)
        worst: Array = np.abs(self.probabilities - self.truth).max(axis=1)
        return worst


def check_classifier(model: Any, where: str) -> OutputLayer:
    """A built model whose output layer says classes."""
    layers = getattr(model, "layers", None)
    if not layers:
        raise TypeError(f"{where}: expected a Model, got {model!r}")
    output: Layer = layers[-1]
    if not isinstance(output, OutputLayer) or isinstance(output, RegressionLayer):
        raise TypeError(
            f"{where}: expected a model that says classes, which ends in SoftmaxLayer, SigmoidLayer or HingeLayer, "
            f"got one that ends in {type(output).__name__}; of values, Model.evaluate has the mean error"
        )
    if not model.built:
        raise RuntimeError(f"{where}: the model is not built; call build(input_shape), or train it")
    return output


def batches_of(model: Classifier, X: Any) -> Iterator[Array]:
    """Finite examples of the model's shape, some at a time."""
    examples = check_numbers(X, "X")
    check_shape(examples, model.input_shape, "X")
    for start in range(0, len(examples), BATCH):
        batch = examples[start : start + BATCH]
        check_finite(batch, "X", start)
        yield batch


def outcomes(model: Classifier, batches: Iterable[Array], y: Any, where: str) -> Outcomes:
    """Have the model say what all examples are, batch by batch."""
    output = check_classifier(model, where)
    labels = output.check_labels(check_numbers(y, "y"), where)
    said = [model.forward(batch) for batch in batches]
    if not said:
        raise ValueError("X: expected at least one example, got none")
    predictions = np.concatenate(said)
    check_same_length(predictions, labels)
    classes = max(output.output_shape[0], 2)
    decided = output.decide(predictions)
    has_probabilities = type(output).probabilities is not OutputLayer.probabilities
    probabilities = output.probabilities(predictions).astype(np.float64) if has_probabilities else None
    return Outcomes(classes, _truth(labels, decided), decided, probabilities)


def _truth(labels: Array, decided: Array) -> Array:
    """Labels as the decisions are; of rows of probabilities, the likeliest class."""
    if labels.ndim == 2 and decided.ndim == 1 and labels.shape[1] > 1:
        likeliest: Array = labels.argmax(axis=1)
        return likeliest
    if labels.dtype.kind == "f":
        labels = labels > 0.5
    return labels.astype(np.intp).reshape(decided.shape)
