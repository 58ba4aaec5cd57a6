"""What holds for every output layer's loss. A new one is one line in `CASES`."""

import numpy as np
import pytest

from cnnx import DenseLayer, Model
from cnnx._kernels import _compiled
from cnnx.layers import LAYERS, HingeLayer, RegressionLayer, SigmoidLayer, SoftmaxLayer
from cnnx.layers.loss import OutputLayer

CLASSES = [3, 0, 1, 3, 2]
SOFT = np.random.default_rng(1).dirichlet(np.ones(4), 5)
SEVERAL = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 1, 1]])
VALUES = np.random.default_rng(2).standard_normal((5, 4))
CASES = [
    (lambda: SoftmaxLayer(), 4, CLASSES),
    (lambda: SoftmaxLayer(), 4, SOFT),
    (lambda: SoftmaxLayer(label_smoothing=0.2), 4, np.eye(4)[CLASSES]),
    (lambda: SoftmaxLayer(focal=2), 4, CLASSES),
    (lambda: SoftmaxLayer(focal=0.5), 4, SOFT),
    (lambda: SoftmaxLayer(label_smoothing=0.1, focal=1), 4, CLASSES),
    (lambda: SigmoidLayer(), 4, SEVERAL),
    (lambda: SigmoidLayer(), 4, SOFT),
    (lambda: SigmoidLayer(), 1, [True, False, False, True, True]),
    (lambda: SigmoidLayer(focal=2), 4, SEVERAL),
    (lambda: SigmoidLayer(focal=0.5), 4, SOFT),
    (lambda: SigmoidLayer(focal=1), 1, [[0], [1], [0], [1], [1]]),
    (lambda: HingeLayer(), 4, CLASSES),
    (lambda: HingeLayer(squared=True), 4, np.eye(4)[CLASSES]),
    (lambda: RegressionLayer(), 4, VALUES),
    (lambda: RegressionLayer("absolute"), 4, VALUES),
    (lambda: RegressionLayer("huber", delta=0.8), 4, VALUES),
    (lambda: RegressionLayer("huber", delta=0.8), 1, VALUES[:, 0]),
]
STEP = 1e-6

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]()!r}, labels {np.shape(case[2])}")
def case(request):
    make, outputs, labels = request.param
    return make(), outputs, labels


def built(case, dtype=np.float64):
    layer, outputs, labels = case
    layer.build((outputs,), dtype=dtype)
    return layer, layer.targets(labels), outputs


def test_every_output_layer_is_in_the_list_of_cases():
    expected = {name for name, layer in LAYERS.items() if issubclass(layer, OutputLayer)}
    assert {type(make()).__name__ for make, *_ in CASES} == expected


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_that_of_the_weighted_sum_of_losses_over_the_batch(case, weighted, rng):
    layer, targets, outputs = built(case)
    x = 2 * rng.standard_normal((5, outputs))
    weights = rng.uniform(0, 3, 5) if weighted else None
    layer.loss(x, targets, training=True)
    gradient = layer.loss_backward(targets, weights)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = STEP
        losses = [layer.loss(z, targets)[1] for z in (x + step, x - step)]
        above, below = (each @ (np.ones(5) if weights is None else weights) / 5 for each in losses)
        assert (above - below) / (2 * STEP) == pytest.approx(gradient[index], rel=1e-6, abs=1e-9), index


def test_a_weight_of_two_is_an_example_given_twice(case, rng):
    layer, targets, outputs = built(case)
    x = rng.standard_normal((5, outputs))
    layer.loss(x, targets, training=True)
    weighted = layer.loss_backward(targets, np.array([1.0, 2, 1, 0, 1]))
    twice = [0, 1, 1, 2, 4]
    layer.loss(x[twice], targets[twice], training=True)
    gradient = layer.loss_backward(targets[twice])
    np.testing.assert_allclose(weighted[[0, 2, 4]], gradient[[0, 3, 4]], rtol=1e-12)
    np.testing.assert_allclose(weighted[1], gradient[1] + gradient[2], rtol=1e-12)
    np.testing.assert_array_equal(weighted[3], 0)


def test_after_forward_alone_the_gradient_is_the_same(case, rng):
    layer, targets, outputs = built(case)
    x = rng.standard_normal((5, outputs))
    predictions, _ = layer.loss(x, targets, training=True)
    expected = layer.loss_backward(targets)
    # The softmax and sigmoid kernels with and without a loss may round differently.
    np.testing.assert_allclose(layer.forward(x, training=True), predictions, rtol=1e-13)
    np.testing.assert_allclose(layer.loss_backward(targets), expected, rtol=1e-12, atol=1e-15)
    with pytest.raises(RuntimeError, match="backward without forward"):
        layer.loss_backward(targets)


