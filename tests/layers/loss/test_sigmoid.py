import numpy as np
import pytest

from cnnx import DenseLayer, Flatten, Model, ReluLayer, SigmoidLayer, SoftmaxLayer

X = np.array([[0.2, -1.3, 2.1], [1.5, 0.7, 0.9]])


def pass_through(layer, labels, x=X):
    """Losses of the examples, and the gradient of their mean, in float64."""
    layer.build((x.shape[1],), dtype=np.float64)
    targets = layer.targets(labels)
    _, losses = layer.loss(x, targets, training=True)
    return losses, layer.loss_backward(targets)


@pytest.mark.usefixtures("backend")
def test_losses_and_gradients_are_pytorchs():
    losses, gradient = pass_through(SigmoidLayer(), [[1, 0, 1], [0, 0.3, 1]])
    # The mean over the classes of torch.nn.functional.binary_cross_entropy_with_logits, PyTorch 2, float64
    np.testing.assert_allclose(losses, [0.3182222821314463, 0.9785844005334328], rtol=1e-13)
    expected = [
        [-0.075027667114587, 0.035694169492906894, -0.018182803532602154],
        [0.1362624126989406, 0.06136462869469436, -0.04817508289583268],
    ]
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("focal", "expected"),
    [
        # keras.losses.BinaryFocalCrossentropy(gamma=focal, from_logits=True), Keras 3, float64
        (2, [0.044547226279973984, 0.5527735352516174]),
        (0.5, [0.18366913497447968, 0.8745351433753967]),
    ],
)
def test_focal_losses_are_those_of_keras(focal, expected):
    losses, _ = pass_through(SigmoidLayer(focal=focal), [[1, 0, 1], [0, 0, 1]])
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("focal", [0, 0.5, 2])
def test_one_output_is_softmax_over_it_and_zero(focal):
    x, labels = np.array([[0.3], [-2], [4]]), [1, 1, 0]
    losses, gradient = pass_through(SigmoidLayer(focal=focal), labels, x)
    two = np.concatenate([np.zeros_like(x), x], axis=1)
    expected, expected_gradient = pass_through(SoftmaxLayer(focal=focal), labels, two)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient[:, 0], expected_gradient[:, 1], rtol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("focal", [0, 0.5, 2])
def test_the_loss_of_a_soft_target_is_the_mean_over_its_labels(focal):
    def losses(label):
        return pass_through(SigmoidLayer(focal=focal), np.full((2, 3), label))[0]

    np.testing.assert_allclose(losses(0.3), 0.7 * losses(0) + 0.3 * losses(1), rtol=1e-13)


@pytest.mark.usefixtures("backend")
def test_probabilities_of_scores_far_from_zero(dtype):
    layer = SigmoidLayer()
    layer.build((2, 2), dtype=dtype)
    y = layer.forward([[[1000, -1000], [0, np.log(3)]]])
    np.testing.assert_allclose(y, [[[1, 0], [0.5, 0.75]]], rtol=1e-6)
    np.testing.assert_allclose(layer.forward([[[-50, 50], [0, 0]]])[0, 0, 0], np.exp(-50), rtol=1e-5)


def two_moons(rng, count):
    """Two classes that no straight line parts."""
    y = rng.integers(0, 2, count)
    angle = rng.uniform(0, np.pi, count)
    x = np.stack([np.cos(angle) + y - 0.5, np.sin(angle) * (1 - 2 * y) + 0.5 * y - 0.25], axis=1)
    return x + 0.05 * rng.standard_normal(x.shape), y


def test_binary_classification_of_a_table_end_to_end(rng):
    X, y = two_moons(rng, 300)
    X_test, y_test = two_moons(rng, 200)
    model = Model(DenseLayer(units=16), ReluLayer(), DenseLayer(units=1), SigmoidLayer())
    model.train(X, y, 0.5, batch_size=30, epochs=80, seed=0, verbose=False)
    loss, accuracy = model.evaluate(X_test, y_test)
    assert accuracy >= 0.98
    labels, probabilities = model.predict(X_test), model.predict_proba(X_test)
    assert labels.shape == (200,)
    assert labels.dtype.kind == "i"
    assert (labels == y_test).mean() == accuracy
    assert probabilities.shape == (200, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), labels)
    given = np.take_along_axis(probabilities.astype(np.float64), y_test[:, np.newaxis], axis=1)
    assert loss == pytest.approx(-np.log(given).mean(), rel=1e-4)


