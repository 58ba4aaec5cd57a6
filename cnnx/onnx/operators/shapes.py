"""Operators that give the same values another shape: no layer, but another layout; and those that change nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnx._typing import Array
from cnnx.layers import DropoutLayer
from cnnx.onnx.graph import Node
from cnnx.onnx.layout import Axis, Layout, lengths, reshaped
from cnnx.onnx.network import Signal
from cnnx.onnx.tensors import KINDS, MOST_AXES
from cnnx.onnx.walk import BATCH, Meaning, Operator, Walk

FLOATS, INTEGERS = (1, 11), (6, 7)


def identity(walk: Walk, node: Node) -> Meaning:
    """The value itself."""
    return walk.meaning(node, 0)


def cast(walk: Walk, node: Node) -> Meaning:
    """Examples stay what they are, in the model's dtype; constants change theirs."""
    meaning, to = walk.meaning(node, 0), node.integer("to", 0)
    node.integer("saturate", 1)
    node.text("round_mode", "up")
    if isinstance(meaning, np.ndarray) and to in FLOATS + INTEGERS:
        if meaning.dtype.kind == "f" and to in INTEGERS:
            raise ValueError("expected a constant that keeps its values, got numbers made whole")
        kept = meaning.dtype.kind == "i" and to in INTEGERS  # of a row with BATCH in it
        walk.network.take(0 if kept else meaning.size)
        return meaning if kept else meaning.astype(KINDS[to].dtype)
    if to not in FLOATS:
        raise ValueError(f"expected examples in float32 or float64, got the type {to}")
    return meaning


def transpose(walk: Walk, node: Node) -> Meaning:
    """The axes in another order; the batch stays first."""
    meaning = walk.meaning(node, 0)
    if isinstance(meaning, np.ndarray):
        order = node.integers("perm") or list(range(meaning.ndim))[::-1]
        _check_order(order, meaning.ndim)
        return meaning.transpose(order)
    signal = walk.signal(node, 0)
    order = node.integers("perm") or list(range(len(signal.layout) + 1))[::-1]
    _check_order(order, len(signal.layout) + 1)
    if order[0] != 0:
        raise ValueError(f"perm: expected the batch to stay first, got {order}")
    return signal._replace(layout=tuple(signal.layout[axis - 1] for axis in order[1:]))


def _check_order(order: Sequence[int], axes: int) -> None:
    if sorted(order) != list(range(axes)):
        raise ValueError(f"perm: expected an order of {axes} axes, got {list(order)!s:.60}")


def reshape(walk: Walk, node: Node) -> Meaning:
    """Another shape, in C order."""
    if node.attribute("shape") is not None:
        raise ValueError("shape: expected it as an input")
    sizes, meaning = walk.sizes(node, 1), walk.meaning(node, 0)
    literal = node.integer("allowzero", 0) != 0
    if isinstance(meaning, np.ndarray):
        return _reshaped_constant(meaning, sizes, literal)
    signal = walk.signal(node, 0)
    return _seen_as(walk, signal, reshaped(signal.layout, _example_sizes(walk, signal, sizes, literal)))


def _seen_as(walk: Walk, signal: Signal, layout: Layout) -> Signal:
    """The signal with other axes; where ONNX has vectors, cnnx does."""
    signal = signal._replace(layout=layout)
    return walk.network.flattened(signal) if len(layout) == 1 else signal


def _reshaped_constant(values: Array, sizes: list[int], literal: bool) -> Array:
    if not literal:
        sizes = [values.shape[i] if size == 0 and i < values.ndim else size for i, size in enumerate(sizes)]
    if len(sizes) > MOST_AXES or any(size < -1 for size in sizes):
        raise ValueError(f"expected up to {MOST_AXES} sizes, got {sizes!s:.60}")
    return values.reshape(sizes)


