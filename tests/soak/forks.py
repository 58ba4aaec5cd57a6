"""Forks of a process that trains: `python -m tests.soak forks --count 500`.

A process trains on several threads and forks; the child goes on with the training on one thread and on several, to the
same bits as its parent would; then the parent takes its next step.
"""

import argparse
import os
import signal
import time
import traceback
import warnings

import numpy as np

import cnnx

LIMIT = 60.0  # seconds, after which a child counts as hung


def steps(model, X, y, count):
    for _ in range(count):
        model.train_on_batch(X, y, 1e-3)
    return model.parameters.tobytes()


def fork_once(model, X, y):
    """A child that trains as the parent will; how it ended."""
    before = [array.copy() for array in (model.parameters, *model.layers[1].state.values())]
    expected = steps(model, X, y, 2)
    model.parameters[...] = before[0]
    for array, value in zip(model.layers[1].state.values(), before[1:], strict=True):
        array[...] = value
    child = os.fork()
    if child == 0:
        try:
            assert cnnx.get_num_threads() == 1
            steps(model, X, y, 1)
            cnnx.set_num_threads(3)
            os._exit(0 if steps(model, X, y, 1) == expected else 2)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    until = time.monotonic() + LIMIT
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)
    assert steps(model, X, y, 2) == expected, "the parent has other bits after the fork"
    return os.waitstatus_to_exitcode(done[1])


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.soak forks")
    parser.add_argument("--count", type=int, default=500)
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads
    cnnx.set_num_threads(2)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((64, 12, 12, 3)).astype(np.float32), rng.integers(0, 10, 64)
    model = cnnx.Model(
        *(cnnx.ConvolutionLayer(8, 3), cnnx.BatchNormLayer(), cnnx.ReluLayer(), cnnx.Flatten()),
        *(cnnx.DenseLayer(10), cnnx.SoftmaxLayer()),
    )
    model.build((12, 12, 3), seed=0)
    steps(model, X, y, 1)
    ends = [fork_once(model, X, y) for _ in range(chosen.count)]
    wrong = sum(end != 0 for end in ends)
    print(f"{chosen.count} forks: {wrong} children hung, failed or had other bits")
    return int(bool(wrong))
