"""Fixtures and settings that all tests share."""

import os

import hypothesis
import numpy as np
import pytest

import cnnx
from cnnx import _kernels

# The same examples each time: a red test on one machine is red on all.
hypothesis.settings.register_profile("cnnx", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("cnnx")

REQUIRE_COMPILED = os.environ.get("CNNX_BACKEND") != "numpy"
BACKENDS = ("compiled", "numpy") if REQUIRE_COMPILED else ("numpy",)


@pytest.fixture(params=BACKENDS)
def backend(request):
    """Runs the test once on each backend."""
    with cnnx.use_backend(request.param):
        yield request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(20261123)


@pytest.fixture
def restored_kernels():
    """Gives back the number of threads and the instruction set that were in use before the test."""
    threads, instruction_set = cnnx.get_num_threads(), _kernels.instruction_set_in_use()
    yield
    cnnx.set_num_threads(threads)
    if instruction_set is not None:
        _kernels.use_instruction_set(instruction_set)
