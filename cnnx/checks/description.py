"""Checks of what a model says of its data: the names of its classes, and the value of a white pixel."""

from collections.abc import Iterable
from typing import Any

from cnnx.checks.arguments import check_positive

# Of characters; a name is shown in tables.
LONGEST_NAME = 1000


def check_class_names(names: Any, where: str) -> tuple[str, ...] | None:
    """Names of classes, all different, or None."""
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{where}: expected a name for each class, got {names!r}")
    checked = tuple(names)
    for name in checked:
        if not isinstance(name, str):
            raise TypeError(f"{where}: expected strings, got {name!r}")
        if not 0 < len(name) <= LONGEST_NAME:
            raise ValueError(f"{where}: expected names of 1 to {LONGEST_NAME} characters, got one of {len(name)}")
    if len(set(checked)) < len(checked):
        raise ValueError(f"{where}: expected different names, got {checked[:10]}")
    return tuple(map(str, checked))


def check_pixel_max(value: Any, where: str) -> float | None:
    """A finite number above 0, or None."""
    return None if value is None else check_positive(value, where)
