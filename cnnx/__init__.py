"""Convolutional neural networks, trained and run on a CPU.

>>> import cnnx
>>> model = cnnx.Model(
...     cnnx.ConvolutionLayer(filters=3, filter_size=3, padding=1, stride=1), cnnx.ReluLayer(),
...     cnnx.PoolLayer(filter_size=2, stride=2, mode="max"), cnnx.Flatten(), cnnx.DenseLayer(units=100),
...     cnnx.ReluLayer(), cnnx.DenseLayer(units=10), cnnx.SoftmaxLayer())
"""

import importlib
from typing import TYPE_CHECKING, Any

from cnnx._kernels import backend_in_use, get_num_threads, set_num_threads, use_backend
from cnnx.configuration import show_config
from cnnx.layers import (
    BatchNormLayer,
    ConvolutionLayer,
    DenseLayer,
    DepthwiseConvolutionLayer,
    DropoutLayer,
    Flatten,
    PoolLayer,
    ReluLayer,
    SoftmaxLayer,
    TransposedConvolutionLayer,
)
from cnnx.network import DivergenceError, History, Model

if TYPE_CHECKING:
    from cnnx import datasets, models

__version__ = "0.1.0"

__all__ = [
    "BatchNormLayer",
    "ConvolutionLayer",
    "DenseLayer",
    "DepthwiseConvolutionLayer",
    "DivergenceError",
    "DropoutLayer",
    "Flatten",
    "History",
    "Model",
    "PoolLayer",
    "ReluLayer",
    "SoftmaxLayer",
    "TransposedConvolutionLayer",
    "__version__",
    "backend_in_use",
    "datasets",
    "get_num_threads",
    "models",
    "set_num_threads",
    "show_config",
    "use_backend",
]


def __getattr__(name: str) -> Any:
    """Import `datasets` and `models` at their first use: file formats take longer to import than the kernels."""
    if name in ("datasets", "models"):
        return importlib.import_module(f"cnnx.{name}")
    raise AttributeError(f"module 'cnnx' has no attribute {name!r}")
