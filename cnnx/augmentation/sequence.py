"""Several augmentations, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cnnx._typing import Array
from cnnx.augmentation.affine import join_samplings
from cnnx.augmentation.base import AnyAugmentation, check_floats


def check_augmentations(augment: Any) -> tuple[AnyAugmentation, ...]:
    """Check a list of augmentations before it is used.

    Parameters
    ----------
    augment : sequence of callables
        `Augmentation` objects, or functions called as ``augmentation(X, y, rng)``.

    Returns
    -------
    tuple of callables

    Raises
    ------
    TypeError
        If it is something else.
    """
    if callable(augment) or not isinstance(augment, Iterable):
        raise TypeError(f"augment: expected a list of augmentations such as [Flip(), RandomCrop(4)], got {augment!r}")
    checked = tuple(augment)
    for each in checked:
        if isinstance(each, type) or not callable(each):
            raise TypeError(f"augment: expected augmentations such as Flip() or functions of (X, y, rng), got {each!r}")
    return checked


def apply(
    augmentations: Iterable[AnyAugmentation], X: Array, y: Array, seed: int | np.random.SeedSequence | None
) -> tuple[Array, Array]:
    """Apply several augmentations to a batch, one after the other.

    Parameters
    ----------
    augmentations : sequence of callables
        `Augmentation` objects, or functions called as ``augmentation(X, y, rng)``. Rotations and scalings that follow
        each other are done in one resampling, which blurs less than one for each.
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
        If the examples or labels do not suit an augmentation, or one returns anything but as many examples of the same
        shape and dtype.
    """
    rng = np.random.default_rng(seed)
    X, y = check_floats(X, "augment"), np.asarray(y)
    if y.ndim == 0 or len(X) != len(y):
        raise ValueError(f"augment: expected a label for each of {len(X)} examples, got labels of shape {y.shape}")
    for augmentation in join_samplings(check_augmentations(augmentations)):
        result = augmentation(X, y, rng)
        if not (isinstance(result, tuple) and len(result) == 2):
            raise TypeError(f"augment: expected {augmentation!r} to return (X, y), got {type(result).__name__}")
        X = _check_result(result[0], X, augmentation)
        y = np.asarray(result[1])
        if y.ndim == 0 or len(y) != len(X):
            raise ValueError(f"augment: {augmentation!r} returned labels of shape {y.shape} for {len(X)} examples")
    return X, y


def _check_result(changed: Any, X: Array, augmentation: AnyAugmentation) -> Array:
    """Examples of the same shape and dtype as before the augmentation, C-contiguous."""
    if not isinstance(changed, np.ndarray) or (changed.shape, changed.dtype) != (X.shape, X.dtype):
        got = f"{changed.dtype} of shape {changed.shape}" if isinstance(changed, np.ndarray) else type(changed).__name__
        raise ValueError(f"augment: expected {augmentation!r} to return {X.dtype} of shape {X.shape}, got {got}")
    return np.require(changed, requirements=["C", "A"])
