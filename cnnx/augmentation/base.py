"""What every step of augmentation has in common, and how several of them are applied to a batch.

All random numbers come from the generator that a step is given, so that a batch depends on its seed alone: not on
the thread that prepares it, nor on the batches before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from cnnx._typing import Array

AnyStep = Callable[[Array, Array, "np.random.Generator"], tuple[Array, Array]]


class Step:
    """A step of augmentation; a subclass implements `__call__` and `config`."""

    @property
    def name(self) -> str:
        """How errors call this step."""
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
            If the examples are not such arrays, or too small for this step.
        """
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values."""
        raise NotImplementedError

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config().items())
        return f"{self.name}({arguments})"


class ImageStep(Step):
    """A step that changes images (batch, height, width, channels) and no labels; a subclass implements `augment`."""

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


def check_steps(steps: Any) -> tuple[AnyStep, ...]:
    """Check a list of steps before it is used.

    Parameters
    ----------
    steps : sequence of callables
        `Step` objects, or functions called as ``step(X, y, rng)``.

    Returns
    -------
    tuple of callables

    Raises
    ------
    TypeError
        If it is something else.
    """
    if callable(steps) or not isinstance(steps, Iterable):
        raise TypeError(f"augment: expected a list of steps such as [Flip(), RandomCrop(4)], got {steps!r}")
    checked = tuple(steps)
    for step in checked:
        if isinstance(step, type) or not callable(step):
            raise TypeError(f"augment: expected steps such as Flip() or functions of (X, y, rng), got {step!r}")
    return checked


def apply(
    steps: Iterable[AnyStep], X: Array, y: Array, seed: int | np.random.SeedSequence | None
) -> tuple[Array, Array]:
    """Apply several steps to a batch, one after the other.

    Parameters
    ----------
    steps : sequence of callables
        `Step` objects, or functions called as ``step(X, y, rng)``. Rotations and scalings that follow each other are
        done in one resampling, which blurs less than one for each.
    X : ndarray of shape (batch, ...)
        Examples, float32 or float64.
    y : ndarray of shape (batch, ...)
        Labels.
    seed : int, numpy.random.SeedSequence or None
        The batch's own seed: the result depends on it and on the arguments alone.

    Returns
    -------
    X, y : ndarray
        The changed examples, of the same shape and dtype, and their labels. What was given is left as it was.

    Raises
    ------
    TypeError, ValueError
        If the examples or labels do not suit a step, or a step returns anything but as many examples of the same
        shape and dtype.
    """
    from cnnx.augmentation.affine import join_samplings

    rng = np.random.default_rng(seed)
    X, y = check_floats(X, "augment"), np.asarray(y)
    if y.ndim == 0 or len(X) != len(y):
        raise ValueError(f"augment: expected a label for each of {len(X)} examples, got labels of shape {y.shape}")
    for step in join_samplings(check_steps(steps)):
        result = step(X, y, rng)
        if not (isinstance(result, tuple) and len(result) == 2):
            raise TypeError(f"augment: expected {step!r} to return (X, y), got {type(result).__name__}")
        X = _check_result(result[0], X, step)
        y = np.asarray(result[1])
        if y.ndim == 0 or len(y) != len(X):
            raise ValueError(f"augment: {step!r} returned labels of shape {y.shape} for {len(X)} examples")
    return X, y


def _check_result(changed: Any, X: Array, step: AnyStep) -> Array:
    """Examples of the same shape and dtype as before the step, C-contiguous."""
    if not isinstance(changed, np.ndarray) or (changed.shape, changed.dtype) != (X.shape, X.dtype):
        got = f"{changed.dtype} of shape {changed.shape}" if isinstance(changed, np.ndarray) else type(changed).__name__
        raise ValueError(f"augment: expected {step!r} to return {X.dtype} of shape {X.shape}, got {got}")
    return np.require(changed, requirements=["C", "A"])
