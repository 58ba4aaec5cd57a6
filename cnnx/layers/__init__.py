"""The layers. `LAYERS` is the closed list of those that a model file may name."""

from cnnx.layers.activation import ReluLayer
from cnnx.layers.base import Layer
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.layers.dense import DenseLayer
from cnnx.layers.depthwise import DepthwiseConvolutionLayer
from cnnx.layers.dropout import DropoutLayer
from cnnx.layers.flatten import Flatten
from cnnx.layers.loss import SoftmaxLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.pooling import PoolLayer
from cnnx.layers.transposed import TransposedConvolutionLayer

LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        BatchNormLayer,
        ConvolutionLayer,
        DenseLayer,
        DepthwiseConvolutionLayer,
        DropoutLayer,
        Flatten,
        PoolLayer,
        ReluLayer,
        SoftmaxLayer,
        TransposedConvolutionLayer,
    )
}

__all__ = [
    "LAYERS",
    "BatchNormLayer",
    "ConvolutionLayer",
    "DenseLayer",
    "DepthwiseConvolutionLayer",
    "DropoutLayer",
    "Flatten",
    "Layer",
    "PoolLayer",
    "ReluLayer",
    "SoftmaxLayer",
    "TransposedConvolutionLayer",
]
