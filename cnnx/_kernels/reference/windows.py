"""The windows of an image, which convolution and pooling walk in row-major order."""

from collections.abc import Iterator

import numpy as np

from cnnx._typing import Array, Pair


def taps(filter_size: Pair) -> Iterator[Pair]:
    """Positions (i, j) within a filter."""
    yield from np.ndindex(filter_size)


def dilated(filter_size: Pair, dilation: Pair) -> Pair:
    """Pixels that a filter spans."""
    return ((filter_size[0] - 1) * dilation[0] + 1, (filter_size[1] - 1) * dilation[1] + 1)


def place(tap: Pair, dilation: Pair) -> Pair:
    """Where a position of the filter lies in its window."""
    return (tap[0] * dilation[0], tap[1] * dilation[1])


def padded(x: Array, filter_size: Pair, stride: Pair, padding: Pair, out: Array) -> Array:
    """The image with zeros around it, as far as the windows of `out` reach."""
    height = (out.shape[1] - 1) * stride[0] + filter_size[0]
    width = (out.shape[2] - 1) * stride[1] + filter_size[1]
    height, width = max(height, padding[0] + x.shape[1]), max(width, padding[1] + x.shape[2])
    canvas = np.zeros((len(x), height, width, x.shape[3]), x.dtype)
    inside(canvas, x, padding)[...] = x
    return canvas


def inside(canvas: Array, x: Array, padding: Pair) -> Array:
    """The part of a padded image that is the image."""
    return canvas[:, padding[0] : padding[0] + x.shape[1], padding[1] : padding[1] + x.shape[2]]


def pixels_at(canvas: Array, tap: Pair, stride: Pair, out: Array) -> Array:
    """The pixel at one position of the filter, for every output position."""
    rows = slice(tap[0], tap[0] + (out.shape[1] - 1) * stride[0] + 1, stride[0])
    columns = slice(tap[1], tap[1] + (out.shape[2] - 1) * stride[1] + 1, stride[1])
    return canvas[:, rows, columns]
