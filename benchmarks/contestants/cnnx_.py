"""cnnx, through its public API; the convolutions by themselves through its kernels.

With `--against` also versions before this one: their kernels took the window's pairs one by one, and gradients a
`pool_size`; and they had no plan.
"""

import inspect
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
    Ready,
    Relu,
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
    match network.layers:
        case [Ready(name)]:
            model = cnnx.models.MODELS[name](10)
        case layers:
            model = cnnx.Model(*(_layer(layer) for layer in layers), cnnx.SoftmaxLayer())
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
