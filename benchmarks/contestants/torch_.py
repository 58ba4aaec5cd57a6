"""PyTorch: eager or compiled, images contiguous (NCHW) or channels_last."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.networks import (
    BATCH_NORM_EPSILON,
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
    Shape,
    Weights,
    channels_first,
    ways,
    with_input_shapes,
)


class Contestant:
    def __init__(self, threads: int, channels_last: bool = False, compiled: bool = False) -> None:
        torch.set_num_threads(threads)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.compiled = compiled

    def training(
        self, network: Network, weights: Weights, X: np.ndarray, y: np.ndarray, learning_rate: float
    ) -> Callable[[], float]:
        model = self._build(network, weights).train()
        images, labels = self._images(X), torch.from_numpy(y)
        parameters = list(model.parameters())

        def loss_of_batch() -> torch.Tensor:
            return nn.functional.cross_entropy(model(images), labels)

        if self.compiled:
            torch._dynamo.reset()
            loss_of_batch = torch.compile(loss_of_batch, dynamic=False)

        def step() -> float:
            for parameter in parameters:
                parameter.grad = None
            loss = loss_of_batch()
            loss.backward()
            with torch.no_grad():
                # Plain SGD, without the Python overhead of torch.optim.
                for parameter in parameters:
                    parameter.add_(parameter.grad, alpha=-learning_rate)
            return loss.item()

        return step

    def inference(self, network: Network, weights: Weights, X: np.ndarray) -> Callable[[], np.ndarray]:
        model = self._build(network, weights).eval()
        images = self._images(X)

        @torch.inference_mode()
        def infer() -> np.ndarray:
            return torch.softmax(model(images), dim=1).numpy()

        return infer

    def convolution(self, case: ConvolutionCase) -> dict[str, Callable[[], object]]:
        x_array, W_array, b_array, grad_array = case.arrays()
        x, grad, b = self._images(x_array), self._images(grad_array), torch.from_numpy(b_array)
        W = torch.from_numpy(W_array.transpose(3, 2, 0, 1).copy()).contiguous(memory_format=self.format)
        padding = [case.padding, case.padding]

        @torch.inference_mode()
        def forward() -> torch.Tensor:
            return nn.functional.conv2d(x, W, b, padding=padding)

        def backward(mask: list[bool]) -> tuple[torch.Tensor, ...]:
            with torch.inference_mode():
                return torch.ops.aten.convolution_backward(
                    grad, x, W, [case.filters], [1, 1], padding, [1, 1], False, [0, 0], 1, mask
                )

        return {
            "forward": forward,
            "input gradient": lambda: backward([True, False, False])[0],
            "weight gradient": lambda: backward([False, True, True])[1],
        }

    def _images(self, X: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(X).permute(0, 3, 1, 2).contiguous(memory_format=self.format)

    def _build(self, network: Network, weights: Weights) -> nn.Sequential:
        return _sequence(network, channels_first(network, weights)).to(memory_format=self.format)


class _Block(nn.Module):
    def __init__(self, through: nn.Sequential, shortcut: nn.Sequential) -> None:
        super().__init__()
        self.through, self.shortcut = through, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.through(x) + self.shortcut(x)


def _sequence(network: Network, weights: Weights) -> nn.Sequential:
    modules: list[nn.Module] = []
    for (layer, shape), own in zip(with_input_shapes(network), weights, strict=True):
        if isinstance(layer, Residual):
            modules.append(_Block(*(_sequence(way, its) for way, its in zip(ways(layer, shape), own, strict=True))))
            continue
        module = _module(layer, shape)
        if own is not None:
            W, b = (torch.from_numpy(array) for array in own)
            module.weight.data.copy_(W.T if isinstance(layer, Dense) else W)
            module.bias.data.copy_(b)
        modules.append(module)
    return nn.Sequential(*modules)


def _module(layer: Layer, shape: Shape) -> nn.Module:
    match layer:
        case Convolution(filters, size, padding, stride):
            return nn.Conv2d(shape[2], filters, size, stride, padding)
        case Depthwise(size, padding, stride):
            return nn.Conv2d(shape[2], shape[2], size, stride, padding, groups=shape[2])
        case BatchNorm():
            return nn.BatchNorm2d(shape[2], eps=BATCH_NORM_EPSILON)
        case Relu():
            return nn.ReLU()
        case MaxPool(size, stride, padding):
            return nn.MaxPool2d(size, stride, padding)
        case AveragePool(size, stride):
            return nn.AvgPool2d(size, stride)
        case GlobalPool():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case Flatten():
            return nn.Flatten()
        case Dropout(rate):
            return nn.Dropout(rate)
        case Dense(units):
            return nn.Linear(shape[0], units)
