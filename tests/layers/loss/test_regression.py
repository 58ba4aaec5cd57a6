import numpy as np
import pytest

from cnnx import DenseLayer, DivergenceError, Model, RegressionLayer, ReluLayer

X = np.array([[0.2, -1.3, 2.1], [1.5, 0.7, 0.9]])
Y = np.array([[0, 1, 2], [3, 0.5, -1]])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("arguments", "losses", "gradient"),
    [
        # torch.nn.functional.mse_loss, l1_loss and huber_loss(delta=0.7), mean over the outputs, PyTorch 2, float64
        (
            {"loss": "squared"},
            [1.78, 1.9666666666666668],
            [[0.06666666666666667, -0.7666666666666666, 0.03333333333333336], [-0.5, 1 / 15, 0.6333333333333333]],
        ),
        ({"loss": "absolute"}, [0.8666666666666667, 1.2], [[1 / 6, -1 / 6, 1 / 6], [-1 / 6, 1 / 6, 1 / 6]]),
        (
            {"loss": "huber", "delta": 0.7},
            [0.4633333333333333, 0.6366666666666666],
            [[1 / 30, -0.11666666666666665, 1 / 60], [-0.11666666666666665, 1 / 30, 0.11666666666666665]],
        ),
    ],
)
def test_losses_and_gradients_are_pytorchs(arguments, losses, gradient):
    layer = RegressionLayer(**arguments)
    layer.build((3,), dtype=np.float64)
    targets = layer.targets(Y)
    values, found = layer.loss(X, targets, training=True)
    np.testing.assert_array_equal(values, X)
    np.testing.assert_allclose(found, losses, rtol=1e-13)
    np.testing.assert_allclose(layer.loss_backward(targets), gradient, rtol=1e-12)
    np.testing.assert_allclose(layer.rate(values, targets), [2.6 / 3, 3.6 / 3], rtol=1e-12)


@pytest.fixture
def table(rng):
    """Features, and a target that depends on them linearly but for noise."""
    X = rng.standard_normal((120, 3))
    return X, X @ [2, -1, 0.5] + 3 + 0.1 * rng.standard_normal(120)


def test_a_linear_model_reaches_the_least_squares_fit(table):
    X, y = table
    design = np.column_stack([X, np.ones(120)])
    expected, (residual,), *_ = np.linalg.lstsq(design, y)
    model = Model(DenseLayer(units=1), RegressionLayer())
    model.build((3,), seed=0, dtype=np.float64)
    model.train(X, y, 0.2, batch_size=120, epochs=100, verbose=False)
    dense = model.layers[0].params
    np.testing.assert_allclose([*dense["W"][:, 0], dense["b"][0]], expected, rtol=1e-9)
    loss, metric = model.evaluate(X, y, batch_size=50)
    assert loss == pytest.approx(residual / 120, rel=1e-9)
    predicted = model.predict(X)
    assert predicted.shape == (120,)
    np.testing.assert_allclose(predicted, design @ expected, rtol=1e-9)
    assert metric == pytest.approx(np.abs(y - predicted).mean(), rel=1e-12)
    assert loss == pytest.approx(((y - predicted) ** 2).mean(), rel=1e-12)


def test_of_values_that_stay_the_same_absolute_loss_finds_the_median_and_squared_loss_the_mean():
    y = np.array([1.0, 2, 3, 4, 90])
    fits = {}
    for loss in ("absolute", "squared"):
        model = Model(DenseLayer(units=1), RegressionLayer(loss))
        for learning_rate in (0.1, 0.001) if loss == "squared" else (2, 0.1, 0.01):
            model.train(np.zeros((5, 1)), y, learning_rate, batch_size=5, epochs=150, verbose=False)
        fits[loss] = model.predict(np.zeros((1, 1)))[0]
    assert fits["absolute"] == pytest.approx(3, abs=0.01)
    assert fits["squared"] == pytest.approx(20, abs=0.01)


