import json

import numpy as np
import pytest

from cnnx import BatchNormLayer, ConvolutionLayer, DenseLayer, Flatten, Model, SoftmaxLayer, regularizers
from cnnx.regularizers import L1, L2, MaxNorm


@pytest.fixture
def model():
    layers = [ConvolutionLayer(filters=2, filter_size=3), BatchNormLayer(), Flatten(), DenseLayer(units=3)]
    model = Model(*layers, SoftmaxLayer())
    model.build((5, 5, 1), seed=0, dtype=np.float64)
    return model


@pytest.fixture
def data(rng):
    return rng.standard_normal((10, 5, 5, 1)), rng.integers(0, 3, 10)


def weights(model):
    return [layer.params["W"] for layer in model.layers if "W" in layer.params]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("regularizer", "penalty"),
    [(L1(0.3), lambda W: 0.3 * np.abs(W).sum()), (L2(0.2), lambda W: 0.2 * (W**2).sum())],
)
def test_a_penalty_is_part_of_loss_and_gradient(model, data, rng, regularizer, penalty):
    before = model.parameters.copy()
    plain = model.train_on_batch(*data, 1e-300)
    expected = sum(penalty(W) for W in weights(model))
    assert model.train_on_batch(*data, 1e-300, regularizers=[regularizer]) == pytest.approx(plain + expected, rel=1e-12)
    direction = rng.standard_normal(before.size)

    def loss(step):
        model.parameters[...] = before + step * direction
        return model.train_on_batch(*data, 1e-300, regularizers=[regularizer])

    slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
    model.parameters[...] = before
    model.train_on_batch(*data, 1e-300, regularizers=[regularizer])
    assert np.sum(model.gradients * direction) == pytest.approx(slope, rel=1e-6)


@pytest.mark.usefixtures("backend")
def test_l2_is_twice_its_strength_of_coupled_weight_decay(model, data):
    from cnnx.optimizers import SGD

    before = model.parameters.copy()
    model.train_on_batch(*data, 0.1, regularizers=[L2(0.2)])
    after = model.parameters.copy()
    model.parameters[...] = before
    model.train_on_batch(*data, optimizer=SGD(0.1, weight_decay=0.4))
    np.testing.assert_allclose(model.parameters, after, rtol=1e-12)


def test_biases_and_normalization_are_not_penalised(model, data):
    model.train_on_batch(*data, 1e-300)
    plain = [grad.copy() for layer in model.layers for key, grad in layer.grads.items() if key != "W"]
    model.train_on_batch(*data, 1e-300, regularizers=[L1(0.3), L2(0.2)])
    penalised = [grad for layer in model.layers for key, grad in layer.grads.items() if key != "W"]
    assert len(plain) == 4
    for one, other in zip(plain, penalised, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("backend")
def test_no_unit_or_filter_has_weights_with_a_larger_norm(model, data):
    for W in weights(model):
        W *= 3
    free = [W.copy() for W in weights(model)]
    model.train_on_batch(*data, 1e-300, regularizers=[MaxNorm(2.5)])
    for W, before in zip(weights(model), free, strict=True):
        for unit in range(W.shape[-1]):
            norm = np.sqrt((before[..., unit] ** 2).sum())
            np.testing.assert_allclose(W[..., unit], before[..., unit] * min(1, 2.5 / norm), rtol=1e-12)
    norms = [np.sqrt((W[..., unit] ** 2).sum()) for W in free for unit in range(W.shape[-1])]
    assert min(norms) < 2.5 < max(norms)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_whose_squares_overflow_are_scaled_down_and_not_lost(dtype):
    layer = DenseLayer(units=2)
    layer.build((2,), dtype=dtype)
    layer.params["W"][...] = np.array([[3e30, 0], [4e30, 1]]) * (1 if dtype == np.float32 else 1e170)
    MaxNorm(5).constrain([layer])
    np.testing.assert_allclose(layer.params["W"], [[3, 0], [4, 1 if dtype == np.float32 else 5]], rtol=1e-6)


def test_config_makes_the_same_regularizer():
    for regularizer in (L1(1e-5), L2(1e-4), MaxNorm(3)):
        config = json.loads(json.dumps(regularizer.config()))
        assert repr(getattr(regularizers, config.pop("regularizer"))(**config)) == repr(regularizer)


@pytest.mark.parametrize("make", [L1, L2, MaxNorm])
def test_a_strength_or_limit_of_zero_is_refused(make):
    with pytest.raises(ValueError, match=f"{make.__name__}: .*: expected a finite number above 0, got 0"):
        make(0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (L2(0.1), r"regularizers: expected a list of Regularizers, got L2\(strength=0.1\)"),
        ([0.1], "regularizers: expected a Regularizer, got 0.1"),
        ([L2], "regularizers: expected a Regularizer, got .*; it must be made with its arguments"),
    ],
)
def test_what_is_no_regularizer_is_named(model, data, given, message):
    with pytest.raises(TypeError, match=message):
        model.train(*data, 0.1, verbose=False, regularizers=given)
