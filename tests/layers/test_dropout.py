import numpy as np
import pytest

import cnnx
from cnnx import DenseLayer, DropoutLayer, Flatten, Model, SoftmaxLayer, SpatialDropoutLayer


def built(rate, shape=(1000,), seed=0, **arguments):
    layer = DropoutLayer(rate, **arguments)
    layer.build(shape, seed=seed)
    return layer


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.75, 0.999])
def test_a_share_of_the_values_is_dropped_and_the_expectation_stays(rate):
    y = built(rate).forward(np.ones((200, 1000)), training=True)
    kept = y != 0
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert abs(kept.mean() - (1 - rate)) < 5 * deviation
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-2 if rate > 0.99 else 1e-4)
    # No value's fate hangs on its neighbour's, in the same draw of 64 bits or the next.
    for distance in (1, 2, 3, 4, 1000):
        together = (kept.ravel()[distance:] & kept.ravel()[:-distance]).mean()
        assert abs(together - (1 - rate) ** 2) < 6 * deviation


@pytest.mark.parametrize("rate", [1e-9, 1 - 1e-9])
def test_scaling_takes_the_probability_that_is_really_used(rate):
    layer = built(rate)
    y = layer.forward(np.ones((50, 1000)), training=True)
    assert set(np.unique(y)) <= {0, 1 if rate < 0.5 else 65536}


@pytest.mark.usefixtures("backend")
def test_the_gradient_passes_where_the_value_did():
    layer = built(0.4)
    y = layer.forward(np.ones((3, 1000)), training=True)
    np.testing.assert_array_equal(layer.backward(np.full((3, 1000), 2)), 2 * y)


def test_inference_leaves_the_input_as_it_is(rng):
    x = rng.standard_normal((2, 1000)).astype(np.float32)
    assert built(0.5).forward(x) is x


@pytest.mark.usefixtures("backend")
def test_the_seed_of_build_decides_and_each_batch_is_drawn_anew():
    x = np.ones((4, 1000))
    first, same, other = built(0.5), built(0.5), built(0.5, seed=1)
    draws = [first.forward(x, training=True) for _ in range(3)]
    np.testing.assert_array_equal(same.forward(x, training=True), draws[0])
    assert (draws[0] != draws[1]).any()
    assert (draws[1] != draws[2]).any()
    assert (other.forward(x, training=True) != draws[0]).any()
    first.build((1000,), seed=0)
    np.testing.assert_array_equal(first.forward(x, training=True), draws[0])


def test_a_seed_of_its_own_decides_over_that_of_build():
    x = np.ones((4, 1000))
    one, other = built(0.5, seed=1), built(0.5, seed=2)
    assert (one.forward(x, training=True) != other.forward(x, training=True)).any()
    ours = [DropoutLayer(0.5, seed=7) for _ in range(2)]
    for seed, layer in enumerate(ours):
        layer.build((1000,), seed=seed)
    np.testing.assert_array_equal(*(layer.forward(x, training=True) for layer in ours))


def test_two_dropout_layers_of_a_model_draw_differently():
    model = Model(DropoutLayer(0.5), DropoutLayer(0.5), Flatten(), DenseLayer(units=2), SoftmaxLayer())
    model.build((1000,), seed=0)
    x = np.ones((2, 1000))
    first, second = (layer.forward(x, training=True) for layer in model.layers[:2])
    assert (first != second).any()


@pytest.mark.usefixtures("restored_kernels")
def test_the_number_of_threads_changes_no_bit(rng):
    x = rng.standard_normal((70, 1000))
    results = []
    for threads in (1, 2, 3, 4):
        cnnx.set_num_threads(threads)
        results.append(built(0.3).forward(x, training=True))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_both_backends_train_to_the_same_weights(rng):
    X, y = rng.random((40, 6)), np.arange(40) % 3
    trained = []
    for name in {"numpy", cnnx.backend_in_use()}:
        with cnnx.use_backend(name):
            model = Model(
                DropoutLayer(0.2), DenseLayer(units=5), DropoutLayer(0.5), DenseLayer(units=3), SoftmaxLayer()
            )
            model.train(X, y, 0.1, batch_size=8, epochs=3, seed=0, verbose=False)
            trained.append(model.parameters)
    np.testing.assert_allclose(trained[0], trained[-1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rate", [1, -0.1, 1.5, np.nan, np.inf])
def test_a_rate_that_is_no_probability_is_refused(rate):
    with pytest.raises(ValueError, match="DropoutLayer: rate: expected a number from 0 up to but not including 1, got"):
        DropoutLayer(rate)


@pytest.mark.parametrize("rate", ["0.5", None, True, [0.5]])
def test_a_rate_that_is_no_number_is_refused(rate):
    with pytest.raises(TypeError, match="DropoutLayer: rate: expected a number, got"):
        DropoutLayer(rate)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("rate", [0.2, 0.75])
def test_spatial_dropout_drops_a_share_of_whole_channels_for_each_example(rate):
    layer = SpatialDropoutLayer(rate)
    layer.build((3, 2, 40), seed=0)
    y = layer.forward(np.ones((300, 3, 2, 40)), training=True)
    kept = y[:, 0, 0] != 0
    np.testing.assert_array_equal(y != 0, np.broadcast_to(kept[:, np.newaxis, np.newaxis], y.shape))
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-4)
    deviation = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) < 5 * deviation
    # No channel's fate hangs on that of the next channel, or of the same channel in the next example.
    for distance in (1, 40):
        together = (kept.ravel()[distance:] & kept.ravel()[:-distance]).mean()
        assert abs(together - (1 - rate) ** 2) < 6 * deviation
    np.testing.assert_array_equal(layer.backward(np.full(y.shape, 2)), 2 * y)


@pytest.mark.usefixtures("backend")
def test_a_dropped_channel_is_zero_whatever_it_held():
    layer = SpatialDropoutLayer(0.5)
    layer.build((2, 2, 20), seed=0)
    y = layer.forward(np.full((4, 2, 2, 20), np.inf), training=True)
    assert set(np.unique(y)) == {0, np.inf}


def test_spatial_dropout_in_inference_leaves_the_input_as_it_is(rng):
    layer = SpatialDropoutLayer(0.5)
    layer.build((2, 2, 3))
    x = rng.standard_normal((2, 2, 2, 3)).astype(np.float32)
    assert layer.forward(x) is x


def test_spatial_dropout_names_what_it_cannot_take():
    with pytest.raises(ValueError, match=r"^SpatialDropoutLayer: expected examples of shape \(height, width, channels"):
        SpatialDropoutLayer(0.5).build((7,))
    with pytest.raises(ValueError, match="SpatialDropoutLayer: rate: expected a number from 0 up to but not including"):
        SpatialDropoutLayer(1)
