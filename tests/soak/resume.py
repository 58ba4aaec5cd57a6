"""Runs that go on from every stopping point: `python -m tests.soak resume`.

A run of 50 steps keeps the checkpoint of each; from every one of them a new model goes on to the end, and has the same
bits. Each optimizer, schedule, augmentation and source of batches takes its turn, and then some drawn together.
"""

import argparse
import os
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np

import cnnx
from cnnx import augmentation, optimizers, schedules
from cnnx.callbacks import Callback, Checkpoint
from cnnx.data import ArrayBatches, FolderBatches, GeneratorBatches

BATCHES, EPOCHS, SIZE = 10, 5, 4
RNG = np.random.default_rng(0)
Y = np.arange(BATCHES * SIZE) % 3
X = (RNG.random((len(Y), 6, 6, 1)) * 0.5 + Y[:, None, None, None] / 6).astype(np.float32)

OPTIMIZERS = {
    **optimizers.OPTIMIZERS,
    "momentum": lambda rate: optimizers.SGD(rate, momentum=0.9),
    "nesterov": lambda rate: optimizers.SGD(rate, momentum=0.9, nesterov=True),
    "decay, clipping and average": lambda rate: optimizers.Adam(
        rate, weight_decay=0.01, clip_norm=1.0, clip_value=0.5, ema=0.9
    ),
}
SCHEDULES = {
    "constant": lambda: 0.01,
    "step": lambda: schedules.StepDecay(0.01, every=2, factor=0.5),
    "exponential": lambda: schedules.ExponentialDecay(0.01, factor=0.7),
    "cosine": lambda: schedules.CosineDecay(0.01, epochs=EPOCHS, warmup=1),
    "one cycle": lambda: schedules.OneCycle(0.01, epochs=EPOCHS),
    "plateau": lambda: schedules.ReduceOnPlateau(0.01, monitor="loss", patience=0),
}
AUGMENTATIONS = {
    "none": lambda: [],
    "Brightness": lambda: [augmentation.Brightness(0.2)],
    "Contrast": lambda: [augmentation.Contrast(0.2)],
    "CutOut": lambda: [augmentation.CutOut(2)],
    "Flip": lambda: [augmentation.Flip()],
    "MixUp": lambda: [augmentation.MixUp(0.4)],
    "Noise": lambda: [augmentation.Noise(0.1)],
    "RandomCrop": lambda: [augmentation.RandomCrop(1)],
    "Rotate": lambda: [augmentation.Rotate(20)],
    "Scale": lambda: [augmentation.Scale(0.8, 1.2)],
    "Shift": lambda: [augmentation.Shift(1)],
    "one's own": lambda: [lambda X, y, rng: (X + rng.random(X.shape, dtype=np.float32) / 9, y)],
    "Shift and MixUp": lambda: [augmentation.Flip(), augmentation.Shift(1), augmentation.MixUp(0.4)],
}


def batches_of(rng):
    """Of a generator, in its own order or another."""
    order = np.arange(len(X)) if rng is None else rng.permutation(len(X))
    for start in range(0, len(X), SIZE):
        yield X[order[start : start + SIZE]], Y[order[start : start + SIZE]]


def mapped(folder):
    if not (folder / "X.npy").exists():
        np.save(folder / "X.npy", X)
    return {"X": ArrayBatches(np.load(folder / "X.npy", mmap_mode="r"), Y, batch_size=SIZE)}


def pictures(folder):
    """A folder of pictures, written when it is first asked for."""
    from PIL import Image

    if not (folder / "pictures").exists():
        for number, (x, y) in enumerate(zip(X, Y, strict=True)):
            (folder / "pictures" / str(y)).mkdir(parents=True, exist_ok=True)
            Image.fromarray((x[..., 0] * 255).astype(np.uint8)).save(folder / "pictures" / str(y) / f"{number}.png")
    return {"X": FolderBatches(folder / "pictures", size=(6, 6), batch_size=SIZE)}


