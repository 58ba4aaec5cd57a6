"""What "auto" means: the network, the number of epochs, the batch size and the learning rate, by the data alone.

Few examples are one batch, and nothing in training is drawn at random: a step then sees all of them, so that neither
their order nor whether an example is repeated or has a weight makes a difference. More examples come in mini-batches.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from cnnx._typing import Shape
from cnnx.layers.activation import ReluLayer
from cnnx.layers.base import Layer
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.layers.dense import DenseLayer
from cnnx.layers.dropout import DropoutLayer
from cnnx.layers.flatten import Flatten
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.pooling import PoolLayer

# So many rows of a table are one batch, and so many pictures, if they do not have more values in all than that: a step
# takes time and memory for each of them.
FEW_ROWS, VALUES_OF_ROWS = 2_000, 2**20
FEW_PICTURES, VALUES_OF_PICTURES = 100, 2**17
UNITS = 100
FILTERS = (32, 64)
DROPOUT = 0.5
# The smaller side of larger pictures is halved by averages until it is no larger.
LARGEST_SIDE = 64


class Recipe(NamedTuple):
    """How a network is trained, where nobody says otherwise: AdamW with the largest rate of a one-cycle schedule."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float


# For examples that come piece by piece, each piece once; the rate is constant.
PIECES = Recipe(1, 32, 1e-3, 0.01)


def is_table(shape: Shape) -> bool:
    """Whether an example is a row of features, and no picture."""
    return len(shape) == 1


def are_few(shape: Shape, examples: int) -> bool:
    """Whether examples are so few that they are one batch."""
    few, values = (FEW_ROWS, VALUES_OF_ROWS) if is_table(shape) else (FEW_PICTURES, VALUES_OF_PICTURES)
    return examples <= few and examples * math.prod(shape) <= values


def recipe(shape: Shape, examples: int, few: bool) -> Recipe:
    """The recipe for so many examples of a shape, in one batch where they are few."""
    if few:
        return Recipe(200, examples, 2e-2, 1.0) if is_table(shape) else Recipe(100, examples, 4e-3, 0.5)
    # Ten times the examples take a third of the epochs, and three times the steps.
    share = math.sqrt(1000 / examples)
    if is_table(shape):
        return Recipe(max(4, min(round(90 * share), 100)), 64, 1e-2, 0.3)
    return Recipe(max(4, min(round(30 * share), 100)), 32, 4e-3, 0.5)


def hidden_layers(shape: Shape, few: bool) -> list[Layer]:
    """The network without its last dense layer: a hidden layer for tables, convolutions for pictures.

    Where examples are many, it normalises batches and drops values at random; few are one batch, of which each example
    is to count as its weight says.
    """
    if is_table(shape):
        return [DenseLayer(units=UNITS), ReluLayer()]
    layers: list[Layer] = []
    side = min(shape[:2])
    while side > LARGEST_SIDE:
        layers.append(PoolLayer(filter_size=2, mode="average"))
        side //= 2
    # Of digits with 8 pixels a side, larger filters would see half.
    filter_size = 5 if side >= 16 else 3
    for filters in FILTERS:
        layers.append(ConvolutionLayer(filters, filter_size, padding="same"))
        if side >= 2:
            layers.append(PoolLayer(filter_size=2))
            side //= 2
        layers += [ReluLayer()] if few else [BatchNormLayer(), ReluLayer()]
    layers.append(Flatten())
    return layers if few else [*layers, DropoutLayer(DROPOUT)]
