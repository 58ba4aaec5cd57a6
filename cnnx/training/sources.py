"""The batches that a model trains on and is evaluated on: checked, weighted, augmented, and prepared ahead.

What needs all labels is done once where they are known beforehand, and else batch by batch.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnx._typing import Array
from cnnx.augmentation import MixUp
from cnnx.augmentation.base import AnyStep
from cnnx.checks.arrays import check_numbers, check_same_length, check_shape
from cnnx.data import ArrayBatches, Batch, Batches, Prefetched
from cnnx.data.arrays import check_weights
from cnnx.layers.loss.output import ClassificationLayer, OutputLayer
from cnnx.training.weighting import ClassWeight, balanced_weights, class_weights, example_weights

if TYPE_CHECKING:
    from cnnx.network import Model

INSTEAD = {
    "y": "it has its own labels",
    "batch_size": "it has its own",
    "sample_weight": "give weights to it",
    "validation_split": "give validation_data",
}
# Batches that the worker thread keeps ready.
AHEAD = 2


class CheckedBatches(Batches):
    """Batches of another source, each checked against the model before it is used, and weighted by class.

    Parameters
    ----------
    batches : Batches
    model : Model
        Built.
    where : str
        Beginning of messages, before the numbers of the epoch, where it begins with "train", and of the batch.
    class_weight : mapping of int to float, or "balanced", optional
        As in `Model.train`; "balanced" needs a source that knows its labels beforehand.
    """

    def __init__(self, batches: Batches, model: Model, where: str, class_weight: ClassWeight | None = None) -> None:
        if batches.input_shape != model.input_shape:
            raise ValueError(
                f"{where}: expected batches of examples of shape {model.input_shape}, as the model was built for, got "
                f"{batches.input_shape}"
            )
        self.batches, self.where = batches, where
        self.examples, self.batch_size = batches.examples, batches.batch_size
        self.input_shape = batches.input_shape
        self.labels, self.weights = batches.labels, batches.weights
        self._output: OutputLayer = model._output_layer(where)
        self.class_weight = None if class_weight is None else self._class_weights(class_weight)

    def __len__(self) -> int:
        return len(self.batches)

    def _class_weights(self, class_weight: ClassWeight) -> Mapping[int, float]:
        """A weight for each class; where the labels are known, they must have them all."""
        if self.labels is not None:
            labels = self._output.check_labels(np.asarray(self.labels), self.where)
            example_weights(labels, class_weight, None, self._output, self.where)
            return class_weight if isinstance(class_weight, Mapping) else balanced_weights(labels)
        if isinstance(class_weight, str):
            raise ValueError(
                f"{self.where}: class_weight: {class_weight!r} needs all labels beforehand, which "
                f"{type(self.batches).__name__} does not know; give a mapping of class to weight"
            )
        if not isinstance(class_weight, Mapping):
            raise TypeError(f"{self.where}: class_weight: expected a mapping or 'balanced', got {class_weight!r}")
        labels = self._output.check_labels(list(class_weight), f"{self.where}: class_weight")
        class_weights(labels, class_weight, self._output, self.where)
        return class_weight

    def epoch(self, rng: np.random.Generator | None, first: int = 0, number: int = 1) -> Generator[Batch, None, None]:
        """The same batches; see `Batches.epoch`."""
        return self._checked(self.batches.epoch(rng, first, number), first, number)

    def _checked(self, source: Generator[Batch, None, None], first: int, number: int) -> Generator[Batch, None, None]:
        done = first
        with closing(source):
            for done, (X, y, weights) in enumerate(source, start=first + 1):
                where = f"{self._place(number)}batch {done} of {len(self)}"
                if done > len(self):
                    raise ValueError(f"{where}: expected no more than {len(self)} batches")
                yield self._check_batch(X, y, weights, where)
        if done < len(self):
            raise ValueError(
                f"{self._place(number)}after batch {done} of {len(self)}: expected another batch, got none"
            )

    def _place(self, number: int) -> str:
        """Beginning of messages; evaluation goes through the data once."""
        return f"{self.where}: epoch {number}, " if self.where.startswith("train") else f"{self.where}: "

    def _check_batch(self, X: Any, y: Any, weights: Any, where: str) -> Batch:
        X = check_numbers(X, f"{where}: X")
        check_shape(X, self.input_shape, f"{where}: X")
        y = self._output.check_labels(y, where)
        if len(X) == 0 or len(X) != len(y):
            raise ValueError(f"{where}: expected as many labels as examples, got {len(y)} and {len(X)}")
        if weights is not None:
            weights = check_weights(weights, len(X), f"{where}: weights")
        if self.class_weight is not None:
            of_class = class_weights(y, self.class_weight, self._output, where)
            weights = of_class if weights is None else weights * of_class
        return X, y, weights


def refuse_unused(batches: Batches, where: str, **arguments: Any) -> None:
    """Arguments that a source of batches has itself, or that need arrays, must not be given."""
    if isinstance(batches, Prefetched):
        raise TypeError(f"{where}: expected the source itself, got Prefetched; {where} prepares batches ahead anyway")
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{where}: {name}: expected none with {type(batches).__name__}; {INSTEAD[name]}")


def check_validation_data(data: Any) -> Any:
    """None, a source of batches, or a pair of arrays."""
    if data is None:
        return None
    if isinstance(data, Batches):
        refuse_unused(data, "validation_data")
        return data
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError("validation_data: expected a pair (X, y), or a source of batches")
    X, y = check_numbers(data[0], "validation_data: X"), check_numbers(data[1], "validation_data: y")
    check_same_length(X, y)
    return X, y


def check_mixup(steps: Sequence[AnyStep], source: Batches) -> None:
    """Before the first batch: weights cannot be blended."""
    weighted = source.weights is not None or getattr(source, "class_weight", None) is not None
    if weighted and any(isinstance(step, MixUp) for step in steps):
        raise ValueError("train: augment: MixUp blends examples, and cannot be used with their weights")


def prepare(
    batches: Batches, model: Model, augment: Sequence[AnyStep] = (), seed: Sequence[int] | None = None
) -> Batches:
    """The batches that steps are taken on: augmented, and prepared on a worker thread where there is work for one."""
    if not augment:
        return batches if _in_memory(batches) else Prefetched(batches, dtype=model.dtype, ahead=AHEAD)
    steps = _fitted(augment, model._output_layer("train"))
    prepared = Prefetched(batches, steps, np.random.SeedSequence(seed), model.dtype, AHEAD)
    # Steps may have changed the labels.
    return CheckedBatches(prepared, model, "train: augment")


def _in_memory(batches: Batches) -> bool:
    """Whether reading a batch is no more than taking rows of an array."""
    source = batches.batches if isinstance(batches, CheckedBatches) else batches
    return isinstance(source, ArrayBatches) and type(source.X) is np.ndarray


def _fitted(steps: Sequence[AnyStep], output: OutputLayer) -> list[AnyStep]:
    """The same steps, where a mixup is told what the output layer's labels are."""
    fitted: list[AnyStep] = []
    for step in steps:
        if isinstance(step, MixUp) and step.classes is None:
            if isinstance(output, ClassificationLayer):
                step = MixUp(step.alpha, output.input_shape[0])
            else:
                fitted.append(_labels_as_floats)
        fitted.append(step)
    return fitted


def _labels_as_floats(X: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Labels of the other output layers are numbers, which can be blended even if they come as integers."""
    return X, y.astype(X.dtype)