def test_an_outlier_hardly_moves_a_huber_fit(table):
    X, y = table
    y[0] += 1000
    errors = {}
    for loss in ("squared", "huber"):
        model = Model(DenseLayer(units=1), RegressionLayer(loss))
        model.train(X, y, 0.2, batch_size=120, epochs=150, seed=0, verbose=False)
        errors[loss] = np.abs(model.layers[0].params["W"][:, 0] - [2, -1, 0.5]).max()
    assert errors["huber"] < 0.1 < errors["squared"]


def test_several_outputs_of_a_table_that_is_not_linear(rng):
    X = rng.uniform(-1, 1, (400, 2))
    Y = np.stack([X[:, 0] * X[:, 1], np.abs(X[:, 0])], axis=1)
    model = Model(DenseLayer(units=32), ReluLayer(), DenseLayer(units=2), RegressionLayer())
    history = model.train(X[:300], Y[:300], 0.2, batch_size=20, epochs=60, seed=0, verbose=False)
    assert set(history) == {"loss", "mean_absolute_error", "seconds"}
    predicted = model.predict(X[300:])
    assert predicted.shape == (100, 2)
    assert ((Y[300:] - predicted) ** 2).mean() < 0.1 * Y[300:].var()
    assert model.predict(X[:0]).shape == (0, 2)


def test_one_output_takes_a_column_or_a_row_of_targets(table):
    X, y = table
    model = Model(DenseLayer(units=1), RegressionLayer())
    model.build((3,), seed=0)
    assert model.evaluate(X, y) == model.evaluate(X, y[:, np.newaxis])


def test_a_run_that_diverges_says_so_without_a_warning(table):
    model = Model(DenseLayer(units=1), RegressionLayer())
    with pytest.raises(DivergenceError, match="the loss became inf"):
        model.train(*table, 5, batch_size=10, epochs=20, seed=0, verbose=False)
    assert np.isfinite(model.parameters).all()


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
def test_a_residual_too_large_for_the_dtype_is_infinite_without_a_warning(loss):
    layer = RegressionLayer(loss)
    layer.build((1,))
    values, losses = layer.loss([[3e38]], layer.targets([-3e38]))
    assert losses == [np.inf]
    assert layer.rate(values, layer.targets([-3e38])) == [np.inf]


def test_values_are_no_probabilities():
    model = Model(DenseLayer(units=1), RegressionLayer())
    model.build((2,))
    with pytest.raises(TypeError, match=r"\(RegressionLayer\): predict_proba: .* no probabilities; use predict"):
        model.predict_proba(np.zeros((4, 2)))


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (1, [1, np.nan], "expected finite numbers within float32, got nan at index 1"),
        (1, [[1], [-np.inf]], r"got -inf at index \(1, 0\)"),
        (2, [[0, 1], [2, np.nan]], r"got nan at index \(1, 1\)"),
        (1, [1, 1e39], r"expected finite numbers within float32, got 1e\+39 at index 1"),
        (2, [1, 2], r"expected numbers of shape \(batch, 2\), got shape \(2,\)"),
        (1, [[1, 2]], r"expected numbers of shape \(batch,\) or \(batch, 1\), got shape \(1, 2\)"),
    ],
)
def test_labels_that_cannot_be_are_named(outputs, labels, message):
    layer = RegressionLayer()
    layer.build((outputs,))
    with pytest.raises(ValueError, match=f"RegressionLayer: labels: .*{message}"):
        layer.targets(labels)


def test_arguments_and_shapes_that_cannot_be_are_named():
    with pytest.raises(ValueError, match=r"RegressionLayer: loss: expected one of \('squared', 'absolute', 'huber'\)"):
        RegressionLayer("mse")
    with pytest.raises(ValueError, match="RegressionLayer: delta: expected a finite number above 0, got 0"):
        RegressionLayer("huber", delta=0)
    with pytest.raises(ValueError, match=r"RegressionLayer: expected examples of shape \(outputs,\), got \(2, 3\)"):
        RegressionLayer().build((2, 3))
