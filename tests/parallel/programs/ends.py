"""Runs that end early, in every way that leaves the processes alive; then, on fewer ranks, they go on.

``ends.py FOLDER`` stops them, ``ends.py FOLDER resume`` goes on from their last checkpoints.
"""

import os
import signal
import sys
import time
from pathlib import Path

import bits
import numpy as np

import cnnx
from cnnx.callbacks import Callback, Checkpoint, EarlyStopping, TimeLimit
from cnnx.data import ArrayBatches
from cnnx.optimizers import SGD, Adam
from cnnx.parallel import Shards

EPOCHS = 3


class At(Callback):
    """Does something in one rank, after a batch of an epoch."""

    everywhere = True

    def __init__(self, rank, epoch, batch, do):
        self.rank, self.moment, self.do = rank, (epoch, batch), do

    def on_train_begin(self, run):
        self.run = run

    def on_epoch_begin(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, batch, figures):
        if shards.rank == self.rank and (self.epoch, batch) == self.moment:
            self.do(self.run)


class Slow(Callback):
    """Lets time pass."""

    def on_batch_end(self, batch, figures):
        time.sleep(0.1)


class Failing(ArrayBatches):
    """A file that cannot be read in one rank, once it has been read so often."""

    reads = 0

    def read(self, indices):
        self.reads += 1
        if shards.rank == 3 and self.reads > 7:  # a sample, two batches of two blocks, and some of the third
            raise OSError("the disk of this node is gone")
        return super().read(indices)


class Overflowing(cnnx.ReluLayer):
    """An error of arithmetic that is one rank's alone, in the second batch."""

    calls = 0

    def compute(self, x, context):
        self.calls += context.training
        if shards.rank == 1 and self.calls == 3:
            raise FloatingPointError("a layer's own")
        return super().compute(x, context)


def interrupt(run):
    os.kill(os.getpid(), signal.SIGINT)


def stop(run):
    run.stop("enough")


def fail(run):
    raise OSError("the disk is full")


def network(activation=cnnx.ReluLayer):
    """With what a checkpoint must have: dropout, averages, a state of the optimizer."""
    return cnnx.Model(
        cnnx.Flatten(), cnnx.DenseLayer(12), cnnx.BatchNormLayer(), activation(), cnnx.DropoutLayer(0.2),
        cnnx.DenseLayer(10), cnnx.SoftmaxLayer(),
    )  # fmt: skip


def train(name, callbacks=(), rate=1e-2, model=None, **more):
    """The outcome of one run: figures of its end, and what is in the model."""
    model = network() if model is None else model
    given = {"X": bits.X, "y": bits.y, "batch_size": 24, **more}
    choice = {"epochs": EPOCHS, "seed": 5, "verbose": False, "augment": [bits.Shift(1)], **given}
    written = Checkpoint(f"{name}.ckpt", 1, "step")
    optimizer = choice.pop("optimizer", None) or Adam(rate, ema=0.9)
    error = history = None
    try:
        history = model.train(
            optimizer=optimizer, validation_split=0.2 if "y" in given and given["y"] is not None else 0.0,
            callbacks=[*callbacks, written], parallel=shards, **choice,
        )  # fmt: skip
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    return {
        "error": error,
        "interrupted": None if history is None else history.interrupted,
        "stopped": None if history is None else history.stopped,
        "epochs": None if history is None else len(history.get("loss", ())),
        "steps": optimizer.steps,
        "model": bits.checksum(model),
    }


def ends():
    # Divergence of all, and an error of one, leave the ranks together: the next run begins.
    spoilt = bits.X.copy()
    spoilt[41] = np.nan
    source = Failing(bits.X, bits.y, 24)
    return {
        "ctrl-c": train("ctrl-c", [At(2, 2, 1, interrupt)]),
        "stop": train("stop", [At(0, 1, 1, stop)]),
        "early": train("early", [EarlyStopping("validation_loss", patience=0, min_delta=100.0)]),
        "time": train("time", [TimeLimit(0.15), Slow()]),
        "divergence": train("divergence", optimizer=SGD(1e30)),
        "spoilt": train("spoilt", X=spoilt, shuffle=False),
        "reading": train("reading", X=source, y=None, batch_size=None),
        "callback": train("callback", [At(0, 2, 1, fail)]),
        "arithmetic": train("arithmetic", model=network(Overflowing)),
        "everywhere": train("everywhere", [At(1, 1, 1, fail)]),
        "epoch end": train("epoch-end", [EpochEnd()]),
        "whole": train("whole"),
    }


class EpochEnd(Callback):
    """Fails when the epoch has ended, in the rank that writes files."""

    def on_epoch_end(self, epoch, figures):
        raise OSError("no room for the log")


RESUMED = {"ctrl-c": [], "stop": [], "time": [], "callback": [], "whole": []}


def resume():
    """The same arguments but for what ended them; `TimeLimit` and `At` keep no state."""
    return {name: train(f"{name}-2", callbacks, resume=f"{name}.ckpt") for name, callbacks in RESUMED.items()}


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    shards = Shards(bits.SHARDS)
    found = resume() if sys.argv[2:] == ["resume"] else ends()
    Path(sys.argv[1]).joinpath("done").touch()
    bits.write(shards.rank, found)
