"""Starting values of weights, chosen by name; a number stands for a constant.

he       standard deviation sqrt(2 / fan_in): keeps the size of activations through ReLU.
         He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, eq. 10.
glorot   variance 2 / (fan_in + fan_out): keeps activations and gradients near linear units.
         Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks",
         AISTATS 2010, eq. 12 and 16.
lecun    variance 1 / fan_in: keeps the size of activations through linear units, and through SELU.
         LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, section 4.6.
orthogonal   the matrix (weights of one output, outputs) has orthonormal columns, or rows where it is wide: keeps
         the length of vectors. Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in
         deep linear neural networks", ICLR 2014.
zeros    for a layer that is to start as if it were not there, such as the last of a residual branch.

`fan_in` counts the inputs that one output sums, `fan_out` the outputs that one input reaches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

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


def lecun_normal(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """Normal with variance 1 / fan_in."""
    return rng.normal(0, math.sqrt(1 / fan_in), shape)


def lecun_uniform(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """Uniform with variance 1 / fan_in."""
    bound = math.sqrt(3 / fan_in)
    return rng.uniform(-bound, bound, shape)


def orthogonal(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """Orthonormal columns of the matrix (product of the other axes, last axis), or rows where it has fewer."""
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    # With the signs of r's diagonal, every orthogonal matrix is as likely as any other (Mezzadri, Notices of the AMS
    # 54, 2007, section 5).
    q *= np.where(np.diagonal(r) < 0, -1, 1)
    matrix: Array = q if rows >= columns else q.T
    return matrix.reshape(shape)


def zeros(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """All zero."""
    return np.zeros(shape)


INITIALIZERS: dict[str, Initializer] = {
    function.__name__: function
    for function in (
        he_normal,
        he_uniform,
        glorot_normal,
        glorot_uniform,
        lecun_normal,
        lecun_uniform,
        orthogonal,
        zeros,
    )
}


def check_initializer(value: Any, layer: str) -> str | float | None:
    """A name in the table, a finite number for a constant, or None for the layer's own choice."""
    if value is None or (isinstance(value, str) and value in INITIALIZERS):
        return value
    expected = f"{layer}: initializer: expected one of {tuple(INITIALIZERS)}, a finite number or None, got {value!r}"
    if isinstance(value, str):
        raise ValueError(expected)
    if isinstance(value, bool | np.bool) or not isinstance(value, Real | np.number):
        raise TypeError(expected)
    if not math.isfinite(value):
        raise ValueError(expected)
    return float(value)


def find_initializer(value: str | float | None, default: str) -> Initializer:
    """What a checked value stands for, or the default where it is None."""
    if isinstance(value, float):
        return lambda rng, shape, fan_in, fan_out: np.full(shape, value)
    return INITIALIZERS[default if value is None else value]
