"""How networks end: softmax, and what converters put behind it."""

from __future__ import annotations

import numpy as np

from cnnx.layers import SoftmaxLayer
from cnnx.layers.loss import SigmoidLayer
from cnnx.onnx.curves import line
from cnnx.onnx.graph import Node
from cnnx.onnx.network import Signal
from cnnx.onnx.operators import constants
from cnnx.onnx.walk import BothClasses, Curve, Meaning, Operator, Walk


def softmax(walk: Walk, node: Node) -> Meaning:
    """A SoftmaxLayer over all values of an example; of the logarithm, too, for training takes that itself.

    Before opset 13 the axes from `axis` on are one, and since then it is `axis` alone.
    """
    signal = walk.signal(node, 0)
    place = walk.axis(node.integer("axis", 1 if walk.opset < 13 else -1), signal.layout)
    taken = range(place, len(signal.layout)) if walk.opset < 13 else [place]
    if any(axis for index, axis in enumerate(signal.layout) if index not in taken):
        raise ValueError("cnnx has softmax over all values of an example")
    signal = walk.network.flattened(signal)
    return walk.network.append(signal, SoftmaxLayer(), layout=signal.layout)


def concat(walk: Walk, node: Node) -> Meaning:
    """Rows that say a shape; or the probabilities 1 - p and p of two classes."""
    parts = [walk.meaning(node, position) for position in range(len(node.inputs))]
    if all(isinstance(part, np.ndarray) for part in parts):
        return constants.concat(walk, node)
    if len(parts) == 2 and node.integer("axis", 1) in (1, -1) and _complete(walk, *parts):
        return BothClasses(walk.signal(node, 1))
    raise ValueError("cnnx has no layer that puts values beside each other yet (concatenation)")


def _complete(walk: Walk, other: Meaning, one: Meaning) -> bool:
    """Whether one is the sigmoid of a value, and the other what is missing to 1."""
    return (
        isinstance(one, Signal)
        and isinstance(other, Curve)
        and other.signal.step == one.step
        and one.shape == (1,)
        and isinstance(walk.network.layer(one), SigmoidLayer)
        and line(other.values) == (-1.0, 1.0)
    )


def scaler(walk: Walk, node: Node) -> Meaning:
    """skl2onnx's StandardScaler: (x - offset) * scale."""
    offset, scale = (node.attribute(name) for name in ("offset", "scale"))
    for values in (offset, scale):
        if not isinstance(values, list) or not values or not all(type(value) is float for value in values):
            raise ValueError("expected numbers as offset and scale")
    signal = walk.network.scaled(walk.signal(node, 0), None, -np.array(offset))
    signal = signal and walk.network.scaled(signal, np.array(scale), None)
    if signal is None:
        raise ValueError("cnnx scales as the first layer alone, with a number for each feature")
    return signal


def zip_map(walk: Walk, node: Node) -> Meaning:
    """skl2onnx's way to name the probabilities."""
    texts, numbers = node.attribute("classlabels_strings"), node.attribute("classlabels_int64s")
    labels = texts or numbers
    if not isinstance(labels, list):
        raise ValueError("expected labels of classes")
    if labels != list(range(len(labels))):
        walk.class_names = tuple(map(str, labels))
    return walk.meaning(node, 0)


OPERATORS: dict[str, Operator] = {"Concat": concat, "LogSoftmax": softmax, "Softmax": softmax}
ML_OPERATORS: dict[str, Operator] = {"Scaler": scaler, "ZipMap": zip_map}
