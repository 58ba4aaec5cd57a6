"""What the training run knows of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.layers.base import Layer
from cnnx.optimizers.base import Optimizer
from cnnx.regularizers import Regularizer

# Of each layer, its `state`.
States: TypeAlias = Sequence[dict[str, Array]]


class Trainable(Protocol):
    """A built model, of which loop, checkpoints and the search for a rate need no more than this.

    Attributes
    ----------
    layers : list of Layer
        Their states and generators are kept in checkpoints.
    parameters, gradients : ndarray of shape (parameters,)
        All parameters, changed in place, and all gradients.
    input_shape : tuple of int
        Shape of one example.
    dtype : numpy.dtype
    """

    layers: list[Layer]
    parameters: Array
    gradients: Array
    input_shape: Shape
    dtype: np.dtype[Any]

    def step(
        self,
        X: Array,
        y: Array,
        optimizer: Optimizer,
        weights: Array | None = None,
        regularizers: Sequence[Regularizer] = (),
    ) -> tuple[float, float]:
        """One step on a batch: its mean loss and metric before it."""
        ...

    def fill_gradients(self, X: Array, y: Array, weights: Array | None, share: float) -> tuple[float, float, float]:
        """The first half of a step, on a `share` of its batch; the sums of `measure`."""
        ...

    def update(
        self, loss: float, before: States, optimizer: Optimizer, regularizers: Sequence[Regularizer] = ()
    ) -> float:
        """The second half of a step, from the batch's mean loss and the states before; the loss with penalties."""
        ...

    def take_back(self, before: States) -> None:
        """Let go of a step that failed."""
        ...

    def measure(self, X: Array, y: Array, weights: Array | None = None) -> tuple[float, float, float]:
        """Sums over a batch, without training: of weight times loss, of weight times metric, and of weights."""
        ...


def model_arrays(model: Trainable) -> dict[str, Array]:
    """Copies of a model's parameters and states."""
    states = {
        f"layers.{index}.{key}": value.copy()
        for index, layer in enumerate(model.layers)
        for key, value in layer.state.items()
    }
    return {"parameters": model.parameters.copy(), **states}


def check_model_arrays(model: Trainable, arrays: Mapping[str, Array]) -> None:
    """Arrays with the names, shapes and dtypes of `model_arrays`."""
    expected = {name: (value.shape, value.dtype) for name, value in model_arrays(model).items()}
    if {name: (value.shape, value.dtype) for name, value in arrays.items()} != expected:
        raise ValueError(f"expected the arrays {sorted(expected)} of this model, got {sorted(arrays)}")


def set_model_arrays(model: Trainable, arrays: Mapping[str, Array]) -> None:
    """Make parameters and states those of `model_arrays`."""
    check_model_arrays(model, arrays)
    model.parameters[...] = arrays["parameters"]
    for index, layer in enumerate(model.layers):
        layer.state = {key: arrays[f"layers.{index}.{key}"].copy() for key in layer.state}
