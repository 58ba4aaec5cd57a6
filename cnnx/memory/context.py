"""What a layer's mathematics is given for a batch: working memory, and a place for what the way back needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnx._typing import Array, Prepared
from cnnx.memory.arrays import Arrays, Reservation, WorkingArray

FRESH = Arrays()


class Context:
    """One pass over a batch, forward and perhaps backward, as a layer sees it.

    Parameters
    ----------
    name : str
        Whose pass it is, for messages.
    reserved : mapping of str to Reservation
        The working arrays that it may take.
    arrays : Arrays
        Who gives them.
    training : bool
        Whether this is a step of training.

    Attributes
    ----------
    keeps : bool
        Whether a backward pass follows.
    wants_gradient : bool
        Whether anybody needs the input gradient.
    prepared : dict or None
        Where kernels keep what they make of weights that are fixed.
    """

    def __init__(self, name: str, reserved: Mapping[str, Reservation], arrays: Arrays, training: bool) -> None:
        self.name, self.training, self.arrays = name, training, arrays
        self.working = {key: WorkingArray(name, key, reservation) for key, reservation in reserved.items()}
        self.keeps, self.wants_gradient = training, True
        self.prepared: Prepared | None = None
        self._cache: tuple[Any, ...] | None = None

    def array(self, name: str, batch: int = 1) -> Array:
        """A reserved array for this batch, with any content."""
        return self.arrays.take(self.working[name], batch)

    def keep(self, *values: Any) -> None:
        """Put into the cache what the backward pass needs; where none follows, let it go."""
        if self.keeps:
            self._cache = values

    def kept(self) -> tuple[Any, ...]:
        """What was put into the cache, which is empty then."""
        cache = self.look()
        self._cache = None
        return cache

    def look(self) -> tuple[Any, ...]:
        """What is in the cache, which stays there."""
        if self._cache is None:
            raise RuntimeError(f"{self.name}: backward without forward(x, training=True) before it")
        return self._cache

    def forget(self) -> None:
        """Empty the cache."""
        self._cache = None
