"""Standardization and normalizations as operators."""

from __future__ import annotations

import math

import numpy as np

from cnnx.export.graph import Graph, Value
from cnnx.layers.group_normalization import GroupNormLayer, LayerNormLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.standardize import StandardizeLayer

# In single precision, 1 / deviation is finite from here on.
SMALLEST = float(np.finfo(np.float32).tiny)


def standardization(graph: Graph, layer: StandardizeLayer, value: Value) -> Value:
    """(x - mean) / deviation; it is a model's first layer, and so takes images as they come."""
    if not layer.learned:
        raise ValueError(
            f"{layer.name}: the mean and deviation are not known; train the model, or call learn(X), before it is "
            "exported"
        )
    state = layer.state
    if (state["deviation"] < SMALLEST).any():
        raise ValueError(f"{layer.name}: deviation: expected numbers within float32, from {SMALLEST:.4g}, got smaller")
    mean, deviation = (graph.constant(key, state[key]) for key in ("mean", "deviation"))
    return value._replace(name=graph.add("Div", graph.add("Sub", value.name, mean), deviation))


def batch_normalization(graph: Graph, layer: BatchNormLayer, value: Value) -> Value:
    """BatchNormalization, by the running averages."""
    value = graph.channels_first(value)
    arrays = {**layer.params, **layer.state}
    names = [graph.constant(key, arrays[key]) for key in ("gamma", "beta", "mean", "variance")]
    return value._replace(name=graph.add("BatchNormalization", value.name, *names, epsilon=layer.epsilon))


def layer_normalization(graph: Graph, layer: LayerNormLayer, value: Value) -> Value:
    """LayerNormalization, or its formula: of images that are turned round, whose channels are not the last axis.

    And of a single channel, which ONNX Runtime 1.21 to 1.23 refuses.
    """
    gamma, beta = (graph.constant(key, value.per_channel(layer.params[key])) for key in ("gamma", "beta"))
    if not value.channels_first and value.shape[-1] > 1:
        name = graph.add("LayerNormalization", value.name, gamma, beta, axis=-1, epsilon=layer.epsilon)
        return value._replace(name=name)
    axes = [1 if value.channels_first else -1]
    centered = graph.add("Sub", value.name, graph.add("ReduceMean", value.name, axes=axes))
    variance = graph.add("ReduceMean", graph.add("Mul", centered, centered), axes=axes)
    deviation = graph.add("Sqrt", graph.add("Add", variance, graph.constant("epsilon", layer.epsilon)))
    scaled = graph.add("Mul", graph.add("Div", centered, deviation), gamma)
    return value._replace(name=graph.add("Add", scaled, beta))


def group_normalization(graph: Graph, layer: GroupNormLayer, value: Value) -> Value:
    """InstanceNormalization of groups that stand as channels; GroupNormalization of opset 18 was wrong, and is gone."""
    value = graph.channels_first(value)
    *positions, channels = value.shape
    # 0 is the size that the axis has already: that of the batch.
    groups = [0, layer.groups, channels // layer.groups * math.prod(positions)]
    cut = graph.add("Reshape", value.name, graph.constant("groups", groups))
    one, zero = (graph.constant(key, [number] * layer.groups) for key, number in (("one", 1.0), ("zero", 0.0)))
    normalized = graph.add("InstanceNormalization", cut, one, zero, epsilon=layer.epsilon)
    back = graph.add("Reshape", normalized, graph.constant("channels", [0, channels, *positions]))
    gamma, beta = (graph.constant(key, value.per_channel(layer.params[key])) for key in ("gamma", "beta"))
    return value._replace(name=graph.add("Add", graph.add("Mul", back, gamma), beta))