ARRAYS = {"X": X, "y": Y, "batch_size": SIZE}
SOURCES = {
    "arrays": lambda folder: ARRAYS,
    "arrays in order": lambda folder: {**ARRAYS, "shuffle": False},
    "weighted": lambda folder: {**ARRAYS, "sample_weight": 1 + Y / 2, "class_weight": "balanced"},
    "mapped": mapped,
    "generator": lambda folder: {"X": GeneratorBatches(batches_of, batches=BATCHES, batch_size=SIZE)},
    "folder": pictures,
}
KINDS = (OPTIMIZERS, SCHEDULES, AUGMENTATIONS, SOURCES)


class Keep(Callback):
    """A copy of each step's checkpoint."""

    comes_last = True

    def __init__(self, path):
        self.path, self.count = path, 0

    def on_batch_end(self, batch, figures):
        self.count += 1
        shutil.copy(self.path, f"{self.path}{self.count}")


def fit(names, folder, *callbacks, **more):
    """A run as in a new process: whatever has a state is new; all the bits of it."""
    optimizer, schedule, augment, source = (kind[name] for kind, name in zip(KINDS, names, strict=True))
    model = cnnx.Model(
        *(cnnx.ConvolutionLayer(2, 3), cnnx.BatchNormLayer(), cnnx.ReluLayer(), cnnx.Flatten()),
        *(cnnx.DropoutLayer(0.3), cnnx.DenseLayer(3), cnnx.SoftmaxLayer()),
    )
    rule = optimizer(schedule())
    options = {"optimizer": rule, "epochs": EPOCHS, "augment": augment(), "verbose": False, **source(folder), **more}
    history = model.train(callbacks=callbacks, **options)
    arrays = [model.parameters, *(value for layer in model.layers for value in layer.state.values())]
    arrays += [rule.state[name] for name in sorted(rule.state)]
    drawn = [layer.rng.bit_generator.state for layer in model.layers if layer.rng is not None]
    return [array.tobytes() for array in arrays], drawn, history["loss"], history["accuracy"]


def resume_everywhere(names, folder, points):
    """Go on from so many stopping points of a run, spread over all of it; the places that ended with other bits."""
    path = folder / "run"
    keep = Keep(path)
    expected = fit(names, folder, Checkpoint(path, unit="step"), keep, seed=1)
    assert keep.count == BATCHES * EPOCHS
    wrong = []
    for step in sorted({round(step) for step in np.linspace(1, keep.count, points)}):
        resumed = fit(names, folder, Checkpoint(path, every=BATCHES, unit="step"), resume=f"{path}{step}", seed=99)
        if resumed != expected:
            wrong.append(step)
    return wrong


def combinations(drawn, rng):
    """Each name once at least, and so many drawn together."""
    most = max(map(len, KINDS))
    turns = [[list(kind)[turn % len(kind)] for kind in KINDS] for turn in range(most)]
    turns += [[rng.choice(list(kind)) for kind in KINDS] for _ in range(drawn)]
    # Blended examples cannot have weights.
    return [[*most, "arrays" if "weighted" in of and "MixUp" in str(most) else of] for *most, of in turns]


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.soak resume")
    parser.add_argument("--points", type=int, default=BATCHES * EPOCHS, help="stopping points of each run")
    parser.add_argument("--drawn", type=int, default=20, help="combinations beside those that have everything once")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    os.fsync = lambda file: None  # nobody cuts the power
    runs = combinations(chosen.drawn, random.Random(chosen.seed))
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for names in runs:
            if wrong := resume_everywhere(names, Path(folder), chosen.points):
                print(f"{', '.join(names)}: other bits when resumed after steps {wrong}")
                failed += 1
    steps = BATCHES * EPOCHS
    print(f"{len(runs)} runs of {steps} steps, each resumed from {chosen.points} of them: {failed} with other bits")
    return int(bool(failed))
