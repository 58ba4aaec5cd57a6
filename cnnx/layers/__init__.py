"""The layers. `LAYERS` is the closed list of those that a model file may name."""

from typing import Any

from cnnx.layers.activation import ReluLayer
from cnnx.layers.base import Layer
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.layers.dense import DenseLayer
from cnnx.layers.dropout import DropoutLayer
from cnnx.layers.flatten import Flatten
from cnnx.layers.group_normalization import GroupNormLayer, LayerNormLayer
from cnnx.layers.loss import SoftmaxLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.pooling import PoolLayer
from cnnx.layers.residual import ResidualLayer
from cnnx.layers.standardize import StandardizeLayer

LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        BatchNormLayer,
        ConvolutionLayer,
        DenseLayer,
        DropoutLayer,
        Flatten,
        GroupNormLayer,
        LayerNormLayer,
        PoolLayer,
        ReluLayer,
        ResidualLayer,
        SoftmaxLayer,
        StandardizeLayer,
    )
}

__all__ = [
    "LAYERS",
    "BatchNormLayer",
    "ConvolutionLayer",
    "DenseLayer",
    "DropoutLayer",
    "Flatten",
    "GroupNormLayer",
    "Layer",
    "LayerNormLayer",
    "PoolLayer",
    "ReluLayer",
    "ResidualLayer",
    "SoftmaxLayer",
    "StandardizeLayer",
    "make_layer",
]


def make_layer(description: Any) -> Layer:
    """A new layer of the kind that `Layer.description` gave.

    Raises
    ------
    TypeError, ValueError, KeyError
        If it is no such description, or names a layer that is not in `LAYERS`.
    """
    name = description.get("layer") if isinstance(description, dict) else description
    if not isinstance(name, str) or name not in LAYERS:
        raise ValueError(f"layer: expected one of {tuple(LAYERS)}, got {name!r}")
    return LAYERS[name].from_config({key: value for key, value in description.items() if key != "layer"})
