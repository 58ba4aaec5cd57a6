import numpy as np
import pytest

from cnnx import (
    BatchNormLayer,
    ConvolutionLayer,
    DenseLayer,
    DepthwiseConvolutionLayer,
    Flatten,
    Model,
    PoolLayer,
    ReluLayer,
    ResidualLayer,
    SoftmaxLayer,
)
from cnnx.layers.base import leaves
from cnnx.plan.fused import FusedPass
from cnnx.plan.fusion import FUSIONS, IN_INFERENCE


def kinds_of(*layers, input_shape=(12, 12, 2)):
    model = Model(*layers, Flatten(), DenseLayer(units=3), SoftmaxLayer())
    model.build(input_shape, seed=0)
    return [pass_.kind for pass_ in model.plan.passes]


def test_every_fusion_is_in_the_list():
    assert {*FUSIONS, *IN_INFERENCE} == set(FusedPass.__subclasses__())


REST = ["Flatten", "DenseLayer"]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (lambda: [ConvolutionLayer(3, 3)], ["ConvolutionLayer"]),
        (lambda: [ConvolutionLayer(3, 3), ReluLayer()], ["ProductRelu"]),
        (lambda: [ConvolutionLayer(3, 3), ReluLayer(), PoolLayer(2)], ["ConvolutionPool"]),
        (lambda: [ConvolutionLayer(3, 3), PoolLayer((3, 2))], ["ConvolutionPool"]),
        (lambda: [ConvolutionLayer(3, 3), ReluLayer(), PoolLayer(3, stride=2)], ["ProductRelu", "PoolLayer"]),
        (lambda: [ConvolutionLayer(3, 3), PoolLayer(2, mode="average")], ["ConvolutionLayer", "PoolLayer"]),
        (lambda: [ConvolutionLayer(3, 4), PoolLayer(2, padding=1)], ["ConvolutionLayer", "PoolLayer"]),
        (lambda: [ConvolutionLayer(3, 4), PoolLayer(2, padding="same")], ["ConvolutionLayer", "PoolLayer"]),
        (lambda: [ConvolutionLayer(3, 3, padding=5), PoolLayer(16)], ["ConvolutionLayer", "PoolLayer"]),
        (lambda: [ReluLayer(), PoolLayer(2)], ["ReluLayer", "PoolLayer"]),
        (lambda: [ConvolutionLayer(3, 3), BatchNormLayer(), ReluLayer()], ["ConvolutionLayer", "BatchNormRelu"]),
        (lambda: [BatchNormLayer(), PoolLayer(2)], ["BatchNormPool"]),
        (
            lambda: [ConvolutionLayer(3, 3), BatchNormLayer(), ReluLayer(), PoolLayer(2)],
            ["ConvolutionLayer", "BatchNormPool"],
        ),
        (lambda: [BatchNormLayer(), ReluLayer(), PoolLayer(3, stride=2)], ["BatchNormRelu", "PoolLayer"]),
        (lambda: [BatchNormLayer(), PoolLayer(2, mode="average")], ["BatchNormLayer", "PoolLayer"]),
        (lambda: [Flatten(), DenseLayer(units=4), ReluLayer()], ["Flatten", "ProductRelu"]),
        (lambda: [ResidualLayer(ConvolutionLayer(2, 1)), ReluLayer()], ["ConvolutionLayer", "Residual"]),
        (lambda: [ResidualLayer(ReluLayer()), PoolLayer(2)], ["ReluLayer", "Residual", "PoolLayer"]),
        (lambda: [DepthwiseConvolutionLayer(3), ReluLayer(), PoolLayer(2)], ["ProductRelu", "PoolLayer"]),
        (lambda: [DepthwiseConvolutionLayer(3), PoolLayer(2)], ["DepthwiseConvolutionLayer", "PoolLayer"]),
        (lambda: [ConvolutionLayer(4, 3, groups=2), ReluLayer(), PoolLayer(2)], ["ProductRelu", "PoolLayer"]),
        (lambda: [ConvolutionLayer(4, 3, groups=2, dilation=2), PoolLayer(2)], ["ConvolutionLayer", "PoolLayer"]),
        (lambda: [ConvolutionLayer(3, 3, dilation=(1, 2)), PoolLayer(2)], ["ConvolutionLayer", "PoolLayer"]),
        (
            lambda: [ConvolutionLayer(3, 3, dilation=(2, 1)), ReluLayer(), PoolLayer(2)],
            ["ProductRelu", "PoolLayer"],
        ),
        (
            lambda: [DepthwiseConvolutionLayer(3, multiplier=2), ConvolutionLayer(4, 3, groups=2), ReluLayer()],
            ["DepthwiseConvolutionLayer", "ProductRelu"],
        ),
    ],
)
def test_what_is_computed_together(layers, expected):
    assert kinds_of(*layers()) == expected + REST


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (lambda: [ConvolutionLayer(3, 3), ReluLayer(), PoolLayer(2)], ["ConvolutionPool"]),
        (lambda: [ConvolutionLayer(3, 3), ReluLayer(), PoolLayer(3, stride=2)], ["ConvolutionWindows"]),
        (lambda: [ConvolutionLayer(3, 4, dilation=2), PoolLayer(2, padding=1)], ["ConvolutionWindows"]),
        (lambda: [ConvolutionLayer(3, 3), PoolLayer(2, mode="average")], ["ConvolutionWindows"]),
        (lambda: [ConvolutionLayer(4, 3, groups=2), ReluLayer(), PoolLayer(3, stride=2)], ["ProductRelu", "PoolLayer"]),
    ],
)
def test_what_is_computed_together_in_inference_alone(layers, expected):
    model = Model(*layers(), Flatten(), DenseLayer(units=3), SoftmaxLayer())
    model.build((12, 12, 2), seed=0)
    assert [pass_.kind for pass_ in model.serving_plan.passes] == expected + REST


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    "layers",
    [
        lambda: [ConvolutionLayer(20, 3, padding=1), ReluLayer()],
        lambda: [ConvolutionLayer(5, 3, stride=2), ReluLayer(), PoolLayer(2)],
        lambda: [ConvolutionLayer(33, (2, 5), padding="same"), PoolLayer((2, 3))],
        lambda: [ConvolutionLayer(6, 3), BatchNormLayer(), ReluLayer(), PoolLayer(2)],
        lambda: [
            ConvolutionLayer(2, 5),
            Flatten(),
            DenseLayer(units=7),
            ReluLayer(),
            DenseLayer(units=20),
            ReluLayer(),
        ],
        lambda: [ResidualLayer(ConvolutionLayer(2, 3, padding=1), ReluLayer()), ReluLayer()],
        lambda: [
            ConvolutionLayer(6, 3),
            ResidualLayer(
                ConvolutionLayer(5, 2),
                ReluLayer(),
                PoolLayer(2),
                ResidualLayer(BatchNormLayer(), ReluLayer()),
                shortcut=[ConvolutionLayer(5, 2), BatchNormLayer(), PoolLayer(2)],
            ),
            ReluLayer(),
        ],
        lambda: [ConvolutionLayer(3, 3, padding=1), ReluLayer(), ConvolutionLayer(7, 4), ReluLayer(), PoolLayer(2)],
        lambda: [ConvolutionLayer(20, 1), ReluLayer(), DepthwiseConvolutionLayer(3, stride=2), ReluLayer()],
        lambda: [ConvolutionLayer(4, 3, groups=2, dilation=2), ReluLayer(), PoolLayer(2)],
        lambda: [ConvolutionLayer(4, 3, dilation=2), ReluLayer(), PoolLayer(2)],
        # Channels enough for Winograd's products, with and without pooling.
        lambda: [
            ConvolutionLayer(24, 3, padding=1),
            ReluLayer(),
            ConvolutionLayer(27, 3, padding=1),
            ReluLayer(),
            ConvolutionLayer(25, 3),
            ReluLayer(),
            PoolLayer(2),
            ConvolutionLayer(26, 3, padding=1),
            PoolLayer((3, 2)),
        ],
    ],
)
def test_a_fused_network_gives_the_same_bits_as_its_layers_one_by_one(layers, dtype, rng):
    model = Model(*layers(), Flatten(), DenseLayer(units=3), SoftmaxLayer())
    model.build((13, 12, 2), seed=0, dtype=dtype)
    assert len(model.plan.passes) < len([*leaves(model.layers)])
    X, y = rng.standard_normal((9, 13, 12, 2)).astype(dtype), rng.integers(0, 3, 9)

    probabilities = model.forward(X, training=True)
    model.backward(y)
    fused = model.gradients.copy()

    model.gradients[...] = np.nan
    x = X
    for layer in model.layers[:-1]:
        x = layer.forward(x, training=True)
    output = model.layers[-1]
    np.testing.assert_array_equal(output.forward(x, training=True), probabilities)
    grad = output.loss_backward(output.targets(y))
    for layer in reversed(model.layers[:-1]):
        grad = layer.backward(grad)
    if "ConvolutionPool" not in [pass_.kind for pass_ in model.plan.passes]:
        np.testing.assert_array_equal(model.gradients, fused)
    else:  # most of the pooling's gradient is zero, and is passed over: sums are in another order
        tolerance = (1e-5 if dtype == np.float32 else 1e-12) * np.abs(fused).max()
        np.testing.assert_allclose(model.gradients, fused, rtol=0, atol=tolerance)


