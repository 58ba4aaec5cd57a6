import numpy as np
import pytest

import cnnx
from cnnx import (
    BatchNormLayer,
    ConvolutionLayer,
    DenseLayer,
    DivergenceError,
    DropoutLayer,
    Flatten,
    Model,
    PoolLayer,
    ReluLayer,
    SoftmaxLayer,
    _kernels,
)
from cnnx._kernels import KERNELS, _compiled
from cnnx._kernels.reference import normalization
from cnnx.plan.fusion import fuse


def built(shape, dtype=np.float64, **arguments):
    layer = BatchNormLayer(**arguments)
    layer.build(shape, seed=0, dtype=dtype)
    return layer


def network():
    return Model(
        ConvolutionLayer(filters=4, filter_size=3, padding=1),
        BatchNormLayer(momentum=0.5),
        ReluLayer(),
        PoolLayer(filter_size=2),
        Flatten(),
        DropoutLayer(0.25),
        DenseLayer(units=8),
        BatchNormLayer(),
        ReluLayer(),
        DenseLayer(units=3),
        SoftmaxLayer(),
    )


@pytest.fixture
def data(rng):
    return rng.random((30, 6, 5, 2)).astype(np.float32), np.arange(30) % 3


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(6, 5, 3), (1, 1, 40), (4,), (130,)])
def test_training_gives_each_channel_mean_0_and_variance_1(shape, dtype, rng):
    x = 5 + 3 * rng.standard_normal((50, *shape))
    y = built(shape, dtype).forward(x, training=True).reshape(-1, shape[-1])
    np.testing.assert_allclose(y.mean(axis=0, dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(axis=0, dtype=np.float64), 1, rtol=1e-4)


@pytest.mark.usefixtures("backend")
def test_scale_and_shift_come_after(rng):
    x = rng.standard_normal((50, 3))
    layer = built((3,), epsilon=1e-12)
    layer.params["gamma"][...] = 1, 2, -3
    layer.params["beta"][...] = 0, -1, 4
    y = layer.forward(x, training=True)
    np.testing.assert_allclose(y.mean(axis=0), [0, -1, 4], atol=1e-12)
    np.testing.assert_allclose(y.std(axis=0), [1, 2, 3])
    assert (np.sign(y[:, 2] - 4) == np.sign(x[:, 2].mean() - x[:, 2])).all()


@pytest.mark.usefixtures("backend")
def test_running_averages_by_hand():
    layer = built((1,), momentum=0.9)
    # Mean 3; squared deviations 4, 0, 4: unbiased variance 4, biased 8/3.
    y = layer.forward([[1], [3], [5]], training=True)
    np.testing.assert_allclose(y, np.array([[-2], [0], [2]]) / np.sqrt(8 / 3 + 1e-5))
    np.testing.assert_allclose(layer.state["mean"], 0.9 * 0 + 0.1 * 3)
    np.testing.assert_allclose(layer.state["variance"], 0.9 * 1 + 0.1 * 4)
    layer.forward([[10], [20]], training=True)
    np.testing.assert_allclose(layer.state["mean"], 0.9 * 0.3 + 0.1 * 15)
    np.testing.assert_allclose(layer.state["variance"], 0.9 * 1.3 + 0.1 * 50)
    np.testing.assert_allclose(layer.forward([[7]]), (7 - 1.77) / np.sqrt(6.17 + 1e-5))


def test_momentum_0_keeps_the_last_batch_alone(rng):
    layer = built((2, 3, 4), momentum=0)
    for _ in range(2):
        x = rng.standard_normal((5, 2, 3, 4))
        layer.forward(x, training=True)
    np.testing.assert_allclose(layer.state["mean"], x.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(layer.state["variance"], x.var(axis=(0, 1, 2), ddof=1))


def test_inference_changes_nothing_and_takes_single_examples(rng):
    layer = built((2,))
    layer.forward(rng.standard_normal((5, 2)), training=True)
    state = layer.state
    before = {key: value.copy() for key, value in state.items()}
    x = rng.standard_normal((6, 2))
    whole = layer.forward(x)
    np.testing.assert_array_equal(np.concatenate([layer.forward(x[i : i + 1]) for i in range(6)]), whole)
    assert layer.state is state
    for key, value in before.items():
        np.testing.assert_array_equal(state[key], value)


def test_a_training_step_leaves_the_old_averages_whole(rng):
    layer = built((2,))
    before = layer.state
    layer.forward(rng.standard_normal((5, 2)), training=True)
    assert layer.state is not before
    np.testing.assert_array_equal(before["mean"], 0)
    np.testing.assert_array_equal(before["variance"], 1)


def test_an_empty_batch_leaves_the_averages_as_they_are():
    layer = built((2, 3, 4))
    before = layer.state
    layer.forward(np.empty((0, 2, 3, 4)), training=True)
    assert layer.state is before


@pytest.mark.parametrize("shape", [(3,), (1, 1, 3)])
def test_a_single_value_for_each_channel_is_refused_in_training(shape):
    layer = built(shape)
    with pytest.raises(ValueError, match="BatchNormLayer: expected more than one value for each channel in training"):
        layer.forward(np.ones((1, *shape)), training=True)
    layer.forward(np.ones((1, *shape)))


@pytest.mark.parametrize("shape", [(), (3, 4), (2, 3, 4, 5), (2, 0, 3)])
def test_examples_of_another_rank_are_refused(shape):
    with pytest.raises(ValueError, match="BatchNormLayer: expected examples of shape"):
        BatchNormLayer().build(shape)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"momentum": 1}, ValueError, "momentum: expected a number from 0 up to"),
        ({"momentum": -0.1}, ValueError, "momentum: expected a number from 0 up to"),
        ({"momentum": np.nan}, ValueError, "momentum: expected a number from 0 up to"),
        ({"momentum": "0.9"}, TypeError, "momentum: expected a number, got '0.9'"),
        ({"epsilon": 0}, ValueError, "epsilon: expected a finite number above 0"),
        ({"epsilon": None}, TypeError, "epsilon: expected a number"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=f"BatchNormLayer: {message}"):
        BatchNormLayer(**arguments)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(5, 7, 3), (2, 3, 64), (19,)])
