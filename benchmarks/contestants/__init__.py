"""The contestants: what each is called in the tables, which module builds it, and what must be installed.

A module has a class `Contestant` made from the number of threads and the options below. Its methods each return
functions without arguments that do the work once:
`training(network, weights, X, y, learning_rate)` one step that returns the loss before it,
`inference(network, weights, X)` one batch of probabilities,
`convolution(case)` a dict of the three products of a convolution, or `product()` for the ceiling.
A contestant that cannot do one of them raises NotImplementedError with the reason.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Entry(NamedTuple):
    module: str
    needs: tuple[str, ...]
    options: Mapping[str, Any] = MappingProxyType({})


CNNX = "cnnx"
CNNX_BEFORE = "cnnx before"  # of another folder: takes part with --against alone
CEILING = "NumPy product"
ONNX_RUNTIME = "ONNX Runtime"
PYTORCH = "PyTorch"
PYTORCH_CHANNELS_LAST = "PyTorch channels_last"
TENSORFLOW = "TensorFlow"

CONTESTANTS = {
    CNNX: Entry("cnnx_", ("cnnx",)),
    CNNX_BEFORE: Entry("cnnx_", ("cnnx",)),
    PYTORCH: Entry("torch_", ("torch",)),
    PYTORCH_CHANNELS_LAST: Entry("torch_", ("torch",), {"channels_last": True}),
    "PyTorch compiled": Entry("torch_", ("torch",), {"compiled": True}),
    "PyTorch compiled channels_last": Entry("torch_", ("torch",), {"compiled": True, "channels_last": True}),
    TENSORFLOW: Entry("tensorflow_", ("tensorflow",)),
    "JAX": Entry("jax_", ("jax",)),
    ONNX_RUNTIME: Entry("onnxruntime_", ("onnxruntime", "onnx")),
    CEILING: Entry("numpy_", ("numpy",)),
}


def missing(name: str) -> str | None:
    """Why this contestant cannot take part; None if it can."""
    absent = [module for module in CONTESTANTS[name].needs if importlib.util.find_spec(module) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def make(name: str, threads: int) -> Any:
    entry = CONTESTANTS[name]
    module = importlib.import_module(f"benchmarks.contestants.{entry.module}")
    return module.Contestant(threads, **entry.options)
