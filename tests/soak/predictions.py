"""The bits of predictions: `python -m tests.soak predictions`.

Every ready network, in both dtypes and on every instruction set of the machine, predicts images alone, in batches of
every size and on several threads, as it is and folded, as it was trained and after it was saved and loaded. (NumPy's
kernels promise no such thing: the sums of a BLAS depend on the size of a batch.)
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np

import cnnx
from cnnx import _kernels
from cnnx.models import MODELS

SHAPES = {
    "small": (8, 8, 1),
    **dict.fromkeys(("lenet", "mnistnet", "mnistbn", "fashionnet"), (28, 28, 1)),
    **dict.fromkeys(("deck", "vggbn", "resnet8", "resnet14", "resnet20", "wideresnet8", "mobilenet"), (32, 32, 3)),
}
INSTRUCTION_SETS = _kernels.available_instruction_sets()


def variants(name, dtype, rng, folder):
    """Pairs of a model and what it is after it was saved and loaded, as it is and folded."""
    model = MODELS[name](10)
    model.build(SHAPES[name], seed=0, dtype=dtype)
    # No statistic is as it was made.
    model.train_on_batch(rng.standard_normal((4, *SHAPES[name])), np.arange(4), 0.01)
    model.save(Path(folder) / "model")
    loaded = cnnx.Model.load(Path(folder) / "model")
    return [(model, loaded), (model.folded(), loaded.folded())]


def differing(name, dtype, instruction_set, examples, sizes, threads, folder):
    """How many predictions were compared, and those that had other bits than in one batch on one thread."""
    _kernels.use_instruction_set(instruction_set)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((examples, *SHAPES[name])).astype(dtype)
    compared, other = 0, []
    cnnx.set_num_threads(1)
    for pair in variants(name, dtype, rng, folder):
        cnnx.set_num_threads(1)
        expected = pair[0].predict_proba(X).tobytes()
        for (which, model), count in itertools.product(enumerate(pair), threads):
            cnnx.set_num_threads(count)
            for size in sizes:
                compared += examples
                if model.predict_proba(X, batch_size=size).tobytes() != expected:
                    other.append((name, str(dtype), instruction_set, ("kept", "loaded")[which], count, size))
    return compared, other


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.soak predictions")
    parser.add_argument("--examples", type=int, default=17)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 3, 8, 16, 17])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 5])
    chosen = parser.parse_args(arguments)
    compared, other = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for name, dtype, instruction_set in itertools.product(sorted(MODELS), ("float32", "float64"), INSTRUCTION_SETS):
            more, differ = differing(
                *(name, dtype, instruction_set), chosen.examples, chosen.sizes, chosen.threads, folder
            )
            compared, other = compared + more, other + differ
    for each in other:
        print(*each)
    print(
        f"{compared} predictions of {len(MODELS)} networks in 2 dtypes on {', '.join(map(str, INSTRUCTION_SETS))}: "
        f"{len(other)} with other bits"
    )
    return int(bool(other))
