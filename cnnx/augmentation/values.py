"""Changes of the pixels' values: brightness, contrast and noise.

    brightness    x' = x + b
    contrast      x' = m + a (x - m)        m the mean of each channel of the image
    noise         x' = x + e                e drawn for each value

Values are not clipped: what their range is, only the data knows.
"""

from __future__ import annotations

import numpy as np

from cnnx._typing import Array
from cnnx.augmentation.base import Augmentation, ImageAugmentation, check_floats
from cnnx.checks.arguments import check_between


class Brightness(ImageAugmentation):
    """Add a random number to each image.

    Parameters
    ----------
    strength : float
        The largest number, 0 or more, in the units of the pixels; those from ``-strength`` to ``strength`` are alike
        probable.

    Raises
    ------
    TypeError, ValueError
        If `strength` is not as above.

    Notes
    -----
    Howard, "Some Improvements on Deep Convolutional Neural Network Based Image Classification", arXiv 1312.5402, 2013,
    section 2.2.
    """

    def __init__(self, strength: float) -> None:
        self.strength = check_between(strength, f"{self.name}: strength", 0)

    def augment(self, X: Array, rng: np.random.Generator) -> Array:
        """(batch, height, width, channels) to the same shape."""
        b = rng.uniform(-self.strength, self.strength, (len(X), 1, 1, 1))
        return np.add(X, b, dtype=X.dtype)


class Contrast(ImageAugmentation):
    """Stretch or shrink each image's differences from the mean of each channel by a random factor.

    Parameters
    ----------
    strength : float
        From 0 to 1; factors from ``1 - strength`` to ``1 + strength`` are alike probable.

    Raises
    ------
    TypeError, ValueError
        If `strength` is not as above.

    Notes
    -----
    Howard, "Some Improvements on Deep Convolutional Neural Network Based Image Classification", arXiv 1312.5402, 2013,
    section 2.2.
    """

    def __init__(self, strength: float) -> None:
        self.strength = check_between(strength, f"{self.name}: strength", 0, 1)

    def augment(self, X: Array, rng: np.random.Generator) -> Array:
        """(batch, height, width, channels) to the same shape."""
        a = rng.uniform(1 - self.strength, 1 + self.strength, (len(X), 1, 1, 1)).astype(X.dtype)
        m = X.mean(axis=1, keepdims=True).mean(axis=2, keepdims=True)  # long rows first: much faster than both at once
        out: Array = X - m
        out *= a
        out += m
        return out


class Noise(Augmentation):
    """Add normally distributed noise to each value; also for examples that are not images.

    Parameters
    ----------
    deviation : float
        Standard deviation of the noise, 0 or more, in the units of the values.

    Raises
    ------
    TypeError, ValueError
        If `deviation` is not as above.

    Notes
    -----
    Bishop, "Training with Noise is Equivalent to Tikhonov Regularization", Neural Computation 7(1), 1995.
    """

    def __init__(self, deviation: float) -> None:
        self.deviation = check_between(deviation, f"{self.name}: deviation", 0)

    def __call__(self, X: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """(batch, ...) to the same shape, and the labels that were given."""
        X = check_floats(X, self.name)
        out: Array = rng.standard_normal(X.shape, X.dtype.type)
        out *= X.dtype.type(self.deviation)
        out += X
        return out, y
