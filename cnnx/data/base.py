"""What every source of batches has in common: the number of batches, their order, and where an epoch begins."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.checks.arguments import check_count

# Examples (batch, ...), labels (batch, ...), and weights (batch,) or None.
Batch: TypeAlias = tuple[Array, Array, Array | None]


class Batches:
    """A source of batches; a subclass sets the attributes and implements `epoch`.

    Attributes
    ----------
    examples : int
        Number of examples in an epoch.
    batch_size : int
        Number of examples in a batch; the last one may have fewer.
    input_shape : tuple of int
        Shape of one example.
    labels, weights : ndarray of shape (examples, ...) or None
        Labels and weights of all examples in their own order, where they are known beforehand.
    class_names : tuple of str or None
        Name of each class, in the order of their numbers, where the source has names.
    """

    examples: int
    batch_size: int
    input_shape: Shape
    labels: Array | None = None
    weights: Array | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def pixel_max(self) -> float | None:
        """Value of a white pixel, where it is known."""
        return None

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-self.examples // self.batch_size)

    def epoch(self, rng: np.random.Generator | None, first: int = 0, number: int = 1) -> Generator[Batch, None, None]:
        """Go through the data once.

        Parameters
        ----------
        rng : numpy.random.Generator or None
            Where the order of the examples comes from; None keeps the one they have. All that is drawn from it is
            drawn in this call, not while the batches are taken: a generator with the state that this one has before
            the call gives the same epoch.
        first : int
            Number of batches to leave out at the beginning, as after a run that was stopped there; the others are
            what they would be without.
        number : int
            Number of the epoch, counted from 1, for sources that draw random numbers for each batch.

        Yields
        ------
        X : ndarray of shape (batch, *input_shape)
        y : ndarray of shape (batch, ...)
        weights : ndarray of shape (batch,) or None

        Raises
        ------
        TypeError, ValueError
            If `first` or `number` is out of range.

        Notes
        -----
        Close what this returns, or take all of it: ``with contextlib.closing(batches.epoch(rng)) as epoch``.
        """
        raise NotImplementedError


class IndexedBatches(Batches):
    """A source that can read any of its examples; a subclass implements `read`."""

    def read(self, indices: Array | slice) -> Batch:
        """The examples with these numbers, in this order."""
        raise NotImplementedError

    def epoch(self, rng: np.random.Generator | None, first: int = 0, number: int = 1) -> Generator[Batch, None, None]:
        """Batches of examples in a random order, or in their own; see `Batches.epoch`."""
        return self._read_from(check_first(first, number, self), self.order(rng))

    def order(self, rng: np.random.Generator | None) -> Array | None:
        """The numbers of the examples in the order of an epoch, (examples,); None for their own."""
        return None if rng is None else rng.permutation(self.examples)

    def _read_from(self, first: int, order: Array | None) -> Generator[Batch, None, None]:
        for start in range(first * self.batch_size, self.examples, self.batch_size):
            stop = min(start + self.batch_size, self.examples)
            yield self.read(slice(start, stop) if order is None else order[start:stop])


def check_first(first: int, number: int, batches: Batches) -> int:
    """Number of batches to leave out: all of them at most."""
    name = type(batches).__name__
    check_count(number, f"{name}: number")
    first = check_count(first, f"{name}: first", least=0)
    if first > len(batches):
        raise ValueError(f"{name}: first: expected no more than the {len(batches)} batches of an epoch, got {first}")
    return first