def _example_sizes(walk: Walk, signal: Signal, sizes: list[int], literal: bool) -> list[int]:
    """The sizes of an example, of those that a Reshape is given: 0 is the old size, -1 what is left."""
    before = [BATCH, *lengths(signal.layout)]
    if not 0 < len(sizes) <= MOST_AXES:
        raise ValueError(f"expected up to {MOST_AXES} sizes, got {len(sizes)}")
    if not literal:
        sizes = [before[i] if size == 0 and i < len(before) else size for i, size in enumerate(sizes)]
    total, (first, *rest) = math.prod(before[1:]), sizes
    if first == -1 and -1 not in rest:
        first = BATCH  # as many examples as the rest leaves, if that is all of an example, as is checked below
    if first not in (BATCH, walk.batch) or any(size < -1 or size == 0 for size in rest) or rest.count(-1) > 1:
        raise ValueError(f"expected a shape with the batch first, got {[*sizes]!s:.90}")
    known = math.prod(size for size in rest if size != -1)
    if -1 in rest and total % known:
        raise ValueError(f"an example of shape {tuple(before[1:])} cannot have the shape {rest}")
    return [total // known if size == -1 else size for size in rest]


def flatten(walk: Walk, node: Node) -> Meaning:
    """A vector of each example."""
    signal, axis = walk.signal(node, 0), node.integer("axis", 1)
    axes = len(signal.layout) + 1
    axis = axis + axes if axis < 0 else axis
    sizes = lengths(signal.layout)
    if not 1 <= axis <= axes or math.prod(sizes[: axis - 1]) > 1:
        raise ValueError(f"axis: expected 1, for a vector of each example, got {axis}")
    return _seen_as(walk, signal, reshaped(signal.layout, [math.prod(sizes)]))


def squeeze(walk: Walk, node: Node) -> Meaning:
    """Without axes of one element."""
    meaning, axes = walk.meaning(node, 0), walk.integers(node, "axes", 1)
    if isinstance(meaning, np.ndarray):
        return meaning.squeeze(None if axes is None else tuple(axes))
    signal = walk.signal(node, 0)
    if axes is None:
        raise ValueError("axes: expected them, for a batch may be of one example")
    gone = {walk.axis(axis, signal.layout) for axis in axes}
    if any(signal.layout[axis] for axis in gone):
        raise ValueError(f"axes: expected axes of one element, got {axes} of {lengths(signal.layout)}")
    return _seen_as(walk, signal, tuple(axis for i, axis in enumerate(signal.layout) if i not in gone))


def unsqueeze(walk: Walk, node: Node) -> Meaning:
    """With more axes of one element."""
    meaning, axes = walk.meaning(node, 0), walk.integers(node, "axes", 1)
    if not axes or len(axes) > MOST_AXES:
        raise ValueError(f"axes: expected 1 to {MOST_AXES}, got {axes!s:.60}")
    if isinstance(meaning, np.ndarray):
        return np.expand_dims(meaning, tuple(axes))
    signal = walk.signal(node, 0)
    count = len(signal.layout) + 1 + len(axes)
    places = {axis + count if axis < 0 else axis for axis in axes}
    if len(places) < len(axes) or not all(0 < place < count for place in places) or count > MOST_AXES:
        raise ValueError(f"axes: expected different ones behind the batch, got {axes}")
    left = iter(signal.layout)
    one: Axis = ()
    return signal._replace(layout=tuple(one if place in places else next(left) for place in range(1, count)))


def dropout(walk: Walk, node: Node) -> Meaning:
    """A DropoutLayer: in inference the value itself."""
    rate = node.number("ratio", 0.5) if walk.opset < 12 else walk.scalar(node, 1, 0.5)
    node.integer("seed", 0)
    if node.has(2) and walk.constant(node, 2).any():
        raise ValueError("it drops values in inference")
    signal = walk.signal(node, 0)
    return walk.network.append(signal, DropoutLayer(rate)) if 0 < rate < 1 else signal


OPERATORS: dict[str, Operator] = {
    "Cast": cast,
    "Dropout": dropout,
    "Flatten": flatten,
    "Identity": identity,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
