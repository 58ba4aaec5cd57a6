import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from parity import assert_twins_agree, dtypes, seeds

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled

compiled_only = pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")


@compiled_only
@pytest.mark.usefixtures("restored_kernels")
@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 3, 16, 17, 33])),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 4),
)
def test_upsampling_agrees_with_its_twin(shape, size, dtype, seed, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    N, H, W, C = shape
    x = rng.standard_normal(shape).astype(dtype)
    grad = rng.standard_normal((N, size[0] * H, size[1] * W, C)).astype(dtype)
    assert_twins_agree("nearest_upsample_forward", [x], [grad], exact=True)
    assert_twins_agree("nearest_upsample_backward", [grad], [x])
    assert_twins_agree("bilinear_upsample_forward", [x], [grad])
    assert_twins_agree("bilinear_upsample_backward", [grad], [x])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 2), (1, 5)])
def test_upsampling_backward_is_the_adjoint_of_forward(rng, mode, size):
    x = rng.standard_normal((2, 5, 4, 3))
    grad = rng.standard_normal((2, 5 * size[0], 4 * size[1], 3))
    y, x_grad = np.full_like(grad, np.nan), np.full_like(x, np.nan)
    getattr(_kernels, f"{mode}_upsample_forward")(x, y)
    getattr(_kernels, f"{mode}_upsample_backward")(grad, x_grad)
    assert np.vdot(x_grad, x) == pytest.approx(np.vdot(grad, y), rel=1e-12)
