import numpy as np
import pytest

from cnnx import UpsampleLayer

pytestmark = pytest.mark.usefixtures("backend")


def image(rows):
    return np.asarray(rows, dtype=float)[np.newaxis, :, :, np.newaxis]


def test_nearest_repeats_pixels_and_sums_their_gradients(dtype):
    layer = UpsampleLayer(size=(2, 3))
    assert layer.build((1, 2, 1), dtype=dtype) == (2, 6, 1)
    y = layer.forward(image([[1, 2]]), training=True)
    np.testing.assert_array_equal(y, image([[1, 1, 1, 2, 2, 2]] * 2))
    np.testing.assert_array_equal(layer.backward(image(np.arange(12).reshape(2, 6))), image([[24, 42]]))


def test_bilinear_gives_what_pytorch_gives_with_half_pixel_centres():
    layer = UpsampleLayer(size=(2, 3), mode="bilinear")
    layer.build((2, 3, 1), dtype=np.float64)
    y = layer.forward(image([[1, 2, 4], [8, 16, 32]]), training=True)
    # torch.nn.functional.interpolate(..., mode="bilinear", align_corners=False), version 2.13
    expected = [
        [1, 1, 4 / 3, 5 / 3, 2, 8 / 3, 10 / 3, 4, 4],
        [2.75, 2.75, 11 / 3, 55 / 12, 5.5, 22 / 3, 55 / 6, 11, 11],
        [6.25, 6.25, 25 / 3, 125 / 12, 12.5, 50 / 3, 125 / 6, 25, 25],
        [8, 8, 32 / 3, 40 / 3, 16, 64 / 3, 80 / 3, 32, 32],
    ]
    np.testing.assert_allclose(y, image(expected), rtol=1e-14)
    grad = layer.backward(image(np.arange(1, 37).reshape(4, 9)))
    expected = [[46.41666666666667, 63.75, 81.08333333333333], [140.9166666666667, 158.25, 175.5833333333333]]
    np.testing.assert_allclose(grad, image(expected), rtol=1e-14)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_size_1_changes_nothing_and_one_value_stays_one_value(rng, mode):
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    same = UpsampleLayer(size=1, mode=mode)
    same.build((3, 4, 5))
    np.testing.assert_array_equal(same.forward(x), x)
    larger = UpsampleLayer(size=(3, 4), mode=mode)
    larger.build((1, 1, 5))
    np.testing.assert_allclose(
        larger.forward(x[:, :1, :1]), np.broadcast_to(x[:, :1, :1], (2, 3, 4, 5)), rtol=2e-7, atol=0
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"mode": "cubic"}, ValueError, r"mode: expected one of \('nearest', 'bilinear'\), got 'cubic'"),
        ({"size": 0}, ValueError, "size: expected 1 or more, got 0"),
        ({"size": 1.5}, TypeError, "size: expected an integer or a pair of integers, got 1.5"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=f"^UpsampleLayer: {message}"):
        UpsampleLayer(**arguments)


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"^UpsampleLayer: expected examples of shape \(height, width, channels\)"):
        UpsampleLayer().build((7,))
