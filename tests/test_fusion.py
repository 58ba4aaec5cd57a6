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
from cnnx.fusion import ConvolutionPool, Residual, fuse


def steps_of(*layers, input_shape=(12, 12, 2)):
    model = Model(*layers, Flatten(), DenseLayer(units=3), SoftmaxLayer())
    model.build(input_shape, seed=0)
    return [type(step).__name__ for step in model.steps]


def every_step(steps):
    for step in steps:
        yield step
        if isinstance(step, Residual):
            yield from every_step([*step.through, *step.past])


REST = ["Flatten", "DenseLayer", "SoftmaxLayer"]


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
        (lambda: [BatchNormLayer(), PoolLayer(2)], ["BatchNormLayer", "PoolLayer"]),
        (lambda: [Flatten(), DenseLayer(units=4), ReluLayer()], ["Flatten", "ProductRelu"]),
        (lambda: [ResidualLayer(ConvolutionLayer(2, 1)), ReluLayer()], ["Residual"]),
        (lambda: [ResidualLayer(ReluLayer()), PoolLayer(2)], ["Residual", "PoolLayer"]),
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
            ["DepthwiseConvolutionLayer", "ConvolutionLayer", "ReluLayer"],
        ),
    ],
)
def test_what_is_computed_together(layers, expected):
    assert steps_of(*layers()) == expected + REST


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
    assert len(model.steps) < len(model.layers)
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
    if not any(isinstance(step, ConvolutionPool) for step in every_step(model.steps)):
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
    block = model.steps[0]
    assert [type(step).__name__ for step in block.through] == ["ConvolutionLayer", "BatchNormRelu", "Residual"]
    assert [type(step).__name__ for step in block.through[2].through] == ["ProductRelu"]
    assert [type(step).__name__ for step in block.past] == ["ProductRelu"]


def test_steps_share_the_parameters_of_their_layers():
    layer = ConvolutionLayer(3, 3)
    model = Model(layer, ReluLayer(), Flatten(), SoftmaxLayer())
    model.build((4, 4, 1), seed=0)
    assert model.steps[0].params["W"] is layer.params["W"]
    assert fuse(model.layers)[0].grads["b"] is layer.grads["b"]
