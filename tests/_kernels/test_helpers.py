"""Threads that help a kernel: whoever does the work, and however few there are, the bits are the same."""

import ctypes
import ctypes.util
import platform
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import cnnx
from cnnx._kernels import _compiled

pytestmark = [
    pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has no threads"),
    pytest.mark.usefixtures("restored_kernels"),
]


def network(dtype="float32"):
    model = cnnx.models.deck()
    model.build((32, 32, 3), seed=0, dtype=dtype)
    return model


def steps(model, rng, count=3):
    for _ in range(count):
        model.train_on_batch(rng.standard_normal((32, 32, 32, 3)), rng.integers(0, 10, 32), 0.01)
    return model.parameters.tobytes()


def test_eight_threads_that_train_a_model_each_do_what_one_does():
    cnnx.set_num_threads(1)
    expected = [steps(network(), np.random.default_rng(index)) for index in range(8)]
    cnnx.set_num_threads(3)
    got = [b""] * 8

    def train(index):
        got[index] = steps(network(), np.random.default_rng(index))

    threads = [threading.Thread(target=train, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == expected


@pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc", reason="the register is found in glibc's way"
)
def test_helpers_round_and_flush_as_their_caller_does(rng):
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    before = ctypes.create_string_buffer(64)
    assert libm.fegetenv(before) == 0
    flushing = ctypes.create_string_buffer(before.raw)
    control = ctypes.c_uint32.from_buffer(flushing, 28)
    control.value |= 0x8040  # subnormal numbers, read or written, are zero
    images = (rng.standard_normal((64, 32, 32, 3)) * 1e-38).astype(np.float32)
    layer = cnnx.ConvolutionLayer(8, 3)
    layer.build((32, 32, 3), seed=0)
    cnnx.set_num_threads(2)
    plain = layer.forward(images)  # the helpers have begun
    results = {}
    libm.fesetenv(flushing)
    try:
        for threads in (1, 2):
            cnnx.set_num_threads(threads)
            results[threads] = layer.forward(images).tobytes()
    finally:
        libm.fesetenv(before)
    assert results[1] == results[2]
    assert results[1] != plain.tobytes()
    assert layer.forward(images).tobytes() == plain.tobytes()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux")
def test_threads_that_cannot_be_started_are_done_without():
    code = """
import resource, numpy as np, cnnx
images = np.random.default_rng(0).standard_normal((4096, 8, 8, 1))
model = cnnx.models.small()
model.build((8, 8, 1), seed=0)
expected = model.predict_proba(images).tobytes()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, resource.RLIM_INFINITY))
cnnx.set_num_threads(1000)
print(model.predict_proba(images).tobytes() == expected)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux")
def test_a_small_job_wakes_no_helper_but_many_without_a_pause_and_a_large_one_do():
    code = """
import os, time, numpy as np, cnnx
from cnnx import _kernels

def product(rows, calls, pause=0.0):
    x, W, b = np.ones((rows, 128), np.float32), np.ones((128, 128), np.float32), np.ones(128, np.float32)
    out, before = np.empty((rows, 128), np.float32), len(os.listdir("/proc/self/task"))
    for _ in range(calls):
        time.sleep(pause)
        _kernels.dense_forward(x, W, b, False, out)
    return len(os.listdir("/proc/self/task")) - before

cnnx.set_num_threads(2)
print(product(32, 5, 0.01), {case})
"""
    for case in ("product(32, 100)", "product(512, 1)"):
        done = subprocess.run([sys.executable, "-c", code.replace("{case}", case)], capture_output=True, text=True)
        assert done.stdout == "0 1\n", (case, done.stdout, done.stderr)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux")
def test_beside_a_process_that_takes_a_processor_two_threads_are_about_as_fast_as_one():
    above = Path(__file__).parents[2]
    for _ in range(3):  # other processes come and go, too
        done = subprocess.run(
            [sys.executable, "-m", "tests.soak", "busy", "--turns", "5", "--least", "0.6", "--models", "small"],
            cwd=above,
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stdout + done.stderr
