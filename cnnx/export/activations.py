"""Activations as operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cnnx.export.graph import Graph, Value
from cnnx.layers.activation import SELU_ALPHA, SELU_SCALE, EluLayer, GeluLayer, LeakyReluLayer, PReluLayer, SiluLayer
from cnnx.layers.base import Layer


def operator(name: str, **attributes: Any) -> Callable[[Graph, Layer, Value], Value]:
    """The conversion of an activation for which there is one operator."""

    def convert(graph: Graph, layer: Layer, value: Value) -> Value:
        return value._replace(name=graph.add(name, value.name, **attributes))

    return convert


relu = operator("Relu")
tanh = operator("Tanh")
softplus = operator("Softplus")
hard_swish = operator("HardSwish")
sigmoid = operator("Sigmoid")
softmax = operator("Softmax", axis=-1)
selu = operator("Selu", alpha=SELU_ALPHA, gamma=SELU_SCALE)


def leaky_relu(graph: Graph, layer: LeakyReluLayer, value: Value) -> Value:
    """LeakyRelu."""
    return value._replace(name=graph.add("LeakyRelu", value.name, alpha=layer.slope))


def prelu(graph: Graph, layer: PReluLayer, value: Value) -> Value:
    """PRelu, with a slope for each channel."""
    slope = graph.constant("slope", value.per_channel(layer.params["slope"]))
    return value._replace(name=graph.add("PRelu", value.name, slope))


def elu(graph: Graph, layer: EluLayer, value: Value) -> Value:
    """Elu."""
    return value._replace(name=graph.add("Elu", value.name, alpha=layer.alpha))


def gelu(graph: Graph, layer: GeluLayer, value: Value) -> Value:
    """x * (1 + Erf(x / sqrt(2))) * 0.5, in the order in which runtimes know it as one; Gelu itself is of opset 20."""
    x = value.name
    erf = graph.add("Erf", graph.add("Div", x, graph.constant("sqrt_2", math.sqrt(2))))
    doubled = graph.add("Mul", x, graph.add("Add", erf, graph.constant("one", 1.0)))
    return value._replace(name=graph.add("Mul", doubled, graph.constant("half", 0.5)))


def silu(graph: Graph, layer: SiluLayer, value: Value) -> Value:
    """x * Sigmoid(x)."""
    return value._replace(name=graph.add("Mul", value.name, graph.add("Sigmoid", value.name)))
