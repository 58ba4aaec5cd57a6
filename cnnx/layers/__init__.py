"""The layers. `LAYERS` is the closed list of those that a model file may name."""

from cnnx.layers.activation import ReluLayer
from cnnx.layers.base import Layer
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.layers.dense import DenseLayer
from cnnx.layers.dropout import DropoutLayer
from cnnx.layers.flatten import Flatten
from cnnx.layers.loss import HingeLayer, RegressionLayer, SigmoidLayer, SoftmaxLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.pooling import PoolLayer

LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        BatchNormLayer,
        ConvolutionLayer,
        DenseLayer,
        DropoutLayer,
        Flatten,
        HingeLayer,
        PoolLayer,
        RegressionLayer,
        ReluLayer,
        SigmoidLayer,
        SoftmaxLayer,
    )
}

__all__ = [
    "LAYERS",
    "BatchNormLayer",
    "ConvolutionLayer",
    "DenseLayer",
    "DropoutLayer",
    "Flatten",
    "HingeLayer",
    "Layer",
    "PoolLayer",
    "RegressionLayer",
    "ReluLayer",
    "SigmoidLayer",
    "SoftmaxLayer",
]
