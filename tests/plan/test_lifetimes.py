"""Shared working arrays change no bit of a step, and hold all gradients of the backward pass."""

import numpy as np
import pytest

from cnnx import (
    BatchNormLayer,
    ConvolutionLayer,
    DenseLayer,
    DropoutLayer,
    Flatten,
    Model,
    PoolLayer,
    ReluLayer,
    ResidualLayer,
    SoftmaxLayer,
)
from cnnx.layers.base import Layer


class Cube(Layer):
    """A layer as a user may write it, with nothing said of its arrays; its gradient needs its input."""

    def create(self, input_shape, rng):
        return input_shape

    def forward(self, x, training=False):
        x = self._checked_input(x)
        if training:
            self._cache = (x,)
        return x**3

    def backward(self, grad):
        grad, x = self._use_up_cache(grad)
        return 3 * x**2 * grad


NETWORKS = {
    "batch normalization between convolutions": lambda: [
        ConvolutionLayer(filters=4, filter_size=3), BatchNormLayer(), ReluLayer(),
        ConvolutionLayer(filters=5, filter_size=3), BatchNormLayer(), ConvolutionLayer(filters=3, filter_size=1),
        Flatten(),
    ],
    "neighbours that can both be computed again": lambda: [
        BatchNormLayer(), ConvolutionLayer(filters=4, filter_size=3), BatchNormLayer(), BatchNormLayer(), ReluLayer(),
        BatchNormLayer(), ReluLayer(), Flatten(),
    ],
    "a view between, and the pass ends early": lambda: [
        PoolLayer(filter_size=2), BatchNormLayer(), ReluLayer(), Flatten(), DenseLayer(units=6), BatchNormLayer(),
        Flatten(), DropoutLayer(0.3), Flatten(), DenseLayer(units=5), BatchNormLayer(), Flatten(),
    ],
    "outputs that no backward pass reads": lambda: [
        ConvolutionLayer(filters=4, filter_size=3), PoolLayer(filter_size=2, stride=1), DropoutLayer(0.2),
        BatchNormLayer(), ReluLayer(), PoolLayer(filter_size=2, mode="average"), BatchNormLayer(),
        PoolLayer(filter_size=2), Flatten(), DropoutLayer(0.4), DropoutLayer(0.1), ReluLayer(), DenseLayer(units=4),
        ReluLayer(), DropoutLayer(0.1),
    ],
    "a layer of one's own": lambda: [
        ConvolutionLayer(filters=4, filter_size=3), BatchNormLayer(), Cube(), ConvolutionLayer(3, filter_size=3),
        PoolLayer(filter_size=2), Cube(), BatchNormLayer(), ReluLayer(), Flatten(), Cube(),
    ],
    "inside residual blocks": lambda: [
        ConvolutionLayer(filters=4, filter_size=3), BatchNormLayer(), ReluLayer(),
        ResidualLayer(
            ConvolutionLayer(filters=4, filter_size=3, padding=1), BatchNormLayer(), ReluLayer(),
            ConvolutionLayer(filters=4, filter_size=3, padding=1), BatchNormLayer()),
        ReluLayer(),
        ResidualLayer(
            BatchNormLayer(), ReluLayer(), ConvolutionLayer(filters=5, filter_size=3),
            ResidualLayer(BatchNormLayer(), ConvolutionLayer(filters=5, filter_size=1)), BatchNormLayer(),
            shortcut=[BatchNormLayer(), ConvolutionLayer(filters=5, filter_size=3), DropoutLayer(0.1)]),
        Flatten(),
    ],
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_a_step_with_shared_arrays_is_a_step_with_arrays_of_their_own(layers, rng, dtype):
    X, y = rng.standard_normal((9, 8, 9, 2)), rng.integers(0, 3, 9)
    models = [Model(*layers(), DenseLayer(units=3), SoftmaxLayer()) for _ in range(2)]
    for model in models:
        model.build((8, 9, 2), seed=5, dtype=dtype)
    for size in (9, 4, 9):  # arrays that are kept must fit smaller batches and larger ones again
        batch = X[:size], y[:size]
        models[0].train_on_batch(*batch, 0.1)
        models[1].forward(batch[0], training=True)  # the user may keep any array of this pass: none is shared
        models[1].backward(batch[1])
        models[1].parameters -= dtype.type(0.1) * models[1].gradients
        np.testing.assert_array_equal(models[0].gradients, models[1].gradients)
        for first, second in zip(models[0].layers, models[1].layers, strict=True):
            for key in first.state:
                np.testing.assert_array_equal(first.state[key], second.state[key])
        models[1].parameters[...] = models[0].parameters


def test_two_arrays_hold_the_gradients_and_the_outputs_that_are_computed_again(rng):
    model = Model(*NETWORKS["batch normalization between convolutions"](), DenseLayer(units=3), SoftmaxLayer())
    model.train_on_batch(rng.standard_normal((4, 8, 9, 2)), rng.integers(0, 3, 4), 0.1)
    memory = {
        (index, name): id(step._kept[name].base)
        for index, step in enumerate(model.steps)
        for name in ("input_gradient", "output")
        if name in step._kept and name in step.borrowed
    }
    convolution, normalization, second, second_normalization, third = range(5)
    # Batch normalization writes its gradient over what the convolution put out,
    own = {memory[convolution, "output"], memory[second, "output"]}
    assert {memory[normalization, "input_gradient"], memory[second_normalization, "input_gradient"]} == own
    # and what it puts out is computed again where the next convolution's gradient will be.
    assert memory[normalization, "output"] == memory[second, "input_gradient"]
    assert memory[second_normalization, "output"] == memory[third, "input_gradient"]
    assert len(own) == 2
    assert len(set(memory.values()) - own) == 2


def test_an_input_that_the_step_below_reads_is_not_overwritten(rng):
    model = Model(
        DenseLayer(units=6), ReluLayer(), BatchNormLayer(), DenseLayer(units=4), Cube(), BatchNormLayer(),
        DenseLayer(units=3), SoftmaxLayer(),
    )  # fmt: skip
    model.train_on_batch(rng.standard_normal((4, 5)), rng.integers(0, 3, 4), 0.1)
    for step in model.steps:
        assert "output" not in step.borrowed or isinstance(step, BatchNormLayer)
