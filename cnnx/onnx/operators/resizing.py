"""Larger and smaller images: padding, cropping and upsampling."""

from __future__ import annotations

import numpy as np

from cnnx._typing import Array, Pair
from cnnx.layers import CroppingLayer, PaddingLayer, UpsampleLayer
from cnnx.layers.base import Layer
from cnnx.onnx.graph import Node
from cnnx.onnx.layout import channels_first, lengths, rows
from cnnx.onnx.network import Signal
from cnnx.onnx.operators import constants
from cnnx.onnx.operators.windows import Pads
from cnnx.onnx.walk import Meaning, Operator, Walk


def _on_axes(walk: Walk, signal: Signal, layer: Layer) -> Signal:
    """An image as ONNX sees it before, channels first or last, is seen so behind the layer."""
    first = signal.is_image()
    after = walk.network.append(signal, layer)
    return after._replace(layout=channels_first(after.shape) if first else rows(after.shape))


def _image_axes(signal: Signal) -> Pair:
    """The axes of rows and columns, as positions in the layout."""
    if signal.is_image():
        return 1, 2
    if len(signal.shape) == 3 and signal.layout == rows(signal.shape):
        return 0, 1
    raise ValueError(f"expected images, got examples of shape {lengths(signal.layout)}")


def _margins(signal: Signal, amounts: list[Pair]) -> Pads:
    """Amounts before and behind each axis of the layout, which are of rows and columns alone."""
    height, width = _image_axes(signal)
    if any(amount != (0, 0) for axis, amount in enumerate(amounts) if axis not in (height, width)):
        raise ValueError("cnnx pads and crops rows and columns of images alone")
    return amounts[height], amounts[width]


def pad(walk: Walk, node: Node) -> Meaning:
    """Zeros around an image; a negative amount is cropped."""
    signal, pads = walk.signal(node, 0), walk.integers(node, "pads", 1)
    mode, value = node.text("mode", "constant"), node.number("value", 0.0)
    if mode != "constant" or value or walk.scalar(node, 2, 0.0):
        raise ValueError(f"cnnx pads with zeros alone, got the mode {mode!r:.60}, or another value")
    count = len(signal.layout) + 1
    axes = walk.sizes(node, 3) if node.has(3) else list(range(count))
    if pads is None or len(pads) != 2 * len(axes):
        raise ValueError(f"pads: expected two for each of {len(axes)} axes, got {pads!s:.60}")
    amounts = [(0, 0)] * count
    for axis, before, after in zip(axes, pads, pads[len(axes) :], strict=False):
        if not -count <= axis < count:
            raise ValueError(f"axes: expected those of {count}, got {axis}")
        amounts[axis] = (before, after)
    if amounts[0] != (0, 0):
        raise ValueError("pads: expected none of the batch")
    (top, bottom), (left, right) = _margins(signal, amounts[1:])
    grown = ((max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)))
    cropped = ((max(-top, 0), max(-bottom, 0)), (max(-left, 0), max(-right, 0)))
    if grown != ((0, 0), (0, 0)):
        signal = _on_axes(walk, signal, PaddingLayer(grown))
    if cropped != ((0, 0), (0, 0)):
        signal = _on_axes(walk, signal, CroppingLayer(cropped))
    return signal


def crop(walk: Walk, node: Node) -> Meaning:
    """Slice: a part of an image, or of a constant."""
    if isinstance(walk.meaning(node, 0), np.ndarray):
        return constants.cut(walk, node)
    signal = walk.signal(node, 0)
    limits = constants.slice_limits(walk, node)
    sizes = lengths(signal.layout)
    amounts = [(0, 0)] * len(sizes)
    for start, end, axis, step in zip(*limits, strict=True):
        if axis % (len(sizes) + 1) == 0 and start == 0 and end >= 2**31 - 1 and step == 1:
            continue  # all of the batch
        place = walk.axis(axis, signal.layout)
        if step != 1:
            raise ValueError(f"steps: expected 1, got {step}")
        first, last, _ = slice(start, end).indices(sizes[place])
        if last <= first:
            raise ValueError("it leaves nothing of an image")
        amounts[place] = (first, sizes[place] - last)
    if not any(map(any, amounts)):
        return signal
    return _on_axes(walk, signal, CroppingLayer(_margins(signal, amounts)))


