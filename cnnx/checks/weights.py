"""Checks of the weights of examples."""

from typing import Any

import numpy as np

from cnnx._typing import Array, DTypeLike
from cnnx.checks.arrays import check_numbers


def check_one_each(weights: Any, examples: int, name: str) -> Array:
    """A number for each example."""
    checked = check_numbers(weights, name)
    if checked.shape != (examples,):
        raise ValueError(f"{name}: expected shape ({examples},), got {checked.shape}")
    return checked


def check_weights(weights: Any, examples: int, name: str, dtype: DTypeLike | None = None) -> Array:
    """A finite number that is not negative for each example, converted if a `dtype` is given."""
    checked = check_one_each(weights, examples, name)
    if dtype is not None:
        checked = checked.astype(dtype)
    wrong = ~(np.isfinite(checked) & (checked >= 0))
    if wrong.any():
        where = int(wrong.argmax())
        raise ValueError(f"{name}: expected finite numbers of 0 or more, got {checked[where]} at index {where}")
    return checked
