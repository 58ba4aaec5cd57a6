import json

import numpy as np
import pytest

from cnnx import DenseLayer, Model
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


X = np.array([[0.2, -1.3, 2.1], [1.5, 0.7, 0.9]])


def pass_through(layer, labels, x=X):
    """Losses of the examples, and the gradient of their mean, in float64."""
    layer.build((x.shape[1],), dtype=np.float64)
    targets = layer.targets(labels)
    _, losses = layer.loss(x, targets, training=True)
    return losses, layer.loss_backward(targets)


def test_smoothing_moves_a_share_of_each_target_to_all_classes():
    layer = SoftmaxLayer(label_smoothing=0.3)
    layer.build((3,), dtype=np.float64)
    np.testing.assert_allclose(layer.targets([1]), [[0.1, 0.8, 0.1]])
    np.testing.assert_allclose(layer.targets([[0.5, 0.5, 0]]), [[0.45, 0.45, 0.1]])


@pytest.mark.usefixtures("backend")
def test_label_smoothing_gives_pytorchs_losses_and_gradients():
    losses, gradient = pass_through(SoftmaxLayer(label_smoothing=0.1), [0, 2])
    # torch.nn.functional.cross_entropy(x, [0, 2], label_smoothing=0.1), PyTorch 2, float64
    np.testing.assert_allclose(losses, [2.054671128886642, 1.2788837148932426], rtol=1e-13)
    expected = [
        [-0.40344774585985527, -0.0025606187426319323, 0.4060083646024872],
        [0.23356597459348233, 0.09577010681907239, -0.3293360814125547],
    ]
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("focal", "labels", "expected"),
    [
        # keras.losses.CategoricalFocalCrossentropy(alpha=1, gamma=focal, from_logits=True), Keras 3, float64
        (2, [0, 2], [1.5781166317281823, 0.6798566041339075]),
        (0.5, [0, 2], [1.932851006751951, 1.100540248343739]),
        (2, [[0.7, 0.1, 0.2], [0, 0.5, 0.5]], [1.44243751631753, 0.7882059852008918]),
        (0.5, [[0.7, 0.1, 0.2], [0, 0.5, 0.5]], [1.7179408366864541, 1.2071535150182764]),
    ],
)
def test_focal_losses_are_those_of_keras(focal, labels, expected):
    np.testing.assert_allclose(pass_through(SoftmaxLayer(focal=focal), labels)[0], expected, rtol=1e-6)


@pytest.mark.usefixtures("backend")
def test_a_tiny_focal_exponent_is_almost_cross_entropy():
    for labels in ([0, 2], [[0.7, 0.1, 0.2], [0, 0.5, 0.5]]):
        plain, focal = pass_through(SoftmaxLayer(), labels), pass_through(SoftmaxLayer(focal=1e-9), labels)
        for one, other in zip(plain, focal, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-7)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("focal", [0.3, 1, 2])
def test_an_example_that_is_surely_right_has_no_focal_loss_and_no_gradient(focal):
    losses, gradient = pass_through(SoftmaxLayer(focal=focal), [1], np.array([[0.0, 1000, -1000]]))
    assert losses == [0]
    np.testing.assert_array_equal(gradient, [[0, 0, 0]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"label_smoothing": 1}, ValueError, "label_smoothing: expected a number from 0 up to but not including 1"),
        ({"label_smoothing": -0.1}, ValueError, "label_smoothing"),
        ({"label_smoothing": "a"}, TypeError, "label_smoothing: expected a number, got 'a'"),
        ({"focal": -1}, ValueError, "focal: expected a finite number of 0 or more, got -1"),
        ({"focal": np.inf}, ValueError, "focal: expected a finite number of 0 or more, got inf"),
        ({"focal": True}, TypeError, "focal: expected a number, got True"),
    ],
)
def test_arguments_that_cannot_be_are_named(arguments, error, message):
    with pytest.raises(error, match=f"SoftmaxLayer: {message}"):
        SoftmaxLayer(**arguments)


def test_a_file_from_before_there_were_arguments_loads(tmp_path):
    from cnnx.files.tensors import read_tensors, write_tensors

    model = Model(DenseLayer(units=3), SoftmaxLayer())
    model.build((2,), seed=0)
    model.save(tmp_path / "new")
    metadata, tensors = read_tensors(tmp_path / "new")
    architecture = json.loads(metadata["cnnx"])
    assert architecture["layers"][-1] == {"layer": "SoftmaxLayer", "label_smoothing": 0.0, "focal": 0.0}
    architecture["layers"][-1] = {"layer": "SoftmaxLayer"}
    write_tensors(tmp_path / "old", tensors, {"cnnx": json.dumps(architecture)})
    np.testing.assert_array_equal(Model.load(tmp_path / "old").predict_proba([[1, 2]]), model.predict_proba([[1, 2]]))