# The ways to choose a pixel that, for whole numbers, repeat each as often.
NEAREST = {
    *(("asymmetric", "floor"), ("tf_half_pixel_for_nn", "floor")),
    *(
        (pixel, way)
        for pixel in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
        for way in ("round_prefer_floor", "round_prefer_ceil")
    ),
}
LINEAR = {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"}


def resize(walk: Walk, node: Node) -> Meaning:
    """Upsampling by whole numbers."""
    signal = walk.signal(node, 0)
    mode = node.text("mode", "nearest")
    coordinates = node.text("coordinate_transformation_mode", "half_pixel" if walk.opset >= 11 else "asymmetric")
    nearest = node.text("nearest_mode", "round_prefer_floor" if walk.opset >= 11 else "floor")
    for name in ("antialias", "exclude_outside"):
        node.integer(name, 0)
    for name, default in (("cubic_coeff_a", -0.75), ("extrapolation_value", 0.0)):
        node.number(name, default)
    if node.integers("axes") is not None or node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("expected scales or sizes of all axes")
    size = _scales(walk, node, signal)
    if mode == "nearest" and (coordinates, nearest) in NEAREST:
        return _on_axes(walk, signal, UpsampleLayer(size, "nearest"))
    if mode == "linear" and coordinates in LINEAR:
        return _on_axes(walk, signal, UpsampleLayer(size, "bilinear"))
    raise ValueError(
        f"cnnx repeats pixels, or interpolates between their centres, got mode {mode!r:.60} with {coordinates!r:.60} "
        f"and {nearest!r:.60}"
    )


def upsample(walk: Walk, node: Node) -> Meaning:
    """The operator before Resize: it repeats pixels."""
    if node.text("mode", "nearest") != "nearest":
        raise ValueError("mode: expected 'nearest', for cnnx interpolates between the centres of pixels")
    signal, scales = walk.signal(node, 0), node.attribute("scales")
    if scales is None:
        scales = walk.constant(node, 1)
    return _on_axes(walk, signal, UpsampleLayer(_whole(signal, np.asarray(scales, np.float64)), "nearest"))


def _scales(walk: Walk, node: Node, signal: Signal) -> Pair:
    """How many pixels come of one, for rows and columns."""
    if walk.opset < 11:
        return _whole(signal, walk.constant(node, 1))
    if node.has(2) and (scales := walk.constant(node, 2)).size:
        return _whole(signal, scales)
    sizes = walk.sizes(node, 3)[1:]
    before = lengths(signal.layout)
    if len(sizes) != len(before):
        raise ValueError(f"expected sizes of {len(before)} axes behind the batch, got {sizes}")
    return _whole(signal, np.array([1.0, *(after / n for after, n in zip(sizes, before, strict=True))]))


def _whole(signal: Signal, scales: Array) -> Pair:
    height, width = _image_axes(signal)
    if scales.shape != (4,) or scales.dtype.kind != "f":
        raise ValueError(f"expected scales of four axes, got {scales.dtype} of shape {scales.shape}")
    values = [float(scale) for scale in scales]
    if any(value != 1 for axis, value in enumerate(values) if axis not in (height + 1, width + 1)):
        raise ValueError(f"expected scales of rows and columns alone, got {values}")
    both = values[height + 1], values[width + 1]
    if not all(value.is_integer() and value >= 1 for value in both):
        raise ValueError(f"expected whole scales of 1 or more, got {both}")
    return int(both[0]), int(both[1])


OPERATORS: dict[str, Operator] = {"Pad": pad, "Resize": resize, "Slice": crop, "Upsample": upsample}
