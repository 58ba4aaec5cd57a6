"""The one allocator of working memory: fresh arrays, arrays that are kept and shared, and arrays that are checked.

A device of its own will be a class of its own here: nothing else outside the kernels allocates working memory.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from cnnx._typing import Array, Shape

# A pass's function: from the array that it reads, and perhaps more, to the one that it gives.
Run = Callable[..., Any]

# Bytes. A vector across two cache lines takes two loads.
CACHE_LINE = 64
LARGEST_KEPT = 2**25 - 2**13
NOTHING = np.empty(0, np.uint8)


class Reservation(NamedTuple):
    """A working array that a layer's passes take.

    Attributes
    ----------
    shape : tuple of int
        Without the axis of the batch.
    dtype : numpy.dtype
    per_example : bool
        Whether there is one for each example, and so an axis of the batch.
    backward_only : bool
        Whether the backward pass alone takes it, and lets it go.
    over_gradient : bool
        Whether it may be written where the gradient of the output lies, which is read for the last time, element by
        element, as it is.
    """

    shape: Shape
    dtype: np.dtype[Any]
    per_example: bool = True
    backward_only: bool = False
    over_gradient: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes, for each example where there is one for each."""
        return math.prod(self.shape) * self.dtype.itemsize

    def size(self, batch: int) -> int:
        """Bytes for a batch."""
        return self.nbytes * (batch if self.per_example else 1)

    def full_shape(self, batch: int) -> Shape:
        """The shape for a batch."""
        return (batch, *self.shape) if self.per_example else self.shape


class Block:
    """Memory that one array or, one after the other, several working arrays are in; it grows with the batch."""

    def __init__(self) -> None:
        self.nbytes = 0
        self.members: list[WorkingArray] = []
        self.memory: Array = NOTHING
        # When it is in use, in order, and by which array.
        self._spans: list[tuple[int, int]] = []
        self._users: list[WorkingArray] = []

    def add(self, member: WorkingArray) -> None:
        """Make room for another array."""
        self.nbytes = max(self.nbytes, member.reservation.nbytes)
        self.members.append(member)
        for first, last in member.spans:
            place = bisect_right(self._spans, (first, last))
            self._spans.insert(place, (first, last))
            self._users.insert(place, member)

    def admits(self, working: WorkingArray) -> bool:
        """Whether no moment needs both another array and this one, but where one may be written over the other."""
        for first, last in working.spans:
            for place in reversed(range(bisect_left(self._spans, (last + 1, 0)))):
                (other_first, other_last), other = self._spans[place], self._users[place]
                if other_last < first:
                    break
                comes_over = working.over is other and first == other_last
                goes_under = other.over is working and last == other_first
                if not (comes_over or goes_under):
                    return False
        return True

    def size(self, batch: int) -> int:
        """Bytes for a batch."""
        return max(member.reservation.size(batch) for member in self.members)

    def view(self, reservation: Reservation, batch: int) -> Array:
        """The memory as one of the arrays, with any content."""
        needed = self.nbytes * (batch if reservation.per_example else 1)
        if self.memory.nbytes < needed:
            memory = np.empty(needed + CACHE_LINE, np.uint8)
            start = -memory.ctypes.data % CACHE_LINE
            self.memory = memory[start : start + needed]
        shape = reservation.full_shape(batch)
        used = math.prod(shape) * reservation.dtype.itemsize
        return self.memory[:used].view(reservation.dtype).reshape(shape)


class WorkingArray:
    """One working array of a plan: what is reserved, when it is in use, and where it lies.

    Attributes
    ----------
    owner, name : str
        The pass that writes it, and how that calls it.
    reservation : Reservation
    spans : list of list of int
        First and last moment of each time that its content is needed, in the order of a step.
    over : WorkingArray or None
        The array that it may be written over, at its first moment.
    block : Block
    """

    __slots__ = ("batch", "block", "memory", "name", "over", "owner", "reservation", "spans", "view")

    def __init__(self, owner: str, name: str, reservation: Reservation) -> None:
        self.owner, self.name, self.reservation = owner, name, reservation
        self.spans: list[list[int]] = []
        self.over: WorkingArray | None = None
        self.block = Block()
        # Where it lay in the last step, and for how many examples.
        self.memory: Array | None = None
        self.view: Array | None = None
        self.batch = 0

    def begin(self, moment: int) -> None:
        """It is written, and its content before is not needed."""
        self.spans.append([moment, moment])

    def use(self, moment: int) -> None:
        """It is read."""
        self.spans[-1][1] = max(self.spans[-1][1], moment)


