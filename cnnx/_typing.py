"""Names for the types that many files use."""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    Array: TypeAlias = NDArray[Any]
    Seed: TypeAlias = int | np.random.Generator | None
else:
    # numpy.typing and numpy.random take a third of the time of importing NumPy, and only type checkers need them here.
    Array, DTypeLike, Seed = np.ndarray, Any, Any

Pair: TypeAlias = tuple[int, int]
Prepared: TypeAlias = dict[int, bytearray]
Shape: TypeAlias = tuple[int, ...]
Window: TypeAlias = tuple[Pair, Pair, Pair]  # stride, padding and dilation
PooledWindow: TypeAlias = tuple[Pair, Pair, Pair, Pair]  # stride, padding, size of what is pooled, and of its windows

__all__ = ["Array", "DTypeLike", "Pair", "PooledWindow", "Prepared", "Seed", "Shape", "Window"]
