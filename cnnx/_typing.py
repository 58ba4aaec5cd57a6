"""Names for the types that many files use."""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    Array: TypeAlias = NDArray[Any]
else:
    # numpy.typing takes a tenth of the time of importing NumPy, and only type checkers need it.
    Array, DTypeLike = np.ndarray, Any

Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]
Seed: TypeAlias = int | np.random.Generator | None

__all__ = ["Array", "DTypeLike", "Pair", "Seed", "Shape"]