class Arrays:
    """Fresh memory for each array that is asked for: what a user receives is theirs."""

    def take(self, working: WorkingArray, batch: int) -> Array:
        """A working array for this batch, with any content."""
        return np.empty(working.reservation.full_shape(batch), working.reservation.dtype)

    def watch(self, run: Run, owner: str, moment: int, shape: Shape | None) -> Run:
        """What stands for a pass's function, where it is checked: called at a moment, it may give arrays of `shape`."""
        return run


def keep_freed_memory() -> None:
    """Have the C library keep memory that is let go for the next array, instead of giving it back to the system.

    To get it again, page by page and each filled with zeros, takes as long as the arithmetic of a small network. The
    GNU library keeps what is no larger than the largest array that was let go before, of at most 32 MiB (mallopt(3),
    "Dynamic mmap threshold"): this is one, which is never written to and so takes no memory.
    """
    with suppress(MemoryError):
        np.empty(LARGEST_KEPT, np.uint8)


class KeptArrays(Arrays):
    """Arrays that are kept from step to step, in the blocks that a plan has given them; no array may reach a user.

    Fresh memory costs more than the arithmetic of a small network.
    """

    def take(self, working: WorkingArray, batch: int) -> Array:
        """A working array for this batch, with any content."""
        if working.batch != batch or working.memory is not working.block.memory or working.view is None:
            working.view = working.block.view(working.reservation, batch)
            working.memory, working.batch = working.block.memory, batch
        return working.view


class CheckedArrays(KeptArrays):
    """Kept arrays for tests: what must not be relied on is NaN, and shapes and lifetimes are watched.

    An array is spoilt when it is taken, and once the plan says that nobody reads it any more. To take one while
    another in its block is in use is an error, and so is a pass that gives an array of another shape than it says.
    """

    def __init__(self) -> None:
        self._now, self._batch = 0, 0
        self._holders: dict[int, WorkingArray] = {}

    def watch(self, run: Run, owner: str, moment: int, shape: Shape | None) -> Run:
        """The function, with the clock set before it and the shape checked after it."""

        def watched(array: Array, *rest: Any) -> Any:
            self._advance(moment, len(array))
            result = run(array, *rest)
            if result is not None and shape is not None and result.shape != (len(array), *shape):
                raise AssertionError(f"{owner}: expected an array of {(len(array), *shape)}, got {result.shape}")
            return result

        return watched

    def _advance(self, moment: int, batch: int) -> None:
        """Spoil what is not read any more; a moment before the last one begins another step."""
        ended = self._holders.values() if moment < self._now else self._read_before(moment)
        for working in list(ended):
            _spoil(super().take(working, working.batch))
            del self._holders[id(working.block)]
        self._now, self._batch = moment, batch

    def _read_before(self, moment: int) -> list[WorkingArray]:
        return [working for working in self._holders.values() if _last_use(working, moment) < moment]

    def take(self, working: WorkingArray, batch: int) -> Array:
        """A working array for this batch, full of NaN."""
        if working.reservation.per_example and batch != self._batch:
            raise AssertionError(f"{working.owner}: {working.name}: for {batch} examples in a step on {self._batch}")
        moment = min(first for first, _ in working.spans if first >= self._now)
        holder = self._holders.get(id(working.block))
        array = super().take(working, batch)
        if holder is None or _last_use(holder, moment) < moment:
            _spoil(array)
        elif working.over is not holder:
            raise AssertionError(
                f"{working.owner}: {working.name} is taken at moment {moment}, where {holder.name} of {holder.owner} "
                "is in use"
            )
        self._holders[id(working.block)] = working
        return array


def _last_use(working: WorkingArray, moment: int) -> int:
    """The last moment of the spans that have begun."""
    return max(last for first, last in working.spans if first <= moment)


def _spoil(array: Array) -> None:
    array[...] = np.nan if array.dtype.kind == "f" else 0x5A
