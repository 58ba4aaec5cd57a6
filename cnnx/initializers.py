"""Starting values of weights, chosen by name.

he       standard deviation sqrt(2 / fan_in): keeps the size of activations through ReLU.
         He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, eq. 10.
glorot   variance 2 / (fan_in + fan_out): keeps activations and gradients near linear units.
         Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks",
         AISTATS 2010, eq. 12 and 16.

`fan_in` counts the inputs that one output sums, `fan_out` the outputs that one input reaches.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cnnx._typing import Array, Shape

Initializer = Callable[["np.random.Generator", Shape, int, int], Array]


def he_normal(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """Normal with variance 2 / fan_in."""
    return rng.normal(0, math.sqrt(2 / fan_in), shape)


def he_uniform(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """Uniform with variance 2 / fan_in."""
    bound = math.sqrt(6 / fan_in)
    return rng.uniform(-bound, bound, shape)


def glorot_normal(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """Normal with variance 2 / (fan_in + fan_out)."""
    return rng.normal(0, math.sqrt(2 / (fan_in + fan_out)), shape)


def glorot_uniform(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """Uniform with variance 2 / (fan_in + fan_out)."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-bound, bound, shape)


INITIALIZERS: dict[str, Initializer] = {
    function.__name__: function for function in (he_normal, he_uniform, glorot_normal, glorot_uniform)
}


def check_initializer(name: str | None, layer: str) -> str | None:
    """A name in the table, or None for the layer's own choice."""
    if name is not None and name not in INITIALIZERS:
        raise ValueError(f"{layer}: initializer: expected one of {tuple(INITIALIZERS)}, got {name!r}")
    return name
