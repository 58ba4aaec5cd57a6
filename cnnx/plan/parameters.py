"""The parameters of all layers as one vector, which optimizers change in one pass."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from cnnx._typing import Array
from cnnx.layers.base import Layer, leaves, walk_parameters


def gather(layers: Sequence[Layer], dtype: np.dtype[Any], fixed: bool) -> tuple[Array, Array]:
    """One vector of all parameters and one of all gradients, with the layers' arrays made views into them.

    Fixed parameters, and the layers' state, are in memory that cannot be written, so that kernels may keep what they
    make of them.
    """
    values = [value.ravel() for value, _ in walk_parameters(layers)]
    parameters = np.concatenate(values) if values else np.empty(0, dtype)
    if fixed:
        parameters = _unwritable(parameters)
    gradients = np.zeros(parameters.size, dtype)
    start = 0
    for layer in leaves(layers):
        for key, value in layer.params.items():
            here = slice(start, start + value.size)
            layer.params[key] = parameters[here].reshape(value.shape)
            layer.grads[key] = gradients[here].reshape(value.shape)
            start += value.size
        if fixed:
            # Nor can an array be replaced by another.
            layer.params = cast(dict[str, Array], MappingProxyType(layer.params))
            layer.state = {key: _unwritable(value) for key, value in layer.state.items()}
    return parameters, gradients


def _unwritable(array: Array) -> Array:
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)


def decaying_ranges(layers: Sequence[Layer]) -> Array:
    """Where in the vector of `gather` the parameters lie that decay, (ranges, 2)."""
    ranges: list[list[int]] = []
    start = 0
    for value, decays in walk_parameters(layers):
        stop = start + value.size
        if decays and ranges and ranges[-1][1] == start:
            ranges[-1][1] = stop
        elif decays:
            ranges.append([start, stop])
        start = stop
    return np.array(ranges, np.intp).reshape(-1, 2)
