"""What a user hands in to train or evaluate on, before it is known whether it fits the model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.checks.arguments import check_count, check_share
from cnnx.checks.arrays import check_finite, check_numbers, check_same_length, check_shape
from cnnx.checks.weights import check_one_each
from cnnx.data.base import Batch, Batches
from cnnx.data.pixels import LOOKED_AT, pixel_max
from cnnx.data.prefetching import Prefetched
from cnnx.layers.loss.output import ClassificationLayer, OutputLayer
from cnnx.layers.loss.regression import RegressionLayer
from cnnx.training.sources import CheckedArrays, CheckedBatches, Entrance
from cnnx.training.weighting import ClassWeight, example_weights

# Examples at a time, where `train` and `evaluate` are not told.
BATCH_SIZE = 64
EVALUATION_BATCH_SIZE = 256
# By chance, examples in a random order are all of one class less often than this.
UNLIKELY = 1e-3
INSTEAD = {
    "y": "it has its own labels",
    "batch_size": "it has its own",
    "sample_weight": "give weights to it",
    "validation_split": "give validation_data",
}


class GivenArrays(NamedTuple):
    """Arrays of numbers, as many examples as labels and, if there are any, as weights."""

    X: Array
    y: Array
    where: str
    batch_size: int
    sample_weight: Array | None = None

    @property
    def input_shape(self) -> Shape:
        """Shape of one example."""
        return self.X.shape[1:]

    @property
    def pixel_max(self) -> float | None:
        """Value of a white pixel, as far as the first examples show it."""
        return pixel_max(self.X[:LOOKED_AT])

    @property
    def class_names(self) -> None:
        """Labels are numbers."""
        return None

    def fitting(self, input_shape: Shape, output: OutputLayer, class_weight: ClassWeight | None = None) -> Batch:
        """Examples, labels and weights, once all is known to fit a model of this shape with this output layer."""
        check_shape(self.X, input_shape, "X")
        y = output.check_labels(self.y, self.where)
        return self.X, y, example_weights(y, class_weight, self.sample_weight, output, self.where)

    def checked(
        self, input_shape: Shape, dtype: np.dtype[Any], output: OutputLayer, class_weight: ClassWeight | None = None
    ) -> CheckedArrays:
        """Their batches, once all is known to fit."""
        fitting = self.fitting(input_shape, output, class_weight)
        return CheckedArrays(*fitting, self.batch_size, Entrance(input_shape, dtype, output))


class GivenBatches(NamedTuple):
    """A source of batches."""

    batches: Batches
    where: str

    @property
    def input_shape(self) -> Shape:
        """Shape of one example."""
        return tuple(self.batches.input_shape)

    @property
    def pixel_max(self) -> float | None:
        """Value of a white pixel, where the source knows it."""
        return self.batches.pixel_max

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes, where the source has them."""
        return self.batches.class_names

    def checked(
        self, input_shape: Shape, dtype: np.dtype[Any], output: OutputLayer, class_weight: ClassWeight | None = None
    ) -> CheckedBatches:
        """The same batches, each of which is checked against a model of this shape and type with this output layer."""
        entrance = Entrance(input_shape, dtype, output)
        return CheckedBatches(self.batches, entrance, self.where, class_weight)


Given: TypeAlias = GivenArrays | GivenBatches


def data(X: Any, y: Any, where: str, batch_size: int | None, default: int, sample_weight: Any) -> Given:
    """Arrays, or a source of batches and nothing that it has itself; messages begin with `where`."""
    if isinstance(X, Batches):
        return _batches(X, where, y=y, batch_size=batch_size, sample_weight=sample_weight)
    return arrays(X, y, where, default if batch_size is None else batch_size, sample_weight)


def arrays(X: Any, y: Any, where: str, batch_size: int = BATCH_SIZE, sample_weight: Any = None) -> GivenArrays:
    """Arrays alone."""
    if y is None:
        raise TypeError(f"{where}: y: expected labels, got None; only a source of batches has its own")
    X, y = check_numbers(X, "X"), check_numbers(y, "y")
    check_same_length(X, y)
    if sample_weight is not None:
        sample_weight = check_one_each(sample_weight, len(X), f"{where}: sample_weight")
    return GivenArrays(X, y, where, check_count(batch_size, "batch_size"), sample_weight)


