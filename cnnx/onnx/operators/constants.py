"""Constants, and the arithmetic of shapes: what depends on no example, worked out here."""

from __future__ import annotations

import math

import numpy as np

from cnnx._typing import Array
from cnnx.onnx.graph import Node
from cnnx.onnx.layout import lengths
from cnnx.onnx.network import Signal
from cnnx.onnx.tensors import decode
from cnnx.onnx.walk import BATCH, Curve, Meaning, Operator, Walk

# Values of a row that says a shape.
LONGEST = 64


def constant(walk: Walk, node: Node) -> Meaning:
    """The value of an attribute; a tensor or numbers."""
    tensor = node.attribute("value")
    if tensor is not None:
        if not hasattr(tensor, "raw_data"):
            raise ValueError("value: expected a tensor")
        return decode(tensor, node.outputs[0])
    for name, dtype in (("value_float", "f4"), ("value_floats", "f4"), ("value_int", "i8"), ("value_ints", "i8")):
        value = node.attribute(name)
        if value is not None:
            if isinstance(value, tuple | str):
                raise ValueError(f"{name}: expected numbers")
            return np.array(value, dtype)
    raise ValueError("expected a tensor or numbers")


def shape(walk: Walk, node: Node) -> Meaning:
    """The shape of an input, with `BATCH` for the number of examples."""
    meaning = walk.meaning(node, 0)
    if isinstance(meaning, np.ndarray):
        sizes = list(meaning.shape)
    else:
        signal = meaning.signal if isinstance(meaning, Curve) else meaning
        if not isinstance(signal, Signal):
            raise ValueError("expected the shape of examples or of weights")
        sizes = [BATCH, *lengths(signal.layout)]
    first, last = node.integer("start", 0), node.integer("end", len(sizes))
    return np.array(sizes[first:last], np.int64)


def gather(walk: Walk, node: Node) -> Meaning:
    """Some values of a row."""
    row, axis = _row(walk, node), node.integer("axis", 0)
    index = walk.constant(node, 1)
    if axis not in (0, -1) or index.dtype.kind != "i" or index.size > LONGEST:
        raise ValueError("cnnx has no layer that takes a part of a value")
    if not ((-len(row) <= index) & (index < len(row))).all():
        raise ValueError(f"expected positions in a row of {len(row)} values, got {index.tolist()}")
    return row[index]


def concat(walk: Walk, node: Node) -> Meaning:
    """Rows behind each other."""
    rows = [_row(walk, node, position) for position in range(len(node.inputs))]
    if node.integer("axis", 0) not in (0, -1) or sum(map(len, rows)) > LONGEST:
        raise ValueError("expected short rows that say a shape")
    return np.concatenate(rows)


def cut(walk: Walk, node: Node) -> Meaning:
    """A part of a small constant: Slice."""
    values = walk.meaning(node, 0)
    if not isinstance(values, np.ndarray) or values.size > LONGEST:
        raise ValueError("expected a part of a row that says a shape")
    for start, end, axis, step in zip(*slice_limits(walk, node), strict=True):
        if not -values.ndim <= axis < values.ndim or step == 0:
            raise ValueError(f"expected steps other than 0 along {values.ndim} axes, got {step} along {axis}")
        index = [slice(None)] * values.ndim
        index[axis] = slice(start, end, step)
        values = values[tuple(index)]
    return values


def filled(walk: Walk, node: Node) -> Meaning:
    """A small constant of one value: ConstantOfShape."""
    sizes, tensor = walk.sizes(node, 0), node.attribute("value")
    if any(size < 0 for size in sizes) or math.prod(sizes) > LONGEST or len(sizes) > LONGEST:
        raise ValueError(f"expected at most {LONGEST} values, got the shape {sizes!s:.60}")
    if tensor is not None and not hasattr(tensor, "raw_data"):
        raise ValueError("value: expected a tensor")
    value = np.zeros(1, np.float32) if tensor is None else decode(tensor, node.outputs[0])
    if value.size != 1:
        raise ValueError(f"value: expected one, got shape {value.shape}")
    return np.full(sizes, value.reshape(-1)[0])


def slice_limits(walk: Walk, node: Node) -> tuple[list[int], list[int], list[int], list[int]]:
    """Starts, ends, axes and steps of a Slice."""
    starts, ends = walk.integers(node, "starts", 1), walk.integers(node, "ends", 2)
    if starts is None or ends is None:
        raise ValueError("expected starts and ends")
    axes = walk.integers(node, "axes", 3) or list(range(len(starts)))
    steps = whole if (whole := walk.integers(node, "steps", 4)) is not None else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ValueError(f"expected as many starts, ends, axes and steps, got {starts}, {ends}, {axes} and {steps}")
    return starts, ends, axes, steps


def arithmetic(walk: Walk, node: Node, one: Array, other: Array) -> Array:
    """An operator between constants, which makes no more values than there are."""
    if any(array.dtype.kind == "i" and (array == BATCH).any() for array in (one, other)):
        raise ValueError("cnnx's batches may be of any length")
    spread = np.broadcast_shapes(one.shape, other.shape)
    if math.prod(spread) > max(one.size, other.size) or len(spread) > LONGEST:
        raise ValueError("expected constants of one shape")
    walk.network.take(max(one.size, other.size))
    with np.errstate(all="ignore"):
        match node.operator:
            case "Add" | "Sum":
                return one + other
            case "Sub":
                return one - other
            case "Mul":
                return one * other
            case "Div" if one.dtype.kind == "f" and other.dtype.kind == "f":
                return one / other
            case "Div" if (other != 0).all():
                return one // other
    raise ValueError("expected a value that depends on the input, got two constants")


def _row(walk: Walk, node: Node, position: int = 0) -> Array:
    meaning = walk.meaning(node, position)
    if isinstance(meaning, np.ndarray) and meaning.ndim == 1 and meaning.size <= LONGEST:
        return meaning
    raise ValueError("cnnx has no layer that takes a part of a value")


OPERATORS: dict[str, Operator] = {"Constant": constant, "ConstantOfShape": filled, "Shape": shape, "Gather": gather}
