"""Where the elements of an ONNX tensor are in the array that cnnx has for it.

cnnx's images are (height, width, channels); those of ONNX are (channels, height, width), until an operator turns them
round, or makes a vector or groups of channels of them. No array is needed to keep account of that: each axis of an ONNX
tensor runs through the flat array in one or several strides, as a row of parts (size, stride), the outermost first. An
axis of 384 values of an image of 4 x 4 pixels and 24 channels, flattened with the channels first, is

    (24, 1), (16, 24)        the element 16 c + p of the axis is the element c + 24 p of the array

All functions leave out the batch, and expect that an axis goes through each of its elements once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from cnnx._typing import Array, Shape

Part = tuple[int, int]
Axis = tuple[Part, ...]
Layout = tuple[Axis, ...]


def rows(shape: Shape) -> Layout:
    """The axes of an array in C order."""
    strides = [math.prod(shape[index + 1 :]) for index in range(len(shape))]
    return tuple(merged([part]) for part in zip(shape, strides, strict=True))


def channels_first(shape: Shape) -> Layout:
    """The axes (channels, height, width) of an array (height, width, channels)."""
    height, width, channels = rows(shape)
    return channels, height, width


def merged(parts: Iterable[Part]) -> Axis:
    """The same axis in as few parts as there can be."""
    result: list[Part] = []
    for size, stride in parts:
        if size == 1:
            continue
        if result and result[-1][1] == size * stride:
            result[-1] = (result[-1][0] * size, stride)
        else:
            result.append((size, stride))
    return tuple(result)


def length(axis: Axis) -> int:
    """How many elements an axis has."""
    return math.prod(size for size, _ in axis)


def lengths(layout: Layout) -> Shape:
    """The sizes of the ONNX tensor, without the batch."""
    return tuple(map(length, layout))


def reshaped(layout: Layout, sizes: Sequence[int]) -> Layout:
    """The axes after a Reshape to `sizes`, which have as many elements in all.

    Raises
    ------
    ValueError
        If an axis would begin or end within a part of the array that is in another order.
    """
    if math.prod(sizes) != math.prod(lengths(layout)):
        raise ValueError(f"an example of shape {lengths(layout)} cannot have the shape {tuple(sizes)}")
    parts = list(merged(part for axis in layout for part in axis))[::-1]
    axes = []
    for size in sizes:
        axis, rest = [], size
        while rest > 1:
            whole, stride = parts.pop()
            if rest % whole and whole % rest:
                raise ValueError(f"cnnx has no layer that turns {lengths(layout)} into {tuple(sizes)}")
            taken = min(rest, whole)
            axis.append((taken, stride * (whole // taken)))
            if whole > taken:
                parts.append((whole // taken, stride))
            rest //= taken
        axes.append(merged(axis))
    return tuple(axes)


def covers(axes: Iterable[Axis], count: int) -> bool:
    """Whether the axes go through the first `count` elements of each row of so many, in any order."""
    parts = sorted((part for axis in axes for part in axis), key=lambda part: -part[1])
    return merged(parts) == merged([(count, 1)])


def positions(axis: Axis) -> Array:
    """The places of an axis' elements in the array, in the axis' order."""
    places = np.zeros(1, np.intp)
    for size, stride in axis:
        places = (places[:, None] + np.arange(size) * stride).reshape(-1)
    return places
