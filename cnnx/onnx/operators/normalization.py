"""Normalization: batch, layer, instance and group; and layer normalization where it is written as its formula."""

from __future__ import annotations

import math

import numpy as np

from cnnx._typing import Array
from cnnx.layers import BatchNormLayer, GroupNormLayer, LayerNormLayer
from cnnx.onnx.graph import Node
from cnnx.onnx.layout import covers, length, lengths
from cnnx.onnx.network import Signal
from cnnx.onnx.walk import Meaning, Operator, Statistic, Walk


def _for_channels(walk: Walk, node: Node, signal: Signal, position: int) -> Array:
    """A constant (channels,) of the axis behind the batch, in cnnx's order."""
    values = walk.constant(node, position)
    if not signal.layout or values.shape != (length(signal.layout[0]),):
        raise ValueError(f"input {node.inputs[position]!r}: expected a number for each channel, got {values.shape}")
    spread = walk.network.per_channel(signal, values.reshape(-1, *[1] * (len(signal.layout) - 1)))
    if spread is None:
        raise ValueError("expected the channels as the axis behind the batch")
    return spread


def batch_normalization(walk: Walk, node: Node) -> Meaning:
    """By the running averages of the file."""
    if node.integer("training_mode", 0) != 0:
        raise ValueError("training_mode: expected 0, got a graph for training")
    node.require("spatial", 1)
    momentum, epsilon = node.number("momentum", 0.9), node.number("epsilon", 1e-5)
    signal = walk.signal(node, 0)
    if signal.layout and not covers(signal.layout[:1], signal.shape[-1]):
        signal = walk.network.flattened(signal)
    gamma, beta, mean, variance = (_for_channels(walk, node, signal, position) for position in range(1, 5))
    if not (variance >= 0).all():
        raise ValueError("expected variances of 0 or more")
    layer = BatchNormLayer(momentum if 0 <= momentum < 1 else 0.9, epsilon)
    params = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    return walk.network.append(signal, layer, params, signal.layout)


def layer_normalization(walk: Walk, node: Node) -> Meaning:
    """Over the channels of each position, or over all values of a vector."""
    signal, axis = walk.signal(node, 0), node.integer("axis", -1)
    node.require("stash_type", 1)
    epsilon = node.number("epsilon", 1e-5)
    over = signal.layout[walk.axis(axis, signal.layout) :]
    if not covers(over, signal.shape[-1]):
        signal = walk.network.flattened(signal)
    if not covers(over, signal.shape[-1]):
        raise ValueError("cnnx normalizes the channels of each position, or vectors as a whole")
    gamma = walk.network.per_channel(signal, walk.constant(node, 1))
    beta = walk.network.per_channel(signal, walk.constant(node, 2)) if node.has(2) else _filled(walk, signal, 0.0)
    if gamma is None or beta is None:
        raise ValueError("expected scale and shift for each channel")
    return walk.network.append(signal, LayerNormLayer(epsilon), {"gamma": gamma, "beta": beta}, signal.layout)


def instance_normalization(walk: Walk, node: Node) -> Meaning:
    """Over all positions of each channel; of each group of channels, if these stand as channels."""
    signal, epsilon = walk.signal(node, 0), node.number("epsilon", 1e-5)
    if not signal.layout:
        raise ValueError("expected examples with channels")
    return _by_groups(walk, node, signal, length(signal.layout[0]), epsilon)


def group_normalization(walk: Walk, node: Node) -> Meaning:
    """Over groups of channels; scale and shift are for each channel, but in opset 18 to 20 for each group."""
    node.require("stash_type", 1)
    return _by_groups(walk, node, walk.signal(node, 0), node.integer("num_groups", 1), node.number("epsilon", 1e-5))


