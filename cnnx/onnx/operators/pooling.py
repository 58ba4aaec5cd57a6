"""Pooling: windows, and whole images."""

from __future__ import annotations

from typing import Literal

from cnnx._typing import Pair
from cnnx.layers import CroppingLayer, GlobalPoolLayer, PaddingLayer, PoolLayer
from cnnx.onnx.graph import Node
from cnnx.onnx.layout import covers
from cnnx.onnx.network import Signal
from cnnx.onnx.operators.normalization import mean
from cnnx.onnx.operators.windows import Pads, read_pads, same_pads
from cnnx.onnx.walk import Meaning, Operator, Statistic, Walk

Mode = Literal["max", "average"]


def max_pool(walk: Walk, node: Node) -> Meaning:
    """Max pooling; padding is never the largest pixel."""
    node.integer("storage_order", 0)
    if len(node.outputs) > 1 and walk.graph.uses.get(node.outputs[1]):
        raise ValueError("cnnx gives the largest pixels, and not their places")
    return _pool(walk, node, "max", False)


def average_pool(walk: Walk, node: Node) -> Meaning:
    """Average pooling; padding counts if `count_include_pad` says so."""
    return _pool(walk, node, "average", node.integer("count_include_pad", 0) != 0)


def _pool(walk: Walk, node: Node, mode: Mode, counted: bool) -> Signal:
    signal = walk.signal(node, 0)
    signal.check_image()
    if "kernel_shape" not in node.attributes:
        raise ValueError("kernel_shape: expected the size of the windows")
    size, stride = node.pair("kernel_shape", 1), node.pair("strides", 1)
    if node.pair("dilations", 1) != (1, 1):
        raise ValueError("dilations: cnnx pools windows without holes")
    image = (signal.shape[0], signal.shape[1])
    pads = read_pads(node, image, size, stride)
    if node.integer("ceil_mode", 0):
        _check_ceil(image, size, stride, pads)
    if counted and pads != ((0, 0), (0, 0)):
        signal, pads = walk.network.append_image(signal, PaddingLayer(pads)), ((0, 0), (0, 0))
    return _windows(walk, signal, (size, stride), pads, mode)


def _check_ceil(image: Pair, size: Pair, stride: Pair, pads: Pads) -> None:
    for n, f, s, (before, after) in zip(image, size, stride, pads, strict=True):
        if (n + before + after - f) % s:
            raise ValueError("ceil_mode: cnnx has no windows that reach beyond the padding, and here some would")


def _windows(walk: Walk, signal: Signal, window: tuple[Pair, Pair], pads: Pads, mode: Mode) -> Signal:
    """Pooling with padding of the same width on both sides, and without the positions that only come of that."""
    size, stride = window
    image = (signal.shape[0], signal.shape[1])
    (top, bottom), (left, right) = pads
    if (top, left) != (bottom, right) and pads == same_pads(image, size, stride):
        return walk.network.append_image(signal, PoolLayer(size, stride, mode, "same"))
    padding, cropping = [], []
    for n, f, s, (before, after) in zip(image, size, stride, pads, strict=True):
        wider = before + max(0, -(-(after - before) // s)) * s
        positions = [(n + b + a - f) // s + 1 for b, a in ((before, after), (wider, wider))]
        first = (wider - before) // s
        padding.append(wider)
        cropping.append((first, positions[1] - positions[0] - first))
    signal = walk.network.append_image(signal, PoolLayer(size, stride, mode, padding))
    if cropping == [(0, 0), (0, 0)]:
        return signal
    return walk.network.append_image(signal, CroppingLayer(cropping))


def global_pool(mode: Mode) -> Operator:
    """The operator that makes a pixel of each channel."""

    def operator(walk: Walk, node: Node) -> Meaning:
        signal = walk.signal(node, 0)
        signal.check_image()
        after = walk.network.append(signal, GlobalPoolLayer(mode))
        return after._replace(layout=(*after.layout, (), ()))

    return operator


def reduction(mode: Mode) -> Operator:
    """The operator that takes the mean or the largest along axes: of an image those of rows and columns."""

    def operator(walk: Walk, node: Node) -> Meaning:
        axes, keep = walk.integers(node, "axes", 1), node.integer("keepdims", 1) != 0
        node.require("noop_with_empty_axes", 0)
        part = walk.meaning(node, 0)
        if isinstance(part, Statistic) and mode == "average" and axes:
            return mean(walk, node, part, axes)
        signal = walk.signal(node, 0)
        gone = {walk.axis(axis, signal.layout) for axis in axes or range(len(signal.layout) + 1)}
        left = [() if place in gone else axis for place, axis in enumerate(signal.layout)]
        if len(signal.shape) == 3 and covers(left, signal.shape[2]) and sum(map(bool, left)) <= 1:
            after = walk.network.append(signal, GlobalPoolLayer(mode))
            return after._replace(layout=tuple(axis for i, axis in enumerate(left) if keep or i not in gone))
        if mode == "max" or not axes:
            raise ValueError(f"axes: expected rows and columns of images, got {axes}")
        return mean(walk, node, signal, axes)

    return operator


OPERATORS: dict[str, Operator] = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_pool("average"),
    "GlobalMaxPool": global_pool("max"),
    "MaxPool": max_pool,
    "ReduceMax": reduction("max"),
    "ReduceMean": reduction("average"),
}
