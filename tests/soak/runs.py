"""Kills while a model is trained and its checkpoints are written: `python -m tests.soak runs --kills 1000`.

A process trains with a checkpoint after each step and is killed at a random moment; the next one goes on from the
checkpoint, if there is one, until a run is done. It then has the bits of a run that was never stopped; no step that was
acknowledged is taken again but for the one whose acknowledgement the kill cut off; and nothing lies beside the
checkpoint and the one before it.
"""

import argparse
import hashlib
import os
import random
import signal
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

import cnnx
from cnnx.augmentation import Flip, MixUp
from cnnx.callbacks import Callback, Checkpoint
from cnnx.optimizers import AdamW
from cnnx.schedules import CosineDecay

EPOCHS, DONE = 4, b"done "


class Acknowledge(Callback):
    """Says the number of the step whose checkpoint is written."""

    comes_last = True

    def __init__(self, rule, pipe):
        self.rule, self.pipe = rule, pipe

    def on_batch_end(self, batch, figures):
        os.write(self.pipe, b"%d\n" % self.rule.steps)


def train(path, pipe):
    """A run from its beginning, or from its checkpoint, to its end; all the bits of it."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 6, 6, 1)).astype(np.float32), rng.integers(0, 3, 40)
    model = cnnx.Model(
        *(cnnx.ConvolutionLayer(2, 3), cnnx.BatchNormLayer(), cnnx.ReluLayer(), cnnx.Flatten()),
        *(cnnx.DropoutLayer(0.3), cnnx.DenseLayer(3), cnnx.SoftmaxLayer()),
    )
    rule = AdamW(CosineDecay(0.01, epochs=EPOCHS, warmup=1), ema=0.9)
    history = model.train(
        *(X, y),
        optimizer=rule,
        batch_size=4,
        epochs=EPOCHS,
        augment=[Flip(), MixUp(0.4)],
        seed=1,
        callbacks=[Checkpoint(path, unit="step"), Acknowledge(rule, pipe)],
        resume=path if path.exists() else None,
        verbose=False,
    )
    states = [value.tobytes() for layer in model.layers for value in layer.state.values()]
    return repr((model.parameters.tobytes(), states, history["loss"])).encode()


def attempt(path, delay):
    """Train in a process that is killed after so many seconds, or never; the steps it said, and its bits if done."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, DONE + hashlib.sha256(train(path, writing)).hexdigest().encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    said = b""
    if delay is not None:
        said = os.read(reading, 20)  # it has begun
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    while more := os.read(reading, 1 << 16):
        said += more
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0 or (delay is not None and status == -signal.SIGKILL), f"a run ended with the status {status}"
    steps, done, bits = said.partition(DONE)
    return [int(line) for line in steps.split()], bits if done else None


def run_to_the_end(folder, rng, longest, most):
    """How many kills a run took, of at most so many; its bits; and in how many steps a kill cut off what was said."""
    path, kills, last, again = Path(folder) / "run", 0, 0, 0
    while True:
        steps, bits = attempt(path, rng.random() * longest if kills < most else None)
        if steps:
            assert steps[0] in (last + 1, last + 2), f"after step {last}, step {steps[0]} was the next one"
            assert steps == list(range(steps[0], steps[-1] + 1))
            again += steps[0] == last + 2
            last = steps[-1]
        if bits is not None:
            left = sorted(os.listdir(folder))
            assert left == ["run", "run.previous"], left
            return kills, bits, again
        kills += 1


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.soak runs")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=0.1, help="seconds until a kill, at most")
    chosen = parser.parse_args(arguments)
    rng = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        _, whole, _ = run_to_the_end(folder, rng, 0, 0)
    kills = runs = unsaid = 0
    while kills < chosen.kills:
        with tempfile.TemporaryDirectory() as folder:
            more, bits, again = run_to_the_end(folder, rng, chosen.longest, chosen.kills - kills)
        assert bits == whole, f"run {runs}: other bits"
        kills, runs, unsaid = kills + more, runs + 1, unsaid + again
    print(
        f"{kills} kills in {runs} runs: each ended with the bits of one that was never stopped, and left nothing but "
        f"its checkpoint and the one before; {unsaid} kills came between a checkpoint and its acknowledgement"
    )
    return 0
