"""Kernels that move, resample and erase pixels: against their twins, and the twins pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from parity import assert_twins_agree, dtypes, seeds

from cnnx._kernels import _compiled
from cnnx._kernels.reference import augmentation

compiled_too = pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")
shapes = st.tuples(st.integers(0, 3), st.integers(1, 7), st.integers(1, 7), st.sampled_from([1, 2, 3, 5]))
fills = st.sampled_from([0.0, -1.5])


@compiled_too
@given(shapes, fills, dtypes, seeds)
def test_shifting_agrees_with_its_twin(shape, fill, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(dtype)
    offsets, flips = rng.integers(-9, 10, (shape[0], 2)), rng.integers(0, 2, (shape[0], 2), dtype=np.uint8)
    assert_twins_agree("shift_images", [x, offsets, flips, fill], [x], exact=True)


@compiled_too
@given(shapes, fills, dtypes, seeds, st.sampled_from([0, 0.3, 3]))
def test_affine_sampling_agrees_with_its_twin(shape, fill, dtype, seed, spread):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(dtype)
    matrices = np.eye(2, 3) + spread * rng.standard_normal((shape[0], 2, 3))
    assert_twins_agree("affine_images", [x, matrices, fill], [x])


@compiled_too
@given(shapes, fills, dtypes, seeds)
def test_erasing_agrees_with_its_twin(shape, fill, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(dtype)
    assert_twins_agree("erase_images", [x, rng.integers(-9, 10, (shape[0], 4)), fill], [x], exact=True)


@compiled_too
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_places_that_no_integer_holds_are_outside(value):
    x, out = np.ones((1, 3, 3, 1)), np.empty((1, 3, 3, 1))
    _compiled["augmentation"].affine_images(x, np.full((1, 2, 3), value), -2.0, out)
    np.testing.assert_array_equal(out, -2)


@compiled_too
def test_offsets_and_boxes_beyond_all_sizes_are_harmless():
    x, out, far = np.ones((1, 3, 4, 3)), np.empty((1, 3, 4, 3)), np.iinfo(np.intp)
    for offset in (far.min, far.max):
        _compiled["augmentation"].shift_images(x, np.full((1, 2), offset), np.zeros((1, 2), np.uint8), 0.0, out)
        np.testing.assert_array_equal(out, 0)
    _compiled["augmentation"].erase_images(x, np.array([[far.min, far.min, far.max, far.max]]), 5.0, out)
    np.testing.assert_array_equal(out, 5)


@given(shapes, seeds)
def test_a_shifted_image_has_each_pixel_of_the_mirrored_one_farther_down_and_right(shape, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    offsets, flips = rng.integers(-8, 9, (shape[0], 2)), rng.integers(0, 2, (shape[0], 2), dtype=np.uint8)
    out = np.empty(shape)
    augmentation.shift_images(x, offsets, flips, 7.0, out)
    expected = np.full(shape, 7.0)
    for n, h, w in np.ndindex(shape[:3]):
        mirrored_h = shape[1] - 1 - h if flips[n, 0] else h
        mirrored_w = shape[2] - 1 - w if flips[n, 1] else w
        to_h, to_w = mirrored_h + offsets[n, 0], mirrored_w + offsets[n, 1]
        if 0 <= to_h < shape[1] and 0 <= to_w < shape[2]:
            expected[n, to_h, to_w] = x[n, h, w]
    np.testing.assert_array_equal(out, expected)


@given(shapes, seeds)
def test_affine_sampling_weighs_all_pixels_nearer_than_one_by_their_distance(shape, seed):
    rng = np.random.default_rng(seed)
    x, out = rng.standard_normal(shape), np.empty(shape)
    matrices = np.eye(2, 3) + 0.7 * rng.standard_normal((shape[0], 2, 3))
    augmentation.affine_images(x, matrices, 2.0, out)
    for n, h, w in np.ndindex(shape[:3]):
        row, column = matrices[n] @ [h, w, 1]
        # Differences from `fill`, which is 0 outside: tents of width 1 around each pixel.
        heights = np.maximum(0, 1 - abs(row - np.arange(shape[1])))
        widths = np.maximum(0, 1 - abs(column - np.arange(shape[2])))
        expected = 2 + np.einsum("h,w,hwc->c", heights, widths, x[n] - 2)
        np.testing.assert_allclose(out[n, h, w], expected, rtol=1e-9, atol=1e-9)


@given(shapes, seeds)
def test_erasing_sets_the_pixels_inside_the_box(shape, seed):
    rng = np.random.default_rng(seed)
    x, out = rng.standard_normal(shape), np.empty(shape)
    boxes = rng.integers(-9, 10, (shape[0], 4))
    augmentation.erase_images(x, boxes, 3.0, out)
    for n, h, w in np.ndindex(shape[:3]):
        top, left, bottom, right = boxes[n]
        inside = top <= h < bottom and left <= w < right
        np.testing.assert_array_equal(out[n, h, w], 3.0 if inside else x[n, h, w])
