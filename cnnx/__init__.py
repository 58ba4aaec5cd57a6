"""Convolutional neural networks, trained and run on a CPU.

>>> import cnnx
>>> model = cnnx.Model(
...     cnnx.ConvolutionLayer(filters=3, filter_size=3, padding=1, stride=1), cnnx.ReluLayer(),
...     cnnx.PoolLayer(filter_size=2, stride=2, mode="max"), cnnx.Flatten(), cnnx.DenseLayer(units=100),
...     cnnx.ReluLayer(), cnnx.DenseLayer(units=10), cnnx.SoftmaxLayer())
"""

import importlib
from typing import TYPE_CHECKING, Any

from cnnx import layers
from cnnx._kernels import backend_in_use, get_num_threads, set_num_threads, use_backend
from cnnx._version import __version__
from cnnx.errors import DivergenceError
from cnnx.layers import *  # noqa: F403 - each layer has one line, in its own list
from cnnx.network import Model

if TYPE_CHECKING:
    from cnnx import (
        augmentation,
        callbacks,
        data,
        datasets,
        images,
        metrics,
        models,
        onnx as onnx,  # not in __all__
        optimizers,
        parallel,
        plots,
        regularizers,
        schedules,
        verification,
    )
    from cnnx.callbacks import History
    from cnnx.command.configuration import show_config
    from cnnx.reporting import report

# Imported at their first use: not everybody needs them, and file formats take longer to import than the kernels.
LATER = {
    "History": "cnnx.callbacks",
    "augmentation": "cnnx",
    "callbacks": "cnnx",
    "data": "cnnx",
    "datasets": "cnnx",
    "images": "cnnx",
    "metrics": "cnnx",
    "models": "cnnx",
    "onnx": "cnnx",
    "optimizers": "cnnx",
    "parallel": "cnnx",
    "plots": "cnnx",
    "regularizers": "cnnx",
    "report": "cnnx.reporting",
    "schedules": "cnnx",
    "show_config": "cnnx.command.configuration",
    "verification": "cnnx",
}

# Without `onnx`, which `from cnnx import *` is not to put in the place of the package of that name.
__all__ = [
    "DivergenceError",
    "History",
    "Model",
    "__version__",
    "augmentation",
    "backend_in_use",
    "callbacks",
    "data",
    "datasets",
    "get_num_threads",
    "images",
    "metrics",
    "models",
    "optimizers",
    "parallel",
    "plots",
    "regularizers",
    "report",
    "schedules",
    "set_num_threads",
    "show_config",
    "use_backend",
    "verification",
]
__all__ += layers.__all__


def __getattr__(name: str) -> Any:
    """Import one of the names that are left for later."""
    if name not in LATER:
        raise AttributeError(f"module 'cnnx' has no attribute {name!r}")
    home = LATER[name]
    return importlib.import_module(f"cnnx.{name}") if home == "cnnx" else getattr(importlib.import_module(home), name)
