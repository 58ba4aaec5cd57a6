"""cnnx, through its public API; the convolutions by themselves through its kernels."""

from collections.abc import Callable

import numpy as np

import cnnx
from benchmarks.networks import (
    BatchNorm,
    Convolution,
    ConvolutionCase,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
    Network,
    Relu,
    Weights,
)
from cnnx import _kernels


class Contestant:
    def __init__(self, threads: int) -> None:
        cnnx.set_num_threads(threads)

    def training(
        self, network: Network, weights: Weights, X: np.ndarray, y: np.ndarray, learning_rate: float
    ) -> Callable[[], float]:
        model = _build(network, weights)
        return lambda: model.train_on_batch(X, y, learning_rate)

    def inference(self, network: Network, weights: Weights, X: np.ndarray) -> Callable[[], np.ndarray]:
        # ONNX Runtime folds batch normalization when it loads a model; here that is a method.
        model = _build(network, weights).folded()
        return lambda: model.predict_proba(X, batch_size=len(X))

    def convolution(self, case: ConvolutionCase) -> dict[str, Callable[[], object]]:
        x, W, b, grad = case.arrays()
        out, x_grad, W_grad, b_grad = (np.empty_like(array) for array in (grad, x, W, b))
        geometry = (1, 1), (case.padding, case.padding), (1, 1)

        def forward() -> np.ndarray:
            _kernels.convolution_forward(x, W, b, *geometry, False, out)
            return out

        def input_gradient() -> np.ndarray:
            _kernels.convolution_input_gradient(grad, W, *geometry, (1, 1), x_grad)
            return x_grad

        def weight_gradient() -> np.ndarray:
            _kernels.convolution_weight_gradient(x, grad, *geometry, (1, 1), W_grad, b_grad)
            return W_grad

        return {"forward": forward, "input gradient": input_gradient, "weight gradient": weight_gradient}


def _build(network: Network, weights: Weights) -> cnnx.Model:
    model = cnnx.Model(*(_layer(layer) for layer in network.layers), cnnx.SoftmaxLayer())
    model.build(network.input_shape, seed=0)
    for layer, pair in zip(model.layers, weights, strict=False):
        if pair is not None:
            layer.params["W"][...], layer.params["b"][...] = pair
    return model


def _layer(layer: Layer) -> object:
    match layer:
        case Convolution(filters, size, padding):
            return cnnx.ConvolutionLayer(filters, size, padding=padding)
        case BatchNorm():
            return cnnx.BatchNormLayer()
        case Relu():
            return cnnx.ReluLayer()
        case MaxPool(size):
            return cnnx.PoolLayer(filter_size=size)
        case Flatten():
            return cnnx.Flatten()
        case Dropout(rate):
            return cnnx.DropoutLayer(rate)
        case Dense(units):
            return cnnx.DenseLayer(units)
