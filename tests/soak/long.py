"""Long runs: `python -m tests.soak long`.

A tiny network takes a million steps, and another is trained, predicts, is saved and loaded ten thousand times. Memory
is what the process has in the machine, its slope the line through the second half of the readings; speed is counted in
the process's own processor time, so that what others do on the machine does not count.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

import cnnx

STATM, READINGS = Path("/proc/self/statm"), 100


def memory():
    """Bytes in the machine."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def readings(turn, count):
    """Memory, and processor seconds for a turn, of each hundredth of so many turns, after some to begin with."""
    for _ in range(count // READINGS):
        turn()
    taken = []
    for _ in range(READINGS):
        begun = time.process_time()
        for _ in range(count // READINGS):
            turn()
        taken.append((memory(), (time.process_time() - begun) / (count // READINGS)))
    return np.array(taken).T


def judge(what, turn, count):
    """Say how memory and time went; whether both stayed."""
    held, seconds = readings(turn, count)
    half = READINGS // 2
    slope = np.polyfit(np.arange(half) * (count // READINGS), held[half:], 1)[0]
    first, last = np.median(seconds[:10]), np.median(seconds[-10:])
    print(
        f"{count} {what}: memory {held[0] / 1e6:.1f} MB at first, {held[-1] / 1e6:.1f} MB at last, slope {slope:+.3f} "
        f"bytes each; {first * 1e6:.0f} µs each at first, {last * 1e6:.0f} µs at last",
        flush=True,
    )
    # A page for each reading would be the least that a leak could show.
    return abs(slope) * count < 2**20 and held[-1] - held[0] < 2**22 and last < 1.2 * first


def step_of_a_tiny_network():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 4, 4, 1)).astype(np.float32), np.arange(8) % 3
    model = cnnx.Model(
        *(cnnx.ConvolutionLayer(2, 3), cnnx.BatchNormLayer(), cnnx.ReluLayer(), cnnx.Flatten()),
        *(cnnx.DropoutLayer(0.2), cnnx.DenseLayer(3), cnnx.SoftmaxLayer()),
    )
    model.build((4, 4, 1), seed=0)
    rule = cnnx.optimizers.Adam(1e-4)
    return lambda: model.train_on_batch(X, y, optimizer=rule)


def cycle(folder):
    """Train for an epoch, predict, save, load, and go on with what was loaded."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((24, 8, 8, 1)).astype(np.float32), np.arange(24) % 10
    models = [cnnx.models.small()]
    path = Path(folder) / "model"

    def turn():
        model = models.pop()
        model.train(X, y, 1e-4, batch_size=8, verbose=False, seed=0)
        predicted = model.predict_proba(X)
        model.save(path)
        models.append(cnnx.Model.load(path))
        assert np.array_equal(models[0].predict_proba(X), predicted)

    return turn


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.soak long")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--cycles", type=int, default=10_000)
    chosen = parser.parse_args(arguments)
    kept = judge("steps of a tiny network", step_of_a_tiny_network(), chosen.steps)
    with tempfile.TemporaryDirectory() as folder:
        kept &= judge("cycles of train, predict, save, load", cycle(folder), chosen.cycles)
    return int(not kept)
