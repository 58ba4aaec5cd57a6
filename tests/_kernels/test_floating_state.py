"""Kernels leave the processor's floating-point state as it is, and compute subnormal numbers as any others."""

import numpy as np
import pytest
from calls import calls, compiled
from parity import copied, on_every_instruction_set

import cnnx
from cnnx import _kernels
from cnnx._kernels import FAMILIES, _compiled

pytestmark = [
    pytest.mark.skipif(not _compiled, reason="no compiled kernels"),
    pytest.mark.usefixtures("restored_kernels"),
]


def subnormals(shape, dtype):
    """From the smallest number on: a processor that flushes them makes them zeros."""
    return (np.arange(np.prod(shape)) % 1000 + 1).astype(dtype).reshape(shape) * np.finfo(dtype).smallest_subnormal


def arithmetic():
    """What flushing to zero, subnormals taken as zeros, and each direction of rounding would change."""
    results = []
    for dtype in (np.float32, np.float64):
        tiny, third = np.finfo(dtype).tiny, np.array([1, -1], dtype) / dtype(3)
        results += [tiny * dtype(0.5), subnormals(16, dtype) * dtype(2**20), third, -third]
    return [np.atleast_1d(result).tobytes() for result in results]


BEFORE = arithmetic()


@on_every_instruction_set
def test_no_kernel_changes_how_this_thread_rounds_and_what_it_makes_of_subnormals(instruction_set):
    _kernels.use_instruction_set(instruction_set)
    for name in FAMILIES:
        compiled(name)(*copied(calls()[name]))
        assert arithmetic() == BEFORE, name


def products(x, dtype):
    """Kernels that give back their input: filters and windows are of one pixel, weights are the identity."""
    images, one, none = x.reshape(8, 64, 64, 8), np.ones(8, dtype), np.zeros(8, dtype)
    window = ((1, 1), (0, 0), (1, 1))
    identity = np.eye(8, dtype=dtype)
    yield "dense_forward", (x.reshape(-1, 8), identity, none, False)
    yield "dense_input_gradient", (x.reshape(-1, 8), identity)
    yield "convolution_forward", (images, identity.reshape(1, 1, 8, 8), none, window, False)
    yield "convolution_input_gradient", (images, identity.reshape(1, 1, 8, 8), window)
    yield "depthwise_forward", (images, one.reshape(1, 1, 8, 1), none, window, False)
    yield "depthwise_input_gradient", (images, one.reshape(1, 1, 8, 1), window)
    yield "average_pool_forward", (images, (1, 1), (1, 1), (0, 0))
    yield "average_pool_backward", (images, (1, 1), (1, 1), (0, 0))
    yield "batch_norm_forward", (images, (none, one), (one, none), False)
    yield "add", (images, np.zeros_like(images), False)
    yield "relu_forward", (images,)
    yield "leaky_relu_forward", (images, 0.1)
    yield "nearest_upsample_forward", (images,)


@on_every_instruction_set
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_subnormals_are_computed_in_every_thread(instruction_set, threads, dtype):
    _kernels.use_instruction_set(instruction_set)
    cnnx.set_num_threads(threads)
    x = subnormals(8 * 64 * 64 * 8, dtype)
    for name, arguments in products(x, dtype):
        out = np.full_like(arguments[0], np.nan)
        compiled(name)(*arguments, out)
        np.testing.assert_array_equal(out.ravel(), x, err_msg=name)