def test_float32_gives_what_float64_gives(case, rng):
    x = 3 * rng.standard_normal((5, case[1]))
    results = []
    for dtype in (np.float32, np.float64):
        layer, targets, _ = built(case, dtype)
        predictions, losses = layer.loss(x.astype(dtype), targets, training=True)
        results.append((targets, predictions, losses, layer.loss_backward(targets)))
        assert all(array.dtype == dtype for array in results[-1])
    for single, double in zip(*results, strict=True):
        np.testing.assert_allclose(single, double, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_and_gradients_of_scores_of_a_thousand_are_finite(case, dtype, rng):
    layer, targets, outputs = built(case, dtype)
    x = (1000 * rng.choice([-1, 0, 1], (5, outputs))).astype(dtype)
    x[:2] = [[1000], [-1000]]
    _, losses = layer.loss(x, targets, training=True)
    assert np.isfinite(losses).all()
    assert np.isfinite(layer.loss_backward(targets)).all()


def test_scores_with_nan_give_nan_losses_to_their_examples_alone(case, rng):
    layer, targets, outputs = built(case)
    x = rng.standard_normal((5, outputs))
    x[1, 0] = x[3, -1] = np.nan
    _, losses = layer.loss(x, targets)
    np.testing.assert_array_equal(np.isnan(losses), [False, True, False, True, False])


def test_infinite_scores_give_losses_that_are_not_finite_and_no_warning(case, backend):
    layer, targets, outputs = built(case)
    with np.errstate(all="ignore" if backend == "numpy" else "warn"):
        _, losses = layer.loss(np.full((5, outputs), np.inf), targets)
    assert not np.isfinite(losses).any()


def test_an_empty_batch_has_no_losses(case):
    layer, _, outputs = built(case)
    empty = np.empty((0, outputs))
    _, losses = layer.loss(empty, empty, training=True)
    assert losses.shape == (0,)
    assert layer.loss_backward(empty).shape == (0, outputs)


def test_scores_and_targets_stay_as_they_are(case, rng):
    layer, targets, outputs = built(case)
    x = rng.standard_normal((5, outputs))
    before = x.copy(), targets.copy()
    layer.loss(x, targets, training=True)
    layer.loss_backward(targets, np.full(5, 3.0))
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(targets, before[1])


def test_the_metric_is_that_of_what_predict_returns(case, rng):
    layer, targets, outputs = built(case)
    predictions, _ = layer.loss(rng.standard_normal((5, outputs)), targets)
    decided = layer.decide(predictions)
    rates = layer.rate(predictions, targets)
    assert rates.shape == (5,)
    truth = layer.decide(np.where(targets > 0.5, 1, 0)) if isinstance(layer, SigmoidLayer) else layer.decide(targets)
    if layer.metric == "accuracy":
        expected = [np.array_equal(a, b) for a, b in zip(decided, truth, strict=True)]
    else:
        expected = [np.abs(a - b).mean() for a, b in zip(decided, truth, strict=True)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_labels_of_another_shape_name_the_method_the_shape_and_what_came(case):
    layer, _, outputs = built(case)
    for wrong in (np.zeros((5, outputs + 2)), np.zeros((5, outputs, 1)), np.array(1)):
        with pytest.raises(ValueError, match=r"^train: labels: expected .*shape \(batch") as caught:
            layer.check_labels(wrong, "train")
        assert str(wrong.shape) in str(caught.value)
    for wrong in (np.full((5, outputs), "1"), np.full(5, None)):
        with pytest.raises(TypeError, match=r"^train: labels: expected an array of numbers"):
            layer.check_labels(wrong, "train")


def test_a_model_trains_is_saved_and_predicts_the_same(case, rng, tmp_path):
    layer, outputs, labels = case
    X = rng.standard_normal((5, 6))
    model = Model(DenseLayer(units=outputs), layer)
    history = model.train(X, labels, 0.05, batch_size=5, epochs=60, seed=0, verbose=False)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert set(history) == {"loss", layer.metric, "seconds"}
    loss, metric = model.evaluate(X, labels)
    assert loss <= history["loss"][-1]
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.evaluate(X, labels) == (loss, metric)


@pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")
def test_a_model_is_verified(case, rng):
    layer, outputs, labels = case
    model = Model(DenseLayer(units=outputs), layer)
    model.build((6,), seed=0)
    report = model.verify(rng.standard_normal((5, 6)), labels)
    compared = {row.array for row in report.rows if row.layer == layer.name}
    assert compared == {"output", "loss", "input gradient", "targets", "metric", "sums"}


def test_one_step_in_ones_own_loop_is_the_models_step(case, rng):
    layer, outputs, labels = case
    X = rng.standard_normal((5, 6))
    model = Model(DenseLayer(units=outputs), layer)
    model.build((6,), seed=0, dtype=np.float64)
    model.forward(X, training=True)
    model.backward(labels)
    by_hand = model.parameters - 0.1 * model.gradients
    model.train_on_batch(X, labels, 0.1)
    np.testing.assert_allclose(model.parameters, by_hand, rtol=1e-12, atol=1e-14)
