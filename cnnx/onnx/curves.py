"""Functions of one value, as ONNX writes them: one operator, or several, such as x * (1 + erf(x / sqrt(2))) / 2.

Who exported a network has chosen the order of the operators, so they are not compared one by one: a function is its
values at some hundred points, each operator changes these, and what comes out is looked up among the activations. The
points go so far out that functions that only begin alike are told apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cnnx._typing import Array
from cnnx.layers.activation import (
    SELU_ALPHA,
    SELU_SCALE,
    EluLayer,
    GeluLayer,
    HardSwishLayer,
    LeakyReluLayer,
    ReluLayer,
    SeluLayer,
    SiluLayer,
    SoftplusLayer,
    TanhLayer,
)
from cnnx.layers.base import Layer
from cnnx.layers.loss import SigmoidLayer

FARTHEST = 500.0
_OUT = np.geomspace(8, FARTHEST, 24)
POINTS = np.concatenate([-_OUT[::-1], np.linspace(-8, 8, 129), _OUT, [1 / 3, -1 / 3]])
ZERO, ONE, MINUS_ONE = (int(np.flatnonzero(x == POINTS)[0]) for x in (0, 1, -1))
# Constants of ONNX are in single precision.
TOLERANCE = 1e-6


def erf(x: Array) -> Array:
    """The error function, which NumPy lacks."""
    return np.array([math.erf(value) for value in x])


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def elu(x: Array, alpha: float) -> Array:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def leaky(x: Array, slope: float) -> Array:
    """x where x > 0, else slope * x."""
    return np.where(x > 0, x, slope * x)


def clip(x: Array, lowest: float, highest: float) -> Array:
    """Limits, which have to be within the points, or beyond what matters."""
    for limit in (lowest, highest):
        if not (abs(limit) <= 0.8 * FARTHEST or abs(limit) > 1e30):
            raise ValueError(f"cnnx has no layer that limits values to {limit:g}")
    return np.minimum(np.maximum(x, lowest), highest)


def hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    """alpha * x + beta, limited to [0, 1]."""
    return np.clip(alpha * x + beta, 0, 1)


def gelu_with_tanh(x: Array) -> Array:
    """The approximation of GELU."""
    values: Array = x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    return values


def _table(functions: dict[str, Callable[[Array], Array]]) -> Array:
    with np.errstate(all="ignore"):
        return np.stack([function(POINTS) for function in functions.values()])


LAYERS: dict[str, Callable[[], Layer]] = {
    "relu": ReluLayer,
    "sigmoid": SigmoidLayer,
    "tanh": TanhLayer,
    "softplus": SoftplusLayer,
    "silu": SiluLayer,
    "gelu": GeluLayer,
    "hard swish": HardSwishLayer,
    "selu": SeluLayer,
}
FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(0, x),
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
    "hard swish": lambda x: x * hard_sigmoid(x, 1 / 6, 0.5),
    "selu": lambda x: SELU_SCALE * elu(x, SELU_ALPHA),
}
# Known by name alone, for errors.
OTHERS: dict[str, Callable[[Array], Array]] = {
    "ReLU6, min(max(x, 0), 6)": lambda x: np.clip(x, 0, 6),
    "the limit of ReLU6, min(x, 6)": lambda x: np.minimum(x, 6),
    "Mish, x * tanh(softplus(x))": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "the approximation of GELU with tanh (cnnx's GELU is the exact one)": gelu_with_tanh,
    "the absolute value": np.abs,
    "the error function": erf,
    "the exponential function": np.exp,
    "a hard sigmoid, min(max(x / 6 + 1 / 2, 0), 1)": lambda x: hard_sigmoid(x, 1 / 6, 0.5),
    "a hard sigmoid, min(max(x / 5 + 1 / 2, 0), 1)": lambda x: hard_sigmoid(x, 0.2, 0.5),
    "softsign, x / (1 + |x|)": lambda x: x / (1 + np.abs(x)),
}
_KNOWN, _OTHERS = _table(FUNCTIONS), _table(OTHERS)


def recognise(values: Array) -> Callable[[], Layer] | None:
    """What makes the layer with these values at the points; None if there is none."""
    same = _alike(_KNOWN, values)
    if same.any():
        return LAYERS[list(LAYERS)[int(same.argmax())]]
    below = -float(values[MINUS_ONE])
    if below > 0 and _alike(leaky(POINTS, below), values):
        return lambda: LeakyReluLayer(below)
    alpha = -float(values[0])
    if alpha > 0 and _alike(elu(POINTS, alpha), values):
        return lambda: EluLayer(alpha)
    return None


def describe(values: Array) -> str:
    """How an error calls a function that is no layer."""
    same = _alike(_OTHERS, values)
    return list(OTHERS)[int(same.argmax())] if same.any() else "this function of a value"


def line(values: Array) -> tuple[float, float] | None:
    """Scale and shift, if the function is scale * x + shift."""
    shift = float(values[ZERO])
    scale = float(values[ONE]) - shift
    return (scale, shift) if _alike(scale * POINTS + shift, values) else None


def _alike(functions: Array, values: Array) -> Array:
    """Of each function, whether its values are these."""
    with np.errstate(all="ignore"):
        alike: Array = (np.abs(functions - values) <= TOLERANCE * (1 + np.abs(functions))).all(axis=-1)
    return alike