def set_aside(
    whole: Given, validation_data: Any, validation_split: float, output: OutputLayer
) -> tuple[Given, Given | None]:
    """What is trained on, and what is validated on, from either of the two arguments."""
    if isinstance(whole, GivenBatches):
        _batches(whole.batches, whole.where, validation_split=validation_split or None)
    if validation_data is not None:
        if validation_split:
            raise ValueError("validation_data and validation_split: expected one of them, got both")
        return whole, _validation(validation_data)
    if isinstance(whole, GivenBatches):
        return whole, None
    share = check_share(validation_split, "validation_split")
    X, y, weights = whole.X, whole.y, whole.sample_weight
    count = round(len(X) * share)
    if count == 0:
        if share:
            warnings.warn(
                f"train: validation_split: {share:g} of {len(X)} examples sets none aside; raise it, or give "
                "validation_data",
                stacklevel=3,
            )
        return whole, None
    if count == len(X):
        raise ValueError(f"validation_split: {validation_split} of {len(X)} examples leaves none to train on")
    if (oddity := _oddity(y[:-count], y[-count:], output)) is not None:
        warnings.warn(
            f"train: validation_split: the last {count} examples {oddity}; shuffle X and y together beforehand, or "
            "give validation_data",
            stacklevel=3,
        )
    check_finite(X[-count:], "validation_split: X", len(X) - count)
    kept = whole._replace(X=X[:-count], y=y[:-count], sample_weight=None if weights is None else weights[:-count])
    return kept, GivenArrays(X[-count:], y[-count:], "validation_data", EVALUATION_BATCH_SIZE)


def _oddity(kept: Array, aside: Array, output: OutputLayer) -> str | None:
    """What is odd about the classes of the last examples, as of data that are sorted by class."""
    if isinstance(output, RegressionLayer):
        return None
    if kept.ndim == 2 and isinstance(output, ClassificationLayer):  # rows of probabilities
        kept, aside = kept.argmax(axis=1), aside.argmax(axis=1)
    if kept.ndim == 2:  # several classes at once
        left_out = np.flatnonzero((aside > 0).any(axis=0) & ~(kept > 0).any(axis=0)).tolist()
    else:
        left_out = np.setdiff1d(aside, kept).tolist()
    if left_out:
        return f"have all of the classes {left_out}, and leave none of them to train on"
    if kept.ndim == 1 and (aside == aside[0]).all():
        share = np.count_nonzero(kept == aside[0]) / len(kept)
        if share ** len(aside) < UNLIKELY:
            return f"are all of the class {aside[0]}"
    return None


def examples(source: Any, where: str, batch_size: int | None, input_shape: Shape) -> Iterator[Array]:
    """The examples of a source in its own order, batch by batch; its labels are left alone."""
    batches = _batches(source, where, batch_size=batch_size).batches
    with closing(batches.epoch(None)) as epoch:
        for number, (X, _, _) in enumerate(epoch, start=1):
            name = f"{where}: batch {number} of {len(batches)}: X"
            X = check_numbers(X, name)
            check_shape(X, input_shape, name)
            yield X


def _validation(data: Any) -> Given:
    if isinstance(data, Batches):
        return _batches(data, "validation_data")
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError("validation_data: expected a pair (X, y), or a source of batches")
    X, y = check_numbers(data[0], "validation_data: X"), check_numbers(data[1], "validation_data: y")
    check_same_length(X, y)
    check_finite(X, "validation_data: X")
    return GivenArrays(X, y, "validation_data", EVALUATION_BATCH_SIZE)


def _batches(batches: Batches, where: str, **arguments: Any) -> GivenBatches:
    """A source, without arguments that it has itself, or that need arrays."""
    if isinstance(batches, Prefetched):
        raise TypeError(f"{where}: expected the source itself, got Prefetched; {where} prepares batches ahead anyway")
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{where}: {name}: expected none with {type(batches).__name__}; {INSTEAD[name]}")
    return GivenBatches(batches, where)
