"""Functions of each value, and arithmetic: activations, constants that weights take in, and additions of two ways."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from cnnx._typing import Array
from cnnx.layers import PReluLayer
from cnnx.layers.activation import SELU_ALPHA, SELU_SCALE
from cnnx.onnx.curves import (
    POINTS,
    clip,
    elu,
    erf,
    gelu_with_tanh,
    hard_sigmoid,
    leaky,
    recognise,
    sigmoid,
)
from cnnx.onnx.graph import Node
from cnnx.onnx.network import Signal
from cnnx.onnx.operators.constants import arithmetic
from cnnx.onnx.operators.normalization import normalized, statistic
from cnnx.onnx.walk import Curve, Meaning, Operator, Statistic, Walk

Function = Callable[[Array], Array]


def function(make: Callable[[Node], Function]) -> Operator:
    """The operator that is a function of each value."""

    def operator(walk: Walk, node: Node) -> Meaning:
        curve = walk.curve(node, 0)
        return _applied(curve, make(node))

    return operator


def plain(function_of_a_value: Function) -> Operator:
    """The same of a function without attributes."""
    return function(lambda node: function_of_a_value)


def _applied(curve: Curve, changed: Function) -> Curve:
    with np.errstate(all="ignore"):
        return curve._replace(values=changed(curve.values))


def gelu(node: Node) -> Function:
    """The exact GELU, or its approximation."""
    exact = node.text("approximate", "none") == "none"
    return (lambda x: x * (1 + erf(x / np.sqrt(2))) / 2) if exact else gelu_with_tanh


def celu(x: Array, alpha: float) -> Array:
    """x where x > 0, else alpha * (exp(x / alpha) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def selu(x: Array, alpha: float, gamma: float) -> Array:
    """gamma * (x where x > 0, else alpha * (exp(x) - 1))."""
    return gamma * elu(x, alpha)


def swish(x: Array, alpha: float) -> Array:
    """x * sigmoid(alpha * x)."""
    return x * sigmoid(alpha * x)


def clipped(walk: Walk, node: Node) -> Meaning:
    """Limits: attributes up to opset 10, inputs since."""
    limits = (("min", 1, -np.inf), ("max", 2, np.inf))
    if walk.opset < 11:
        asked = [node.number(name, 0.0) if name in node.attributes else default for name, _, default in limits]
    else:
        asked = [walk.scalar(node, position, default) for _, position, default in limits]
    lowest, highest = asked
    if not lowest <= highest:
        raise ValueError(f"expected limits, got {lowest} and {highest}")
    return _applied(walk.curve(node, 0), lambda x: clip(x, lowest, highest))


def power(walk: Walk, node: Node) -> Meaning:
    """A square, as formulas have it."""
    exponent = walk.scalar(node, 1, 2.0)
    part = walk.meaning(node, 0)
    if isinstance(part, Statistic) and exponent == 2:
        return statistic("Mul", part, part)
    if exponent not in (2, 3):
        raise ValueError(f"cnnx has no layer for the power {exponent:g}")
    return _applied(walk.curve(node, 0), lambda x: x**exponent)


def prelu(walk: Walk, node: Node) -> Meaning:
    """A PReluLayer, with the slopes of the file."""
    signal, slopes = walk.signal(node, 0), walk.constant(node, 1)
    spread = walk.network.per_channel(signal, slopes)
    if spread is None:
        raise ValueError(f"expected a slope for each channel, got shape {slopes.shape}")
    return walk.network.append(signal, PReluLayer(), {"slope": spread}, signal.layout)


# -- Two inputs ------------------------------------------------------------------------------------------

BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Sum": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
}
ADDITIONS = ("Add", "Sum")


def binary(walk: Walk, node: Node) -> Meaning:
    """Arithmetic of functions of one signal, of a signal and a constant, or the sum of two signals."""
    if len(node.inputs) != 2:
        raise ValueError(f"expected two inputs, got {len(node.inputs)}")
    one, other = walk.meaning(node, 0), walk.meaning(node, 1)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return arithmetic(walk, node, one, other)
    if isinstance(one, Statistic) or isinstance(other, Statistic):
        part = statistic(node.operator, *(_as_signal(walk, node, position) for position in (0, 1)))
        ends = isinstance(part, Statistic) and part.kind == "normalized"
        return normalized(walk, part) if isinstance(part, Statistic) and ends else part
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return _with_constant(walk, node)
    curves = _of_one_signal(one, other)
    if curves is not None:
        values = _computed(node, *(curve.values for curve in curves))
        if node.operator not in ADDITIONS or recognise(values) is not None:
            return Curve(curves[0].signal, values)
    if node.operator not in ADDITIONS:
        verb = {"Mul": "multiplies", "Sub": "subtracts", "Div": "divides"}.get(node.operator, "compares")
        raise ValueError(f"cnnx has no layer that {verb} two values of the network")
    return walk.network.add(walk.signal(node, 0), walk.signal(node, 1))


def _as_signal(walk: Walk, node: Node, position: int) -> Meaning:
    meaning = walk.meaning(node, position)
    return walk.signal(node, position) if isinstance(meaning, Curve) else meaning


