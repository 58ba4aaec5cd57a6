import numpy as np
import pytest

from cnnx.layers.loss import SoftmaxLayer


@pytest.fixture
def layer(dtype):
    layer = SoftmaxLayer()
    layer.build((3,), dtype=dtype)
    return layer


@pytest.mark.usefixtures("backend")
def test_the_decks_probabilities(layer):
    np.testing.assert_allclose(layer.forward([[2.3, 1.5, 3.1]]), [[0.272, 0.122, 0.606]], atol=5e-4)


@pytest.mark.usefixtures("backend")
def test_examples_far_apart_do_not_push_each_other_to_zero(layer):
    y = layer.forward([[1000, 1000, 1000], [-1000, -1000, -1000], [0, 0, 0]])
    np.testing.assert_allclose(y, np.full((3, 3), 1 / 3), rtol=1e-6)


@pytest.mark.usefixtures("backend")
def test_cross_entropy_stays_finite_where_a_probability_underflows(layer):
    probabilities, losses = layer.loss([[0, 1000, 0], [0, 0, -1000]], layer.targets([0, 2]))
    np.testing.assert_allclose(losses, [1000, 1000 + np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(probabilities, [[0, 1, 0], [0.5, 0.5, 0]])


@pytest.mark.usefixtures("backend")
def test_with_cross_entropy_the_gradient_is_prediction_minus_target_over_batch(layer):
    targets = layer.targets([2, 0])
    y, _ = layer.loss([[1, 2, 3], [4, 0, 1]], targets, training=True)
    expected = (y - [[0, 0, 1], [1, 0, 0]]) / 2
    np.testing.assert_allclose(layer.loss_backward(targets), expected, rtol=1e-6)


@pytest.mark.usefixtures("backend")
def test_the_gradient_of_the_mean_loss_equals_central_differences(rng):
    layer = SoftmaxLayer()
    layer.build((4,), dtype=np.float64)
    x, targets = rng.standard_normal((5, 4)), rng.dirichlet(np.ones(4), 5)
    layer.loss(x, targets, training=True)
    gradient = layer.loss_backward(targets)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = 1e-5
        above, below = (layer.loss(z, targets)[1].mean() for z in (x + step, x - step))
        assert (above - below) / 2e-5 == pytest.approx(gradient[index], rel=1e-7, abs=1e-9)


@pytest.mark.usefixtures("backend")
def test_nan_scores_give_nan_losses(layer):
    _, losses = layer.loss([[np.nan, 1, 2], [0, 0, np.nan], [1, 2, 3]], layer.targets([0, 0, 0]))
    np.testing.assert_array_equal(np.isnan(losses), [True, True, False])


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 3], ValueError, "expected 0 to 2 for 3 classes, got 3 at index 1"),
        ([-1, 0], ValueError, "expected 0 to 2 for 3 classes, got -1 at index 0"),
        ([0.0, 1.0], TypeError, "expected integers, got dtype float64"),
        ([0.0, np.nan], ValueError, "got NaN at index 1"),
        (["a", "b"], TypeError, "expected an array of numbers, got dtype <U1"),
        (np.array([0, None]), TypeError, "expected an array of numbers, got dtype object"),
        ([[0], [1]], ValueError, r"y.ravel\(\) flattens"),
        ([[0, 1, 1]], ValueError, "expected one-hot rows"),
        ([[0.5, np.nan, 0.5]], ValueError, "expected one-hot rows"),
        ([[1.5, -0.5, 0]], ValueError, "expected one-hot rows"),
        (np.zeros((2, 3, 1)), ValueError, "expected integers of shape"),
        ([[0, 1], [0]], ValueError, "expected an array of numbers"),
    ],
)
def test_labels_that_cannot_be_are_named(labels, error, message):
    layer = SoftmaxLayer()
    layer.build((3,))
    with pytest.raises(error, match=f"SoftmaxLayer: labels: .*{message}"):
        layer.targets(labels)


def test_integer_and_one_hot_labels_mean_the_same(layer):
    np.testing.assert_array_equal(layer.targets(np.uint8([2, 0])), layer.targets([[0, 0, 1], [1, 0, 0]]))
