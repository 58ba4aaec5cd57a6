"""Checks of numbers and objects that users hand in: messages say what was expected and what came."""

import math
import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any, TypeVar

import numpy as np

Kind = TypeVar("Kind")


def check_count(value: Any, name: str, least: int = 1) -> int:
    """An integer, `least` or more."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if isinstance(value, bool) or count < least:
        raise ValueError(f"{name}: expected {least} or more, got {value!r}")
    return count


def is_integer(value: object) -> bool:
    """Whether it is a whole number, of Python or of NumPy; True and False are none."""
    try:
        operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return not isinstance(value, bool)


def listed(value: Any) -> Any:
    """An array of NumPy as the numbers in it, or lists of them; anything else as it is."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def _check_number(value: Any, name: str) -> float:
    # The commonest type first: the rest takes longer than a step of a small optimizer.
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, Real | np.number)):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    return float(value)


def check_between(value: Any, name: str, low: float, high: float = math.inf) -> float:
    """A finite number from `low` to `high`, both included."""
    number = _check_number(value, name)
    if not (math.isfinite(number) and low <= number <= high):
        span = f"a finite number of {low:g} or more" if high == math.inf else f"a number from {low:g} to {high:g}"
        raise ValueError(f"{name}: expected {span}, got {value!r}")
    return number


def check_not_negative(value: Any, name: str) -> float:
    """A finite number, 0 or more."""
    return check_between(value, name, 0)


def check_positive(value: Any, name: str) -> float:
    """A finite number above zero."""
    number = _check_number(value, name)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name}: expected a finite number above 0, got {value!r}")
    return number


def check_share(value: Any, name: str) -> float:
    """A number from 0 up to but not including 1."""
    share = _check_number(value, name)
    if not 0 <= share < 1:
        raise ValueError(f"{name}: expected a number from 0 up to but not including 1, got {value!r}")
    return share


def check_instances(values: Any, kind: type[Kind], name: str) -> tuple[Kind, ...]:
    """A sequence of objects of one class."""
    if type(values) is tuple and not values:
        return ()
    if isinstance(values, kind) or not isinstance(values, Iterable):
        raise TypeError(f"{name}: expected a list of {kind.__name__}s, got {values!r}")
    checked = tuple(values)
    for value in checked:
        if not isinstance(value, kind):
            made = "; it must be made with its arguments" if isinstance(value, type) else ""
            raise TypeError(f"{name}: expected a {kind.__name__}, got {value!r}{made}")
    return checked