def added(walk: Walk, node: Node) -> Meaning:
    """Sum, of any number of inputs."""
    if len(node.inputs) == 2:
        return binary(walk, node)
    total = walk.signal(node, 0)
    for position in range(1, len(node.inputs)):
        total = walk.network.add(total, walk.signal(node, position))
    return total


def _of_one_signal(one: Meaning, other: Meaning) -> tuple[Curve, Curve] | None:
    """Both as functions of one signal, if they are."""
    curves = [Curve(each, POINTS) if isinstance(each, Signal) else each for each in (one, other)]
    if not all(isinstance(curve, Curve) for curve in curves):
        return None
    first, second = curves
    assert isinstance(first, Curve)
    assert isinstance(second, Curve)
    same = (first.signal.step, first.signal.layout) == (second.signal.step, second.signal.layout)
    return (first, second) if same and first.signal.line is second.signal.line is None else None


def _computed(node: Node, one: Array, other: Array) -> Array:
    with np.errstate(all="ignore"):
        return BINARY[node.operator](one, other)


def _with_constant(walk: Walk, node: Node) -> Meaning:
    """A constant that the weights before take in; or one value in a formula."""
    position = 0 if isinstance(walk.meaning(node, 1), np.ndarray) else 1
    constant, turned = walk.constant(node, 1 - position), position == 1
    if constant.dtype.kind != "f":
        raise ValueError(f"expected a constant of numbers with a fraction, got {constant.dtype}")
    signal = walk.meaning(node, position)
    if isinstance(signal, Signal) and signal.sole:
        scale, shift = _scale_and_shift(node.operator, constant, turned)
        scaled = None if scale is None and shift is None else walk.network.scaled(signal, scale, shift)
        if scaled is not None:
            return scaled
    if constant.size == 1 and constant.ndim <= _axes(walk.meaning(node, position)):
        curve = walk.curve(node, position)
        value = constant.reshape(-1)[:1].astype(np.float64)
        if node.operator in ("Min", "Max"):  # the same limits as those of Clip
            clip(value, -np.inf, float(value[0]))
        both = (value, curve.values) if turned else (curve.values, value)
        return curve._replace(values=_computed(node, *both))
    signal = walk.signal(node, position)
    scale, shift = _scale_and_shift(node.operator, constant, turned)
    if scale is None and shift is None:
        raise ValueError("cnnx has no layer that computes with such a constant")
    return walk.network.scaled(signal, scale, shift) or walk.line(signal, scale, shift)


def _scale_and_shift(operator: str, constant: Array, turned: bool) -> tuple[Array | None, Array | None]:
    """What a signal is multiplied by, and what is then added; `turned`, the constant stands first."""
    constant = constant.astype(np.float64)
    with np.errstate(all="ignore"):
        match operator, turned:
            case "Add" | "Sum", _:
                return None, constant
            case "Sub", False:
                return None, -constant
            case "Sub", True:
                return np.array(-1.0), constant
            case "Mul", _:
                return constant, None
            case "Div", False:
                return 1 / constant, None
    return None, None


def _axes(meaning: Meaning) -> int:
    signal = meaning.signal if isinstance(meaning, Curve) else meaning
    return len(signal.layout) + 1 if isinstance(signal, Signal) else 0


def root(walk: Walk, node: Node) -> Meaning:
    """The square root, in the formula of layer normalization."""
    part = walk.meaning(node, 0)
    if isinstance(part, Statistic):
        return statistic("Sqrt", part, part)
    return _applied(walk.curve(node, 0), np.sqrt)


OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(BINARY, binary),
    "Abs": plain(np.abs),
    "Celu": function(lambda node: partial(celu, alpha=node.number("alpha", 1.0))),
    "Clip": clipped,
    "Elu": function(lambda node: partial(elu, alpha=node.number("alpha", 1.0))),
    "Erf": plain(erf),
    "Exp": plain(np.exp),
    "Gelu": function(gelu),
    "HardSigmoid": function(
        lambda node: partial(hard_sigmoid, alpha=node.number("alpha", 0.2), beta=node.number("beta", 0.5))
    ),
    "HardSwish": plain(lambda x: x * hard_sigmoid(x, 1 / 6, 0.5)),
    "LeakyRelu": function(lambda node: partial(leaky, slope=node.number("alpha", 0.01))),
    "Log": plain(np.log),
    "Mish": plain(lambda x: x * np.tanh(np.logaddexp(0, x))),
    "Neg": plain(np.negative),
    "PRelu": prelu,
    "Pow": power,
    "Reciprocal": plain(np.reciprocal),
    "Relu": plain(lambda x: np.maximum(x, 0)),
    "Selu": function(
        lambda node: partial(selu, alpha=node.number("alpha", SELU_ALPHA), gamma=node.number("gamma", SELU_SCALE))
    ),
    "Sigmoid": plain(sigmoid),
    "Softplus": plain(lambda x: np.logaddexp(0, x)),
    "Sqrt": root,
    "Sum": added,
    "Swish": function(lambda node: partial(swish, alpha=node.number("alpha", 1.0))),
    "Tanh": plain(np.tanh),
}
