"""What white is in pictures as arrays."""

import numpy as np

from cnnx._typing import Array

BYTE = 255.0
# Any picture has a pixel that is neither below 0 nor as dark as this, of 255.
DARK = 16.0
# Examples that are enough to see it.
LOOKED_AT = 64


def pixel_max(X: Array) -> float | None:
    """The value of a white pixel, as far as examples show it.

    Parameters
    ----------
    X : ndarray of shape (examples, height, width, channels)
        Some examples.

    Returns
    -------
    float or None
        255 for bytes, and for other numbers from 0 to 255 some of which are above 16; 1 for numbers from 0 to 1; None
        for all others, and for examples that are no pictures.
    """
    if X.ndim != 4 or not X.size:
        return None
    if X.dtype == np.uint8:
        return BYTE
    low, high = float(X.min()), float(X.max())
    if low < 0:
        return None
    if high <= 1:
        return 1.0
    return BYTE if DARK < high <= BYTE else None
