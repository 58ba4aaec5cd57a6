"""Convolutions and dense layers as operators: their weights in the order that these want."""

from __future__ import annotations

from typing import Any

from cnnx._typing import Array, Pair
from cnnx.export.graph import Graph, Value
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.layers.dense import DenseLayer
from cnnx.layers.depthwise import DepthwiseConvolutionLayer
from cnnx.layers.transposed import TransposedConvolutionLayer


def pads(layer: Any, filter_size: Pair, stride: Pair, before: Pair, dilation: Pair = (1, 1)) -> list[int]:
    """Pixels of padding [above, left, below, right] of a layer with windows; 'same' has those that its windows need."""
    if layer.padding in ("same", "valid"):
        below, right = (
            max((positions - 1) * s + d * (f - 1) + 1 - n - p, 0)
            for positions, s, d, f, n, p in zip(
                layer.output_shape[:2], stride, dilation, filter_size, layer.input_shape[:2], before, strict=True
            )
        )
    else:
        below, right = before
    return [*before, below, right]


def convolution(graph: Graph, layer: ConvolutionLayer, value: Value) -> Value:
    """Conv."""
    return _convolution(graph, layer, value, layer.params["W"], layer.groups)


def depthwise(graph: Graph, layer: DepthwiseConvolutionLayer, value: Value) -> Value:
    """Conv with a group for each channel."""
    W = layer.params["W"]
    return _convolution(graph, layer, value, W.reshape(*W.shape[:2], 1, -1), W.shape[2])


def _convolution(
    graph: Graph, layer: ConvolutionLayer | DepthwiseConvolutionLayer, value: Value, W: Array, groups: int
) -> Value:
    stride, before, dilation = layer.window
    value = graph.channels_first(value)
    name = graph.add(
        "Conv",
        value.name,
        graph.constant("W", W.transpose(3, 2, 0, 1)),
        graph.constant("b", layer.params["b"]),
        kernel_shape=layer.filter_size,
        strides=stride,
        dilations=dilation,
        pads=pads(layer, layer.filter_size, stride, before, dilation),
        group=groups,
    )
    return Value(name, layer.output_shape, channels_first=True)


def transposed_convolution(graph: Graph, layer: TransposedConvolutionLayer, value: Value) -> Value:
    """ConvTranspose; a stride or more of additional output comes of inputs of 0, for runtimes want less than that."""
    value = graph.channels_first(value)
    (below, output_below), (right, output_right) = map(divmod, layer.output_padding, layer.stride)
    x = value.name
    if below or right:
        x = graph.add("Pad", x, graph.constant("pads", [0, 0, 0, 0, 0, 0, below, right]))
    name = graph.add(
        "ConvTranspose",
        x,
        graph.constant("W", layer.params["W"].transpose(3, 2, 0, 1)),
        graph.constant("b", layer.params["b"]),
        kernel_shape=layer.filter_size,
        strides=layer.stride,
        dilations=layer.dilation,
        pads=[*layer.padding, *layer.padding],
        output_padding=[output_below, output_right],
    )
    return Value(name, layer.output_shape, channels_first=True)


def dense(graph: Graph, layer: DenseLayer, value: Value) -> Value:
    """Gemm."""
    W, b = (graph.constant(key, layer.params[key]) for key in ("W", "b"))
    return Value(graph.add("Gemm", value.name, W, b), layer.output_shape)
