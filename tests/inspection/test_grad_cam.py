"""Grad-CAM against the formula by hand, and against finite differences of the score."""

import numpy as np
import pytest

import cnnx
from cnnx.inspection.grad_cam import enlarge, grad_cam, last_map
from cnnx.layers.base import forward_through


def ready(*layers, shape=(7, 6, 2), seed=3):
    """A model in float64 whose running averages are not where they begin."""
    model = cnnx.Model(*layers)
    model.build(shape, seed=seed, dtype=np.float64)
    rng = np.random.default_rng(seed)
    model.parameters[...] += 0.1 * rng.standard_normal(model.parameters.size)
    for layer in model.layers:
        layer.state = {key: value + rng.uniform(0.1, 0.5, value.shape) for key, value in layer.state.items()}
    return model


def test_a_network_that_can_be_worked_by_hand():
    model = cnnx.Model(
        cnnx.ConvolutionLayer(filters=2, filter_size=1), cnnx.GlobalPoolLayer(), cnnx.DenseLayer(units=2),
        cnnx.SoftmaxLayer())  # fmt: skip
    model.build((2, 2, 1), seed=0, dtype=np.float64)
    convolution, dense = model.layers[0].params, model.layers[2].params
    convolution["W"][...] = np.reshape([1, -2], (1, 1, 1, 2))
    dense["W"][...] = [[3, -1], [5, 2]]
    x = np.array([[[[1.0], [2]], [[3], [-4]]]])
    # Means over 4 positions of weights that are the same for each: alpha = W / 4. A is x and -2 x.
    for label, (first, second) in enumerate([(3, 5), (-1, 2)]):
        expected = np.maximum(first / 4 * x[..., 0] + second / 4 * -2 * x[..., 0], 0)
        np.testing.assert_allclose(grad_cam(model.layers, x, np.array([label])), expected, rtol=1e-12)


HEADS = {
    "global pooling": lambda: [cnnx.GlobalPoolLayer(), cnnx.DenseLayer(units=4)],
    "max pooling, then dense layers": lambda: [
        cnnx.PoolLayer(2), cnnx.Flatten(), cnnx.DenseLayer(units=5), cnnx.BatchNormLayer(), cnnx.TanhLayer(),
        cnnx.DropoutLayer(0.5), cnnx.DenseLayer(units=4)],
    "a residual block of vectors": lambda: [
        cnnx.Flatten(), cnnx.ResidualLayer(cnnx.DenseLayer(units=126), cnnx.DropoutLayer(0.3)),
        cnnx.DenseLayer(units=4)],
    "no hidden layer": lambda: [cnnx.Flatten(), cnnx.DenseLayer(units=4)],
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_the_weights_of_the_channels_are_the_slopes_of_the_score(name, backend, rng):
    """alpha, by moving all positions of a channel at once: the sum of the derivatives is the derivative of the sum."""
    model = ready(
        cnnx.ConvolutionLayer(filters=3, filter_size=3, padding=1), cnnx.BatchNormLayer(), cnnx.ReluLayer(),
        *HEADS[name](), cnnx.SoftmaxLayer())  # fmt: skip
    x, classes = rng.standard_normal((4, 7, 6, 2)), np.array([0, 3, 1, 2])
    assert last_map(model.layers) == 2
    maps = forward_through(model.layers[:3], x, training=False)
    step, slopes = 1e-6, np.zeros((4, 3))
    for channel in range(3):
        shift = step * (np.arange(3) == channel)
        up, down = (forward_through(model.layers[3:-1], maps + sign * shift, training=False) for sign in (1, -1))
        slopes[:, channel] = ((up - down) / (2 * step))[np.arange(4), classes]
    expected = np.maximum(np.einsum("nk,nijk->nij", slopes / 42, maps), 0)
    before = model.parameters.copy(), model.gradients.copy(), [dict(layer.state) for layer in model.layers]
    found = grad_cam(model.layers, x, classes)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert found.max() > 0
    # Looking changes nothing: no running average, no gradient, no random number.
    np.testing.assert_array_equal(model.parameters, before[0])
    np.testing.assert_array_equal(model.gradients, before[1])
    for layer, state in zip(model.layers, before[2], strict=True):
        for key, value in state.items():
            np.testing.assert_array_equal(layer.state[key], value)
    np.testing.assert_array_equal(grad_cam(model.layers, x, classes), found)


def test_one_output_speaks_for_class_1_and_against_class_0(rng):
    model = ready(
        cnnx.ConvolutionLayer(filters=2, filter_size=3), cnnx.GlobalPoolLayer(), cnnx.DenseLayer(units=1),
        cnnx.SigmoidLayer())  # fmt: skip
    x = rng.standard_normal((2, 7, 6, 2))
    for_1, for_0 = (grad_cam(model.layers, x, np.full(2, label)) for label in (1, 0))
    assert for_1.max() > 0
    assert for_0.max() > 0
    np.testing.assert_array_equal(np.minimum(for_1, for_0), 0)


def test_the_last_map_of_a_residual_network_is_behind_its_last_block():
    resnet = cnnx.models.resnet(depth=8)
    resnet.build((32, 32, 3), seed=0)
    index = last_map(resnet.layers)
    assert type(resnet.layers[index + 1]) is cnnx.GlobalPoolLayer
    assert resnet.layers[index].output_shape == (8, 8, resnet.layers[index].output_shape[2])
    looked = grad_cam(resnet.layers, np.ones((2, 32, 32, 3), np.float32), np.array([1, 2]))
    assert looked.shape == (2, 8, 8)
    folded = resnet.folded()
    close = grad_cam(folded.layers, np.ones((2, 32, 32, 3), np.float32), np.array([1, 2]))
    np.testing.assert_allclose(close, looked, rtol=1e-2, atol=1e-4)


def test_a_model_without_maps_is_refused():
    model = ready(cnnx.DenseLayer(units=3), cnnx.SoftmaxLayer(), shape=(5,))
    assert last_map(model.layers) is None
    with pytest.raises(ValueError, match="expected a model with feature maps"):
        grad_cam(model.layers, np.zeros((1, 5)), np.array([0]))


def test_enlarging_keeps_corners_and_constants_and_goes_straight_between():
    maps = np.array([[[0.0, 4.0]]])
    np.testing.assert_allclose(enlarge(maps, 1, 4), [[[0, 1, 3, 4]]])
    np.testing.assert_allclose(enlarge(np.full((2, 3, 5), 7.0), 9, 4), 7)
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((2, 3, 5))
    np.testing.assert_array_equal(enlarge(maps, 3, 5), maps)
