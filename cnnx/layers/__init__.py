"""The layers. `LAYERS` is the closed list of those that a model file may name."""

from collections.abc import Iterable
from typing import Any

from cnnx.layers.activation import (
    EluLayer,
    GeluLayer,
    HardSwishLayer,
    LeakyReluLayer,
    PReluLayer,
    ReluLayer,
    SeluLayer,
    SiluLayer,
    SoftplusLayer,
    TanhLayer,
)
from cnnx.layers.base import Layer, walk
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.layers.dense import DenseLayer
from cnnx.layers.depthwise import DepthwiseConvolutionLayer
from cnnx.layers.dropout import DropoutLayer, SpatialDropoutLayer
from cnnx.layers.flatten import Flatten
from cnnx.layers.group_normalization import GroupNormLayer, LayerNormLayer
from cnnx.layers.loss import HingeLayer, RegressionLayer, SigmoidLayer, SoftmaxLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.padding import CroppingLayer, PaddingLayer
from cnnx.layers.pooling import GlobalPoolLayer, PoolLayer
from cnnx.layers.residual import ResidualLayer
from cnnx.layers.standardize import StandardizeLayer
from cnnx.layers.transposed import TransposedConvolutionLayer
from cnnx.layers.upsampling import UpsampleLayer

__all__ = [
    "BatchNormLayer",
    "ConvolutionLayer",
    "CroppingLayer",
    "DenseLayer",
    "DepthwiseConvolutionLayer",
    "DropoutLayer",
    "EluLayer",
    "Flatten",
    "GeluLayer",
    "GlobalPoolLayer",
    "GroupNormLayer",
    "HardSwishLayer",
    "HingeLayer",
    "Layer",
    "LayerNormLayer",
    "LeakyReluLayer",
    "PReluLayer",
    "PaddingLayer",
    "PoolLayer",
    "RegressionLayer",
    "ReluLayer",
    "ResidualLayer",
    "SeluLayer",
    "SigmoidLayer",
    "SiluLayer",
    "SoftmaxLayer",
    "SoftplusLayer",
    "SpatialDropoutLayer",
    "StandardizeLayer",
    "TanhLayer",
    "TransposedConvolutionLayer",
    "UpsampleLayer",
]

LAYERS: dict[str, type[Layer]] = {name: globals()[name] for name in __all__ if name != "Layer"}


def make_layer(description: Any) -> Layer:
    """A new layer of the kind that `Layer.description` gave, with the layers that it holds.

    Raises
    ------
    TypeError, ValueError, KeyError
        If it is no such description, or names a layer that is not in `LAYERS`.
    """
    if not isinstance(description, dict):
        raise ValueError(f'layer: expected one of those in LAYERS, as {{"layer": name, ...}}, got {description!r}')
    name = description.get("layer")
    if not isinstance(name, str) or name not in LAYERS:
        raise ValueError(f"layer: expected one of {tuple(LAYERS)}, got {name!r}")
    kind, config = LAYERS[name], {key: value for key, value in description.items() if key != "layer"}
    for key in kind.holds:
        if isinstance(config.get(key), list):
            config[key] = [make_layer(each) for each in config[key]]
    return kind.from_config(config)


def check_known(layers: Iterable[Layer], where: str) -> None:
    """The layers, and those that they hold, are of the classes that a model file may name.

    Raises
    ------
    ValueError
        If one is of another class, such as one's own, or one derived from these.
    """
    for layer in walk(layers):
        if LAYERS.get(type(layer).__name__) is not type(layer):
            raise ValueError(
                f"{where}: {layer.name}: expected layers that are listed in cnnx.layers.LAYERS, got one of the class "
                f"{type(layer).__module__}.{type(layer).__qualname__}: a model file names classes of that list alone, "
                "so it could never be loaded; keep the code that makes the model, and its `parameters` and the layers' "
                "`state` in a file of your own"
            )
