"""Out of memory: the error says how much was asked for, and nothing is half changed."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited as Linux does it")

# A process whose address space grows step by step: with less than it takes, every call fails and changes nothing.
CODE = """
import re, resource
import numpy as np
import cnnx

cnnx.set_num_threads(1)
STEP = 4_000_000 if cnnx.backend_in_use() == "compiled" else 40_000_000  # the twins take more memory
LIMITS = resource.getrlimit(resource.RLIMIT_AS)


def tried(call, room):
    '''The error, or None, of a call in so much room beside what the process has.'''
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room, LIMITS[1]))
    try:
        call()
    except MemoryError as error:
        return error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, LIMITS)


def everything(model, rule):
    states = [value.tobytes() for layer in model.layers for value in layer.state.values()]
    arrays = [rule.state[name].tobytes() for name in sorted(rule.state)]
    return model.parameters.tobytes(), states, arrays, rule.steps


def network():
    return cnnx.Model(
        *(cnnx.ConvolutionLayer(16, 3, padding="same"), cnnx.BatchNormLayer(), cnnx.ReluLayer(), cnnx.PoolLayer(2)),
        *(cnnx.ConvolutionLayer(32, 3), cnnx.Flatten(), cnnx.DenseLayer(500), cnnx.ReluLayer(), cnnx.DenseLayer(10)),
        cnnx.SoftmaxLayer(),
    )


def sweep(what, call, unchanged):
    '''Rooms from none to enough; each failure names a size and leaves all as it was.'''
    failures, room = 0, 0
    before = unchanged()
    while (error := tried(call, room)) is not None:
        assert re.search(r"[0-9.]+ ([KMGT]iB|bytes)", str(error)), (what, room, repr(error))
        assert unchanged() == before, (what, room)
        failures += 1
        room += STEP
        assert room < 2_000_000_000
    print(what, failures)


rng = np.random.default_rng(0)
X, y = rng.standard_normal((400, 32, 32, 3)).astype(np.float32), rng.integers(0, 10, 400)
model, rule = network(), cnnx.optimizers.Adam(0.01)
sweep("build", lambda: model.build((32, 32, 3), seed=0), lambda: model.built)
small = X[:4], y[:4]
model.train_on_batch(*small, optimizer=rule)  # all modules are there, and the optimizer's arrays
sweep("train_on_batch", lambda: model.train_on_batch(X, y, optimizer=rule), lambda: everything(model, rule))
model.train_on_batch(*small, optimizer=rule)
sweep("predict", lambda: model.predict_proba(np.concatenate([X, X]), batch_size=800), lambda: everything(model, rule))
"""


def test_out_of_memory_names_the_size_and_leaves_everything_as_it_was():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
    failures = dict(line.split() for line in done.stdout.splitlines())
    assert failures.keys() == {"build", "train_on_batch", "predict"}
    assert all(int(count) > 0 for count in failures.values()), failures
