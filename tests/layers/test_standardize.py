import tracemalloc

import numpy as np
import pytest

import cnnx
from cnnx import ConvolutionLayer, DenseLayer, Flatten, Model, ReluLayer, ResidualLayer, SoftmaxLayer, StandardizeLayer
from cnnx.layers import standardize

pytestmark = pytest.mark.usefixtures("backend")


def learned(X, **arguments):
    layer = StandardizeLayer(**arguments)
    layer.build(X.shape[1:], dtype=np.float64)
    layer.learn(X)
    return layer


def test_two_pixels_worked_by_hand():
    X = np.array([[[[0, 10]], [[2, 10]]], [[[4, 10]], [[6, 30]]]], np.uint8)  # 0 2 4 6, and 10 10 10 30
    layer = learned(X)
    np.testing.assert_allclose(layer.state["mean"], [3, 15], rtol=1e-15)
    np.testing.assert_allclose(layer.state["deviation"], [5**0.5, 75**0.5], rtol=1e-15)
    y = layer.forward(X)
    np.testing.assert_allclose(y[:, :, 0, 0], np.array([[-3, -1], [1, 3]]) / 5**0.5, rtol=1e-15)


@pytest.mark.parametrize("shape", [(37, 5, 4, 3), (37, 6)])
@pytest.mark.parametrize("per", ["channel", "value"])
def test_what_it_has_learned_from_gets_mean_0_and_deviation_1(shape, per, rng, monkeypatch):
    monkeypatch.setattr(standardize, "CHUNK", 100)  # many chunks, the last one smaller
    X = 1e4 + rng.gamma(2, 3, shape) * rng.uniform(1, 9, shape[1:])
    layer = learned(X, per=per)
    axes = (0,) if per == "value" else tuple(range(X.ndim - 1))
    np.testing.assert_allclose(layer.state["mean"], X.mean(axis=axes), rtol=1e-13)
    np.testing.assert_allclose(layer.state["deviation"], X.std(axis=axes), rtol=1e-11)
    y = layer.forward(X)
    np.testing.assert_allclose(y.mean(axis=axes), 0, atol=1e-8)
    np.testing.assert_allclose(y.std(axis=axes), 1, rtol=1e-11)


@pytest.mark.parametrize("shape", [(37, 5, 4, 3), (37, 6)])
@pytest.mark.parametrize("per", ["channel", "value"])
def test_a_weight_counts_as_so_many_repetitions(shape, per, rng, monkeypatch):
    monkeypatch.setattr(standardize, "CHUNK", 100)
    X, weights = 1e3 + rng.gamma(2, 3, shape), rng.integers(0, 4, shape[0])
    weighted, repeated = StandardizeLayer(per=per), learned(X.repeat(weights, axis=0), per=per)
    weighted.build(X.shape[1:], dtype=np.float64)
    weighted.learn(X, weights)
    for key in ("mean", "deviation"):
        np.testing.assert_allclose(weighted.state[key], repeated.state[key], rtol=1e-11)
    by_hand = np.average(X.reshape(37, -1, shape[-1]).mean(axis=1), axis=0, weights=weights)
    if per == "channel":
        np.testing.assert_allclose(weighted.state["mean"], by_hand, rtol=1e-13)


def test_what_does_not_count_leaves_a_channel_constant():
    X, weights = np.array([[7.0], [0.1], [0.1], [0.1]]), np.array([0, 1, 2.5, 0.3])
    layer = StandardizeLayer()
    layer.build((1,), dtype=np.float64)
    layer.learn(X, weights)
    assert layer.state == {"mean": [0.1], "deviation": [1]}
    with pytest.raises(ValueError, match="at least one example to learn from, got none"):
        layer.learn(X, np.zeros(4))
    with pytest.raises(ValueError, match="weights: expected finite numbers of 0 or more, got -1"):
        layer.learn(X, [1, 1, -1, 1])
    assert layer.state == {"mean": [0.1], "deviation": [1]}


