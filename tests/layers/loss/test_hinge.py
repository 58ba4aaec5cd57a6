import numpy as np
import pytest

from cnnx import DenseLayer, HingeLayer, Model

X = np.array([[0.2, -1.3, 2.1], [1.5, 0.7, 0.9]])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("squared", "losses", "gradient"),
    [
        # torch.nn.functional.multi_margin_loss(x, [0, 2], p=1) and p=2, PyTorch 2, float64
        (False, [0.9666666666666668, 0.8], [[-1 / 6, 0, 1 / 6], [1 / 6, 1 / 6, -1 / 3]]),
        (
            True,
            [2.803333333333334, 1.0666666666666667],
            [[-0.9666666666666668, 0, 0.9666666666666668], [0.5333333333333333, 0.2666666666666666, -0.8]],
        ),
    ],
)
def test_losses_and_gradients_are_pytorchs(squared, losses, gradient):
    layer = HingeLayer(squared)
    layer.build((3,), dtype=np.float64)
    targets = layer.targets([0, 2])
    scores, found = layer.loss(X, targets, training=True)
    np.testing.assert_array_equal(scores, X)
    np.testing.assert_allclose(found, losses, rtol=1e-13)
    np.testing.assert_allclose(layer.loss_backward(targets), gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("squared", [False, True])
def test_classes_a_margin_below_the_right_one_have_no_loss_and_no_gradient(squared):
    layer = HingeLayer(squared)
    layer.build((3,), dtype=np.float64)
    targets = layer.targets([0])
    _, losses = layer.loss([[2, 1, 0.5]], targets, training=True)
    assert losses == [0]
    np.testing.assert_array_equal(layer.loss_backward(targets), [[0, 0, 0]])


def test_it_parts_classes_that_can_be_parted_by_the_margin(rng):
    centres = np.array([[0, 3], [3, -2], [-3, -2]])
    y = np.arange(90) % 3
    X = centres[y] + 0.4 * rng.standard_normal((90, 2))
    model = Model(DenseLayer(units=3), HingeLayer())
    model.train(X, y, 0.2, batch_size=10, epochs=40, seed=0, verbose=False)
    assert model.evaluate(X, y) == (0, 1)
    np.testing.assert_array_equal(model.predict(X), y)
    scores = model.forward(X)
    right = np.take_along_axis(scores, y[:, np.newaxis], axis=1)
    assert (np.sort(right - scores, axis=1)[:, 1] >= 1).all()


def test_scores_are_no_probabilities():
    model = Model(DenseLayer(units=3), HingeLayer())
    model.build((2,))
    with pytest.raises(TypeError, match=r"layers\[1\] \(HingeLayer\): predict_proba: .* no probabilities; use predict"):
        model.predict_proba(np.zeros((4, 2)))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3], "expected 0 to 2 for 3 classes, got 3 at index 1"),
        ([[0, 1, 0], [0.5, 0.5, 0]], r"expected one-hot rows, got \[0.5 0.5 0. \] at index 1"),
        ([[0, 1, 1]], "expected one-hot rows"),
    ],
)
def test_labels_that_cannot_be_are_named(labels, message):
    layer = HingeLayer()
    layer.build((3,))
    with pytest.raises(ValueError, match=f"HingeLayer: labels: {message}"):
        layer.targets(labels)


def test_one_class_and_arguments_that_cannot_be_are_errors():
    with pytest.raises(ValueError, match=r"HingeLayer: .* shape \(classes,\) with 2 classes or more, got \(1,\)"):
        HingeLayer().build((1,))
    with pytest.raises(TypeError, match="HingeLayer: squared: expected True or False, got 2"):
        HingeLayer(squared=2)
