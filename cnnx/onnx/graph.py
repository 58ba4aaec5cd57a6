"""An ONNX graph as plain Python values, once its file has been checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from cnnx._typing import Array


@dataclass
class Node:
    """One operator: what it takes and gives, by name, and its attributes, each of which has to be asked for."""

    index: int
    name: str
    domain: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    asked: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"node {repr(self.name) if self.name else self.index} ({self.operator})"

    def has(self, position: int) -> bool:
        """Whether there is an input at this position; optional ones may be left out, or have no name."""
        return position < len(self.inputs) and bool(self.inputs[position])

    def attribute(self, name: str) -> Any:
        """An attribute as it is, or None."""
        self.asked.add(name)
        return self.attributes.get(name)

    def integer(self, name: str, default: int) -> int:
        """An attribute that is a whole number."""
        value = self.attribute(name)
        return default if value is None else self._checked(name, value, int)

    def number(self, name: str, default: float) -> float:
        """An attribute that is a finite number."""
        value = self.attribute(name)
        number: float = default if value is None else self._checked(name, value, float)
        if not math.isfinite(number):
            raise ValueError(f"{name}: expected a finite number, got {number}")
        return number

    def text(self, name: str, default: str) -> str:
        """An attribute that is text."""
        value = self.attribute(name)
        return default if value is None else self._checked(name, value, str)

    def integers(self, name: str, count: int | None = None) -> list[int] | None:
        """An attribute that is a list of whole numbers, or None."""
        value = self.attribute(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(type(each) is int for each in value):
            raise ValueError(f"{name}: expected whole numbers, got {value!r:.60}")
        if count is not None and len(value) != count:
            raise ValueError(f"{name}: expected {count} whole numbers, got {value!r:.60}")
        return value

    def pair(self, name: str, default: int) -> tuple[int, int]:
        """An attribute with a number of 1 or more for rows and one for columns."""
        rows, columns = self.integers(name, 2) or (default, default)
        if min(rows, columns) < 1:
            raise ValueError(f"{name}: expected numbers of 1 or more, got {[rows, columns]}")
        return rows, columns

    def require(self, name: str, expected: int) -> None:
        """An attribute that may be left out, but have no other value than one."""
        if self.integer(name, expected) != expected:
            raise ValueError(f"{name}: expected {expected}, got {self.integer(name, expected)}")

    def check_all_asked(self) -> None:
        """An attribute that nobody looked at might say that something else is to be computed."""
        if unknown := self.attributes.keys() - self.asked:
            raise ValueError(f"attribute {min(unknown)!r}: not known in this place")

    def _checked(self, name: str, value: Any, kind: type) -> Any:
        if type(value) is not kind:
            raise ValueError(f"{name}: expected {kind.__name__}, got {value!r:.60}")
        return value


class Value(NamedTuple):
    """An input or output of a graph: its name, the number of its type, and its shape, None where it is not told."""

    name: str
    type: int
    shape: tuple[int | None, ...] | None


@dataclass
class Graph:
    """Nodes in an order in which each finds what it takes, and all that is known beforehand."""

    nodes: list[Node]
    constants: Mapping[str, Array]
    input: Value
    outputs: list[Value]
    opset: int
    metadata: dict[str, str]
    producer: str
    size: int  # of the file, in bytes
    uses: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.nodes:
            for name in node.inputs:
                self.uses[name] = self.uses.get(name, 0) + 1
        for output in self.outputs:
            self.uses[output.name] = self.uses.get(output.name, 0) + 1

    def needed(self, output: str) -> list[Node]:
        """The nodes that an output depends on, in order."""
        wanted, nodes = {output}, []
        for node in reversed(self.nodes):
            if wanted.intersection(filter(None, node.outputs)):
                wanted.update(node.inputs)
                nodes.append(node)
        return nodes[::-1]


def whole_numbers(array: Array, name: str) -> list[int]:
    """The values of a constant that says sizes, axes or positions."""
    if array.ndim > 1 or array.dtype.kind != "i":
        raise ValueError(f"{name}: expected a row of whole numbers, got {array.dtype} of shape {array.shape}")
    return [int(value) for value in np.atleast_1d(array)]
