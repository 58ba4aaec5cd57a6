"""Small networks drawn at random: what a user may build that nobody has tuned for.

One to six convolutions of 4 to 128 filters, 1x1 to 7x7, stride 1 or 2, with or without batch normalisation, each with
ReLU and perhaps a pooling behind it; then a global pooling or all values, and up to two hidden dense layers; square
pictures of 8 to 128 pixels and 1 to 16 channels. Batches of 8 to 256 in training, 1 to 256 in inference, are drawn from
those whose forward pass keeps to some limits, and a network that has none is drawn again: a step of training takes at
most some tenths of a second, and many networks fit into a run of minutes.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.networks import (
    ALL_NETWORKS,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Flatten,
    GlobalPool,
    Layer,
    MaxPool,
    Network,
    Relu,
    Shape,
    output_shape,
    with_input_shapes,
)

SIDES, MOST_CHANNELS, MOST_CONVOLUTIONS = (8, 128), 16, 6
FILTERS = (4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128)
SIZES = (1, 1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7, 7)
TRAINING_BATCHES = (8, 16, 32, 50, 64, 100, 128, 256)
INFERENCE_BATCHES = (1, 1, 2, 4, 8, 16, 32, 64, 100, 128, 256)

# Of a forward pass of one batch: multiply-adds, and values of all layers. Weights: of a network.
MOST_PRODUCTS, MOST_VALUES, MOST_WEIGHTS = 2 * 10**9, 2**25, 2**22

PREFIX = "random "


class Drawn(NamedTuple):
    name: str  # by which `find` knows it
    network: Network
    training_batch: int
    inference_batch: int


def draw(seed: int, number: int) -> Drawn:
    """The network of a number among those of a seed; it depends on nothing else."""
    rng = np.random.default_rng((seed, number))
    while True:
        network = _network(rng)
        if weight_count(network) <= MOST_WEIGHTS and fits(network, TRAINING_BATCHES[0]):
            training, inference = (
                _one_of(rng, [batch for batch in batches if fits(network, batch)])
                for batches in (TRAINING_BATCHES, INFERENCE_BATCHES)
            )
            return Drawn(f"{PREFIX}{seed}/{number}", network, training, inference)


def find(name: str) -> Network:
    """A network of `ALL_NETWORKS`, or a drawn one, by its name."""
    if name.startswith(PREFIX):
        seed, number = name.removeprefix(PREFIX).split("/")
        return draw(int(seed), int(number)).network
    return ALL_NETWORKS[name]


def fits(network: Network, batch: int) -> bool:
    """Whether a forward pass of a batch keeps to the limits."""
    return batch * product_count(network) <= MOST_PRODUCTS and batch * value_count(network) <= MOST_VALUES


def product_count(network: Network) -> int:
    """Multiply-adds of the convolutions and dense layers, for one example."""
    count = 0
    for layer, shape in with_input_shapes(network):
        match layer:
            case Convolution(_, size):
                count += math.prod(output_shape(layer, shape)) * size**2 * shape[2]
            case Dense(units):
                count += shape[0] * units
    return count


def value_count(network: Network) -> int:
    """Values that enter the layers, for one example."""
    return sum(math.prod(shape) for _, shape in with_input_shapes(network))


def weight_count(network: Network) -> int:
    count = 0
    for layer, shape in with_input_shapes(network):
        match layer:
            case Convolution(filters, size):
                count += size**2 * shape[2] * filters
            case Dense(units):
                count += shape[0] * units
    return count


def _network(rng: np.random.Generator) -> Network:
    side = round(math.exp(rng.uniform(*map(math.log, SIDES))))
    channels = _one_of(rng, (1, 1, 3, 3, int(rng.integers(1, MOST_CHANNELS + 1))))
    shape: Shape = (side, side, channels)
    layers: list[Layer] = []
    normalizes = _happens(rng, 0.4)
    for _ in range(rng.integers(1, MOST_CONVOLUTIONS + 1)):
        for layer in _convolution(rng, shape, normalizes):
            layers.append(layer)
            shape = output_shape(layer, shape)
        if shape[0] >= 4 and (pool := _pooling(rng)) is not None:
            layers.append(pool)
            shape = output_shape(pool, shape)
    layers.append(GlobalPool() if _happens(rng, 0.35) else Flatten())
    for _ in range(_one_of(rng, (0, 0, 1, 1, 2))):
        layers += [Dense(_one_of(rng, (16, 32, 64, 100, 128, 256))), Relu()]
    return Network((side, side, channels), [*layers, Dense(10)])


def _convolution(rng: np.random.Generator, shape: Shape, normalizes: bool) -> list[Layer]:
    filters = int(rng.integers(4, 129)) if _happens(rng, 0.2) else _one_of(rng, FILTERS)
    size = _one_of(rng, [size for size in SIZES if size <= shape[0]])
    padding = (size - 1) // 2 if _happens(rng, 0.7) else 0
    stride = 2 if shape[0] >= 4 and _happens(rng, 0.2) else 1
    return [Convolution(filters, size, padding, stride), *([BatchNorm()] if normalizes else []), Relu()]


def _pooling(rng: np.random.Generator) -> Layer | None:
    return _one_of(
        rng, (None, None, None, MaxPool(2, 2), MaxPool(2, 2), MaxPool(3, 2), MaxPool(3, 2, 1), AveragePool())
    )


def _one_of(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[rng.integers(len(options))]


def _happens(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)
