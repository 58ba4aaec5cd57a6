"""The batches that a model trains on and is evaluated on: checked, weighted, augmented, and prepared ahead.

What needs all labels is done once where they are known beforehand, and else batch by batch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.augmentation.base import AnyAugmentation
from cnnx.augmentation.mixing import MixUp
from cnnx.checks.arrays import check_numbers, check_shape
from cnnx.checks.weights import check_weights
from cnnx.data.arrays import ArrayBatches
from cnnx.data.base import Batch, Batches, check_first
from cnnx.data.prefetching import Prefetched
from cnnx.layers.base import Layer, walk
from cnnx.layers.loss.output import ClassificationLayer, OutputLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.standardize import StandardizeLayer
from cnnx.training.weighting import ClassWeight, class_weights, example_weights, weights_by_class

# Batches that the worker thread keeps ready.
AHEAD = 2
# Where nothing is drawn: making a new one takes longer than a step of a tiny model.
UNUSED = np.random.SeedSequence(0)


class Entrance(NamedTuple):
    """What data must be to enter a model, or what they are converted to."""

    input_shape: Shape
    dtype: np.dtype[Any]
    output: OutputLayer


class Checked(Batches):
    """A source whose batches fit a model.

    Attributes
    ----------
    entrance : Entrance
        Of that model.
    class_weight : dict of int to float or None
        What the batches are weighted by one by one.
    not_single : str or None
        Why no batch may be a single example.
    """

    entrance: Entrance
    class_weight: dict[int, float] | None = None
    not_single: str | None = None

    def check_part(self, X: Any, y: Any, weights: Any, number: int, batch: int) -> Batch:
        """A part of a batch that somebody has read for himself, checked and weighted as `epoch` does it.

        The epoch is the one of this `number`; it and the batch are counted from 1.
        """
        raise NotImplementedError


class CheckedArrays(Checked, ArrayBatches):
    """Batches from arrays in memory, which have been checked all at once."""

    def __init__(self, X: Array, y: Array, weights: Array | None, batch_size: int, entrance: Entrance) -> None:
        self.X, self.y, self.labels, self.weights = X, y, y, weights
        self.examples, self.batch_size, self.input_shape = len(X), batch_size, entrance.input_shape
        self.entrance = entrance

    def check_part(self, X: Any, y: Any, weights: Any, number: int, batch: int) -> Batch:
        """All has been checked."""
        return X, y, weights


class CheckedBatches(Checked):
    """Batches of another source, each checked before it is used, and weighted by class.

    Parameters
    ----------
    batches : Batches
    entrance : Entrance
    where : str
        Beginning of messages, before the numbers of the epoch, where it begins with "train", and of the batch.
    class_weight : mapping of int to float, or "balanced", optional
        As in `Model.train`; "balanced" needs a source that knows its labels beforehand.
    """

    def __init__(
        self, batches: Batches, entrance: Entrance, where: str, class_weight: ClassWeight | None = None
    ) -> None:
        if batches.input_shape != entrance.input_shape:
            raise ValueError(
                f"{where}: expected batches of examples of shape {entrance.input_shape}, as the model was built for, "
                f"got {batches.input_shape}"
            )
        self.batches, self.entrance, self.where = batches, entrance, where
        self.examples, self.batch_size = batches.examples, batches.batch_size
        self.input_shape = entrance.input_shape
        self.labels, self.weights = batches.labels, batches.weights
        self.class_weight = None if class_weight is None else self._class_weights(class_weight, entrance.output)

    def __len__(self) -> int:
        return len(self.batches)

    def _class_weights(self, class_weight: ClassWeight, output: OutputLayer) -> dict[int, float]:
        """A weight for each class; where the labels are known, they must have them all."""
        labels = None if self.labels is None else output.check_labels(np.asarray(self.labels), self.where)
        if labels is None and isinstance(class_weight, str):
            raise ValueError(
                f"{self.where}: class_weight: {class_weight!r} needs all labels beforehand, which "
                f"{type(self.batches).__name__} does not know; give a mapping of class to weight"
            )
        weights = class_weights(class_weight, labels, output, self.where)
        if labels is not None:
            example_weights(labels, weights, None, output, self.where)
        return weights

    def epoch(self, rng: np.random.Generator | None, first: int = 0, number: int = 1) -> Generator[Batch, None, None]:
        """The same batches; see `Batches.epoch`."""
        return self._checked(self.batches.epoch(rng, first, number), first, number)

    def _checked(self, source: Generator[Batch, None, None], first: int, number: int) -> Generator[Batch, None, None]:
        done = first
        with closing(source):
            for done, (X, y, weights) in enumerate(source, start=first + 1):
                if done > len(self):
                    where = f"{self._place(number)}batch {done} of {len(self)}"
                    raise ValueError(f"{where}: expected no more than {len(self)} batches")
                yield self.check_part(X, y, weights, number, done)
        if done < len(self):
            raise ValueError(
                f"{self._place(number)}after batch {done} of {len(self)}: expected another batch, got none"
            )

    def _place(self, number: int) -> str:
        """Beginning of messages; evaluation goes through the data once."""
        return f"{self.where}: epoch {number}, " if self.where.startswith("train") else f"{self.where}: "

    def check_part(self, X: Any, y: Any, weights: Any, number: int, batch: int) -> Batch:
        """Numbers of the right shape, with labels and weights that fit."""
        where = f"{self._place(number)}batch {batch} of {len(self)}"
        X, y, weights = check_batch(X, y, weights, self.entrance, where)
        if len(X) == 1 and self.not_single is not None:
            raise ValueError(
                f"{where}: expected 2 examples or more, {self.not_single}, got 1; make it part of the batch before, or "
                "leave it out"
            )
        if self.class_weight is not None:
            of_class = weights_by_class(y, self.class_weight, where)
            weights = of_class if weights is None else weights * of_class
        return X, y, weights


def check_batch(X: Any, y: Any, weights: Any, entrance: Entrance, where: str) -> Batch:
    """Examples, labels and weights that fit a model; messages begin with `where`."""
    X = check_numbers(X, f"{where}: X")
    check_shape(X, entrance.input_shape, f"{where}: X")
    y = entrance.output.check_labels(y, where)
    if len(X) == 0 or len(X) != len(y):
        raise ValueError(f"{where}: expected as many labels as examples, got {len(y)} and {len(X)}")
    if weights is not None:
        weights = check_weights(weights, len(X), f"{where}: weights")
    return X, y, weights


class Joined(Checked):
    """Batches of another source whose last one would be a single example: it is part of the one before."""

    def __init__(self, batches: Checked) -> None:
        self.batches, self.entrance, self.class_weight = batches, batches.entrance, batches.class_weight
        self.examples, self.batch_size, self.input_shape = batches.examples, batches.batch_size, batches.input_shape
        self.labels, self.weights = batches.labels, batches.weights

    def __len__(self) -> int:
        return len(self.batches) - 1

    def check_part(self, X: Any, y: Any, weights: Any, number: int, batch: int) -> Batch:
        """As of the other source."""
        return self.batches.check_part(X, y, weights, number, batch)

    def epoch(self, rng: np.random.Generator | None, first: int = 0, number: int = 1) -> Generator[Batch, None, None]:
        """The batches, the last two of them as one; see `Batches.epoch`."""
        first = check_first(first, number, self)
        left_out = len(self.batches) if first == len(self) else first
        return self._joined(self.batches.epoch(rng, left_out, number), first)

    def _joined(self, source: Generator[Batch, None, None], first: int) -> Generator[Batch, None, None]:
        with closing(source):
            for done, (X, y, weights) in enumerate(source, start=first + 1):
                if done < len(self):
                    yield X, y, weights
                    continue
                one, label, weight = next(source)
                both = None if weights is None or weight is None else np.concatenate([weights, weight])
                yield np.concatenate([X, one]), np.concatenate([y, label]), both


def enough_in_each_batch(source: Checked, layers: Sequence[Layer], where: str) -> Checked:
    """The source, with no batch of a single example if a layer cannot learn from one; messages begin with `where`."""
    needs_two = _needs_two(layers)
    if needs_two is None:
        return source
    reason = f"for {needs_two.name} would see a single value of each channel, which is its own mean"
    if source.examples == 1:
        raise ValueError(f"{where}: expected 2 examples or more, {reason}, got 1")
    if source.batch_size == 1:
        raise ValueError(f"{where}: batch_size: expected 2 or more, {reason}, got 1")
    if source.examples % source.batch_size == 1:
        return Joined(source)
    # Not every source knows how many examples its last batch has.
    source.not_single = reason
    return source


def least_examples(layers: Sequence[Layer]) -> int:
    """How many examples there must be in what layers learn from at a time."""
    return 1 if _needs_two(layers) is None else 2


def _needs_two(layers: Sequence[Layer]) -> Layer | None:
    """The first layer that cannot learn from a single example."""
    for layer in walk(layers):
        if isinstance(layer, BatchNormLayer) and layer.values_per_example == 1:
            return layer
    return None


def check_mixup(augment: Sequence[AnyAugmentation], source: Checked) -> None:
    """Before the first batch: weights cannot be blended."""
    weighted = source.weights is not None or source.class_weight is not None
    if weighted and any(isinstance(augmentation, MixUp) for augmentation in augment):
        raise ValueError("train: augment: MixUp blends examples, and cannot be used with their weights")


def standardize(first: StandardizeLayer, source: Checked) -> dict[str, Array]:
    """Have the layer learn from the data as they are, weighted; returns its state."""
    if isinstance(source, CheckedArrays):
        first.learn(source.X, source.weights)
    else:
        with closing(source.epoch(None)) as batches:
            first.learn_batches((X, weights) for X, _, weights in batches)
    return first.state


def prepare(source: Checked, augment: Sequence[AnyAugmentation] = (), seed: Sequence[int] | None = None) -> Batches:
    """The batches that steps are taken on: examples are C-contiguous arrays of the model's shape and dtype.

    They are augmented, and prepared on a worker thread where there is work for one.
    """
    entrance = source.entrance
    if not augment:
        X = in_memory(source)
        if X is not None and X.dtype is entrance.dtype and X.flags.carray:
            return source
        return Prefetched(source, (), UNUSED, entrance.dtype, AHEAD if X is None else 0)
    prepared = Prefetched(
        source, fit_augmentations(augment, entrance.output), np.random.SeedSequence(seed), entrance.dtype, AHEAD
    )
    # Augmentations may have changed the labels.
    return CheckedBatches(prepared, entrance, "train: augment")


def in_memory(source: Checked) -> Array | None:
    """The examples, where reading a batch is no more than taking rows of an array."""
    batches = innermost(source)
    return batches.X if isinstance(batches, ArrayBatches) and type(batches.X) is np.ndarray else None


def innermost(source: Checked) -> Batches:
    """Where the batches of a checked source come from."""
    batches: Batches = source
    while isinstance(batches, CheckedBatches | Joined):
        batches = batches.batches
    return batches


def fit_augmentations(augment: Sequence[AnyAugmentation], output: OutputLayer) -> list[AnyAugmentation]:
    """The same augmentations, where a mixup is told what the output layer's labels are."""
    fitted: list[AnyAugmentation] = []
    for augmentation in augment:
        if isinstance(augmentation, MixUp) and augmentation.classes is None:
            if isinstance(output, ClassificationLayer):
                augmentation = MixUp(augmentation.alpha, output.input_shape[0])
            else:
                fitted.append(_labels_as_floats)
        fitted.append(augmentation)
    return fitted


def _labels_as_floats(X: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Labels of the other output layers are numbers, which can be blended even if they come as integers."""
    return X, y.astype(X.dtype)
