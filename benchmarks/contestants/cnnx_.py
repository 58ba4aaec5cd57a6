"""cnnx, through its public API; the convolutions by themselves through its kernels.

With `--against` also versions before this one: their kernels took the window's pairs one by one, and gradients a
`pool_size`; and they had no plan.
"""

import inspect
from collections.abc import Callable, Iterable

import numpy as np

import cnnx
from benchmarks.networks import (
    AveragePool,
    BatchNorm,
    Convolution,
    ConvolutionCase,
    Dense,
    Depthwise,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    MaxPool,
    Network,
    Relu,
    Residual,
    Weights,
)
from cnnx import _kernels


class Contestant:
    def __init__(self, threads: int) -> None:
        cnnx.set_num_threads(threads)
        taken = inspect.signature(_kernels.convolution_input_gradient).parameters
        self.one_window = "window" in taken
        self.pool_size = ((1, 1),) if "pool_size" in taken else ()

    def training(
        self, network: Network, weights: Weights, X: np.ndarray, y: np.ndarray, learning_rate: float
    ) -> Callable[[], float]:
        model = build(network, weights)
        return lambda: model.train_on_batch(X, y, learning_rate)

    def inference(self, network: Network, weights: Weights, X: np.ndarray) -> Callable[[], np.ndarray]:
        # ONNX Runtime folds batch normalization when it loads a model; here that is a method.
        model = build(network, weights).folded()
        return lambda: model.predict_proba(X, batch_size=len(X))

    def working_bytes(self, network: Network, weights: Weights, batch: int) -> int:
        """Bytes of the arrays that a training step keeps for its work, without parameters and gradients."""
        model = build(network, weights)
        if hasattr(model, "plan"):
            return model.plan.nbytes(batch)
        shared = sum(array.bytes_per_example for array in model.shared_arrays)
        return sum(step.array_bytes(batch) for step in model.steps) + batch * shared

    def convolution(self, case: ConvolutionCase) -> dict[str, Callable[[], object]]:
        x, W, b, grad = case.arrays()
        out, x_grad, W_grad, b_grad = (np.empty_like(array) for array in (grad, x, W, b))
        window = (1, 1), (case.padding, case.padding), (1, 1)
        geometry = (window,) if self.one_window else window
        gradient_geometry = *geometry, *self.pool_size

        def forward() -> np.ndarray:
            _kernels.convolution_forward(x, W, b, *geometry, False, out)
            return out

        def input_gradient() -> np.ndarray:
            _kernels.convolution_input_gradient(grad, W, *gradient_geometry, x_grad)
            return x_grad

        def weight_gradient() -> np.ndarray:
            _kernels.convolution_weight_gradient(x, grad, *gradient_geometry, W_grad, b_grad)
            return W_grad

        return {"forward": forward, "input gradient": input_gradient, "weight gradient": weight_gradient}


def build(network: Network, weights: Weights) -> cnnx.Model:
    model = cnnx.Model(*map(_layer, network.layers), cnnx.SoftmaxLayer())
    model.build(network.input_shape, seed=0)
    _fill(model.layers[:-1], weights)
    return model


def _fill(layers: Iterable[cnnx.layers.Layer], weights: Weights) -> None:
    for layer, own in zip(layers, weights, strict=True):
        if isinstance(layer, cnnx.ResidualLayer):
            through, shortcut = own
            _fill(layer.sublayers.values(), [*through, *shortcut])
        elif own is not None:
            layer.params["W"][...], layer.params["b"][...] = own


def _layer(layer: Layer) -> cnnx.layers.Layer:
    match layer:
        case Convolution(filters, size, padding, stride):
            return cnnx.ConvolutionLayer(filters, size, padding=padding, stride=stride)
        case Depthwise(size, padding, stride):
            return cnnx.DepthwiseConvolutionLayer(size, padding=padding, stride=stride)
        case BatchNorm():
            return cnnx.BatchNormLayer()
        case Relu():
            return cnnx.ReluLayer()
        case MaxPool(size, stride, padding):
            return cnnx.PoolLayer(size, stride, padding=padding)
        case AveragePool(size, stride):
            return cnnx.PoolLayer(size, stride, mode="average")
        case GlobalPool():
            return cnnx.GlobalPoolLayer()
        case Flatten():
            return cnnx.Flatten()
        case Dropout(rate):
            return cnnx.DropoutLayer(rate)
        case Dense(units):
            return cnnx.DenseLayer(units)
        case Residual(through, shortcut):
            return cnnx.ResidualLayer(*map(_layer, through), shortcut=[*map(_layer, shortcut)] or None)
