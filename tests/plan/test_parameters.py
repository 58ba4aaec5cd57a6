"""Models whose parameters are fixed, and copies of models."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cnnx
from cnnx import _kernels
from cnnx.layers.base import leaves

SHAPE = (12, 9, 2)


def network():
    return cnnx.Model(
        cnnx.ConvolutionLayer(32, 3, padding=1),
        cnnx.ReluLayer(),
        cnnx.ResidualLayer(cnnx.ConvolutionLayer(32, 3, padding=1), cnnx.BatchNormLayer()),
        cnnx.ReluLayer(),
        cnnx.ConvolutionLayer(48, 3, padding=1),
        cnnx.PoolLayer(2),
        cnnx.ConvolutionLayer(20, (2, 3)),
        cnnx.DropoutLayer(0.5),
        cnnx.Flatten(),
        cnnx.DenseLayer(5),
        cnnx.SoftmaxLayer(),
    )


def data(examples, dtype=np.float32):
    rng = np.random.default_rng(1)
    return rng.standard_normal((examples, *SHAPE)).astype(dtype), np.arange(examples) % 5


@pytest.fixture
def models(backend, dtype):
    """The same parameters, fixed and not."""
    model = network()
    model.build(SHAPE, seed=0, dtype=dtype)
    params = [{**layer.params, **layer.state} for layer in model.layers]
    fixed = network()
    fixed.build(SHAPE, dtype=dtype, params=params, fixed=True)
    return fixed, model


@pytest.mark.usefixtures("restored_kernels")
def test_predictions_are_the_same_bits_on_every_instruction_set(models, dtype):
    fixed, model = models
    for name in [*_kernels.available_instruction_sets(), *_kernels.available_instruction_sets()]:
        _kernels.use_instruction_set(name)
        for examples in (1, 7):
            X, _ = data(examples, dtype)
            np.testing.assert_array_equal(fixed.predict_proba(X), model.predict_proba(X))
            np.testing.assert_array_equal(fixed.layers[0].forward(X), model.layers[0].forward(X))


def test_many_threads_can_make_the_first_prediction(models, dtype):
    fixed, model = models
    X, _ = data(2, dtype)
    expected = model.predict_proba(X)
    with ThreadPoolExecutor(8, "", cnnx.use_backend, (cnnx.backend_in_use(),)) as threads:
        for predictions in threads.map(fixed.predict_proba, [X] * 32):
            np.testing.assert_array_equal(predictions, expected)


def test_fixed_parameters_cannot_be_changed(models):
    fixed, _ = models
    with pytest.raises(ValueError, match="read-only"):
        fixed.parameters[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        fixed.parameters.setflags(write=True)
    for layer in leaves(fixed.layers):
        for key, value in layer.params.items():
            with pytest.raises(ValueError, match="WRITEABLE"):
                value.setflags(write=True)
            with pytest.raises(TypeError, match="assignment"):
                layer.params[key] = value.copy()


@pytest.mark.parametrize("method", ["train", "train_on_batch", "find_learning_rate"])
def test_a_fixed_model_refuses_to_be_trained(models, method):
    X, y = data(10)
    with pytest.raises(ValueError, match=rf"Model\.{method}: the parameters are fixed"):
        getattr(models[0], method)(X, y)


def test_a_fixed_model_can_be_built_again_and_trained(models):
    fixed, _ = models
    X, y = data(10)
    fixed.build(SHAPE, seed=0)
    assert not fixed.fixed
    before = fixed.parameters.copy()
    fixed.train(X, y, 0.1, verbose=False)
    assert (fixed.parameters != before).any()
    W = fixed.layers[0].params["W"]
    np.testing.assert_array_equal(W.ravel(), fixed.parameters[: W.size])


def test_a_saved_fixed_model_can_be_loaded_and_trained(models, tmp_path):
    fixed, _ = models
    fixed.save(tmp_path / "model")
    loaded = cnnx.Model.load(tmp_path / "model")
    assert not loaded.fixed
    loaded.train_on_batch(*data(10, loaded.dtype), 0.1)


COPIES = [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]


@pytest.mark.parametrize("make", COPIES)
def test_a_copy_trains_as_the_model_does_and_leaves_it_alone(make, dtype):
    model = network()
    X, y = data(20, dtype)
    model.build(SHAPE, seed=0, dtype=dtype)
    model.train_on_batch(X, y, 0.1)  # from now on there are working arrays
    copied = make(model)
    before = model.parameters.copy()
    losses = [copied.train_on_batch(X, y, 0.1) for _ in range(3)]
    np.testing.assert_array_equal(model.parameters, before)
    assert losses == [model.train_on_batch(X, y, 0.1) for _ in range(3)]
    np.testing.assert_array_equal(copied.parameters, model.parameters)
    np.testing.assert_array_equal(copied.predict_proba(X), model.predict_proba(X))
    assert not np.shares_memory(copied.parameters, model.parameters)


@pytest.mark.parametrize("make", COPIES)
def test_a_copy_of_a_fixed_model_is_fixed(models, make, dtype):
    X, _ = data(3, dtype)
    expected = models[0].predict_proba(X)
    copied = make(models[0])
    assert copied.fixed
    np.testing.assert_array_equal(copied.predict_proba(X), expected)
    np.testing.assert_array_equal(models[0].predict_proba(X), expected)


@pytest.mark.parametrize("make", COPIES)
def test_a_model_that_is_not_built_can_be_copied(make):
    copied = make(network())
    assert not copied.built
    copied.build(SHAPE, seed=0)
    other = network()
    other.build(SHAPE, seed=0)
    np.testing.assert_array_equal(copied.parameters, other.parameters)


def test_a_pickle_holds_no_working_arrays():
    model = network()
    model.build(SHAPE, seed=0)
    before = len(pickle.dumps(model))
    model.train_on_batch(*data(200), 0.1)
    assert len(pickle.dumps(model)) < before + 2000
