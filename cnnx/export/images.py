"""Layers that change the size of images, or make vectors of them, as operators."""

from __future__ import annotations

from cnnx.export.graph import Graph, Value
from cnnx.export.products import pads
from cnnx.layers.flatten import Flatten
from cnnx.layers.padding import CroppingLayer, PaddingLayer
from cnnx.layers.pooling import GlobalPoolLayer, PoolLayer
from cnnx.layers.upsampling import UpsampleLayer


def pooling(graph: Graph, layer: PoolLayer, value: Value) -> Value:
    """MaxPool, or AveragePool, which does not count padding either."""
    filter_size, stride, before = layer.windows
    value = graph.channels_first(value)
    name = graph.add(
        "MaxPool" if layer.mode == "max" else "AveragePool",
        value.name,
        kernel_shape=filter_size,
        strides=stride,
        pads=pads(layer, filter_size, stride, before),
    )
    return Value(name, layer.output_shape, channels_first=True)


def global_pooling(graph: Graph, layer: GlobalPoolLayer, value: Value) -> Value:
    """GlobalMaxPool or GlobalAveragePool, whose images of one pixel become vectors."""
    value = graph.channels_first(value)
    pooled = graph.add("GlobalMaxPool" if layer.mode == "max" else "GlobalAveragePool", value.name)
    return Value(graph.add("Flatten", pooled, axis=1), layer.output_shape)


def flatten(graph: Graph, layer: Flatten, value: Value) -> Value:
    """Flatten, of images with channels last, for so are the weights of the dense layer behind it ordered."""
    if len(value.shape) == 1:
        return value
    return Value(graph.add("Flatten", graph.channels_last(value).name, axis=1), layer.output_shape)


def padding(graph: Graph, layer: PaddingLayer, value: Value) -> Value:
    """Pad with zeros.

    They are -0.0: ONNX Runtime 1.17 to 1.24 takes a Pad with 0.0 before pooling for the padding of the pooling, which
    leaves it out (https://github.com/microsoft/onnxruntime/pull/18136), and looks at the bits of the zero.
    """
    value = graph.channels_first(value)
    (top, bottom), (left, right) = layer.padding
    amounts = graph.constant("pads", [0, 0, top, left, 0, 0, bottom, right])
    name = graph.add("Pad", value.name, amounts, graph.constant("zero", -0.0))
    return Value(name, layer.output_shape, channels_first=True)


def cropping(graph: Graph, layer: CroppingLayer, value: Value) -> Value:
    """Slice."""
    value = graph.channels_first(value)
    (top, _), (left, _) = layer.cropping
    rows, columns, _ = layer.output_shape
    limits = {"starts": [top, left], "ends": [top + rows, left + columns], "axes": [2, 3]}
    names = [graph.constant(key, numbers) for key, numbers in limits.items()]
    return Value(graph.add("Slice", value.name, *names), layer.output_shape, channels_first=True)


def upsampling(graph: Graph, layer: UpsampleLayer, value: Value) -> Value:
    """Resize: nearest by floor(output / size), bilinear by the centres of pixels."""
    value = graph.channels_first(value)
    scales = graph.constant("scales", [1.0, 1.0, *map(float, layer.size)])
    if layer.mode == "nearest":
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    name = graph.add("Resize", value.name, "", scales, **how)  # "" leaves out a region of interest
    return Value(name, layer.output_shape, channels_first=True)