def test_training_standardizes_by_the_weights_of_its_examples(rng):
    X, y, weights = rng.normal(2, 3, (20, 4)), np.arange(20) % 2, rng.integers(0, 3, 20)
    model = Model(StandardizeLayer(), DenseLayer(units=2), SoftmaxLayer())
    model.train(X, y, 0.1, sample_weight=weights, verbose=False)
    of_batches = Model(StandardizeLayer(), DenseLayer(units=2), SoftmaxLayer())
    of_batches.train(cnnx.data.ArrayBatches(X, y, 7, weights), None, 0.1, verbose=False)
    expected = X.repeat(weights, axis=0)
    for trained in (model, of_batches):
        np.testing.assert_allclose(trained.layers[0].state["mean"], expected.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(trained.layers[0].state["deviation"], expected.std(axis=0), rtol=1e-6)


def test_memory_does_not_grow_with_the_data(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(standardize, "CHUNK", 2**14)
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.uint8, (300, 32, 32, 3))
    X[:] = rng.integers(0, 256, X.shape, np.uint8)
    layer = StandardizeLayer()
    layer.build(X.shape[1:])
    tracemalloc.start()
    layer.learn(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 8 * standardize.CHUNK < X.size
    np.testing.assert_allclose(layer.state["mean"], X.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(layer.state["deviation"], X.std(axis=(0, 1, 2)), rtol=1e-6)


def test_constant_channels_get_deviation_1_exactly(monkeypatch, dtype):
    monkeypatch.setattr(standardize, "CHUNK", 7)
    X = np.full((1000, 2), 0.1)
    X[:, 1] = np.arange(1000)
    layer = StandardizeLayer()
    layer.build((2,), dtype=dtype)
    layer.learn(X)
    assert layer.state["deviation"][0] == 1
    assert (layer.forward(X)[:, 0] == 0).all()
    assert layer.state["mean"].dtype == layer.state["deviation"].dtype == dtype


def test_given_values_stay_and_the_others_are_learned(rng):
    X = 3 + rng.standard_normal((50, 2))
    layer = learned(X, mean=1)
    np.testing.assert_array_equal(layer.state["mean"], [1, 1])
    np.testing.assert_allclose(layer.state["deviation"], X.std(axis=0), rtol=1e-12)
    layer = StandardizeLayer(mean=[1, 2], deviation=0.5)
    layer.build((2,))
    np.testing.assert_array_equal(layer.forward([[2, 2]]), [[2, 0]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"per": "pixel"}, ValueError, r"per: expected one of \('channel', 'value'\), got 'pixel'"),
        ({"mean": "0.5"}, TypeError, "mean: expected an array of numbers"),
        ({"mean": [1, np.nan]}, ValueError, "mean: expected finite numbers"),
        ({"deviation": 0}, ValueError, "deviation: expected numbers above 0, got 0"),
        ({"deviation": [1, -1]}, ValueError, "deviation: expected numbers above 0"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=f"^StandardizeLayer: {message}"):
        StandardizeLayer(**arguments)


def test_values_of_another_shape_are_refused_when_the_shape_is_known():
    with pytest.raises(ValueError, match=r"mean: expected a number or shape \(3,\), got shape \(2,\)"):
        StandardizeLayer(mean=[1, 2]).build((4, 4, 3))
    with pytest.raises(ValueError, match=r"deviation: expected a number or shape \(4, 4, 3\), got shape \(3,\)"):
        StandardizeLayer("value", deviation=[1, 2, 3]).build((4, 4, 3))


def test_before_it_has_learned_it_says_so():
    layer = StandardizeLayer()
    with pytest.raises(RuntimeError, match="StandardizeLayer: learn before build"):
        layer.learn(np.ones((3, 2)))
    layer.build((2,))
    assert not layer.learned
    with pytest.raises(RuntimeError, match="StandardizeLayer: the mean and deviation are not known; call learn"):
        layer.forward(np.ones((3, 2)))
    model = Model(StandardizeLayer(), DenseLayer(2), SoftmaxLayer())
    model.build((2,))
    for use in (lambda: model.predict(np.ones((3, 2))), lambda: model.train_on_batch(np.ones((3, 2)), [0, 1, 0], 0.1)):
        with pytest.raises(RuntimeError, match=r"layers\[0\] \(StandardizeLayer\): the mean and deviation"):
            use()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308])
def test_data_that_are_not_finite_are_refused_and_nothing_is_learned(bad):
    layer = StandardizeLayer()
    layer.build((2,), dtype=np.float64)
    X = np.ones((5, 2))
    X[3, 1] = bad
    with pytest.raises(ValueError, match="expected finite numbers to learn from"):
        layer.learn(X)
    assert not layer.learned
    with pytest.raises(ValueError, match=r"expected shape \(batch, 2\), got"):
        layer.learn(np.ones((3, 4)))
    with pytest.raises(ValueError, match="at least one example"):
        layer.learn(np.ones((0, 2)))


def test_it_must_be_the_first_layer():
    with pytest.raises(ValueError, match="Model: StandardizeLayer at position 1: expected it as the first layer"):
        Model(ReluLayer(), StandardizeLayer(), SoftmaxLayer())
    with pytest.raises(ValueError, match="ResidualLayer: StandardizeLayer takes the data"):
        ResidualLayer(StandardizeLayer())


def network():
    return Model(StandardizeLayer(), ConvolutionLayer(4, 3), ReluLayer(), Flatten(), DenseLayer(2), SoftmaxLayer())


def test_train_has_it_learn_once_from_the_training_data_and_it_is_saved(rng, tmp_path):
    X, y = rng.integers(0, 256, (40, 6, 5, 3), np.uint8), np.arange(40) % 2
    X[y == 1, :, :2] //= 2
    X[30:] = 255 - X[30:]
    model = network()
    model.train(X, y, 0.05, epochs=2, batch_size=8, seed=0, verbose=False, validation_split=0.25)
    layer = model.layers[0]
    np.testing.assert_allclose(layer.state["mean"], X[:30].mean(axis=(0, 1, 2)), rtol=1e-6)
    before = layer.state
    model.train(X[:7], y[:7], 0.05, verbose=False)
    assert layer.state is before
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert loaded.layers[0].learned
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    by_hand = (X - layer.state["mean"]) / layer.state["deviation"]
    rest = Model(*(cnnx.layers.make_layer(each.description()) for each in model.layers[1:]))
    rest.build((6, 5, 3), params=[each.params for each in model.layers[1:]])
    np.testing.assert_allclose(rest.predict_proba(by_hand), model.predict_proba(X), rtol=1e-4)


def test_a_model_that_is_built_learns_when_it_is_trained_first(rng):
    X = 5 + rng.standard_normal((20, 6, 5, 3))
    model = network()
    model.build((6, 5, 3), seed=0)
    model.train(X, np.arange(20) % 2, 0.01, verbose=False)
    np.testing.assert_allclose(model.layers[0].state["mean"], X.mean(axis=(0, 1, 2)), rtol=1e-6)
    assert [pass_.wants_gradient for pass_ in model.plan.passes[:2]] == [False, False]
