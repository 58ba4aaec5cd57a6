"""Objects that are made of a few arguments and can say which."""

from typing import Any


class Configured:
    """An object that keeps its constructor's arguments under their own names."""

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, in its order."""
        from inspect import signature

        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def config(self) -> dict[str, Any]:
        """What makes the same again, as plain JSON values."""
        return self.arguments()

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments().items())
        return f"{type(self).__name__}({arguments})"
