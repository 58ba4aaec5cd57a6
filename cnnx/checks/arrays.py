"""Checks of arrays that users hand in, made once at the door; messages say what was expected and what came."""

import math
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from cnnx._typing import Array, DTypeLike, Shape

# Where NaN may be let through.
ALLOW_NAN = ", or give allow_nan=True"
# Numbers whose sum of squares tells sooner that they are finite, as long as it is; more would start threads of BLAS.
FEW = 8192


def check_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """float32 or float64."""
    try:
        checked = np.dtype(object if dtype is None else dtype)  # NumPy's own None is float64
    except (TypeError, ValueError, SyntaxError):
        checked = np.dtype(object)
    if checked not in (np.float32, np.float64):
        raise ValueError(f"dtype: expected float32 or float64, got {dtype!r}")
    return checked


def check_numbers(x: Any, name: str) -> Array:
    """An array of real numbers: objects, strings, dates, complex numbers and masked values are refused."""
    ma = sys.modules.get("numpy.ma")  # who has a masked array has imported it; that takes milliseconds
    if ma is not None and isinstance(x, ma.MaskedArray) and (masked := int(np.sum(x.mask))):
        raise ValueError(
            f"{name}: expected a number everywhere, got {masked} masked values; give X.filled(value) or leave these "
            "examples out"
        )
    try:
        array: Array = np.asarray(x)
    except ValueError as error:  # nested lists of different lengths
        raise ValueError(f"{name}: expected an array of numbers: {error}") from None
    if array.dtype.kind == "O" and hasattr(x, "dtypes"):
        array = _table_of_numbers(x, array)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected an array of numbers, got dtype {array.dtype}")
    return array


def _table_of_numbers(table: Any, as_objects: Array) -> Array:
    """A pandas table or column whose types are all numbers, but mixed or with missing values, which become NaN."""
    dtypes = table.dtypes if isinstance(table.dtypes, Iterable) else [table.dtypes]
    kinds = {getattr(dtype, "kind", "O") for dtype in dtypes}
    if not kinds <= set("fiub"):
        return as_objects
    if "f" in kinds or table.isna().to_numpy().any():
        floats: Array = table.to_numpy(dtype=np.float64, na_value=np.nan)
        return floats
    integers: Array = table.to_numpy(dtype=np.int64)
    return integers


def is_finite(array: Array) -> bool:
    """Whether there is no NaN and no infinite value."""
    if array.size <= FEW and array.dtype.kind == "f" and math.isfinite(np.vdot(array, array)):
        return True
    return bool(np.isfinite(array).all())


def check_finite(array: Array, name: str, first: int = 0, instead: str = "") -> None:
    """No NaN and no infinite value in the examples from number `first` on; what there is `instead` of replacing it."""
    if not is_finite(array):
        place = np.unravel_index(int(np.isfinite(array).argmin()), array.shape)
        index = first + int(place[0]), *map(int, place[1:])
        raise ValueError(f"{name}: expected finite numbers, got {array[place]} at index {index}; replace it{instead}")


def check_batch(x: Any, shape: Shape, dtype: np.dtype[Any], name: str) -> Array:
    """A batch of examples of `shape`, as an aligned C-contiguous array of `dtype`; copied only if it must be."""
    if type(x) is np.ndarray and x.dtype is dtype and x.shape[1:] == shape and x.flags.carray:
        return x
    array = check_numbers(x, name)
    check_shape(array, shape, name)
    return np.require(array, dtype, ["C", "A"])


def check_shape(array: Array, shape: Shape, name: str) -> None:
    """A batch of examples of `shape`."""
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
        hint = ""
        if array.shape == shape:
            hint = "; X[np.newaxis] makes a batch of one example"
        elif (*array.shape[1:], 1) == shape:
            hint = "; X[..., np.newaxis] adds the axis of channels"
        expected = f"(batch, {', '.join(str(n) for n in shape)})"
        raise ValueError(f"{name}: expected shape {expected}, got {array.shape}{hint}")


def check_labels(y: Any, classes: int, name: str) -> Array:
    """Integer labels (batch,) from 0 to classes - 1, or target probabilities (batch, classes)."""
    labels = check_numbers(y, f"{name}: labels")
    if labels.ndim == 2 and labels.shape[1] == classes and classes > 1:
        return _check_targets(labels, name)
    if labels.ndim != 1:
        hint = "; y.ravel() flattens a column of labels" if labels.ndim == 2 and labels.shape[1] == 1 else ""
        raise ValueError(
            f"{name}: labels: expected integers of shape (batch,) or one-hot rows of shape (batch, {classes}), "
            f"got shape {labels.shape}{hint}"
        )
    if labels.dtype.kind == "f":
        if np.isnan(labels).any():
            raise ValueError(f"{name}: labels: expected integers, got NaN at index {int(np.isnan(labels).argmax())}")
        raise TypeError(f"{name}: labels: expected integers, got dtype {labels.dtype}; y.astype(int) converts them")
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        where = int(wrong.argmax())
        raise ValueError(
            f"{name}: labels: expected 0 to {classes - 1} for {classes} classes, got {labels[where]} at index {where}"
        )
    return labels.astype(np.intp, copy=False)


def _check_targets(targets: Array, name: str) -> Array:
    """Rows of probabilities."""
    wrong = ~((targets >= 0).all(axis=1) & (np.abs(targets.sum(axis=1) - 1) <= 1e-4))
    if wrong.any():
        where = int(wrong.argmax())
        raise ValueError(
            f"{name}: labels: expected one-hot rows (not negative, with sum 1), got {targets[where]} at index {where}"
        )
    return targets


def check_same_length(X: Array, y: Array) -> None:
    """One label for each example, and at least one example."""
    for name, array in (("X", X), ("y", y)):
        if array.ndim == 0:
            raise ValueError(f"{name}: expected an array with an axis of examples, got a single number")
    if len(X) != len(y):
        raise ValueError(f"X and y: expected the same number of examples, got {len(X)} and {len(y)}")
    if len(X) == 0:
        raise ValueError("X: expected at least one example, got none")
