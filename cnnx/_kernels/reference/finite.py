"""Whether an array has nothing but finite numbers."""

import numpy as np

from cnnx._typing import Array


def all_finite(x: Array) -> bool:
    """Whether no element is NaN or infinite."""
    return bool(np.isfinite(x).all())
