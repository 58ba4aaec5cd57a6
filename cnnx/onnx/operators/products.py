"""Weights: dense layers, convolutions and transposed convolutions."""

from __future__ import annotations

import numpy as np

from cnnx._typing import Array, Pair
from cnnx.checks.geometry import Padding
from cnnx.layers import (
    ConvolutionLayer,
    CroppingLayer,
    DenseLayer,
    DepthwiseConvolutionLayer,
    PaddingLayer,
    TransposedConvolutionLayer,
)
from cnnx.onnx.graph import Node
from cnnx.onnx.layout import length, positions, rows
from cnnx.onnx.network import Signal
from cnnx.onnx.operators.windows import Pads, kernel_size, read_pads, same_pads
from cnnx.onnx.walk import Meaning, Operator, Walk


def _weights(walk: Walk, node: Node, position: int, axes: int) -> Array:
    values = walk.constant(node, position)
    if values.ndim != axes or values.dtype.kind != "f" or not values.size:
        raise ValueError(
            f"input {node.inputs[position]!r}: expected numbers along {axes} axes, got {values.dtype} of shape "
            f"{values.shape}"
        )
    return values


def _biases(walk: Walk, node: Node, position: int, filters: int) -> Array:
    walk.network.take(filters)
    if not node.has(position):
        return np.zeros(filters)
    values = _weights(walk, node, position, 1)
    if values.shape != (filters,):
        raise ValueError(f"input {node.inputs[position]!r}: expected {filters} numbers, got shape {values.shape}")
    return values


# -- Dense -----------------------------------------------------------------------------------------------


def _dense(walk: Walk, signal: Signal, W: Array, b: Array) -> Signal:
    """Weights (inputs, units), whose rows are put into the order that cnnx has the inputs in."""
    sizes = [axis for axis in signal.layout if axis]
    features = signal.layout[-1] if signal.layout else ()
    if len(sizes) > 1 or length(features) != len(W) or (sizes and sizes[0] != features):
        raise ValueError(f"expected examples of shape ({len(W)},), got {tuple(map(length, signal.layout))}")
    walk.network.take(2 * W.size)
    ordered = np.empty(W.shape, W.dtype)
    ordered[positions(features)] = W
    if signal.line is not None:
        (scale, shift), signal = signal.line, signal._replace(line=None)
        b = b + shift @ ordered
        ordered = ordered * scale[:, None]
    signal = walk.network.flattened(signal)
    after = walk.network.append(signal, DenseLayer(units=W.shape[1]), {"W": ordered, "b": b})
    ones = ((),)
    return after._replace(layout=ones * (len(signal.layout) - 1) + after.layout)


def gemm(walk: Walk, node: Node) -> Meaning:
    """alpha x W + beta b."""
    signal, W = walk.signal(node, 0), _weights(walk, node, 1, 2)
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    node.require("transA", 0)
    if node.integer("transB", 0):
        W = W.T
    walk.network.take(W.size)
    W = W * alpha
    b = walk.constant(node, 2) * beta if node.has(2) else np.zeros(1)
    if b.dtype.kind != "f" or b.shape not in ((), (1,), (1, 1), (W.shape[1],), (1, W.shape[1])):
        raise ValueError(f"expected {W.shape[1]} biases, got {b.dtype} of shape {b.shape}")
    return _dense(walk, signal, W, np.broadcast_to(b.reshape(-1), W.shape[1:]))


def matmul(walk: Walk, node: Node) -> Meaning:
    """x W; biases are added later. Of images with channels last, it is a convolution with filters of one pixel."""
    signal, W = walk.signal(node, 0), _weights(walk, node, 1, 2)
    if len(signal.shape) == 3 and signal.layout == rows(signal.shape) and signal.shape[2] == len(W):
        walk.network.take(W.shape[1])
        params = {"W": W.reshape(1, 1, *W.shape), "b": np.zeros(W.shape[1])}
        return walk.network.append(signal, ConvolutionLayer(filters=W.shape[1], filter_size=1), params)
    return _dense(walk, signal, W, np.zeros(W.shape[1]))


# -- Convolutions ----------------------------------------------------------------------------------------