def _by_groups(walk: Walk, node: Node, signal: Signal, groups: int, epsilon: float) -> Meaning:
    channels = signal.shape[-1]
    if groups < 1:
        raise ValueError(f"expected 1 group or more, got {groups}")
    first = signal.layout[0] if signal.layout else ()
    cut = ((groups, channels // groups),) if groups > 1 and not channels % groups else ()
    # The axis behind the batch is that of the channels, or of the groups.
    if channels % groups or first not in (cut, ((channels, 1),) if channels > 1 else ()):
        raise ValueError(f"expected {groups} groups of {channels} neighbouring channels as the axis behind the batch")
    gamma, beta = (_for_each_channel(walk, walk.constant(node, position), groups, channels) for position in (1, 2))
    return walk.network.append(signal, GroupNormLayer(groups, epsilon), {"gamma": gamma, "beta": beta}, signal.layout)


def _for_each_channel(walk: Walk, values: Array, groups: int, channels: int) -> Array:
    if values.shape not in ((groups,), (channels,)):
        raise ValueError(f"expected scale and shift for {groups} groups or {channels} channels, got {values.shape}")
    walk.network.take(channels)
    return values if values.shape == (channels,) else np.repeat(values, channels // groups)


def _filled(walk: Walk, signal: Signal, value: float) -> Array:
    walk.network.take(signal.shape[-1])
    return np.full(signal.shape[-1], value)


# -- Layer normalization as its formula ------------------------------------------------------------------

# (x - mean) / sqrt(mean of (x - mean)^2 + epsilon): what comes of two parts, or of a part and a constant.
FORMULA = {
    ("Sub", "x", "mean"): "centered",
    ("Mul", "centered", "centered"): "square",
    ("Sqrt", "variance", "variance"): "deviation",
    ("Div", "centered", "deviation"): "normalized",
}


def mean(walk: Walk, node: Node, signal: Signal | Statistic, axes: list[int]) -> Statistic:
    """The mean of the channels of each position, or of the squares of their differences from that."""
    kind, signal = ("x", signal) if isinstance(signal, Signal) else (signal.kind, signal.signal)
    if {"x": "mean", "square": "variance"}.get(kind) is None or node.integer("keepdims", 1) != 1:
        raise ValueError("cnnx has no layer for this mean")
    over = [signal.layout[walk.axis(axis, signal.layout)] for axis in axes]
    if not covers(over, signal.shape[-1]):
        raise ValueError(f"axes: expected rows and columns, or the channels, got {axes} of {lengths(signal.layout)}")
    return Statistic("mean" if kind == "x" else "variance", signal)


def statistic(operator: str, one: Meaning, other: Meaning) -> Meaning:
    """The next part of the formula."""
    parts = [Statistic("x", part) if isinstance(part, Signal) else part for part in (one, other)]
    first, second = parts
    if operator == "Add" and isinstance(first, np.ndarray):
        first, second = second, first
    if (
        isinstance(first, Statistic)
        and isinstance(second, np.ndarray)
        and (operator, first.kind) == ("Add", "variance")
    ):
        if second.size != 1 or not math.isfinite(epsilon := float(second.reshape(-1)[0])):
            raise ValueError("expected one number to add to a variance")
        return first._replace(epsilon=first.epsilon + epsilon)
    if isinstance(first, Statistic) and isinstance(second, Statistic) and first.signal.step == second.signal.step:
        kind = FORMULA.get((operator, first.kind, second.kind))
        same = first.signal.layout == second.signal.layout and first.signal.line is second.signal.line is None
        if kind is not None and same:
            return Statistic(kind, first.signal, max(first.epsilon, second.epsilon))
    raise ValueError("cnnx has no layer for this formula with a mean")


def normalized(walk: Walk, part: Statistic) -> Signal:
    """The formula's end is a layer."""
    signal = part.signal
    gamma, beta = _filled(walk, signal, 1.0), _filled(walk, signal, 0.0)
    return walk.network.append(signal, LayerNormLayer(part.epsilon), {"gamma": gamma, "beta": beta}, signal.layout)


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": batch_normalization,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LayerNormalization": layer_normalization,
}
