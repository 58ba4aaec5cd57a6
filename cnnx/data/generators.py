"""Batches from a function that makes an iterator for each epoch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import Any

import numpy as np

from cnnx.checks.arguments import check_count
from cnnx.checks.arrays import check_numbers
from cnnx.checks.weights import check_one_each
from cnnx.data.base import Batch, Batches, check_first
from cnnx.data.pixels import pixel_max


class GeneratorBatches(Batches):
    """Batches from a function that makes an iterator for each epoch.

    Parameters
    ----------
    make : callable
        Called as ``make(rng)``, it returns an iterable of (X, y) or (X, y, weights): `batches` of them, or more. `rng`
        is a `numpy.random.Generator` for this epoch alone, or None for data in its own order; what is made from it
        must depend on it alone. A batch's arrays must be its own, not buffers that the next batch overwrites. It is
        called once at the beginning, to see the shape of the examples.
    batches : int
        Number of batches in an epoch.
    batch_size : int
        Number of examples in each batch; the last one may have fewer, but `examples` counts it as a whole one. (A last
        one of a single example is an error in training with batch normalization that would see a single value of each
        channel: it is known only when its turn comes.)

    Raises
    ------
    TypeError, ValueError
        If `make` does not return such an iterable or yields no batch; if a number is below 1. While batches are taken:
        if there are too few, or one is not as above; the message names the batch, counted from 1.

    Notes
    -----
    An epoch that begins at a later batch makes those before it, too, and leaves them out.
    """

    def __init__(self, make: Callable[[np.random.Generator | None], Iterable[Any]], batches: int, batch_size: int):
        if not callable(make):
            raise TypeError(f"GeneratorBatches: make: expected a function of a random generator, got {make!r}")
        self.make = make
        self.batches = check_count(batches, "GeneratorBatches: batches")
        self.batch_size = check_count(batch_size, "GeneratorBatches: batch_size")
        self.examples = self.batches * self.batch_size
        self.input_shape = ()
        items = self._items(np.random.default_rng(0))
        try:
            X, _, _ = _check_batch(next(items), "GeneratorBatches: batch 1")
        finally:
            items.close()
        self.input_shape = X.shape[1:]
        self._pixel_max = pixel_max(X)

    @property
    def pixel_max(self) -> float | None:
        """Value of a white pixel, as far as the first batch shows it."""
        return self._pixel_max

    def epoch(self, rng: np.random.Generator | None, first: int = 0, number: int = 1) -> Generator[Batch, None, None]:
        """Batches from a new iterator; see `Batches.epoch`."""
        first = check_first(first, number, self)
        # A generator of its own: the iterator may draw from it on another thread, and at any time.
        own = None if rng is None else np.random.default_rng(rng.integers(2**63, size=2))
        return self._checked(own, first, number)

    def _checked(self, rng: np.random.Generator | None, first: int, number: int) -> Generator[Batch, None, None]:
        items = self._items(rng)
        try:
            for batch, item in enumerate(items, start=1):
                if batch <= first:
                    continue
                where = f"GeneratorBatches: epoch {number}, batch {batch} of {self.batches}"
                X, y, weights = _check_batch(item, where)
                if X.shape[1:] != self.input_shape:
                    raise ValueError(
                        f"{where}: expected examples of shape {self.input_shape}, as at first, got {X.shape[1:]}"
                    )
                if len(X) > self.batch_size or (len(X) < self.batch_size and batch < self.batches):
                    raise ValueError(f"{where}: expected {self.batch_size} examples, got {len(X)}")
                yield X, y, weights
        finally:
            items.close()

    def _items(self, rng: np.random.Generator | None) -> Generator[Any, None, None]:
        """As many items as there are batches; closes the iterator at the end."""
        made = self.make(rng)
        if not isinstance(made, Iterable):
            raise TypeError(f"GeneratorBatches: make: expected it to return an iterable of batches, got {made!r}")
        count = 0
        iterator = iter(made)
        try:
            for item in islice(iterator, self.batches):
                yield item
                count += 1
        finally:
            if isinstance(iterator, Generator):
                iterator.close()
        if count < self.batches:
            raise ValueError(
                f"GeneratorBatches: expected {self.batches} batches in an epoch, got {count}; make must return a new "
                "iterable whenever it is called"
            )


def _check_batch(item: Any, where: str) -> Batch:
    """(X, y) or (X, y, weights) with as many labels and weights as examples, and at least one."""
    if not isinstance(item, tuple) or len(item) not in (2, 3):
        got = f"a tuple of {len(item)}" if isinstance(item, tuple) else type(item).__name__
        raise TypeError(f"{where}: expected (X, y) or (X, y, weights), got {got}")
    X, y = check_numbers(item[0], f"{where}: X"), check_numbers(item[1], f"{where}: y")
    if X.ndim == 0 or y.ndim == 0 or len(X) == 0 or len(X) != len(y):
        raise ValueError(f"{where}: expected as many labels as examples, got shapes {X.shape} and {y.shape}")
    if len(item) == 2 or item[2] is None:
        return X, y, None
    return X, y, check_one_each(item[2], len(X), f"{where}: weights")
