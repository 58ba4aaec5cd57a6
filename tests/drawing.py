"""Networks drawn at random from a seed: valid rows of every layer there is, by what users import alone.

Sizes are small, so that hundreds of them train in seconds. What is likely is what a plan has to get right: neighbours
that are computed together, layers that share memory, views, layers without parameters at the bottom, nested blocks.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from cnnx import Model
from cnnx.layers import (
    BatchNormLayer,
    ConvolutionLayer,
    CroppingLayer,
    DenseLayer,
    DepthwiseConvolutionLayer,
    DropoutLayer,
    EluLayer,
    Flatten,
    GeluLayer,
    GlobalPoolLayer,
    GroupNormLayer,
    HardSwishLayer,
    HingeLayer,
    Layer,
    LayerNormLayer,
    LeakyReluLayer,
    PaddingLayer,
    PoolLayer,
    PReluLayer,
    RegressionLayer,
    ReluLayer,
    ResidualLayer,
    SeluLayer,
    SigmoidLayer,
    SiluLayer,
    SoftmaxLayer,
    SoftplusLayer,
    SpatialDropoutLayer,
    StandardizeLayer,
    TanhLayer,
    TransposedConvolutionLayer,
    UpsampleLayer,
    make_layer,
)

Shape = tuple[int, ...]

# Values of an example that a layer may give, and that a dense layer may take.
MOST_VALUES, MOST_FEATURES = 4000, 600
DEEPEST = 3  # blocks in blocks
ACTIVATIONS = (
    ReluLayer,
    ReluLayer,
    LeakyReluLayer,
    PReluLayer,
    EluLayer,
    SeluLayer,
    GeluLayer,
    SiluLayer,
    TanhLayer,
    SoftplusLayer,
    HardSwishLayer,
)


class DrawnNetwork(NamedTuple):
    """A network, not yet a model: `layers` are patterns, of which each model gets its own."""

    seed: int
    layers: list[Layer]
    input_shape: Shape
    outputs: int

    def model(self, dtype: Any = np.float32, build: bool = True) -> Model:
        """A new model, built from the same random numbers each time."""
        model = Model(*(make_layer(layer.description()) for layer in self.layers))
        if build:
            model.build(self.input_shape, seed=self.seed, dtype=dtype)
        return model

    def batch(self, examples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Examples (examples, *input_shape) in single precision, and labels that the output layer takes."""
        rng = np.random.default_rng((self.seed, seed, examples))
        X = rng.standard_normal((examples, *self.input_shape)).astype(np.float32)
        if isinstance(self.layers[-1], SigmoidLayer):
            return X, rng.integers(0, 2, (examples, self.outputs))
        if isinstance(self.layers[-1], RegressionLayer):
            return X, rng.standard_normal((examples, self.outputs))
        return X, rng.integers(0, self.outputs, examples)


def draw_network(seed: int, plain: bool = False) -> DrawnNetwork:
    """The network of a seed; a plain one has no transposed convolution and ends in `SoftmaxLayer()`."""
    return Draw(seed, plain).network()


def draw_networks(count: int, plain: bool = False, first: int = 0) -> Iterator[DrawnNetwork]:
    """Networks of as many seeds, from the first one on."""
    return (draw_network(seed, plain) for seed in range(first, first + count))


class Row:
    """Layers in a row, and the shape of an example behind them."""

    def __init__(self, shape: Shape) -> None:
        self.layers: list[Layer] = []
        self.shape = shape

    def add(self, *layers: Layer) -> bool:
        """Append all of them, or none if one does not fit or gives too much."""
        shape = self.shape
        for layer in layers:
            try:
                shape = layer.build(shape, seed=0)
            except ValueError:
                return False
            if np.prod(shape) > MOST_VALUES:
                return False
        self.layers += layers
        self.shape = shape
        return True


