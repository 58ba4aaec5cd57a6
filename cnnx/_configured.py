"""Objects that are made of a few arguments and can say which."""

from collections.abc import Iterable
from textwrap import indent
from typing import Any

import numpy as np

INDENTED = "    "


class Configured:
    """An object that keeps its constructor's arguments under their own names."""

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, in its order, as far as they are kept."""
        from inspect import signature

        return {name: getattr(self, name) for name in signature(type(self)).parameters if hasattr(self, name)}

    def config(self) -> dict[str, Any]:
        """What makes the same again, as plain JSON values."""
        return self.arguments()

    def __repr__(self) -> str:
        """A call that makes the same again; what the constructor takes by default is left out."""
        from inspect import signature

        defaults = {name: parameter.default for name, parameter in signature(type(self)).parameters.items()}
        values = [(name, repr(value)) for name, value in self.arguments().items()]
        # Windows are kept as pairs, whose default is a number for both.
        given = [f"{name}={v}" for name, v in values if v not in (f"{(d := defaults[name])!r}", f"{[d, d]!r}")]
        return f"{type(self).__name__}({', '.join(given)})"


def call(name: str, arguments: Iterable[str]) -> str:
    """The text of a call with each argument on a line of its own, for `__repr__`."""
    lines = "".join(indent(f"{argument},", INDENTED) + "\n" for argument in arguments)
    return f"{name}(\n{lines})"


def plain(value: Any) -> Any:
    """Tuples and arrays as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [plain(each) for each in value] if isinstance(value, tuple | list) else value
