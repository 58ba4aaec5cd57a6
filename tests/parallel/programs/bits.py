"""Trains small networks with eight shards, in every way that draws, counts or averages something.

As a program: by each rank, with what it is to be compared with written into ``rank-R.json``.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np

import cnnx
from cnnx import BatchNormLayer, ConvolutionLayer, DenseLayer, DropoutLayer, Flatten, Model, PoolLayer, ReluLayer
from cnnx.augmentation import Flip, MixUp, Shift
from cnnx.data import ArrayBatches, FolderBatches, GeneratorBatches
from cnnx.optimizers import SGD, Adam, AdamW
from cnnx.parallel import Shards
from cnnx.regularizers import L2, MaxNorm
from cnnx.schedules import OneCycle, ReduceOnPlateau

(X, y), (X_test, y_test) = cnnx.datasets.load_digits()
X, y, X_test, y_test = X[:90], y[:90], X_test[:70], y_test[:70]
SHARDS = 8


def plain():
    return Model(ConvolutionLayer(3, 3), ReluLayer(), PoolLayer(2, mode="max"), Flatten(), DenseLayer(10), softmax())


def dropping():
    return Model(
        Flatten(), DenseLayer(12), ReluLayer(), DropoutLayer(0.3), DenseLayer(10), DropoutLayer(0.1), softmax()
    )


def normalized():
    inner = [ConvolutionLayer(3, 3, padding=1), BatchNormLayer(), ReluLayer()]
    return Model(
        ConvolutionLayer(3, 3), BatchNormLayer(), cnnx.ResidualLayer(*inner), Flatten(), DenseLayer(12),
        BatchNormLayer(), DenseLayer(10), softmax(),
    )  # fmt: skip


def standardized():
    return Model(cnnx.StandardizeLayer(), Flatten(), DenseLayer(10), softmax())


def softmax():
    return cnnx.SoftmaxLayer()


def generated(rng):
    rng = np.random.default_rng(0) if rng is None else rng
    for size in (20, 20, 11):
        chosen = rng.integers(0, len(X), size)
        yield X[chosen], y[chosen]


def mapped(folder):
    return ArrayBatches(np.load(Path(folder) / "images.npy", mmap_mode="r"), y, 40)


def pictures(folder):
    return FolderBatches(Path(folder) / "pictures", 20, size=8, channels=1)


# Batches of 40 leave a last one of 10, with which BatchNormLayer(dense) has five blocks of two.
ARRAYS = {"X": X, "y": y, "batch_size": 40}
# What is trained, on what, and how; the source is made where it is used.
CASES = {
    "SGD": (plain, ARRAYS, lambda: {"optimizer": SGD(0.1)}),
    "momentum, clipping": (plain, ARRAYS, lambda: {"optimizer": SGD(OneCycle(0.1, 2), momentum=0.9, clip_norm=0.3)}),
    "Adam, averaged": (plain, ARRAYS, lambda: {"optimizer": Adam(1e-2, ema=0.9, clip_value=0.1)}),
    "dropout": (dropping, ARRAYS, lambda: {"optimizer": SGD(0.1)}),
    "augmentation": (plain, ARRAYS, lambda: {"optimizer": "adam", "augment": [Shift(1), Flip(), MixUp(0.5)]}),
    "normalization": (normalized, ARRAYS, lambda: {"optimizer": SGD(0.05, momentum=0.9)}),
    "penalties": (dropping, ARRAYS, lambda: {"optimizer": SGD(0.1), "regularizers": [L2(1e-3), MaxNorm(1.0)]}),
    "weights": (plain, ARRAYS, lambda: {"optimizer": SGD(0.1), "class_weight": "balanced", "sample_weight": y + 1.0}),
    "plateau": (plain, ARRAYS, lambda: {"optimizer": SGD(ReduceOnPlateau(1.0, "validation_loss", patience=0))}),
    "a remainder of one": (normalized, {**ARRAYS, "X": X[:81], "y": y[:81]}, lambda: {"optimizer": AdamW(1e-2)}),
    "a mapped file": (standardized, mapped, lambda: {"optimizer": SGD(0.1)}),
    "a generator": (plain, lambda folder: GeneratorBatches(generated, 3, 20), lambda: {"optimizer": SGD(0.1)}),
    "pictures": (plain, pictures, lambda: {"optimizer": SGD(0.1), "augment": [Shift(1)]}),
}


def make_files(folder):
    """The data that lie in files."""
    from PIL import Image

    np.save(Path(folder) / "images.npy", (X * 200).astype(np.uint8))
    for label in range(3):
        (Path(folder) / "pictures" / f"class {label}").mkdir(parents=True)
    for index, (image, label) in enumerate(zip(X[:50], y[:50] % 3, strict=True)):
        pixels = (image[..., 0] * 255).astype(np.uint8)
        Image.fromarray(pixels).save(Path(folder) / "pictures" / f"class {label}" / f"{index:02}.png")


def train(name, folder, parallel, **more):
    """The model and the history of one case."""
    make, source, options = CASES[name]
    model = make()
    given = {"X": source(folder)} if callable(source) else dict(source)
    choice = {"epochs": 2, "seed": 3, "verbose": False, "validation_data": ArrayBatches(X_test, y_test, 20)}
    history = model.train(**given, **options(), **choice, parallel=parallel, **more)
    return model, history


def checksum(model):
    states = [value for layer in model.layers for value in layer.state.values()]
    return hashlib.sha256(b"".join(value.tobytes() for value in [model.parameters, *states])).hexdigest()


def results(folder, parallel):
    """For each case the checksum of weights and averages, and the figures of the epochs."""
    found = {}
    for name in CASES:
        model, history = train(name, folder, parallel)
        figures = {key: values for key, values in history.items() if key not in ("seconds", "communication")}
        found[name] = [checksum(model), figures]
        assert len(history["communication"]) == len(history["seconds"]) == 2
        assert all((seconds > 0) == (parallel.size > 1) for seconds in history["communication"])
    return found


def count_reads(folder, parallel):
    """How many examples each kind of source is asked for by this rank in an epoch, beside those it is compared by."""
    counts = {}
    for name in ("a mapped file", "pictures"):
        source = CASES[name][1](folder)
        rows = []
        read = source.read

        def counting(indices, rows=rows, read=read, source=source):
            rows.extend(np.arange(source.examples)[indices].tolist())
            return read(indices)

        source.read = counting
        model = plain()
        model.train(source, optimizer=SGD(0.1), seed=3, verbose=False, parallel=parallel)
        counts[name] = [source.examples, rows[:16], rows[16:]]
    return counts


def write(rank, found):
    Path(f"rank-{rank}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    assert os.environ["CNNX_NUM_THREADS"] == "1"
    shards = Shards(SHARDS)
    write(shards.rank, {"bits": results(sys.argv[1], shards), "reads": count_reads(sys.argv[1], shards)})
