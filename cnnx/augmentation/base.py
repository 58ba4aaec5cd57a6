"""What all augmentations have in common.

All random numbers come from the generator that an augmentation is given, so that a batch depends on its seed alone:
not on the thread that prepares it, nor on the batches before it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnx._configured import Configured
from cnnx._typing import Array

AnyAugmentation = Callable[[Array, Array, "np.random.Generator"], tuple[Array, Array]]


class Augmentation(Configured):
    """A random change of a batch's examples; a subclass implements `__call__`."""

    @property
    def name(self) -> str:
        """How errors call this augmentation."""
        return type(self).__name__

    def __call__(self, X: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Change the examples of a batch at random.

        Parameters
        ----------
        X : ndarray of shape (batch, ...)
            Examples, float32 or float64; they are left as they are.
        y : ndarray of shape (batch, ...)
            Labels; they are left as they are.
        rng : numpy.random.Generator

        Returns
        -------
        X, y : ndarray
            The changed examples, in a new array of the same shape and dtype, and their labels.

        Raises
        ------
        TypeError, ValueError
            If the examples are not such arrays, or too small for this augmentation.
        """
        raise NotImplementedError


class ImageAugmentation(Augmentation):
    """A random change of images (batch, height, width, channels), and of no labels; a subclass implements `augment`."""

    def __call__(self, X: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """New images, and the labels that were given."""
        return self.augment(check_images(X, self.name), rng), y

    def augment(self, X: Array, rng: np.random.Generator) -> Array:
        """New images of the same shape and dtype; `X` is C-contiguous."""
        raise NotImplementedError


def check_floats(X: Array, name: str) -> Array:
    """A batch of float32 or float64, as a C-contiguous array; copied only if it must be."""
    if not isinstance(X, np.ndarray) or X.dtype not in (np.float32, np.float64):
        got = f"dtype {X.dtype}" if isinstance(X, np.ndarray) else type(X).__name__
        raise TypeError(f"{name}: expected an array of float32 or float64, got {got}")
    if X.ndim == 0:
        raise ValueError(f"{name}: expected an array with an axis of examples, got a single number")
    return np.require(X, requirements=["C", "A"])


def check_images(X: Array, name: str) -> Array:
    """The same, of shape (batch, height, width, channels)."""
    X = check_floats(X, name)
    if X.ndim != 4:
        hint = "; X[..., np.newaxis] adds the axis of channels" if X.ndim == 3 else ""
        raise ValueError(f"{name}: expected images of shape (batch, height, width, channels), got {X.shape}{hint}")
    return X
