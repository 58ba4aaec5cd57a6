"""Shared working arrays change no bit of a step, and hold all gradients of the backward pass."""

import numpy as np
import pytest
from drawing import draw_network

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
from cnnx.memory.arrays import Arrays, CheckedArrays
from cnnx.models import MODELS
from cnnx.plan.plan import Plan


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


def block_of(pass_, name):
    return pass_.working[name].block


def test_gradients_lie_over_inputs_and_outputs_are_computed_again_where_they_are_read():
    model = Model(*NETWORKS["batch normalization between convolutions"](), DenseLayer(units=3), SoftmaxLayer())
    model.build((8, 9, 2), seed=0)
    convolution, normalization, second, second_normalization, third = model.plan.passes[:5]
    # Batch normalization writes its gradient over what the convolution put out,
    assert block_of(normalization, "input_gradient") is block_of(convolution, "output")
    assert block_of(second_normalization, "input_gradient") is block_of(second, "output")
    # and what it puts out is computed again where the next convolution's gradient will be.
    assert second.below is normalization
    assert third.below is second_normalization
    assert block_of(normalization, "output") is block_of(second, "input_gradient")
    assert block_of(second_normalization, "output") is block_of(third, "input_gradient")
    assert [len(pass_.working["output"].spans) for pass_ in model.plan.passes[:5]] == [1, 2, 1, 2, 1]


def test_an_input_that_the_pass_below_reads_is_not_overwritten():
    model = Model(
        DenseLayer(units=6), ReluLayer(), BatchNormLayer(), DenseLayer(units=4), Cube(), BatchNormLayer(),
        DenseLayer(units=3), SoftmaxLayer(),
    )  # fmt: skip
    model.build((5,), seed=0)
    relu, normalization, *_ = model.plan.passes
    assert block_of(normalization, "input_gradient") is not block_of(relu, "output")


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_no_two_arrays_of_a_block_are_in_use_at_a_moment(layers):
    """Said a second time, array by array and moment by moment."""
    model = Model(*layers(), DenseLayer(units=3), SoftmaxLayer())
    model.build((8, 9, 2), seed=0)
    for block in model.plan.blocks:
        holders = {}
        for working in block.members:
            for first, last in working.spans:
                for moment in range(first, last + 1):
                    before = holders.setdefault(moment, working)
                    assert before is working or working.over is before or before.over is working
                    assert before is working or moment in (first, last)


def step_of(model, arrays, X, y):
    """Gradients and states after two steps with such arrays, on batches of two sizes."""
    model.plan = Plan(model.layers, training=True, arrays=arrays)
    for size in (len(X), len(X) - 1):
        model.train_on_batch(X[:size], y[:size], 1e-3)
    return model.parameters.copy(), [layer.state for layer in model.layers]


def assert_same_with_checked_arrays(make, X, y, dtype=np.float32):
    results = []
    for arrays in (CheckedArrays(), Arrays()):
        model = make()
        model.build(X.shape[1:], seed=3, dtype=dtype)
        results.append(step_of(model, arrays, X, y))
    (checked, states), (fresh, expected) = results
    assert np.isfinite(checked).all()
    np.testing.assert_array_equal(checked, fresh)
    for first, second in zip(states, expected, strict=True):
        for key, value in second.items():
            np.testing.assert_array_equal(first[key], value)


@pytest.mark.parametrize("name", MODELS)
def test_ready_networks_read_nothing_that_is_not_theirs(name, rng):
    size = 8 if name == "small" else 16
    channels = 1 if name in ("small", "lenet", "mnistnet", "mnistbn", "fashionnet") else 3
    X, y = rng.random((5, size, size, channels)), np.arange(5) % 4
    assert_same_with_checked_arrays(MODELS[name], X, y)


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_drawn_networks_read_nothing_that_is_not_theirs(first):
    for seed in range(first, first + 20):
        drawn = draw_network(seed)
        assert_same_with_checked_arrays(lambda drawn=drawn: drawn.model(build=False), *drawn.batch(4))


def test_checked_arrays_notice_a_block_that_is_taken_while_it_is_in_use(rng):
    model = Model(DenseLayer(4), ReluLayer(), DenseLayer(3), SoftmaxLayer())
    model.build((5,), seed=0)
    arrays = CheckedArrays()
    model.plan = Plan(model.layers, training=True, arrays=arrays)
    hidden, last = model.plan.passes
    last.working["output"].block = hidden.working["output"].block
    with pytest.raises(AssertionError, match=r"output is taken at moment \d, where output of .* is in use"):
        model.train_on_batch(rng.standard_normal((2, 5)), [0, 1], 0.1)
