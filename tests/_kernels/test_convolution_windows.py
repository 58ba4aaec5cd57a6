import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

import cnnx
from cnnx import _kernels
from cnnx._kernels import _compiled
from tests.parity import assert_twins_agree, dtypes, on_every_instruction_set, seeds

pytestmark = pytest.mark.skipif(not _compiled, reason="no compiled kernels")


def drawn(rng, images, image, channels, filters, filter_size, dtype):
    x = rng.standard_normal((images, *image, channels)).astype(dtype)
    W = rng.standard_normal((*filter_size, channels, filters)).astype(dtype)
    return x, W, rng.standard_normal(filters).astype(dtype)


def outputs(image, filter_size, stride, padding):
    return tuple((n + 2 * p - f) // s + 1 for n, f, s, p in zip(image, filter_size, stride, padding, strict=True))


def one_by_one(name, x, W, b, window, relu, pooling, pooled):
    y = np.empty((len(x), *pooling[0], W.shape[3]), x.dtype)
    _compiled["convolution"].convolution_forward(x, W, b, window, relu, y)
    if name == "convolution_max_forward":
        _compiled["pooling"].max_pool_forward(y, *pooling[1:], pooled, None)
    else:
        _compiled["pooling"].average_pool_forward(y, *pooling[1:], pooled)
    return pooled


NAMES = ("convolution_max_forward", "convolution_average_forward")


@on_every_instruction_set
@given(
    images=st.integers(0, 9),
    image=st.tuples(st.integers(7, 20), st.integers(7, 20)),
    channels=st.sampled_from([1, 3, 14]),
    filters=st.sampled_from([1, 6, 13, 16, 20, 33]),
    filter_size=st.sampled_from([(1, 1), (3, 3), (5, 5), (2, 4)]),
    stride=st.sampled_from([(1, 1), (2, 2), (2, 1)]),
    pooling=st.sampled_from([((3, 3), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)), ((2, 2), (1, 1), (1, 0))]),
    prepares=st.booleans(),
    relu=st.booleans(),
    dtype=dtypes,
    seed=seeds,
    threads=st.integers(1, 3),
)
def test_it_agrees_with_its_twin_and_has_the_bits_of_its_kernels_one_by_one(
    instruction_set,
    images,
    image,
    channels,
    filters,
    filter_size,
    stride,
    pooling,
    prepares,
    relu,
    dtype,
    seed,
    threads,
):
    _kernels.use_instruction_set(instruction_set)
    cnnx.set_num_threads(threads)
    x, W, b = drawn(np.random.default_rng(seed), images, image, channels, filters, filter_size, dtype)
    size = outputs(image, filter_size, stride, (1, 1))
    if min(size) < 3:
        return
    window = (stride, (1, 1), (1, 1))
    pooled = np.empty((images, *outputs(size, *pooling), filters), dtype)
    for name in NAMES:
        arguments = [x, W, b, window, relu, (size, *pooling)]
        assert_twins_agree(name, arguments, [pooled])
        expected = one_by_one(name, *arguments, np.empty_like(pooled))
        prepared = {} if prepares else None
        for _ in range(2):
            getattr(_compiled["convolution_windows"], name)(*arguments, pooled, prepared=prepared)
            np.testing.assert_array_equal(pooled, expected)


@on_every_instruction_set
@pytest.mark.parametrize(
    ("channels", "filters", "filter_size", "stride", "padding"),
    [(3, 40, (3, 3), 1, 1), (1, 7, (7, 7), 1, 3), (2, 24, (5, 5), 2, 0), (16, 48, (3, 3), 1, 1), (4, 33, (1, 1), 1, 0)],
)
@pytest.mark.parametrize("pooling", [((3, 3), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)), ((5, 4), (3, 1), (2, 1))])
def test_large_images_are_cut_and_have_the_same_bits(
    instruction_set, channels, filters, filter_size, stride, padding, pooling, rng
):
    _kernels.use_instruction_set(instruction_set)
    x, W, b = drawn(rng, 2, (90, 101), channels, filters, filter_size, np.float32)
    size = outputs((90, 101), filter_size, (stride, stride), (padding, padding))
    window = ((stride, stride), (padding, padding), (1, 1))
    pooled = np.empty((2, *outputs(size, *pooling), filters), np.float32)
    everything = np.empty((2, 1, 1, filters), np.float32)
    for name in NAMES:
        for windows, out in ((pooling, pooled), ((size, (1, 1), (0, 0)), everything)):
            arguments = [x, W, b, window, True, (size, *windows)]
            expected = one_by_one(name, *arguments, np.empty_like(out))
            for threads in (1, 3):
                cnnx.set_num_threads(threads)
                getattr(_compiled["convolution_windows"], name)(*arguments, out)
                np.testing.assert_array_equal(out, expected)


# With less room than it takes, first for the outputs and then for a task's products, a call fails or is right.
CODE = """
import resource
import numpy as np
import cnnx
from cnnx import _kernels

cnnx.set_num_threads(1)
LIMITS = resource.getrlimit(resource.RLIMIT_AS)
x, W, b = np.ones((1, 48, 48, 32), "f4"), np.ones((3, 3, 32, 64), "f4"), np.ones(64, "f4")
pooling = ((48, 48), (3, 3), (2, 2), (1, 1))


def call(out):
    _kernels.convolution_max_forward(x, W, b, ((1, 1), (1, 1), (1, 1)), True, pooling, out)


# A first call, of a single pixel, imports the kernel.
one = np.zeros((1, 1, 1, 64), "f4")
_kernels.convolution_max_forward(
    x[:, :1, :1].copy(), W, b, ((1, 1), (1, 1), (1, 1)), True, ((1, 1), (1, 1), (1, 1), (0, 0)), one
)
out, failures, done = np.zeros((1, 24, 24, 64), "f4"), 0, False
for room in range(0, 40_000_000, 200_000):
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room, LIMITS[1]))
    try:
        call(out)
        done = True
    except MemoryError:
        failures += 1
    finally:
        resource.setrlimit(resource.RLIMIT_AS, LIMITS)
    if done:
        break
expected = np.zeros_like(out)
call(expected)
assert done and failures > 3 and expected.min() > 0, (done, failures)
assert (out == expected).all()
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited as Linux does it")
def test_out_of_memory_in_a_task_is_an_error():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ignored" not in done.stderr
