"""Objects that are made of a few arguments and can say which."""

from typing import Any

import numpy as np


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
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments().items())
        return f"{type(self).__name__}({arguments})"


def plain(value: Any) -> Any:
    """Tuples and arrays as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [plain(each) for each in value] if isinstance(value, tuple | list) else value
