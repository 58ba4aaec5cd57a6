import pickle

import numpy as np
import pytest

from cnnx import ConvolutionLayer, DenseLayer, Flatten, RegressionLayer, SoftmaxLayer, models

pytest.importorskip("sklearn.base")

from sklearn.base import clone

from cnnx.sklearn import CNNRegressor


def spots(rng, examples=80):
    """Pictures with a bright spot, and the row and column of its middle."""
    places = rng.uniform(1, 6, (examples, 2))
    rows, columns = np.mgrid[:8, :7]
    squares = (rows - places[:, :1, None]) ** 2 + (columns - places[:, 1:, None]) ** 2
    return (200 * np.exp(-squares / 3)).astype(np.uint8), places


@pytest.fixture
def data(rng):
    return spots(rng)


@pytest.mark.parametrize("scale", [1e-9, 1, 1e9])
def test_places_in_pictures_are_learnt_in_any_unit(data, rng, scale):
    X_test, places = spots(rng, 50)
    regressor = CNNRegressor(random_state=0).fit(data[0], 7 * scale + scale * data[1])
    predicted = regressor.predict(X_test)
    assert predicted.shape == (50, 2)
    assert predicted.dtype == np.float64
    assert regressor.score(X_test, 7 * scale + scale * places) > 0.8
    np.testing.assert_allclose(regressor.y_mean_, scale * (7 + data[1].mean(axis=0)), rtol=1e-12)
    np.testing.assert_allclose(regressor.y_deviation_, scale * data[1].std(axis=0), rtol=1e-12)


@pytest.mark.parametrize("shape", [(80,), (80, 1)])
def test_predictions_have_the_shape_of_the_targets(data, shape):
    X, places = data
    y = places[:, 0].reshape(shape)
    regressor = CNNRegressor(random_state=0, epochs=30).fit(X, y)
    assert regressor.predict(X[:3]).shape == (3, *shape[1:])
    assert regressor.score(X, y) > 0.5
    by_hand = regressor.y_mean_ + regressor.y_deviation_ * regressor.model_.predict(X[..., None])
    np.testing.assert_allclose(regressor.predict(X).ravel(), by_hand, rtol=1e-6)


def test_a_constant_is_predicted_exactly_and_extremes_do_not_overflow(data):
    X, places = data
    constant = CNNRegressor(random_state=0, epochs=2).fit(X, np.full(80, 0.1), sample_weight=np.linspace(0, 1, 80))
    assert constant.y_mean_ == 0.1
    assert constant.y_deviation_ == 1
    huge = CNNRegressor(random_state=0, epochs=30).fit(X, 1e200 * places)
    assert np.isfinite(huge.predict(X)).all()


@pytest.mark.parametrize("pictures", [False, True])
def test_weights_are_repetitions(data, pictures, rng):
    X, y = data[0][:36], data[1][:36]
    X = X if pictures else X.reshape(36, -1)
    counts, order = rng.integers(0, 4, 36), rng.permutation(36)
    regressor = CNNRegressor(dtype="float64", random_state=0)
    repeated = clone(regressor).fit(X.repeat(counts, axis=0), y.repeat(counts, axis=0))
    weighted = clone(regressor).fit(X[order], y[order], sample_weight=0.3 * counts[order])
    np.testing.assert_allclose(repeated.predict(X), weighted.predict(X), rtol=1e-7)
    np.testing.assert_allclose(repeated.y_deviation_, weighted.y_deviation_, rtol=1e-12)


def test_pieces_are_learnt_in_the_unit_of_the_first(data, rng):
    X, y = data
    regressor = CNNRegressor(random_state=0)
    for _ in range(40):
        for start in range(0, 80, 40):
            regressor.partial_fit(X[start : start + 40], y[start : start + 40])
    np.testing.assert_allclose(regressor.y_mean_, y[:40].mean(axis=0))
    assert regressor.n_iter_ == 80
    assert regressor.score(*spots(rng)) > 0.8
    other = pickle.loads(pickle.dumps(regressor)).partial_fit(X, y)
    np.testing.assert_array_equal(other.predict(X), regressor.partial_fit(X, y).predict(X))
    with pytest.raises(ValueError, match=r"y: expected shape \(examples, 2\) as before, got \(80,\)"):
        regressor.partial_fit(X, y[:, 0])


def test_warm_start_keeps_the_unit_and_early_stopping_ends_early(data):
    X, y = data
    regressor = CNNRegressor(random_state=0, warm_start=True, epochs=20).fit(X, y)
    mean, last = regressor.y_mean_, regressor.history_["loss"][-1]
    assert regressor.fit(X, y + 0.01).history_["loss"][0] < 2 * last
    assert regressor.y_mean_ is mean
    early = CNNRegressor(random_state=0, early_stopping=True, epochs=300, learning_rate=0.02).fit(X, y)
    assert early.n_iter_ == len(early.history_["validation_loss"]) < 300


@pytest.mark.parametrize(
    "model",
    [
        "small",
        models.small,
        (ConvolutionLayer(4, filter_size=3), Flatten(), DenseLayer(2), RegressionLayer("huber")),
    ],
)
def test_networks_for_classes_end_in_values_instead(data, model):
    regressor = CNNRegressor(model, random_state=0, epochs=30).fit(*data)
    assert isinstance(regressor.model_.layers[-1], RegressionLayer)
    assert regressor.score(*data) > 0.5


def test_a_tuple_for_classes_is_refused(data):
    with pytest.raises(ValueError, match=r"CNNRegressor: model: expected RegressionLayer at its end, got .*Softmax"):
        CNNRegressor((Flatten(), DenseLayer(2), SoftmaxLayer())).fit(*data)
    with pytest.raises(ValueError, match="expected 2 outputs for 2 values, got 3"):
        CNNRegressor((Flatten(), DenseLayer(3), RegressionLayer())).fit(*data)
