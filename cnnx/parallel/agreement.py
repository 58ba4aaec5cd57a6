"""What must be the same on all ranks before the first step: versions, arguments, data and weights."""

from __future__ import annotations

import json
import zlib
from contextlib import closing
from typing import Any

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array
from cnnx._version import __version__
from cnnx.data.base import IndexedBatches
from cnnx.layers.base import walk_generators
from cnnx.parallel.world import World
from cnnx.training.checkpoints import run_arguments
from cnnx.training.checksums import checksum
from cnnx.training.run import Run
from cnnx.training.sources import Checked, in_memory, innermost
from cnnx.training.trainable import model_arrays

# Examples that are compared of data outside memory, of which a rank reads its part alone.
SAMPLE = 16
# Longer values are not shown.
SHOWN = 100


def versions() -> dict[str, Any]:
    """What decides the bits of a step beside the arguments."""
    return {
        "version of cnnx": __version__,
        "version of NumPy": np.__version__,
        "kernels (CNNX_BACKEND)": _kernels.backend_in_use(),
        "instruction set (CNNX_ISA)": _kernels.instruction_set_in_use(),
    }


def facts(run: Run) -> dict[str, Any]:
    """Of a run that is about to begin, by names that a user understands."""
    generators = [generator.bit_generator.state for generator in walk_generators(run.model.layers)]
    arrays, optimizer = model_arrays(run.model), run.optimizer
    return {
        **run_arguments(run),
        "epochs": run.epochs,
        "data": data_checksum(run.source),
        "validation data": None if run.validation is None else data_checksum(run.validation),
        "weights": checksum(arrays.pop("parameters")),
        "running averages": _checksum_of(arrays),
        "state of the optimizer": [optimizer.steps, optimizer.progress, _checksum_of(optimizer.state)],
        "seed of the order (shuffle, seed)": None if run.rng is None else _text(run.rng.bit_generator.state),
        "seed of augmentation": run.augmentation_seed,
        "random numbers of layers": zlib.crc32(_text(generators).encode()),
    }


def agree(world: World, what: str, own: dict[str, Any]) -> None:
    """All ranks have the same, or all raise the error that says what is different, and where.

    Raises
    ------
    ValueError
        If a rank has another value than rank 0; the message names both.
    """
    told = world.gather(what, own)
    for name, expected in told[0].items():
        others = [rank for rank, each in enumerate(told) if each.get(name) != expected]
        if others:
            got = told[others[0]].get(name)
            raise world.known(ValueError(f"train: parallel: {_ranks(others)}: {name}: {_difference(expected, got)}"))


def data_checksum(source: Checked) -> list[Any]:
    """Of all examples in memory; of others, a sample."""
    inner, X = innermost(source), in_memory(source)
    if X is None and isinstance(inner, IndexedBatches):
        X, _, _ = inner.read(np.linspace(0, inner.examples - 1, min(SAMPLE, inner.examples)).astype(np.intp))
    elif X is None:
        with closing(inner.epoch(np.random.default_rng(0))) as batches:
            X, _, _ = next(batches)
    X = np.asarray(X)
    return [X.dtype.str, list(X.shape[1:]), checksum(X)]


def _checksum_of(arrays: dict[str, Array]) -> dict[str, int]:
    return {name: checksum(value) for name, value in arrays.items()}


def _text(value: Any) -> str:
    return json.dumps(value, default=np.ndarray.tolist)


def _ranks(ranks: list[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"


def _difference(expected: Any, got: Any) -> str:
    if len(repr(expected)) > SHOWN or len(repr(got)) > SHOWN:
        return "expected the same as on rank 0"
    return f"expected {expected!r}, as on rank 0, got {got!r}"
