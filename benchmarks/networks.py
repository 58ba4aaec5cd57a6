"""The reference networks as plain data: shapes, layers, weights and batches that every contestant builds from."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int, ...]
# For each layer W and b, or None; for a block the weights of both its ways.
Weights = list[Any]

# All libraries are given the same, whatever their own default is.
BATCH_NORM_EPSILON = 1e-5


class Convolution(NamedTuple):
    filters: int
    size: int
    padding: int = 0
    stride: int = 1


class Depthwise(NamedTuple):
    """A convolution of each channel by itself."""

    size: int
    padding: int = 0
    stride: int = 1


class BatchNorm(NamedTuple):
    pass


class Relu(NamedTuple):
    pass


class MaxPool(NamedTuple):
    size: int = 2
    stride: int = 2
    padding: int = 0


class AveragePool(NamedTuple):
    size: int = 2
    stride: int = 2


class GlobalPool(NamedTuple):
    """The mean of each channel, a vector."""


class Flatten(NamedTuple):
    pass


class Dropout(NamedTuple):
    rate: float


class Dense(NamedTuple):
    units: int


class Residual(NamedTuple):
    """The sum of what comes through its layers and what comes past them, by the shortcut's."""

    through: Sequence["Layer"]
    shortcut: Sequence["Layer"] = ()


Layer = (
    Convolution
    | Depthwise
    | BatchNorm
    | Relu
    | MaxPool
    | AveragePool
    | GlobalPool
    | Flatten
    | Dropout
    | Dense
    | Residual
)


class Network(NamedTuple):
    input_shape: Shape  # height, width, channels
    layers: Sequence[Layer]  # the softmax and its loss come after the last


def _vgg_block(filters: int) -> list[Layer]:
    return [Convolution(filters, 3, 1), BatchNorm(), Relu()] * 2 + [MaxPool()]


NETWORKS = {
    "deck": Network((32, 32, 3), [Convolution(3, 3, 1), Relu(), MaxPool(), Flatten(), Dense(100), Relu(), Dense(10)]),
    "lenet": Network(
        (28, 28, 1),
        [
            *(Convolution(6, 5, 2), Relu(), MaxPool()),
            *(Convolution(16, 5), Relu(), MaxPool()),
            *(Flatten(), Dense(120), Relu(), Dense(84), Relu(), Dense(10)),
        ],
    ),
    "mnistnet": Network(
        (28, 28, 1),
        [
            *(Convolution(32, 3), Relu(), MaxPool()),
            *(Convolution(64, 3), Relu(), MaxPool()),
            *(Flatten(), Dropout(0.5), Dense(10)),
        ],
    ),
    "vggbn": Network(
        (32, 32, 3),
        [*_vgg_block(32), *_vgg_block(64), *_vgg_block(128), Flatten(), Dense(128), Relu(), Dense(10)],
    ),
}


def _residual_block(filters: int, halves: bool) -> list[Layer]:
    stride = 2 if halves else 1
    through = [Convolution(filters, 3, 1, stride), BatchNorm(), Relu(), Convolution(filters, 3, 1), BatchNorm()]
    return [Residual(through, [Convolution(filters, 1, 0, stride), BatchNorm()] if halves else []), Relu()]


def _resnet(depth: int) -> Network:
    layers: list[Layer] = [Convolution(16, 3, 1), BatchNorm(), Relu()]
    for filters in (16, 32, 64):
        for block in range((depth - 2) // 6):
            layers += _residual_block(filters, halves=filters > 16 and block == 0)
    return Network((32, 32, 3), [*layers, GlobalPool(), Dense(10)])


def _mobilenet() -> Network:
    layers: list[Layer] = [Convolution(32, 3, 1), BatchNorm(), Relu()]
    for filters, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1)):
        layers += [Depthwise(3, 1, stride), BatchNorm(), Relu(), Convolution(filters, 1), BatchNorm(), Relu()]
    return Network((32, 32, 3), [*layers, GlobalPool(), Dense(10)])


def _on_96(network: Network) -> Network:
    return network._replace(input_shape=(96, 96, 3))


# Layer by layer as `cnnx.models` builds them, and some on images of 96x96.
OTHER_NETWORKS = {
    "resnet8": _resnet(8),
    "resnet20": _resnet(20),
    "mobilenet": _mobilenet(),
    "deck96": _on_96(NETWORKS["deck"]),
    "mnistnet96": _on_96(NETWORKS["mnistnet"]),
    "resnet8_96": _on_96(_resnet(8)),
}
ALL_NETWORKS = {**NETWORKS, **OTHER_NETWORKS}


def without_dropout(network: Network) -> Network:
    """The same network without its random part, so that losses can be compared."""
    return network._replace(layers=[layer for layer in network.layers if not isinstance(layer, Dropout)])


def with_input_shapes(network: Network) -> Iterator[tuple[Layer, Shape]]:
    """Each layer with the shape of the example that enters it."""
    shape = network.input_shape
    for layer in network.layers:
        yield layer, shape
        shape = output_shape(layer, shape)


def output_shape(layer: Layer, shape: Shape) -> Shape:
    match layer:
        case Convolution(filters, size, padding, stride):
            return (*_slide(shape, size, padding, stride), filters)
        case Depthwise(size, padding, stride) | MaxPool(size, stride, padding):
            return (*_slide(shape, size, padding, stride), shape[2])
        case AveragePool(size, stride):
            return (*_slide(shape, size, 0, stride), shape[2])
        case GlobalPool():
            return (shape[2],)
        case Flatten():
            return (math.prod(shape),)
        case Dense(units):
            return (units,)
        case Residual(through, _):
            for inner in through:
                shape = output_shape(inner, shape)
    return shape


