"""Activation kernels against their twins, and both against the mathematics."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from parity import assert_twins_agree, dtypes, on_every_instruction_set, seeds

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled
from cnnx._kernels.reference import activation

compiled_only = pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")

# Kernels with an exponential or a cut, their constants, and what their backward pass starts from.
KERNELS = {
    "sigmoid": ((), "y"),
    "leaky_relu": ((0.01,), "y"),
    "elu": ((1.3, 0.9), "y"),
    "gelu": ((), "x"),
    "silu": ((), "x"),
    "tanh": ((), "y"),
    "softplus": ((), "y"),
    "hard_swish": ((), "x"),
}
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-30, -1e-30, 3.0, -3.0, 88.0, -88.0, 745.0, -745.0, 1e30, -1e30]


def exact(name, x):
    """The functions in double precision, one number at a time."""
    if name == "sigmoid":
        return 1 / (1 + math.exp(-x)) if x > -700 else 0.0
    if name == "leaky_relu":
        return max(x, 0.01 * x)
    if name == "elu":
        return 0.9 * (x if x > 0 else 1.3 * math.expm1(x))
    if name == "gelu":
        return x * math.erfc(-x / math.sqrt(2)) / 2
    if name == "silu":
        return x * exact("sigmoid", x)
    if name == "softplus":
        return x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))
    if name == "hard_swish":
        return x * min(max(x + 3, 0), 6) / 6
    return math.tanh(x)


@compiled_only
@pytest.mark.usefixtures("restored_kernels")
@on_every_instruction_set
@settings(max_examples=10)
@given(st.sampled_from([(0,), (1,), (7, 5), (2, 3, 4, 5), (17000,)]), dtypes, seeds, st.integers(1, 4))
def test_activations_agree_with_their_twins(instruction_set, shape, dtype, seed, threads):
    _kernels.use_instruction_set(instruction_set)
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    spread = rng.choice([1, 5, 100], shape)
    x = (spread * rng.standard_normal(shape)).astype(dtype)
    x = np.where(rng.random(shape) < 0.1, rng.choice(np.array(SPECIAL, dtype), shape), x).astype(dtype)
    grad = rng.standard_normal(shape).astype(dtype)
    for name, (constants, kept) in KERNELS.items():
        assert_twins_agree(f"{name}_forward", [x, *constants], [x])
        y = np.empty_like(x)
        getattr(_kernels.twins("activation"), f"{name}_forward")(x, *constants, y)
        assert_twins_agree(f"{name}_backward", [grad, y if kept == "y" else x, *constants], [x])


@compiled_only
@pytest.mark.usefixtures("restored_kernels")
@settings(max_examples=40)
@given(
    positions=st.sampled_from([(0,), (1,), (7,), (3, 5, 4), (2, 20, 31)]),
    channels=st.sampled_from([1, 2, 3, 16, 33, 63, 64, 70]),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 4),
)
def test_prelu_agrees_with_its_twin(positions, channels, dtype, seed, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    x, grad = rng.standard_normal((2, *positions, channels)).astype(dtype)
    grad /= max(x.size // channels, 1)
    slope = rng.standard_normal(channels).astype(dtype)
    assert_twins_agree("prelu_forward", [x, slope], [x])
    assert_twins_agree("prelu_backward", [grad, x, slope], [slope, x])
    expected, alone = np.empty_like(slope), np.empty_like(slope)
    for function in (_compiled["activation"].prelu_backward, activation.prelu_backward):
        function(grad, x, slope, expected, np.empty_like(x))
        function(grad, x, slope, alone, None)
        np.testing.assert_array_equal(alone, expected)


@compiled_only
@pytest.mark.usefixtures("restored_kernels")
@pytest.mark.parametrize("channels", [3, 70])
def test_the_number_of_threads_changes_no_bit_of_the_gradient_of_slopes(rng, dtype, channels):
    x, grad = rng.standard_normal((2, 2000, channels)).astype(dtype)
    slope = np.full(channels, 0.25, dtype)
    sums = []
    for threads in (1, 2, 3, 4):
        cnnx.set_num_threads(threads)
        sums.append(np.empty_like(slope))
        _kernels.prelu_backward(grad, x, slope, sums[-1], np.empty_like(x))
    for other in sums[1:]:
        np.testing.assert_array_equal(other, sums[0])


@pytest.mark.usefixtures("backend", "restored_kernels")
@pytest.mark.parametrize("instruction_set", _kernels.available_instruction_sets() or [None])
@pytest.mark.parametrize("name", KERNELS)
def test_activations_are_right_to_a_few_units_in_the_last_place(name, dtype, instruction_set):
    if instruction_set is not None:
        _kernels.use_instruction_set(instruction_set)
    x = np.concatenate([np.linspace(-90, 90, 2001), np.linspace(-5, 5, 2001)]).astype(dtype)
    out = np.empty_like(x)
    constants = KERNELS[name][0]
    getattr(_kernels, f"{name}_forward")(x, *constants, out)
    expected = np.array([exact(name, value) for value in x.astype(float)])
    np.testing.assert_array_less(np.abs(out - expected), 4 * np.finfo(dtype).eps * np.maximum(np.abs(expected), 1))
    # Near zero, where 1 would swallow the digits of x, these have the size of x.
    if name in ("elu", "tanh"):
        x = (np.geomspace(1e-8, 1, 500) * [[1], [-1]]).astype(dtype)
        out = np.empty_like(x)
        getattr(_kernels, f"{name}_forward")(x, *constants, out)
        expected = np.vectorize(exact)(name, x.astype(float))
        np.testing.assert_allclose(out, expected, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("sigmoid", (0, 1)),
        ("elu", (-1.3 * 0.9, np.inf)),
        ("gelu", (0, np.inf)),
        ("silu", (0, np.inf)),
        ("tanh", (-1, 1)),
        ("softplus", (0, np.inf)),
        ("hard_swish", (0, np.inf)),
    ],
)
def test_far_out_values_and_gradients_are_the_limits_and_nan_stays_nan(name, limits, dtype):
    constants, kept = KERNELS[name]
    x = np.array([-np.inf, -1e30, np.inf, np.nan], dtype)
    y, slope = np.empty_like(x), np.empty_like(x)
    getattr(_kernels, f"{name}_forward")(x, *constants, y)
    np.testing.assert_allclose(y, [limits[0], limits[0], limits[1], np.nan], rtol=1e-6)
    getattr(_kernels, f"{name}_backward")(np.ones_like(x), y if kept == "y" else x, *constants, slope)
    steepest = {"sigmoid": 0, "tanh": 0, "elu": 0.9}.get(name, 1)
    np.testing.assert_allclose(slope, [0, 0, steepest, np.nan], rtol=1e-6, atol=1e-6)
