"""A model as an ONNX file: each layer as operators, see `CONVERSIONS`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cnnx._typing import Shape
from cnnx.export import activations, images, normalizations, outputs, products
from cnnx.export.graph import Graph, Value
from cnnx.files.writing import write_file
from cnnx.layers import (
    BatchNormLayer,
    ConvolutionLayer,
    CroppingLayer,
    DenseLayer,
    DepthwiseConvolutionLayer,
    DropoutLayer,
    EluLayer,
    Flatten,
    GeluLayer,
    GlobalPoolLayer,
    GroupNormLayer,
    HardSwishLayer,
    LayerNormLayer,
    LeakyReluLayer,
    PaddingLayer,
    PoolLayer,
    PReluLayer,
    ReluLayer,
    ResidualLayer,
    SeluLayer,
    SigmoidLayer,
    SiluLayer,
    SoftplusLayer,
    SpatialDropoutLayer,
    StandardizeLayer,
    TanhLayer,
    TransposedConvolutionLayer,
    UpsampleLayer,
)
from cnnx.layers.base import Layer, walk
from cnnx.layers.loss import HingeLayer, RegressionLayer, SoftmaxLayer


class Signature(NamedTuple):
    """Names and shapes of what an exported model takes and gives: float32, with the batch as their first axis."""

    input: str
    input_shape: Shape
    output: str
    output_shape: Shape

    def __str__(self) -> str:
        sides = (("takes", self.input, self.input_shape), ("gives", self.output, self.output_shape))
        return "\n".join(f"{verb} {name}: float32 {_with_batch(shape)}" for verb, name, shape in sides)


def _with_batch(shape: Shape) -> str:
    return f"(batch, {', '.join(map(str, shape))})"


def write_model(
    path: str | os.PathLike[str],
    layers: Sequence[Layer],
    input_shape: Shape,
    output: str | None,
    data: Mapping[str, Any],
) -> Signature:
    """Write a model's file, of its built layers and of what it says of its data; else as `Model.to_onnx`."""
    graph, signature = make_graph(layers, input_shape, output)
    for key, value in data.items():
        if value is not None:
            graph.model.metadata_props.add(key=key, value=json.dumps(value))
    write_file(path, [graph.model.SerializeToString()])
    return signature


def make_graph(layers: Sequence[Layer], input_shape: Shape, output: str | None) -> tuple[Graph, Signature]:
    """The graph of a model's layers."""
    _check_known(layers)
    name = outputs.choose_output(layers[-1], output)
    graph = Graph(input_shape)
    value = _convert_row(graph, layers[:-1] if name == outputs.LOGITS else layers, graph.input)
    if name == outputs.PROBABILITIES:
        value = outputs.of_each_class(graph, layers[-1], value)
    graph.finish(value, name)
    return graph, Signature(graph.input.name, input_shape, name, value.shape)


def _check_known(layers: Sequence[Layer]) -> None:
    for layer in walk(layers):
        if type(layer) not in CONVERSIONS:
            kind = f"{type(layer).__module__}.{type(layer).__qualname__}"
            raise ValueError(
                f"Model.to_onnx: {layer.name}: expected layers that are listed in cnnx.layers.LAYERS, got one of the "
                f"class {kind}: nothing is known of the operators that compute the same"
            )


def _convert_row(graph: Graph, layers: Sequence[Layer], value: Value) -> Value:
    for layer in layers:
        graph.enter(layer.name)
        value = CONVERSIONS[type(layer)](graph, layer, value)
    return value


def _as_it_is(graph: Graph, layer: Layer, value: Value) -> Value:
    """No operator: in inference the layer hands on what it is given."""
    return value


def _residual(graph: Graph, layer: ResidualLayer, value: Value) -> Value:
    """Add; an image is turned round before the ways part, so that both end in the same order of axes."""
    value = graph.channels_first(value)
    through, past = _convert_row(graph, layer.layers, value), _convert_row(graph, layer.shortcut, value)
    graph.enter(layer.name)
    return through._replace(name=graph.add("Add", through.name, past.name))


Conversion = Callable[[Graph, Any, Value], Value]
CONVERSIONS: dict[type[Layer], Conversion] = {
    BatchNormLayer: normalizations.batch_normalization,
    ConvolutionLayer: products.convolution,
    CroppingLayer: images.cropping,
    DenseLayer: products.dense,
    DepthwiseConvolutionLayer: products.depthwise,
    DropoutLayer: _as_it_is,
    EluLayer: activations.elu,
    Flatten: images.flatten,
    GeluLayer: activations.gelu,
    GlobalPoolLayer: images.global_pooling,
    GroupNormLayer: normalizations.group_normalization,
    HardSwishLayer: activations.hard_swish,
    HingeLayer: _as_it_is,
    LayerNormLayer: normalizations.layer_normalization,
    LeakyReluLayer: activations.leaky_relu,
    PReluLayer: activations.prelu,
    PaddingLayer: images.padding,
    PoolLayer: images.pooling,
    RegressionLayer: _as_it_is,
    ReluLayer: activations.relu,
    ResidualLayer: _residual,
    SeluLayer: activations.selu,
    SigmoidLayer: activations.sigmoid,
    SiluLayer: activations.silu,
    SoftmaxLayer: activations.softmax,
    SoftplusLayer: activations.softplus,
    SpatialDropoutLayer: _as_it_is,
    StandardizeLayer: normalizations.standardization,
    TanhLayer: activations.tanh,
    TransposedConvolutionLayer: products.transposed_convolution,
    UpsampleLayer: images.upsampling,
}
