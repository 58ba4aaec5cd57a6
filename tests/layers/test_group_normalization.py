import numpy as np
import pytest

import cnnx
from cnnx import DenseLayer, Flatten, GroupNormLayer, LayerNormLayer, Model, SoftmaxLayer

pytestmark = pytest.mark.usefixtures("backend")

X = np.array([[[[1, 2, 4, 3], [0, -1, 2, 5]]], [[[3, 3, 3, 4], [7, 1, 0, 2]]]], np.float64)
GRAD = np.array([[[[1, 0, -1, 2], [0.5, 1, 1, -2]]], [[[2, 1, 0, 1], [-1, 3, 1, 0]]]], np.float64)
GAMMA, BETA = [1, 2, 0.5, -1], [0, 1, -1, 0.5]
# Recorded from PyTorch 2: functional.group_norm with 2 groups, and functional.layer_norm over the channels.
# fmt: off
RECORDED = {
    "group": (
        lambda: GroupNormLayer(groups=2),
        [0.447211807, 3.68327084, -0.776394097, 0.947211807, -0.447211807, -1.68327084, -1.67081771, -0.84163542,
         -0.229415492, 0.541169015, -0.746454303, -0.683213252, 1.605908447, -1.294154924, -1.760637091, 0.669030465],
        [0.357767478, -0.044727084, -0.715536744, -1.520522289, -0.581373381, 0.268332987, 1.252186619, 0.983872414,
         -0.362234467, -0.362234467, 0.251130214, -0.202838335, 0.241486344, 0.48298259, -0.077268785, 0.028976905],
        [-1.841133528, -5.012283298, -3.310121408, -2.394481201],
    ),
    "layer": (
        lambda: LayerNormLayer(),
        [-1.34163542, 0.105576387, -0.32918229, 0.052788193, -0.654653047, -1.182176824, -0.890891159, -1.027523777,
         -0.577334874, -0.154669748, -1.288667437, -1.232004621, 1.671256891, -0.114171261, -1.464238025, 0.68569521],
        [0.357776422, 0.044723506, 0.760253095, -1.162753023, -0.280565681, 0.405261262, -0.342913471, 0.21821789,
         1.539631506, 1.539631506, -3.079047485, -0.000215527, -0.032017588, 1.434335807, -0.797208095, -0.605110123],
        [-4.494888582, -3.339680177, -2.051893788, -0.428619319],
    ),
}
# fmt: on


@pytest.mark.parametrize("kind", RECORDED)
def test_values_and_gradients_are_those_of_pytorch(kind):
    make, y, input_gradient, gamma_gradient = RECORDED[kind]
    layer = make()
    layer.build((1, 2, 4), dtype=np.float64)
    layer.params["gamma"][...], layer.params["beta"][...] = GAMMA, BETA
    np.testing.assert_allclose(layer.forward(X, training=True).ravel(), y, atol=1e-8)
    np.testing.assert_allclose(layer.backward(GRAD).ravel(), input_gradient, atol=1e-8)
    np.testing.assert_allclose(layer.grads["gamma"], gamma_gradient, atol=1e-8)
    np.testing.assert_allclose(layer.grads["beta"], [2.5, 5, 1, 1], atol=1e-12)


def test_each_group_of_each_example_gets_mean_0_and_variance_1(rng):
    x = 1e3 + 7 * rng.standard_normal((3, 9, 7, 6))
    layer = GroupNormLayer(groups=3, epsilon=1e-12)
    layer.build((9, 7, 6), dtype=np.float64)
    sets = layer.forward(x).reshape(3, 9 * 7, 3, 2)
    np.testing.assert_allclose(sets.mean(axis=(1, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(sets.var(axis=(1, 3)), 1, rtol=1e-12)


def test_layer_normalization_takes_each_pixel_and_one_group_the_whole_image(rng):
    x = rng.standard_normal((2, 3, 4, 5))
    pixels, image = LayerNormLayer(epsilon=1e-12), GroupNormLayer(groups=1, epsilon=1e-12)
    for layer in (pixels, image):
        layer.build((3, 4, 5), dtype=np.float64)
    np.testing.assert_allclose(pixels.forward(x).mean(axis=3), 0, atol=1e-12)
    np.testing.assert_allclose(image.forward(x).mean(axis=(1, 2, 3)), 0, atol=1e-12)
    assert np.abs(image.forward(x).mean(axis=3)).max() > 0.1


@pytest.mark.parametrize("layer", [LayerNormLayer(), GroupNormLayer(2)], ids=repr)
def test_an_example_does_not_depend_on_the_others_nor_on_training(layer, rng):
    x = rng.standard_normal((7, 5, 4, 6)).astype(np.float32)
    layer.build((5, 4, 6))
    whole = layer.forward(x, training=True)
    np.testing.assert_array_equal(layer.forward(x), whole)
    np.testing.assert_array_equal(layer.forward(x[3:4]), whole[3:4])


@pytest.mark.parametrize("layer", [LayerNormLayer(), GroupNormLayer(2)], ids=repr)
def test_equal_values_give_beta_and_a_mean_far_from_zero_costs_few_digits(layer, rng):
    layer.build((4, 3, 6), dtype=np.float64)
    np.testing.assert_allclose(layer.forward(np.full((2, 4, 3, 6), 0.1)), 0, atol=1e-12)
    noise = rng.standard_normal((2, 4, 3, 6))
    np.testing.assert_allclose(layer.forward(noise + 2**20), layer.forward(noise), atol=1e-8)


@pytest.mark.usefixtures("restored_kernels")
def test_the_number_of_threads_changes_no_bit(rng):
    x, grad = rng.standard_normal((2, 40, 16, 16, 24)).astype(np.float32)
    for layer in (LayerNormLayer(), GroupNormLayer(4)):
        layer.build(x.shape[1:])
        results = []
        for threads in (1, 2, 3):
            cnnx.set_num_threads(threads)
            results.append([layer.forward(x, training=True), layer.backward(grad)])
            results[-1] += [value.copy() for value in layer.grads.values()]
        for other in results[1:]:
            for value, same in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(value, same)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GroupNormLayer(0), ValueError, "groups: expected 1 or more, got 0"),
        (lambda: GroupNormLayer(2.0), TypeError, "groups: expected an integer"),
        (lambda: GroupNormLayer(2, epsilon=0), ValueError, "epsilon: expected a finite number above 0"),
        (lambda: LayerNormLayer(epsilon="1"), TypeError, "epsilon: expected a number"),
        (lambda: GroupNormLayer(4).build((3, 3, 6)), ValueError, "groups: expected a divisor of the 6 channels, got 4"),
        (
            lambda: GroupNormLayer(1).build((3, 6)),
            ValueError,
            r"expected examples of shape \(height, width, channels\)",
        ),
        (lambda: LayerNormLayer().build(()), ValueError, r"expected examples of shape \(..., channels\), got \(\)"),
        (lambda: LayerNormLayer().build((3, 0)), ValueError, "expected examples of shape"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=f"^(Group|Layer)NormLayer: {message}"):
        make()


def test_a_network_trains_on_batches_of_one_and_is_saved(rng, tmp_path):
    y = np.arange(20) % 2
    x = rng.standard_normal((20, 4, 4, 4)) + y[:, None, None, None] * np.arange(4)
    model = Model(GroupNormLayer(2), Flatten(), DenseLayer(8), LayerNormLayer(), DenseLayer(2), SoftmaxLayer())
    history = model.train(x, y, 0.05, epochs=5, batch_size=1, seed=0, verbose=False)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(Model.load(tmp_path / "model").predict_proba(x), model.predict_proba(x))