class Draw:
    """The random choices of one network. Each method that returns layers returns new ones, which may not fit."""

    def __init__(self, seed: int, plain: bool) -> None:
        self.seed, self.plain = seed, plain
        self.rng = np.random.default_rng(seed)

    def one_of(self, *options: Any) -> Any:
        return options[self.rng.integers(len(options))]

    def happens(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def network(self) -> DrawnNetwork:
        channels = self.one_of(1, 1, 2, 3, 3, 4, 6, 8, 24)
        size = (int(self.rng.integers(5, 15)), int(self.rng.integers(5, 15)))
        row = Row((channels * 4,) if self.happens(0.1) else (*size, channels))
        input_shape = row.shape
        self.bottom(row)
        for _ in range(self.rng.integers(0, 5)):
            self.piece(row)
            if self.happens(0.04):  # it is not permitted in a block
                row.add(SigmoidLayer())
        output, outputs = self.output()
        self.scores(row, outputs)
        # Scores may be as many as the layers before happen to give.
        if not row.add(output):
            row.add(DenseLayer(outputs), output)
        return DrawnNetwork(self.seed, row.layers, input_shape, row.shape[0])

    # -- Rows of layers --------------------------------------------------------------------------------

    def bottom(self, row: Row) -> None:
        """Perhaps layers that stand below the first parameters."""
        if self.happens(0.25):
            row.add(self.standardization(row.shape))
        if self.happens(0.3):
            for _ in range(self.one_of(1, 1, 2)):
                row.add(self.without_parameters(row.shape))

    def piece(self, row: Row, depth: int = 0) -> None:
        """Some layers that belong together, with what is likely to follow them."""
        if len(row.shape) == 3:
            layers = self.one_of(
                *[self.convolution] * 5,
                *[self.pooled] * 2,
                self.wide,
                *[self.depthwise] * 2,
                *[lambda shape: self.image_block(shape, depth)] * 3,
                *[self.alone] * 2,
            )(row.shape)
        else:
            layers = self.one_of(*[self.dense] * 3, lambda shape: self.vector_block(shape, depth), self.alone)(
                row.shape
            )
        if not row.add(*layers, *self.tail(row.shape)):
            row.add(*layers)

    def alone(self, shape: Shape) -> list[Layer]:
        """A layer that needs no other before it."""
        if self.happens(0.4):
            return [self.without_parameters(shape)]
        if self.happens(0.5) and len(shape) == 3 and not self.plain:
            return [self.transposed()]
        return [self.one_of(self.normalization(shape), PReluLayer(slope=0.1), self.activation())]

    def tail(self, shape: Shape) -> list[Layer]:
        """What follows a product or a block."""
        image = len(shape) == 3
        pool = [self.whole_windows()] if image else []
        return self.one_of(
            lambda: [],
            lambda: [ReluLayer()],
            lambda: [ReluLayer()],
            lambda: [ReluLayer(), *pool],
            lambda: [ReluLayer(), *pool],
            lambda: [*pool],
            lambda: [*pool, BatchNormLayer(), ReluLayer()],
            lambda: [BatchNormLayer()],
            lambda: [BatchNormLayer(), ReluLayer()],
            lambda: [BatchNormLayer(), ReluLayer(), *pool],
            lambda: [BatchNormLayer(momentum=0.5, epsilon=1e-3) for _ in range(self.one_of(2, 3, 4))],
            lambda: [BatchNormLayer(), self.activation(), self.dropout(image)],
            lambda: [self.normalization(shape), ReluLayer()],
            lambda: [self.activation()],
            lambda: [self.activation(), self.pooling()] if image else [self.activation(), self.dropout(image)],
            lambda: [self.dropout(image), ReluLayer()],
            lambda: [ReluLayer(), ReluLayer()],
            lambda: [PReluLayer()],
        )()

    def scores(self, row: Row, outputs: int) -> None:
        """From where the row stands to a vector of scores, sometimes by way of features."""
        if len(row.shape) == 3:
            if self.happens(0.1) and row.add(ConvolutionLayer(outputs, 1), GlobalPoolLayer(self.mode())):
                return
            while np.prod(row.shape) > MOST_FEATURES and row.add(self.one_of(PoolLayer(2), PoolLayer(3, stride=2))):
                pass
            flat = [GlobalPoolLayer(self.mode())] if np.prod(row.shape) > MOST_FEATURES else [Flatten()]
            if self.happens(0.3):
                flat = [GlobalPoolLayer(self.mode())]
            row.add(*flat)
        for _ in range(self.one_of(0, 0, 1, 1, 2)):
            self.piece(row)
        if not (row.shape[0] > 1 and self.happens(0.04)):
            row.add(DenseLayer(outputs))
        if self.happens(0.08):
            row.add(self.one_of(ReluLayer(), Flatten(), BatchNormLayer(), TanhLayer()))

    def output(self) -> tuple[Layer, int]:
        """An output layer, and a number of scores that it takes."""
        outputs = self.one_of(2, 3, 4, 5, 10)
        if self.plain:
            return SoftmaxLayer(), outputs
        return self.one_of(
            (SoftmaxLayer(), outputs),
            (SoftmaxLayer(label_smoothing=0.1), outputs),
            (SoftmaxLayer(focal=2), outputs),
            (SoftmaxLayer(label_smoothing=0.2, focal=1.5), outputs),
            (SigmoidLayer(), self.one_of(1, outputs)),
            (SigmoidLayer(focal=2, threshold=0.3), self.one_of(1, outputs)),
            (HingeLayer(squared=self.happens(0.5)), outputs),
            (RegressionLayer(self.one_of("squared", "absolute", "huber"), delta=0.5), self.one_of(1, outputs)),
        )

    # -- Blocks ----------------------------------------------------------------------------------------

    def image_block(self, shape: Shape, depth: int = 0) -> list[Layer]:
        """A residual block of images, which may halve them, and hold others."""
        channels = shape[2]
        kind = self.one_of("plain", "plain", "plain", "halves", "halves", "pools", "bare", "flat")
        if kind == "bare":
            return [ResidualLayer(self.activation(), shortcut=self.one_of(None, self.dropout(True), BatchNormLayer()))]
        if kind == "flat":
            return [
                ResidualLayer(Flatten(), DenseLayer(6), shortcut=[Flatten(), self.dropout(False), DenseLayer(6)])
                if np.prod(shape) <= MOST_FEATURES
                else ResidualLayer(PaddingLayer(1), ConvolutionLayer(channels, 3))
            ]
        stride, through = (2 if kind == "halves" else 1), Row(shape)
        filters = channels if kind == "plain" else self.one_of(4, 6, 8, 16)
        through.add(ConvolutionLayer(filters, self.one_of(1, 3, 5), stride, padding="same"))
        through.add(*self.one_of([], [ReluLayer()], [BatchNormLayer(), ReluLayer()], [self.activation()]))
        if kind == "pools":
            through.add(PoolLayer(2))
        elif depth < DEEPEST and self.happens(0.4):
            self.inner_piece(through, depth + 1)
        through.add(self.one_of(ConvolutionLayer(filters, 3, padding=1), DepthwiseConvolutionLayer(3, padding=1)))
        if self.happens(0.6):
            through.add(BatchNormLayer())
        if not through.layers:  # none of them fits into an image so small
            return [ResidualLayer(self.activation())]
        shortcut = [PoolLayer(2)] if kind == "pools" else []
        if kind != "plain":
            shortcut.append(ConvolutionLayer(filters, 1, stride))
        if self.happens(0.3):
            shortcut.append(self.one_of(BatchNormLayer(), self.activation(), self.dropout(True)))
        return [ResidualLayer(*through.layers, shortcut=shortcut or None)]

    def vector_block(self, shape: Shape, depth: int = 0) -> list[Layer]:
        """A residual block of vectors."""
        if self.happens(0.2):
            return [ResidualLayer(self.one_of(Flatten(), self.activation(), self.dropout(False)))]
        through, units = Row(shape), self.one_of(*shape, 7)
        through.add(DenseLayer(self.one_of(5, 16)))
        if depth < DEEPEST and self.happens(0.3):
            self.inner_piece(through, depth + 1)
        through.add(*self.one_of([ReluLayer()], [BatchNormLayer(), ReluLayer()], [Flatten()], [self.activation()]))
        through.add(DenseLayer(units))
        return [ResidualLayer(*through.layers, shortcut=DenseLayer(units) if units != shape[0] else None)]

    def inner_piece(self, row: Row, depth: int) -> None:
        """A piece that leaves the shape as it is, or none."""
        inner = Row(row.shape)
        self.piece(inner, depth)
        if inner.shape == row.shape:
            row.add(*inner.layers)

    # -- Layers ----------------------------------------------------------------------------------------

    def convolution(self, shape: Shape) -> list[Layer]:
        channels = shape[2]
        groups = self.one_of(1, 1, 1, 1, *(n for n in (2, 3, 4, channels) if channels % n == 0))
        filters = groups * self.one_of(1, 2, 3) if groups > 1 else self.one_of(1, 3, 5, 6, 8, 16, 17, 20, 24, 32)
        size = self.one_of(1, 2, 3, 3, 3, 4, 5, 7, (1, 3), (3, 2), (5, 1))
        return [
            ConvolutionLayer(
                filters,
                size,
                stride=self.one_of(1, 1, 1, 1, 2, 3, (1, 2), (2, 1)),
                padding=self.one_of(0, 0, 1, 1, 2, "same", "same", "valid", (1, 2), (0, 1)),
                dilation=self.one_of(1, 1, 1, 1, 1, 2, (1, 2), (3, 1)),
                groups=groups,
            )
        ]

    def pooled(self, shape: Shape) -> list[Layer]:
        """What kernels pool as they compute it."""
        convolution = ConvolutionLayer(
            self.one_of(3, 5, 8, 16, 24, 33), self.one_of(1, 2, 3, 3, 5), padding=self.one_of(0, 1)
        )
        return [convolution, *self.one_of([], [ReluLayer()], [ReluLayer()]), self.whole_windows()]

    def wide(self, shape: Shape) -> list[Layer]:
        """Enough channels for Winograd's products."""
        return [
            ConvolutionLayer(self.one_of(24, 32), self.one_of(1, 3), padding="same"),
            self.activation(),
            ConvolutionLayer(self.one_of(24, 29), 3, padding=self.one_of(0, 1)),
        ]

    def depthwise(self, shape: Shape) -> list[Layer]:
        return [
            DepthwiseConvolutionLayer(
                self.one_of(1, 3, 3, 5, (2, 3)),
                multiplier=self.one_of(1, 1, 1, 2, 3) if shape[2] < 16 else 1,
                stride=self.one_of(1, 1, 2, (2, 1)),
                padding=self.one_of(0, 1, 1, "same", (1, 2)),
                dilation=self.one_of(1, 1, 1, 2, (1, 2)),
            )
        ]

    def transposed(self) -> Layer:
        stride, output_padding = self.one_of((1, 0), (2, 0), (2, 1), ((1, 2), (0, 1)), (3, 2))
        return TransposedConvolutionLayer(
            self.one_of(1, 3, 8, 17),
            self.one_of(1, 2, 3, (3, 2)),
            stride=stride,
            padding=self.one_of(0, 0, 1, (0, 1)),
            output_padding=output_padding,
            dilation=self.one_of(1, 1, 1, 2),
        )

    def dense(self, shape: Shape) -> list[Layer]:
        return [DenseLayer(self.one_of(1, 5, 8, 16, 33, 64))]

    def whole_windows(self) -> Layer:
        """Max pooling whose windows neither overlap nor reach into padding."""
        return PoolLayer(self.one_of(2, 2, 2, 2, 3, (2, 1), (1, 3), (2, 3)))

    def pooling(self) -> Layer:
        return self.one_of(
            self.whole_windows(),
            PoolLayer(3, stride=2),
            PoolLayer(3, stride=2, padding=1),
            PoolLayer(2, stride=1),
            PoolLayer(2, stride=3),
            PoolLayer(2, padding="same"),
            PoolLayer((3, 2), stride=(1, 2), padding=(1, 0)),
            PoolLayer(2, mode="average"),
            PoolLayer(3, stride=2, mode="average", padding="same"),
        )

    def mode(self) -> str:
        return self.one_of("average", "average", "max")

    def activation(self) -> Layer:
        return self.one_of(*ACTIVATIONS)()

    def dropout(self, image: bool) -> Layer:
        rate = self.one_of(0.0, 0.2, 0.5)
        return SpatialDropoutLayer(rate) if image and self.happens(0.4) else DropoutLayer(rate)

    def normalization(self, shape: Shape) -> Layer:
        groups = self.one_of(*(n for n in (1, 2, 3, 4) if shape[-1] % n == 0))
        return self.one_of(BatchNormLayer(), BatchNormLayer(momentum=0.5), LayerNormLayer(), GroupNormLayer(groups))

    def standardization(self, shape: Shape) -> Layer:
        """Mean and deviation are given, so that the network can take its first step without learning them."""
        per = self.one_of("channel", "value")
        sizes = shape if per == "value" else shape[-1:]
        return StandardizeLayer(per, self.rng.normal(0, 0.5, sizes).tolist(), self.rng.uniform(0.5, 2, sizes).tolist())

    def without_parameters(self, shape: Shape) -> Layer:
        if len(shape) == 1:
            return self.one_of(Flatten(), self.activation(), self.dropout(False))
        return self.one_of(
            self.activation(),
            self.dropout(True),
            self.pooling(),
            self.pooling(),
            Flatten(),
            PaddingLayer(self.one_of(1, (0, 2), ((1, 0), (0, 3)))),
            CroppingLayer(self.one_of(1, (1, 0), ((0, 1), (2, 0)))),
            UpsampleLayer(self.one_of(2, (1, 2), (2, 1)), self.one_of("nearest", "bilinear")),
        )