def test_layers_inside_a_block_are_computed_together_as_well():
    model = Model(
        ResidualLayer(
            ConvolutionLayer(2, 1),
            BatchNormLayer(),
            ReluLayer(),
            ResidualLayer(ConvolutionLayer(2, 1), ReluLayer()),
            ReluLayer(),
            shortcut=[ConvolutionLayer(2, 1), ReluLayer()],
        ),
        Flatten(),
        SoftmaxLayer(),
    )
    model.build((4, 4, 2), seed=0)
    assert [pass_.kind for pass_ in model.plan.passes] == [
        "ConvolutionLayer", "BatchNormRelu", "ProductRelu", "Residual", "ProductRelu", "Residual", "Flatten",
    ]  # fmt: skip


class Squared(ConvolutionLayer):
    """A convolution that computes something else."""

    def forward(self, x, training=False):
        return super().forward(x, training) ** 2


class Renamed(ConvolutionLayer):
    """A convolution as it is."""


@pytest.mark.usefixtures("backend")
def test_only_the_classes_themselves_are_computed_together_and_what_they_override_is_called(rng):
    X = rng.standard_normal((3, 6, 6, 2))
    for kind, expected in ((Squared, "Squared"), (Renamed, "Renamed")):
        layers = kind(3, 3), ReluLayer(), PoolLayer(2)
        model = Model(*layers, Flatten(), DenseLayer(2), SoftmaxLayer())
        model.build((6, 6, 2), seed=0)
        assert [pass_.kind for pass_ in model.plan.passes] == [
            expected,
            "ReluLayer",
            "PoolLayer",
            "Flatten",
            "DenseLayer",
        ]
        x = X
        for layer in model.layers:
            x = layer.forward(x)
        np.testing.assert_array_equal(model.predict_proba(X), x)


def test_a_residual_block_that_is_overridden_is_called_as_well(rng):
    class Doubled(ResidualLayer):
        def forward(self, x, training=False):
            return 2 * super().forward(x, training)

        def backward(self, grad):
            return super().backward(2 * grad)

    model = Model(DenseLayer(3), Doubled(DenseLayer(3)), ReluLayer(), SoftmaxLayer())
    X, y = rng.standard_normal((4, 5)), [0, 1, 2, 0]
    model.train_on_batch(X, y, 0.1)
    assert [pass_.kind for pass_ in model.plan.passes] == ["DenseLayer", "Doubled", "ReluLayer"]
    x = model.layers[0].forward(X)
    np.testing.assert_array_equal(model.layers[1].forward(x), 2 * (x + model.layers[1].layers[0].forward(x)))