def test_relu_in_the_same_pass_is_relu_after_it(shape, dtype, rng):
    x, grad = rng.standard_normal((2, 20, *shape)).astype(dtype)
    plain, normalization, relu = built(shape, dtype), built(shape, dtype), ReluLayer()
    relu.build(shape, dtype=dtype)
    fused = fuse([normalization, relu], training=True)[0]
    assert fused.kind == "BatchNormRelu"
    for layer in (plain, normalization):
        layer.params["beta"][...] = np.linspace(-1, 1, shape[-1])
    expected = relu.forward(plain.forward(x, training=True), training=True)
    np.testing.assert_array_equal(fused.forward(x), expected)
    np.testing.assert_array_equal(fused.backward(grad), plain.backward(relu.backward(grad)))
    for key in plain.grads:
        np.testing.assert_array_equal(normalization.grads[key], plain.grads[key])
    serving = fuse([normalization, relu], training=False)[0]
    np.testing.assert_array_equal(serving.forward(x), relu.forward(plain.forward(x)))


@pytest.mark.usefixtures("backend")
def test_nan_passes_through_its_own_channel_alone(rng):
    x = rng.standard_normal((9, 4, 3, 2))
    x[2, 1, 1, 0] = np.nan
    relu = ReluLayer()
    relu.build((4, 3, 2), dtype=x.dtype)
    fused = fuse([built((4, 3, 2)), relu], training=True)[0]
    for y in (built((4, 3, 2)).forward(x, training=True), fused.forward(x)):
        assert np.isnan(y[..., 0]).all()
        assert np.isfinite(y[..., 1]).all()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("channels", [1, 3, 64])
def test_a_mean_far_from_zero_costs_no_digits_of_the_variance(channels, rng):
    x = (1000 + rng.standard_normal((64, 16, 16, channels))).astype(np.float32)
    mean, variance = np.empty((2, channels), np.float32)
    _kernels.batch_norm_statistics(x, mean, variance)
    exact = x.astype(np.float64).reshape(-1, channels)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(variance, exact.var(axis=0), rtol=2e-6)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dark", [1, 10])
def test_images_of_another_kind_at_the_beginning_cost_no_digits_of_the_variance(dark, rng):
    x = (1000 + rng.standard_normal((64, 32, 32, 4))).astype(np.float32)
    x[:dark] = 0
    mean, variance = np.empty((2, 4), np.float32)
    _kernels.batch_norm_statistics(x, mean, variance)
    exact = x.astype(np.float64).reshape(-1, 4)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(variance, exact.var(axis=0), rtol=2e-6)