def test_multi_label_classification_end_to_end(rng):
    X = rng.uniform(-1, 1, (300, 2))
    y = np.stack([X[:, 0] > 0, X[:, 1] > 0, X[:, 0] + X[:, 1] > 0.5], axis=1)
    model = Model(DenseLayer(units=3), SigmoidLayer())
    model.train(X, y, 5, batch_size=30, epochs=60, seed=0, verbose=False)
    labels = model.predict(X)
    assert labels.shape == (300, 3)
    assert set(labels.ravel()) == {0, 1}
    accuracy = model.evaluate(X, y)[1]
    assert accuracy == (labels == y).all(axis=1).mean()
    assert accuracy >= 0.9
    assert model.predict_proba(X).shape == (300, 3)
    assert model.predict(X[:0]).shape == (0, 3)


def test_the_threshold_moves_the_decision_and_nothing_else(rng):
    X = rng.standard_normal((50, 3))
    models = [Model(DenseLayer(units=1), SigmoidLayer(threshold=threshold)) for threshold in (0.5, 0.8)]
    for model in models:
        model.train(X, X[:, 0] > 0, 0.5, epochs=2, seed=0, verbose=False)
    one, other = models
    np.testing.assert_array_equal(one.parameters, other.parameters)
    np.testing.assert_array_equal(other.predict(X), other.predict_proba(X)[:, 1] > 0.8)
    assert other.predict(X).sum() < one.predict(X).sum()


def test_inside_a_model_it_is_an_activation_for_any_shape(rng):
    X = rng.standard_normal((40, 3, 2, 1))
    y = (X[:, 0, 0, 0] > 0).astype(int)
    model = Model(SigmoidLayer(), Flatten(), DenseLayer(units=8), SigmoidLayer(), DenseLayer(units=2), SoftmaxLayer())
    history = model.train(X, y, 2, batch_size=8, epochs=60, seed=0, verbose=False)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    x = 1 / (1 + np.exp(-X.reshape(40, 6)))
    x = 1 / (1 + np.exp(-(x @ model.layers[2].params["W"] + model.layers[2].params["b"])))
    scores = x @ model.layers[4].params["W"] + model.layers[4].params["b"]
    np.testing.assert_array_equal(model.predict(X), scores.argmax(axis=1))


def test_as_the_output_layer_it_needs_one_axis_of_classes():
    model = Model(SigmoidLayer())
    model.build((3, 2))
    x = np.zeros((4, 3, 2))
    assert model.forward(x).shape == (4, 3, 2)
    for call in (model.predict, model.predict_proba, lambda x: model.train(x, np.zeros(4), 0.1, verbose=False)):
        with pytest.raises(ValueError, match=r"as the output layer, expected examples of shape \(classes,\), got"):
            call(x)


@pytest.mark.parametrize(
    ("outputs", "labels", "error", "message"),
    [
        (1, [0, 2], ValueError, "expected numbers from 0 to 1, got 2 at index 1"),
        (1, [0, -1], ValueError, "expected numbers from 0 to 1, got -1 at index 1"),
        (1, [np.nan, 1], ValueError, "expected numbers from 0 to 1, got nan at index 0"),
        (1, [[0, 1]], ValueError, r"of shape \(batch,\) or \(batch, 1\), got shape \(1, 2\)"),
        (3, [[0, 1, 0], [0, 1.5, 0]], ValueError, r"got 1.5 at index \(1, 1\)"),
        (3, [0, 1, 2], ValueError, r"of shape \(batch, 3\), got shape \(3,\)"),
        (3, [["a", "b", "c"]], TypeError, "expected an array of numbers, got dtype <U1"),
    ],
)
def test_labels_that_cannot_be_are_named(outputs, labels, error, message):
    layer = SigmoidLayer()
    layer.build((outputs,))
    with pytest.raises(error, match=f"SigmoidLayer: labels: .*{message}"):
        layer.targets(labels)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"focal": -0.5}, ValueError, "focal: expected a finite number of 0 or more, got -0.5"),
        ({"threshold": 0}, ValueError, "threshold: expected a finite number above 0, got 0"),
        ({"threshold": 1}, ValueError, "threshold: expected a number below 1, got 1"),
        ({"threshold": None}, TypeError, "threshold: expected a number, got None"),
    ],
)
def test_arguments_that_cannot_be_are_named(arguments, error, message):
    with pytest.raises(error, match=f"SigmoidLayer: {message}"):
        SigmoidLayer(**arguments)