def convolution(walk: Walk, node: Node) -> Meaning:
    """A convolution, grouped or depthwise; of an image of one pixel that is a vector, a dense layer."""
    signal, W = walk.signal(node, 0), _weights(walk, node, 1, 4)
    filters, seen, *_ = W.shape
    groups, size = node.integer("group", 1), kernel_size(node, W.shape[2:])
    stride, dilation = node.pair("strides", 1), node.pair("dilations", 1)
    b = _biases(walk, node, 2, filters)
    if _is_vector(signal):
        pads = read_pads(node, (1, 1), size, stride, dilation)
        if size != (1, 1) or groups != 1 or pads != ((0, 0), (0, 0)):
            raise ValueError("cnnx has the image of one pixel as a vector here, for filters of one pixel alone")
        dense = _dense(walk, signal._replace(layout=signal.layout[:1]), W.reshape(filters, seen).T, b)
        return dense._replace(layout=(*dense.layout, (), ()))
    signal.check_image()
    height, width, channels = signal.shape
    if groups < 1 or seen * groups != channels:
        raise ValueError(f"expected weights for {channels} channels, got {groups} groups of {seen}")
    pads = read_pads(node, (height, width), size, stride, dilation)
    signal, padding = _padded(walk, signal, pads, (size, stride, dilation))
    kernel = W.transpose(2, 3, 1, 0)
    if groups == channels > 1:
        multiplier = filters // channels
        depthwise = DepthwiseConvolutionLayer(size, multiplier, stride, padding, dilation)
        kernel = kernel.reshape(*size, channels, multiplier)
        return walk.network.append_image(signal, depthwise, {"W": kernel, "b": b})
    layer = ConvolutionLayer(filters, size, stride, padding, dilation=dilation, groups=groups)
    return walk.network.append_image(signal, layer, {"W": kernel, "b": b})


def _is_vector(signal: Signal) -> bool:
    """Whether ONNX sees an image of one pixel where cnnx has a vector."""
    return len(signal.shape) == 1 and len(signal.layout) == 3 and signal.layout[1:] == ((), ())


def _padded(walk: Walk, signal: Signal, pads: Pads, window: tuple[Pair, Pair, Pair]) -> tuple[Signal, Padding]:
    """The padding that the convolution has itself; what it cannot have is a layer before it."""
    (top, bottom), (left, right) = pads
    if top == bottom and left == right:
        return signal, (top, left)
    size, stride, dilation = window
    image = (signal.shape[0], signal.shape[1])
    if pads == same_pads(image, size, stride, dilation):
        return signal, "same"
    return walk.network.append_image(signal, PaddingLayer(pads)), (0, 0)


def transposed_convolution(walk: Walk, node: Node) -> Meaning:
    """A transposed convolution; the margins that it cannot leave away itself are cropped."""
    signal, W = walk.signal(node, 0), _weights(walk, node, 1, 4)
    node.require("group", 1)
    filters, size = W.shape[1], kernel_size(node, W.shape[2:])
    stride, dilation = node.pair("strides", 1), node.pair("dilations", 1)
    more = node.integers("output_padding", 2) or [0, 0]
    signal.check_image()
    full = tuple(
        (n - 1) * s + d * (f - 1) + 1 + m
        for n, s, d, f, m in zip(signal.shape[:2], stride, dilation, size, more, strict=True)
    )
    pads = _transposed_pads(node, signal, full, stride)
    padding = (pads[0][0], pads[1][0])
    # What is left away behind the image is `padding` again, less `extra`.
    extra = [m + before - after for m, (before, after) in zip(more, pads, strict=True)]
    within = tuple(min(max(x, 0), max(s, d) - 1) for x, s, d in zip(extra, stride, dilation, strict=True))
    cropped = [w - x for w, x in zip(within, extra, strict=True)]
    if min(cropped) < 0 or min(padding) < 0:
        raise ValueError(f"cnnx has no layer for the pads {pads} and output_padding {more}")
    layer = TransposedConvolutionLayer(filters, size, stride, padding, within, dilation=dilation)
    b = _biases(walk, node, 2, filters)
    signal = walk.network.append_image(signal, layer, {"W": W.transpose(2, 3, 1, 0), "b": b})
    if not any(cropped):
        return signal
    return walk.network.append_image(signal, CroppingLayer(((0, cropped[0]), (0, cropped[1]))))


def _transposed_pads(node: Node, signal: Signal, full: tuple[int, ...], stride: Pair) -> Pads:
    """What is left away of the output, whose sizes are `full` without."""
    how, pads = node.text("auto_pad", "NOTSET"), node.integers("pads", 4)
    output = node.integers("output_shape")
    if output is not None and len(output) == 4:
        output = output[2:]
    if how in ("SAME_UPPER", "SAME_LOWER") and output is None:
        output = [n * s for n, s in zip(signal.shape[:2], stride, strict=True)]
    if output is None:
        top, left, bottom, right = pads or [0, 0, 0, 0]
        return (top, bottom), (left, right)
    if len(output) != 2:
        raise ValueError(f"output_shape: expected rows and columns, got {output}")
    total = [max(f - o, 0) for f, o in zip(full, output, strict=True)]
    if [f - t for f, t in zip(full, total, strict=True)] != output:
        raise ValueError(f"output_shape: expected at most {full}, got {output}")
    # The odd row is left away behind the image only with SAME_UPPER.
    before = [t // 2 if how == "SAME_UPPER" else t - t // 2 for t in total]
    return (before[0], total[0] - before[0]), (before[1], total[1] - before[1])


OPERATORS: dict[str, Operator] = {
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "Gemm": gemm,
    "MatMul": matmul,
}
