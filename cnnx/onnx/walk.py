"""The walk through a graph, node by node: what each name stands for, and the network that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.files.tensors import reason
from cnnx.onnx.curves import POINTS, describe, line, recognise
from cnnx.onnx.graph import Graph, Node, whole_numbers
from cnnx.onnx.layout import Layout, lengths
from cnnx.onnx.network import Network, Signal

# In a shape that is a constant, this stands for the number of examples in a batch.
BATCH = -(2**40)


class Curve(NamedTuple):
    """A function of each value of a signal: its values at the points of `curves`, and the last node that it is of."""

    signal: Signal
    values: Array
    node: Node | None = None


class Statistic(NamedTuple):
    """A part of the formula of layer normalization: what it is, of which signal."""

    kind: str
    signal: Signal
    epsilon: float = 0.0


class BothClasses(NamedTuple):
    """The probabilities of two classes, made of that of the second."""

    signal: Signal


Meaning: TypeAlias = "Signal | Curve | Statistic | BothClasses | Array"
Operator: TypeAlias = "Callable[[Walk, Node], Meaning]"


class NodeError(ValueError):
    """What cannot be read, and the number of the node that it lies in."""

    def __init__(self, reason: str, index: int) -> None:
        super().__init__(reason)
        self.index = index


def _kept(meaning: Meaning, node: Node) -> Meaning:
    """What a node gives, as later ones find it."""
    if isinstance(meaning, np.generic):  # NumPy's arrays without axes
        return np.asarray(meaning)
    return meaning._replace(node=node) if isinstance(meaning, Curve) else meaning


class Walk:
    """A walk with one idea of how the input's axes lie in cnnx's array.

    Attributes
    ----------
    opset : int
        The version of the standard operators.
    batch : int or None
        The number of examples in a batch, where the graph fixes it.
    network : Network
        What has been made so far.
    class_names : tuple of str or None
        Names of the classes, where an operator has them.
    """

    def __init__(self, graph: Graph, shape: Shape, layout: Layout, dtype: np.dtype[Any]) -> None:
        self.graph, self.opset = graph, graph.opset
        self.batch = graph.input.shape[0] if graph.input.shape else None
        self.network = Network(shape, dtype, graph.size)
        self.class_names: tuple[str, ...] | None = None
        self.meanings: dict[str, Meaning] = {graph.input.name: Signal(0, shape, layout)}

    def run(self, output: str, operators: Mapping[tuple[str, str], Operator]) -> Signal:
        """Walk to an output, which must be a signal.

        Raises
        ------
        NodeError
            If a node cannot be read, or there is no such output.
        """
        for node in self.graph.needed(output):
            self.network.where = str(node)
            try:
                operator = operators.get((node.domain, node.operator))
                if operator is None:
                    raise ValueError("cnnx has no layer for this operator")
                meaning = operator(self, node)
                node.check_all_asked()
                self.meanings[node.outputs[0]] = _kept(meaning, node)
                if output in node.outputs[1:] or not node.outputs[0]:
                    raise ValueError("cnnx has its first output alone")
            except NodeError:
                raise
            except (ValueError, TypeError, ArithmeticError, LookupError) as error:
                raise NodeError(f"{node}: {reason(error)}", node.index) from None
        if output not in self.meanings:
            raise NodeError(f"output {output!r}: no node gives it", len(self.graph.nodes))
        try:
            return self._settled(output, self.meanings[output], ends=True)
        except NodeError:
            raise
        except ValueError as error:
            raise NodeError(f"output {output!r}: {error}", len(self.graph.nodes)) from None

    # -- What a node takes ---------------------------------------------------------------------------

    def meaning(self, node: Node, position: int) -> Meaning:
        """What an input stands for."""
        if not node.has(position):
            raise ValueError(f"expected {position + 1} inputs or more, got {len(node.inputs)}")
        name = node.inputs[position]
        if name in self.meanings:
            meaning = self.meanings[name]
            if isinstance(meaning, Signal | Curve) and self.graph.uses[name] > 1:
                signal = meaning if isinstance(meaning, Signal) else meaning.signal
                signal = signal._replace(sole=False)
                return signal if isinstance(meaning, Signal) else meaning._replace(signal=signal)
            return meaning
        if name in self.graph.constants:
            return self.graph.constants[name]
        raise ValueError(f"input {name!r}: no node before this one gives it, as its first output")

    def signal(self, node: Node, position: int) -> Signal:
        """An input that depends on the graph's; a function of one becomes a layer now."""
        meaning = self.meaning(node, position)
        if isinstance(meaning, np.ndarray):
            raise ValueError(f"input {node.inputs[position]!r}: expected what depends on the input, got weights")
        signal = self._settled(node.inputs[position], meaning)
        return signal._replace(sole=False) if self.graph.uses[node.inputs[position]] > 1 else signal

    def constant(self, node: Node, position: int) -> Array:
        """An input that does not depend on the graph's, such as weights."""
        meaning = self.meaning(node, position)
        if not isinstance(meaning, np.ndarray):
            raise ValueError(f"input {node.inputs[position]!r}: expected weights, got what depends on the input")
        if meaning.dtype.kind == "i" and (meaning == BATCH).any():
            raise ValueError(f"input {node.inputs[position]!r}: cnnx's batches may be of any length")
        return meaning

    def sizes(self, node: Node, position: int) -> list[int]:
        """A constant that says sizes, where `BATCH` stands for the batch's."""
        meaning = self.meaning(node, position)
        if not isinstance(meaning, np.ndarray):
            raise ValueError(f"input {node.inputs[position]!r}: expected a constant, got a value of each example")
        return whole_numbers(meaning, node.inputs[position])

    def integers(self, node: Node, name: str, position: int) -> list[int] | None:
        """Whole numbers that are an attribute in older opsets, and an input in newer ones; None without any."""
        given = node.integers(name)
        if given is not None or not node.has(position):
            return given
        return whole_numbers(self.constant(node, position), name)

    def scalar(self, node: Node, position: int, default: float) -> float:
        """A constant of one value, which may be left out."""
        if not node.has(position):
            return default
        values = self.constant(node, position)
        if values.size != 1:
            raise ValueError(f"input {node.inputs[position]!r}: expected one value, got shape {values.shape}")
        return float(values.reshape(-1)[0])

    def curve(self, node: Node, position: int) -> Curve:
        """An input as a function; one that is a layer already becomes one, for what follows is another."""
        meaning = self.meaning(node, position)
        if isinstance(meaning, Curve) and recognise(meaning.values) is None:
            return meaning
        return self.start(self.signal(node, position))

    def start(self, signal: Signal) -> Curve:
        """The function that leaves each value as it is."""
        return Curve(signal, POINTS)

    # -- Functions that become layers ----------------------------------------------------------------

    def settle(self, name: str, curve: Curve) -> Signal:
        """The signal that a name stands for, of which the function becomes a layer."""
        make, node, where = recognise(curve.values), curve.node, self.network.where
        try:
            self.network.where = str(node) if node else where
            if make is not None:
                signal = self.network.append(curve.signal, make(), layout=curve.signal.layout)
            else:
                signal = self._line(curve)
        except ValueError as error:
            # The node that takes the function is not to blame.
            raise NodeError(f"{node}: {error}", node.index) if node else error from None
        self.network.where = where
        self.meanings[name] = signal
        return signal

    def _line(self, curve: Curve) -> Signal:
        found = line(curve.values)
        if found == (1.0, 0.0):
            return curve.signal
        if found is None:
            raise ValueError(f"cnnx has no layer for {describe(curve.values)}")
        scale, shift = (np.array(value) for value in found)
        scaled = self.network.scaled(curve.signal, scale, shift)
        return scaled or self.line(curve.signal, scale, shift)

    def line(self, signal: Signal, scale: Array | None, shift: Array | None) -> Signal:
        """The signal times `scale` plus `shift`, constants of ONNX, as a step of its own."""
        signal_after = self.network.lined(signal, scale, shift)
        if signal_after is None:
            raise ValueError("cnnx has no layer that computes with such a constant")
        return signal_after

    def _settled(self, name: str, meaning: Meaning, ends: bool = False) -> Signal:
        if isinstance(meaning, Curve):
            return self.settle(name, meaning)
        if isinstance(meaning, BothClasses) and ends:
            return meaning.signal
        if not isinstance(meaning, Signal):
            kind = "a part of a formula" if isinstance(meaning, Statistic | BothClasses) else "a constant"
            raise ValueError(f"input {name!r}: expected examples, got {kind} that cnnx has no layer for")
        return meaning

    # -- What nodes have in common -------------------------------------------------------------------

    def axis(self, axis: int, layout: Layout) -> int:
        """The position in a layout of an axis of ONNX, which counts the batch."""
        axes = len(layout) + 1
        if not -axes <= axis < axes or axis % axes == 0:
            raise ValueError(f"axis {axis}: expected one of examples of shape {lengths(layout)}, behind the batch")
        return axis % axes - 1
