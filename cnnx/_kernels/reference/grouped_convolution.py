"""Convolution whose channels and filters are cut into equal groups; a filter sees the channels of its own group alone.

Weights are (filter_height, filter_width, channels // groups, filters).
"""

from collections.abc import Iterator

from cnnx._kernels.reference.convolution import (
    convolution_forward,
    convolution_input_gradient,
    convolution_weight_gradient,
)
from cnnx._typing import Array, Window


def _parts(W: Array, groups: int) -> Iterator[tuple[slice, slice]]:
    """The channels and the filters of each group."""
    channels, filters = W.shape[2], W.shape[3] // groups
    for group in range(groups):
        yield slice(group * channels, (group + 1) * channels), slice(group * filters, (group + 1) * filters)


def grouped_convolution_forward(
    x: Array, W: Array, b: Array, window: Window, groups: int, relu: bool, out: Array
) -> None:
    """`convolution_forward` of each group."""
    for channels, filters in _parts(W, groups):
        convolution_forward(x[..., channels], W[..., filters], b[filters], window, relu, out[..., filters])


def grouped_convolution_input_gradient(grad: Array, W: Array, window: Window, groups: int, out: Array) -> None:
    """`convolution_input_gradient` of each group."""
    for channels, filters in _parts(W, groups):
        convolution_input_gradient(grad[..., filters], W[..., filters], window, out[..., channels])


def grouped_convolution_weight_gradient(
    x: Array,
    grad: Array,
    window: Window,
    groups: int,
    W_grad: Array,
    b_grad: Array,
) -> None:
    """`convolution_weight_gradient` of each group."""
    for channels, filters in _parts(W_grad, groups):
        convolution_weight_gradient(x[..., channels], grad[..., filters], window, W_grad[..., filters], b_grad[filters])
