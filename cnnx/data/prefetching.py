"""Batches prepared ahead, on a worker thread, while training works on the batch before.

The thread reads, converts and augments. All that it draws comes from a seed of the batch's own, made of the seed, the
number of the epoch and the number of the batch: the batches are the same without the thread.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import count, repeat
from typing import Any, TypeVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, DTypeLike
from cnnx.augmentation.base import AnyAugmentation
from cnnx.augmentation.mixing import MixUp
from cnnx.augmentation.sequence import apply, check_augmentations
from cnnx.checks.arguments import check_count
from cnnx.checks.arrays import check_dtype, check_numbers
from cnnx.data.base import Batch, Batches

Taken = TypeVar("Taken")


class Prefetched(Batches):
    """Batches of another source, converted, augmented, and prepared ahead on a worker thread.

    Parameters
    ----------
    batches : Batches
        Where they come from. It is used on the worker thread alone while an epoch lasts.
    augment : sequence of augmentations
        See `cnnx.augmentation`.
    seed : int, numpy.random.SeedSequence or None
        Where the random numbers of augmentation come from; None takes a new one, kept in the attribute `seed`. Those
        of batch b, counted from 0, of epoch e come from ``SeedSequence(entropy, spawn_key=(*spawn_key, e, b))``.
    dtype : {float32, float64}
        Of the examples.
    ahead : int
        Number of batches that are kept ready; 0 prepares each when it is asked for, without a thread.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above. While batches are taken: what the source or an augmentation raises, with its
        own traceback; and if examples with weights are to be blended by `MixUp`.

    Notes
    -----
    The thread ends with the epoch, be it at its last batch, by an error, or because it was closed. After a fork, only
    the parent can go on with an epoch; the child may begin another.
    """

    def __init__(
        self,
        batches: Batches,
        augment: Iterable[AnyAugmentation] = (),
        seed: int | np.random.SeedSequence | None = None,
        dtype: DTypeLike = np.float32,
        ahead: int = 2,
    ) -> None:
        if not isinstance(batches, Batches):
            raise TypeError(f"Prefetched: batches: expected a source of batches, got {type(batches).__name__}")
        self.batches = batches
        self.augment = check_augmentations(augment)
        self.seed = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        self.dtype = check_dtype(dtype)
        self.ahead = check_count(ahead, "Prefetched: ahead", least=0)
        self.examples, self.batch_size = batches.examples, batches.batch_size
        self.input_shape = batches.input_shape

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, rng: np.random.Generator | None, first: int = 0, number: int = 1) -> Generator[Batch, None, None]:
        """Prepared batches; see `Batches.epoch`."""
        prepared = self._prepared(self.batches.epoch(rng, first, number), first, number)
        return take_ahead(prepared, self.ahead) if self.ahead else prepared

    def _prepared(self, source: Generator[Batch, None, None], first: int, number: int) -> Generator[Batch, None, None]:
        """Converted and augmented, one after the other."""
        with closing(source):
            # `map` does not hold on to a batch while the next one is read.
            yield from map(self._prepare, source, repeat(number), count(first))

    def _prepare(self, given: Batch, number: int, batch: int) -> Batch:
        X, y, weights = given
        X = convert(X, self.dtype)
        if self.augment:
            if weights is not None and any(isinstance(augmentation, MixUp) for augmentation in self.augment):
                raise ValueError("Prefetched: MixUp blends examples, and cannot be used with their weights")
            X, y = apply(self.augment, X, y, seed_of(self.seed, number, batch))
        return X, y, weights


def convert(X: Any, dtype: np.dtype[Any]) -> Array:
    """Examples as an aligned C-contiguous array of `dtype`; copied only if they must be."""
    if type(X) is np.ndarray and X.dtype is dtype and X.flags.carray:
        return X
    return np.require(check_numbers(X, "X"), dtype, ["C", "A"])


def seed_of(seed: np.random.SeedSequence, *key: int) -> np.random.SeedSequence:
    """The seed of one part of all that a seed is for."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *key), pool_size=seed.pool_size)


def take_ahead(prepared: Generator[Taken, None, None], ahead: int) -> Generator[Taken, None, None]:
    """The same batches, taken on a worker thread, `ahead` of them before they are asked for."""
    from concurrent.futures import ThreadPoolExecutor

    process = os.getpid()
    # Of all ways to have a worker, this one also ends by itself when the interpreter does.
    backend = _kernels.backend_in_use()
    executor = ThreadPoolExecutor(1, "cnnx-batches", _kernels.use_backend, (backend,))
    try:
        waiting = deque(executor.submit(next, prepared, None) for _ in range(ahead))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(executor.submit(next, prepared, None))
            yield batch
            if os.getpid() != process:
                raise RuntimeError(
                    "Prefetched: this epoch began before the fork, and its worker thread is in the parent; "
                    "begin another epoch in the child"
                )
    finally:
        if os.getpid() == process:
            executor.shutdown(cancel_futures=True)  # waits for the batch at work, if any
            prepared.close()
