"""The layers. `LAYERS` is the closed list of those that a model file may name."""

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
from cnnx.layers.base import Layer
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

LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
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
        HingeLayer,
        LayerNormLayer,
        LeakyReluLayer,
        PReluLayer,
        PaddingLayer,
        PoolLayer,
        RegressionLayer,
        ReluLayer,
        ResidualLayer,
        SeluLayer,
        SigmoidLayer,
        SiluLayer,
        SoftmaxLayer,
        SoftplusLayer,
        SpatialDropoutLayer,
        StandardizeLayer,
        TanhLayer,
        UpsampleLayer,
        TransposedConvolutionLayer,
    )
}

__all__ = [
    "LAYERS",
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
