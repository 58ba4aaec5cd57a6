"""Each batch cut into blocks, and those of this rank read, checked and augmented."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cnnx._typing import Array
from cnnx.augmentation.sequence import apply
from cnnx.data.base import Batch, IndexedBatches, check_first
from cnnx.data.prefetching import convert, seed_of, take_ahead
from cnnx.training.run import Run
from cnnx.training.sources import AHEAD, Checked, check_batch, fit_augmentations, in_memory, innermost

# Reads examples `start` to `stop` of a batch, and checks them.
Reader = Callable[[int, int], Batch]


class Part(NamedTuple):
    """What a rank has of a batch.

    Attributes
    ----------
    examples : int
        In the whole batch.
    blocks : list of Batch or None
        Those of this rank, in order; None where a batch has fewer examples than there are blocks.
    """

    examples: int
    blocks: list[Batch | None]


def cut(examples: int, shards: int, least: int = 1) -> list[tuple[int, int]]:
    """First example of each block, and the one after its last; by the number of examples alone.

    Blocks differ by one example at most. Where there would be fewer than `least` in one, the last blocks are empty.
    """
    filled = min(shards, max(1, examples // least))
    bounds = [examples * block // filled for block in range(filled + 1)]
    return [*pairwise(bounds), *[(examples, examples)] * (shards - filled)]


class BlockSource:
    """The batches of a run's source, of which this rank has some blocks.

    Nothing but these is read, where a source can read any of its examples; else every rank reads all.

    Parameters
    ----------
    run : Run
    shards : int
    mine : range
        The blocks of this rank.
    least : int
        Examples that there must be in a block.
    """

    def __init__(self, run: Run, shards: int, mine: range, least: int) -> None:
        self._source, self._entrance = run.source, run.source.entrance
        self._shards, self._mine, self._least = shards, mine, least
        self._augment = fit_augmentations(run.augment, self._entrance.output)
        self._seed = np.random.SeedSequence(run.augmentation_seed)

    def epoch(self, rng: np.random.Generator | None, first: int = 0, number: int = 1) -> Generator[Part, None, None]:
        """The parts of all batches; see `Batches.epoch`."""
        parts = self._parts(read_batches(self._source, rng, first, number), first, number)
        X = in_memory(self._source)
        at_once = X is not None and X.dtype is self._entrance.dtype and not self._augment
        return parts if at_once else take_ahead(parts, AHEAD)

    def _parts(
        self, batches: Generator[tuple[int, Reader], None, None], first: int, number: int
    ) -> Generator[Part, None, None]:
        with closing(batches):
            for batch, (examples, read) in enumerate(batches, start=first):
                bounds = cut(examples, self._shards, self._least)
                blocks = [self._block(read, *bounds[block], (number, batch, block)) for block in self._mine]
                yield Part(examples, blocks)

    def _block(self, read: Reader, start: int, stop: int, key: tuple[int, int, int]) -> Batch | None:
        """A block, augmented by what is drawn for it alone."""
        if start == stop:
            return None
        number, batch, _ = key
        X, y, weights = read(start, stop)
        X = convert(X, self._entrance.dtype)
        if self._augment:
            X, y = apply(self._augment, X, y, seed_of(self._seed, *key))
            where = f"train: augment: epoch {number}, batch {batch + 1} of {len(self._source)}"
            X, y, weights = check_batch(X, y, weights, self._entrance, where)
        return X, y, weights


def read_batches(
    source: Checked, rng: np.random.Generator | None, first: int, number: int
) -> Generator[tuple[int, Reader], None, None]:
    """For each batch its number of examples, and what reads some of them. The order is drawn in this call."""
    inner = innermost(source)
    if isinstance(inner, IndexedBatches) and type(inner).epoch is IndexedBatches.epoch:
        return _read_indexed(source, inner, inner.order(rng), check_first(first, number, source), number)
    return _read_whole(source.epoch(rng, first, number))


def _read_indexed(
    source: Checked, inner: IndexedBatches, order: Array | None, first: int, number: int
) -> Generator[tuple[int, Reader], None, None]:
    for batch in range(first, len(source)):
        start = batch * source.batch_size
        # The last batch may have one example more than others; see `Joined`.
        stop = source.examples if batch == len(source) - 1 else start + source.batch_size

        def read(low: int, high: int, start: int = start, batch: int = batch) -> Batch:
            rows = slice(start + low, start + high)
            return source.check_part(*inner.read(rows if order is None else order[rows]), number, batch + 1)

        yield stop - start, read


def _read_whole(batches: Generator[Batch, None, None]) -> Generator[tuple[int, Reader], None, None]:
    """Of a source that cannot read a part of a batch; it checks whole ones."""
    with closing(batches):
        for X, y, weights in batches:

            def read(low: int, high: int, X: Array = X, y: Array = y, weights: Array | None = weights) -> Batch:
                return X[low:high], y[low:high], None if weights is None else weights[low:high]

            yield len(X), read
