"""The reference networks as plain data: shapes, layers, weights and batches that every contestant builds from."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]
Weights = list[tuple[np.ndarray, np.ndarray] | None]

# All libraries are given the same, whatever their own default is.
BATCH_NORM_EPSILON = 1e-5


class Convolution(NamedTuple):
    filters: int
    size: int
    padding: int = 0


class BatchNorm(NamedTuple):
    pass


class Relu(NamedTuple):
    pass


class MaxPool(NamedTuple):
    size: int = 2


class Flatten(NamedTuple):
    pass


class Dropout(NamedTuple):
    rate: float


class Dense(NamedTuple):
    units: int


class Ready(NamedTuple):
    """All layers of a network of `cnnx.models`: no other contestant builds these."""

    name: str


Layer = Convolution | BatchNorm | Relu | MaxPool | Flatten | Dropout | Dense | Ready


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

READY_NETWORKS = {name: Network((32, 32, 3), [Ready(name)]) for name in ("resnet8", "mobilenet")}
ALL_NETWORKS = {**NETWORKS, **READY_NETWORKS}


def without_dropout(network: Network) -> Network:
    """The same network without its random part, so that losses can be compared."""
    return network._replace(layers=[layer for layer in network.layers if not isinstance(layer, Dropout)])


def with_input_shapes(network: Network) -> Iterator[tuple[Layer, Shape]]:
    """Each layer with the shape of the example that enters it."""
    shape = network.input_shape
    for layer in network.layers:
        yield layer, shape
        match layer:
            case Convolution(filters, size, padding):
                shape = (shape[0] + 2 * padding - size + 1, shape[1] + 2 * padding - size + 1, filters)
            case MaxPool(size):
                shape = (shape[0] // size, shape[1] // size, shape[2])
            case Flatten():
                shape = (math.prod(shape),)
            case Dense(units):
                shape = (units,)


def make_weights(network: Network, seed: int = 0) -> Weights:
    """For each layer W and b, or None: (height, width, channels, filters) and (inputs, units), float32."""
    rng = np.random.default_rng(seed)
    weights: Weights = []
    for layer, shape in with_input_shapes(network):
        match layer:
            case Convolution(filters, size, _):
                weights.append(_he(rng, (size, size, shape[2], filters)))
            case Dense(units):
                weights.append(_he(rng, (shape[0], units)))
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
    for (layer, shape), pair in zip(with_input_shapes(network), weights, strict=True):
        if isinstance(layer, Flatten):
            image = shape
        if pair is not None:
            W, b = pair
            if isinstance(layer, Convolution):
                W = W.transpose(3, 2, 0, 1)
            elif image is not None:
                W, image = W.reshape(*image, -1).transpose(2, 0, 1, 3).reshape(W.shape), None
            pair = np.ascontiguousarray(W), b
        converted.append(pair)
    return converted


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
    """The reference convolution 64 -> 64 on 32x32, and the different ones of the networks, by name."""
    cases = {REFERENCE_CONVOLUTION: ConvolutionCase(batch, 32, 32, 64, 64, 3, 1)}
    for name in networks:
        number = 0
        for layer, shape in with_input_shapes(ALL_NETWORKS[name]):
            if isinstance(layer, Convolution):
                number += 1
                cases[f"{name} {number}"] = ConvolutionCase(batch, *shape, layer.filters, layer.size, layer.padding)
    return cases
