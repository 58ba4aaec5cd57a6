"""Batches from arrays: in memory, mapped from a file, or in a file that is read piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnx._typing import Array
from cnnx.checks.arguments import check_count
from cnnx.checks.arrays import check_numbers, check_same_length
from cnnx.checks.weights import check_weights
from cnnx.data.base import Batch, IndexedBatches
from cnnx.data.pixels import LOOKED_AT, pixel_max


class ArrayBatches(IndexedBatches):
    """Batches from arrays of examples and labels.

    Nothing but the rows of a batch is read at a time, so that memory-mapped arrays (``np.load(path, mmap_mode="r")``,
    `numpy.memmap`) and datasets of files (h5py, zarr) may be larger than memory. A shuffled batch of such a dataset is
    read row by row, in the order of the file.

    Parameters
    ----------
    X : array-like of shape (examples, ...)
        Examples: an array, or an object with `shape`, `dtype` and indexing by integers and slices. Numbers of any
        type; whether they are finite is left to the training loop.
    y : array-like of shape (examples, ...)
        Labels, likewise.
    batch_size : int
    weights : array-like of shape (examples,), optional
        Weight of each example's loss, not negative.

    Raises
    ------
    TypeError, ValueError
        If the arrays hold something else than numbers, differ in length, or are empty; if a weight is negative or
        not finite; if `batch_size` is below 1.
    """

    def __init__(self, X: Any, y: Any, batch_size: int, weights: Any = None) -> None:
        self.X, self.y = _source(X, "X"), _source(y, "y")
        check_same_length(self.X, self.y)
        self.weights = None if weights is None else check_weights(weights, len(self.X), "weights")
        self.labels = self.y if isinstance(self.y, np.ndarray) else None
        self.examples = len(self.X)
        self.batch_size = check_count(batch_size, "ArrayBatches: batch_size")
        self.input_shape = tuple(self.X.shape[1:])

    @property
    def pixel_max(self) -> float | None:
        """Value of a white pixel, as far as the first examples show it."""
        return pixel_max(_rows(self.X, slice(0, LOOKED_AT)))

    def read(self, indices: Array | slice) -> Batch:
        """Rows of the arrays."""
        weights = None if self.weights is None else self.weights[indices]
        return _rows(self.X, indices), _rows(self.y, indices), weights


def _source(array: Any, name: str) -> Any:
    """What rows can be read from: an array, or anything of several axes that is like one."""
    dtype = getattr(array, "dtype", None)
    if isinstance(array, np.ndarray) or not isinstance(dtype, np.dtype) or len(array.shape) < 2:
        checked = check_numbers(array, name)
        return array if isinstance(array, np.memmap) else checked
    check_numbers(np.empty(0, dtype), name)  # its type alone: the array may not fit into memory
    return _Dataset(array, name)


class _Dataset:
    """An array-like object of which nothing is known but its shape, its dtype, and that `[]` reads from it."""

    def __init__(self, source: Any, name: str) -> None:
        self._source, self._name = source, name
        self.shape, self.dtype, self.ndim = tuple(source.shape), source.dtype, len(source.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, indices: Array | slice) -> Array:
        if isinstance(indices, slice):
            return check_numbers(self._source[indices], self._name)
        rows: Array = np.empty((len(indices), *self.shape[1:]), self.dtype)
        for place in np.argsort(indices):
            rows[place] = check_numbers(self._source[int(indices[place])], self._name)
        return rows


def _rows(source: Any, indices: Array | slice) -> Array:
    rows: Array = source[indices]
    # A slice of a mapped file is read here, not wherever it happens to be used first.
    return np.array(rows) if isinstance(rows, np.memmap) else rows
