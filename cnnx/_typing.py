"""Names for the types that many files use."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]
Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]
Seed: TypeAlias = int | np.random.Generator | None

__all__ = ["Array", "DTypeLike", "Pair", "Seed", "Shape"]
