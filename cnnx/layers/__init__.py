"""The layers. `LAYERS` is the closed list of those that a model file may name."""

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
from cnnx.layers.dropout import DropoutLayer, SpatialDropoutLayer
from cnnx.layers.flatten import Flatten
from cnnx.layers.loss import HingeLayer, RegressionLayer, SigmoidLayer, SoftmaxLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.padding import CroppingLayer, PaddingLayer
from cnnx.layers.pooling import GlobalPoolLayer, PoolLayer
from cnnx.layers.upsampling import UpsampleLayer

LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        BatchNormLayer,
        ConvolutionLayer,
        CroppingLayer,
        DenseLayer,
        DropoutLayer,
        EluLayer,
        Flatten,
        HingeLayer,
        GeluLayer,
        GlobalPoolLayer,
        HardSwishLayer,
        LeakyReluLayer,
        PReluLayer,
        PaddingLayer,
        PoolLayer,
        RegressionLayer,
        ReluLayer,
        SigmoidLayer,
        SeluLayer,
        SiluLayer,
        SoftmaxLayer,
        SoftplusLayer,
        SpatialDropoutLayer,
        TanhLayer,
        UpsampleLayer,
    )
}

__all__ = [
    "LAYERS",
    "BatchNormLayer",
    "ConvolutionLayer",
    "CroppingLayer",
    "DenseLayer",
    "DropoutLayer",
    "EluLayer",
    "Flatten",
    "GeluLayer",
    "GlobalPoolLayer",
    "HardSwishLayer",
    "HingeLayer",
    "Layer",
    "LeakyReluLayer",
    "PReluLayer",
    "PaddingLayer",
    "PoolLayer",
    "RegressionLayer",
    "ReluLayer",
    "SeluLayer",
    "SigmoidLayer",
    "SiluLayer",
    "SoftmaxLayer",
    "SoftplusLayer",
    "SpatialDropoutLayer",
    "TanhLayer",
    "UpsampleLayer",
]
