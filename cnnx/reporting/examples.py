"""The examples that a report is about: arrays, or a source that reads them one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cnnx._typing import Array
from cnnx.checks.arrays import check_finite, check_numbers, check_same_length, check_shape
from cnnx.data.base import Batches, IndexedBatches
from cnnx.inspection.outcomes import Classifier, batches_of


class Examples:
    """Examples, labels and names.

    Attributes
    ----------
    labels : ndarray
    names : sequence of str or None
        What each example is called, such as its file.
    kind : str
        The type of the numbers, for the list of what the data are.
    """

    _source: IndexedBatches | None = None
    _array: Array | None = None

    def __init__(self, model: Classifier, X: Any, y: Any, names: Sequence[str] | None) -> None:
        self._model = model
        if isinstance(X, Batches):
            if not isinstance(X, IndexedBatches) or X.labels is None:
                raise TypeError(
                    f"report: expected arrays, or a source that reads examples by their numbers and knows all labels, "
                    f"such as FolderBatches, got {type(X).__name__}"
                )
            if y is not None:
                raise ValueError(f"report: y: expected none with {type(X).__name__}; it has its own labels")
            self._source = X
            self.labels: Array = X.labels
            paths = getattr(X, "paths", None)
            names = [f"{path.parent.name}/{path.name}" for path in paths] if names is None and paths else names
            self.kind = "read from files" if paths else "read one by one"
        else:
            if y is None:
                raise TypeError("report: y: expected labels, got None; only a source of batches has its own")
            array = check_numbers(X, "X")
            self.labels = check_numbers(y, "y")
            check_same_length(array, self.labels)
            check_shape(array, model.input_shape, "X")
            self._array = array
            self.kind = array.dtype.name
        if names is not None and len(names) != len(self.labels):
            raise ValueError(f"report: names: expected one for each of {len(self.labels)} examples, got {len(names)}")
        self.names = names

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self) -> Iterator[Array]:
        """All of them, in order, some at a time."""
        if self._array is not None:
            yield from batches_of(self._model, self._array)
            return
        assert self._source is not None
        done = 0
        for start in range(0, len(self), self._source.batch_size):
            batch = self.take(np.arange(start, min(start + self._source.batch_size, len(self))))
            check_finite(batch, "X", done)
            done += len(batch)
            yield batch

    def take(self, indices: Array) -> Array:
        """Those with these numbers."""
        if self._array is not None:
            return self._array[indices]
        assert self._source is not None
        X, _, _ = self._source.read(indices)
        check_shape(X, self._model.input_shape, "X")
        return X

    def name(self, index: int) -> str:
        """What one is called: its file, or its number."""
        return str(index) if self.names is None else str(self.names[index])