def _slide(shape: Shape, size: int, padding: int, stride: int) -> Shape:
    """Rows and columns of windows; what is left at the end is left out."""
    return tuple((length + 2 * padding - size) // stride + 1 for length in shape[:2])


def ways(block: Residual, shape: Shape) -> tuple[Network, Network]:
    """Both ways through a block as networks by themselves."""
    return Network(shape, block.through), Network(shape, block.shortcut)


def make_weights(network: Network, seed: int = 0) -> Weights:
    """Float32: (height, width, channels, filters), (height, width, channels, 1) of a depthwise, (inputs, units)."""
    return _make_weights(network, np.random.default_rng(seed))


def _make_weights(network: Network, rng: np.random.Generator) -> Weights:
    weights: Weights = []
    for layer, shape in with_input_shapes(network):
        match layer:
            case Convolution(filters, size, _):
                weights.append(_he(rng, (size, size, shape[2], filters)))
            case Depthwise(size, _):
                W, _ = _he(rng, (size, size, 1, shape[2]))
                weights.append((W.transpose(0, 1, 3, 2).copy(), np.zeros(shape[2], np.float32)))
            case Dense(units):
                weights.append(_he(rng, (shape[0], units)))
            case Residual():
                weights.append([_make_weights(way, rng) for way in ways(layer, shape)])
            case _:
                weights.append(None)
    return weights


def _he(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    scale = math.sqrt(2 / math.prod(shape[:-1]))
    return (rng.standard_normal(shape) * scale).astype(np.float32), np.zeros(shape[-1], np.float32)


def channels_first(network: Network, weights: Weights) -> Weights:
    """The same weights for NCHW: (filters, channels, height, width), and rows of W in the order of an NCHW flatten."""
    converted: Weights = []
    image: Shape | None = None
    for (layer, shape), own in zip(with_input_shapes(network), weights, strict=True):
        match layer:
            case Flatten():
                image = shape
                converted.append(None)
            case Convolution():
                converted.append((own[0].transpose(3, 2, 0, 1).copy(), own[1]))
            case Depthwise():
                converted.append((own[0].transpose(2, 3, 0, 1).copy(), own[1]))
            case Dense() if image is not None:
                W, b = own
                converted.append((W.reshape(*image, -1).transpose(2, 0, 1, 3).reshape(W.shape), b))
                image = None
            case Residual():
                converted.append([channels_first(way, its) for way, its in zip(ways(layer, shape), own, strict=True)])
            case _:
                converted.append(own)
    return converted


def describe(network: Network) -> str:
    """In one line: `c24@5x5/2` is a convolution with 24 filters of 5x5 pixels, stride 2, `d64` a dense layer."""
    words = ["×".join(map(str, network.input_shape))]  # noqa: RUF001
    for layer in network.layers:
        match layer:
            case Convolution(filters, size, padding, stride):
                words.append(f"c{filters}@{size}×{size}" + f"/{stride}" * (stride > 1) + f"+{padding}" * (padding > 0))  # noqa: RUF001
            case MaxPool(size, stride, padding):
                words.append(f"max{size}/{stride}" + f"+{padding}" * (padding > 0))
            case AveragePool(size, stride):
                words.append(f"average{size}/{stride}")
            case GlobalPool():
                words.append("global")
            case Dense(units):
                words.append(f"d{units}")
            case BatchNorm():
                words.append("bn")
            case _:
                words.append(type(layer).__name__.lower())
    return " ".join(words)


def make_batch(network: Network, batch: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Images, NHWC float32, and integer labels."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((batch, *network.input_shape), dtype=np.float32)
    return X, rng.integers(0, 10, batch)


class ConvolutionCase(NamedTuple):
    """One convolution by itself, stride 1."""

    batch: int
    height: int
    width: int
    channels: int
    filters: int
    size: int
    padding: int

    @property
    def output_shape(self) -> Shape:
        border = 2 * self.padding - self.size + 1
        return self.batch, self.height + border, self.width + border, self.filters

    @property
    def flop(self) -> int:
        """Of each of the three products; a multiplication and an addition are two."""
        return 2 * math.prod(self.output_shape) * self.size**2 * self.channels

    def arrays(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Images, weights, bias and output gradient, channels last."""
        rng = np.random.default_rng(seed)
        shapes = (
            (self.batch, self.height, self.width, self.channels),
            (self.size, self.size, self.channels, self.filters),
            (self.filters,),
            self.output_shape,
        )
        x, W, b, grad = (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
        return x, W, b, grad


REFERENCE_CONVOLUTION = "reference"


def convolution_cases(networks: Sequence[str], batch: int = 64) -> dict[str, ConvolutionCase]:
    """The reference convolution 64 -> 64 on 32x32, and those of the networks with stride 1, by name."""
    cases = {REFERENCE_CONVOLUTION: ConvolutionCase(batch, 32, 32, 64, 64, 3, 1)}
    for name in networks:
        number = 0
        for layer, shape in with_input_shapes(ALL_NETWORKS[name]):
            if isinstance(layer, Convolution) and layer.stride == 1:
                number += 1
                cases[f"{name} {number}"] = ConvolutionCase(batch, *shape, layer.filters, layer.size, layer.padding)
    return cases