@pytest.mark.skipif(not _compiled, reason="NumPy's kernels use one thread")
@pytest.mark.usefixtures("restored_kernels")
@pytest.mark.parametrize("channels", [1, 3, 12, 33, 64, 500])
def test_the_number_of_threads_changes_no_bit(channels, dtype, rng):
    shape = (600_000 // (17 * 9 * channels), 17, 9, channels)
    x, grad = rng.standard_normal((2, *shape)).astype(dtype)
    results = []
    for threads in (1, 2, 3, 4):
        cnnx.set_num_threads(threads)
        layer = built(shape[1:], dtype)
        y = layer.forward(x, training=True)
        results.append([y, layer.backward(grad), *layer.grads.values(), *layer.state.values()])
    for result in results[1:]:
        for array, expected in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(array, expected)


def test_the_statistics_twin_agrees_with_a_loop_over_channels(rng):
    x = rng.standard_normal((3, 4, 5, 2))
    mean, variance = np.empty((2, 2))
    normalization.batch_norm_statistics(x, mean, variance)
    for c in range(2):
        values = [float(v) for v in x[..., c].ravel()]
        expected = sum(values) / 60
        assert mean[c] == pytest.approx(expected)
        assert variance[c] == pytest.approx(sum((v - expected) ** 2 for v in values) / 60)
    assert "batch_norm_statistics" in KERNELS["normalization"]


def test_a_model_keeps_its_averages_in_its_file(tmp_path, data):
    X, y = data
    model = network()
    model.train(X, y, 0.1, batch_size=8, epochs=2, seed=0, verbose=False)
    model.save(tmp_path / "model.safetensors")
    loaded = Model.load(tmp_path / "model.safetensors")
    for ours, theirs in zip(model.layers, loaded.layers, strict=True):
        assert ours.state.keys() == theirs.state.keys()
        for key, value in ours.state.items():
            np.testing.assert_array_equal(theirs.state[key], value)
    assert (model.layers[1].state["mean"] != 0).any()
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.evaluate(X, y) == model.evaluate(X, y)


def test_a_file_without_averages_is_refused(tmp_path, data):
    from cnnx.files.tensors import read_tensors, write_tensors

    path = tmp_path / "model.safetensors"
    model = network()
    model.build(data[0].shape[1:], seed=0)
    model.save(path)
    metadata, tensors = read_tensors(path)
    del tensors["1.variance"]
    write_tensors(path, tensors, metadata)
    with pytest.raises(ValueError, match=r"parameter variance: expected float32 .* got nothing"):
        Model.load(path)


def test_build_takes_averages_beside_parameters():
    layer = built((2,))
    values = {"gamma": [1.0, 2], "beta": [3.0, 4], "mean": [5.0, 6], "variance": [7.0, 8]}
    layer.build((2,), dtype=np.float64, params={key: np.array(value) for key, value in values.items()})
    assert {key: list(value) for key, value in {**layer.params, **layer.state}.items()} == values
    with pytest.raises(ValueError, match=r"expected parameters .*'mean'.*, got"):
        layer.build((2,), dtype=np.float64, params={**layer.params, **layer.state, "b": np.zeros(2)})


def test_averages_are_no_parameters_of_a_model(data):
    model = network()
    model.build(data[0].shape[1:], seed=0)
    assert model.parameter_count == (3 * 3 * 2 * 4 + 4) + 8 + (24 * 8 + 8) + 16 + (8 * 3 + 3)


def test_a_convolution_before_it_starts_for_the_relu_after_it(data):
    model = network()
    model.build(data[0].shape[1:], seed=0)
    assert model.layers[0].default_initializer == "he_normal"
    assert model.layers[6].default_initializer == "he_normal"
    assert model.layers[9].default_initializer == "glorot_uniform"


@pytest.mark.usefixtures("backend")
def test_predicting_and_evaluating_are_untouched_by_training_mode(data):
    X, y = data
    model = network()
    model.train(X, y, 0.1, batch_size=10, seed=0, verbose=False)
    before = model.predict_proba(X), model.evaluate(X, y)
    model.forward(X[:4])
    np.testing.assert_array_equal(model.predict_proba(X, batch_size=30), before[0])
    np.testing.assert_allclose(model.predict_proba(X, batch_size=1), before[0], rtol=1e-5)
    assert model.evaluate(X, y) == before[1]


def test_a_step_that_diverges_leaves_the_averages_as_they_were(data):
    X, y = data
    model = network()
    model.train(X, y, 0.1, seed=0, verbose=False)
    before = [layer.state for layer in model.layers]
    with pytest.raises(DivergenceError):
        model.train_on_batch(np.full_like(X, np.nan), y, 0.1)
    assert all(layer.state is state for layer, state in zip(model.layers, before, strict=True))


@pytest.mark.skipif(not _compiled, reason="without compiled kernels there is nothing to compare")
def test_verify_draws_the_same_mask_on_both_backends_and_changes_nothing(data):
    X, y = data
    model = network()
    model.train(X, y, 0.1, seed=0, verbose=False)
    states = [layer.state for layer in model.layers]
    following = model.layers[5].rng.bit_generator.state
    report = model.verify(X, y)
    assert report.passed
    rows = {(row.layer, row.array) for row in report.rows}
    assert {("layers[1] (BatchNormLayer)", name) for name in ("mean", "variance", "gradient of gamma")} <= rows
    assert all(layer.state is state for layer, state in zip(model.layers, states, strict=True))
    assert model.layers[5].rng.bit_generator.state == following


@pytest.mark.usefixtures("backend")
def test_in_front_of_all_else_it_learns_without_an_input_gradient(data):
    X, y = data
    model = Model(BatchNormLayer(), Flatten(), DenseLayer(units=3), SoftmaxLayer())
    model.build(X.shape[1:], seed=0)
    assert model.plan.passes[0].wants_gradient is False
    losses = [model.train_on_batch(X, y, 0.1) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert (model.layers[0].params["gamma"] != 1).all()
