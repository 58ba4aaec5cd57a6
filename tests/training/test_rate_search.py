import numpy as np
import pytest

from cnnx import BatchNormLayer, DenseLayer, DivergenceError, DropoutLayer, Flatten, Model, SoftmaxLayer
from cnnx.optimizers import Adam


@pytest.fixture
def data(rng):
    y = rng.integers(0, 3, 60)
    return rng.standard_normal((60, 3, 3, 1)) + y[:, None, None, None], y


@pytest.fixture
def model():
    return Model(Flatten(), BatchNormLayer(), DropoutLayer(rate=0.2), DenseLayer(units=3), SoftmaxLayer())


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
@pytest.mark.usefixtures("backend")
def test_the_suggested_rate_trains_and_lies_where_the_loss_falls(model, data):
    model.build((3, 3, 1), seed=0)
    found = model.find_learning_rate(*data, batch_size=16, seed=0, highest=1000.0)
    assert found.rates[0] == pytest.approx(1e-6)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) <= 100
    np.testing.assert_allclose(np.diff(np.log(found.rates)), np.log(1e9) / 99)
    assert found.suggestion == pytest.approx(found.rates[found.smoothed.argmin()] / 10)
    assert found.smoothed[-1] > 4 * found.smoothed.min()
    history = model.train(*data, found.suggestion, batch_size=16, epochs=10, seed=0, verbose=False)
    assert history["loss"][-1] < 0.8 * history["loss"][0]


def test_it_leaves_the_model_as_it_was(model, data):
    model.build((3, 3, 1), seed=0)
    optimizer = Adam()
    model.train(*data, optimizer=optimizer, epochs=1, verbose=False)

    def everything():
        states = [value.tobytes() for layer in model.layers for value in layer.state.values()]
        return model.parameters.tobytes(), states, model.layers[2].rng.bit_generator.state, optimizer.steps

    before = everything()
    found = model.find_learning_rate(*data, steps=10, optimizer=optimizer)
    assert everything() == before
    assert len(found.rates) == 10


def test_a_model_that_was_not_built_trains_afterwards_as_if_nothing_had_been(model, data):
    other = Model(Flatten(), BatchNormLayer(), DropoutLayer(rate=0.2), DenseLayer(units=3), SoftmaxLayer())
    model.find_learning_rate(*data, steps=5, seed=7)
    assert not model.built
    for each in (model, other):
        each.train(*data, 0.1, seed=0, verbose=False)
    np.testing.assert_array_equal(model.parameters, other.parameters)


def test_the_plot_shows_losses_and_suggestion(model, data):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    found = model.find_learning_rate(*data, steps=10, seed=0)
    axes = found.plot(figure.add_subplot())
    assert axes.get_xscale() == "log"
    losses, smoothed, suggestion = axes.lines
    np.testing.assert_array_equal(losses.get_xydata(), np.stack([found.rates, found.losses], axis=1))
    np.testing.assert_array_equal(smoothed.get_ydata(), found.smoothed)
    assert suggestion.get_xdata()[0] == found.suggestion


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
def test_bad_arguments_are_named(model, data):
    with pytest.raises(ValueError, match=r"find_learning_rate: highest: expected more than lowest \(1\), got 0.1"):
        model.find_learning_rate(*data, lowest=1, highest=0.1)
    with pytest.raises(ValueError, match="steps: expected 3 or more, got 2"):
        model.find_learning_rate(*data, steps=2)
    with pytest.raises(ValueError, match="find_learning_rate: optimizer: expected one of"):
        model.find_learning_rate(*data, optimizer="fast")
    with pytest.raises(DivergenceError, match="the loss explodes within 3 steps; try a smaller lowest rate"):
        model.find_learning_rate(*data, lowest=1e30, highest=1e31)
