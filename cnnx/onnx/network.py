"""The network that is being made: steps, each a layer or an addition, with what each takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.layers import DepthwiseConvolutionLayer, Flatten, StandardizeLayer
from cnnx.layers.base import Layer
from cnnx.layers.loss import OutputLayer, SigmoidLayer
from cnnx.onnx.layout import Layout, channels_first, covers, length, lengths, positions, rows

# Bytes of parameters that a file may stand for beside four times its own.
SPARE = 2**22


class Signal(NamedTuple):
    """A batch of examples on its way: the step that gives it, cnnx's shape of an example, and the axes ONNX sees.

    `sole` says that nothing but what comes next takes the step's output, so that the step may still be changed. A
    `line` is a scale and a shift of each feature of vectors, which the dense layer that comes next takes in.
    """

    step: int
    shape: Shape
    layout: Layout
    sole: bool = True
    line: tuple[Array, Array] | None = None

    def is_image(self) -> bool:
        """Whether ONNX sees (channels, height, width)."""
        return len(self.shape) == 3 and self.layout == channels_first(self.shape)

    def check_image(self) -> None:
        """Raise an error if it is none."""
        if not self.is_image():
            raise ValueError(
                f"expected images (channels, height, width), got examples of shape {lengths(self.layout)} that are, as "
                f"cnnx has them, of shape {self.shape} in another order"
            )


@dataclass
class Step:
    """A layer with its parameters; without one, the input (which takes nothing) or an addition of two."""

    where: str
    sources: tuple[int, ...]
    layer: Layer | None = None
    params: dict[str, Array] | None = None


class Network:
    """Steps in the order in which they are computed, the input first."""

    def __init__(self, input_shape: Shape, dtype: np.dtype[Any], size: int) -> None:
        self.input_shape, self.dtype = input_shape, dtype
        self.steps = [Step("the input", ())]
        self.where = ""
        self._left = 4 * size + SPARE

    def take(self, count: int) -> None:
        """Bound, before they are made, the numbers that a file stands for.

        Raises
        ------
        ValueError
            If the file would have cnnx make many times the numbers that it holds.
        """
        self._left -= count * self.dtype.itemsize
        if self._left < 0:
            raise ValueError("the parameters of all layers take many times the file's own size")

    def append(
        self,
        signal: Signal,
        layer: Layer,
        params: Mapping[str, Array] | None = None,
        layout: Layout | None = None,
    ) -> Signal:
        """A layer that takes the signal; ONNX sees its output as it saw the input, if no layout is given.

        An image has (channels, height, width) then, if it had before.
        """
        self._check_open(signal)
        params = {} if params is None else params
        self.take(sum(values.size for values in params.values()))
        given = {key: np.ascontiguousarray(values, self.dtype) for key, values in params.items()}
        shape = layer.build(signal.shape, 0, self.dtype, given)
        layer.params, layer.grads, layer.state = {}, {}, {}
        self.steps.append(Step(self.where, (signal.step,), layer, given))
        if layout is None:
            layout = signal.layout if shape == signal.shape else rows(shape)
        return Signal(len(self.steps) - 1, shape, layout)

    def append_image(self, signal: Signal, layer: Layer, params: Mapping[str, Array] | None = None) -> Signal:
        """A layer from images to images, (channels, height, width) both."""
        signal.check_image()
        after = self.append(signal, layer, params)
        return after._replace(layout=channels_first(after.shape))

    def add(self, one: Signal, other: Signal) -> Signal:
        """The sum of two signals."""
        self._check_open(one)
        self._check_open(other)
        if one.shape != other.shape and one.layout == other.layout:
            one, other = self.flattened(one), self.flattened(other)
        if (one.shape, one.layout) != (other.shape, other.layout):
            raise ValueError(
                f"cnnx adds values of one shape and order, got {lengths(one.layout)} and {lengths(other.layout)}"
            )
        self.steps.append(Step(self.where, (one.step, other.step)))
        return Signal(len(self.steps) - 1, one.shape, one.layout)

    def flattened(self, signal: Signal) -> Signal:
        """The same values as cnnx's vectors; what ONNX sees stays."""
        return signal if len(signal.shape) == 1 else self.append(signal, Flatten(), layout=signal.layout)

    def layer(self, signal: Signal) -> Layer | None:
        """The layer that gives the signal."""
        return self.steps[signal.step].layer

    def _check_open(self, signal: Signal) -> None:
        layer = self.layer(signal)
        if signal.line is not None:
            raise ValueError("cnnx has no layer that computes with constants, but behind weights and before dense ones")
        if isinstance(layer, OutputLayer) and not isinstance(layer, SigmoidLayer):
            raise ValueError(f"cnnx has {type(layer).__name__} as the last layer of a network alone")

    # -- A number for each channel -------------------------------------------------------------------

    def per_channel(self, signal: Signal, constant: Array) -> Array | None:
        """A constant that ONNX spreads over a signal, as (channels,) of cnnx; None if it is no such thing."""
        channels = signal.shape[-1]
        if constant.size == 1:
            self.take(channels)
            return np.full(channels, constant.reshape(-1)[0])
        sizes = _spread_sizes(constant.shape, signal.layout)
        if sizes is None:
            return None
        axes = [axis for axis, size in zip(signal.layout, sizes, strict=True) if size > 1]
        if not covers(axes, channels):
            return None
        return self._in_order([part for axis in axes for part in axis], constant)

    def per_value(self, signal: Signal, constant: Array) -> Array | None:
        """The same with a number for each value of an example, in its shape."""
        if _spread_sizes(constant.shape, signal.layout) != lengths(signal.layout):
            return None
        return self._in_order([part for axis in signal.layout for part in axis], constant).reshape(signal.shape)

    def _in_order(self, parts: list[tuple[int, int]], constant: Array) -> Array:
        self.take(constant.size)
        values = np.empty(constant.size, constant.dtype)
        values[positions(tuple(parts))] = constant.reshape(-1)
        return values

    # -- Scale and shift -----------------------------------------------------------------------------

    def scaled(self, signal: Signal, scale: Array | None, shift: Array | None) -> Signal | None:
        """The signal times `scale` plus `shift`, ONNX's constants, taken into the step before; None if it cannot be."""
        step = self.steps[signal.step]
        if signal.line is not None:
            return None
        if isinstance(step.layer, StandardizeLayer) or not step.sources:
            return self._standardized(signal, scale, shift)
        if not signal.sole or step.params is None or not {"b", "beta"} & step.params.keys():
            return None
        factor = None if scale is None else self.per_channel(signal, scale)
        summand = None if shift is None else self.per_channel(signal, shift)
        if (factor is None) != (scale is None) or (summand is None) != (shift is None):
            return None
        weights, biases = ("W", "b") if "b" in step.params else ("gamma", "beta")
        for key in (weights, biases):
            if factor is not None:
                step.params[key] = self._checked(_times(step, key, factor))
        if summand is not None:
            step.params[biases] = self._checked(step.params[biases] + summand.astype(np.float64))
        return signal

    def lined(self, signal: Signal, scale: Array | None, shift: Array | None) -> Signal | None:
        """The same where no step takes it in: of images a depthwise layer of single pixels; vectors keep it."""
        factor = self.per_channel(signal, np.ones(1) if scale is None else scale)
        summand = self.per_channel(signal, np.zeros(1) if shift is None else shift)
        if factor is None or summand is None or len(signal.shape) not in (1, 3):
            return None
        if not (np.isfinite(factor).all() and np.isfinite(summand).all()):
            raise ValueError("expected finite constants")
        if len(signal.shape) == 1:
            before = (np.ones(1), np.zeros(1)) if signal.line is None else signal.line
            return signal._replace(line=(before[0] * factor, before[1] * factor + summand))
        layer = DepthwiseConvolutionLayer(filter_size=1)
        return self.append(signal, layer, {"W": factor.reshape(1, 1, -1, 1), "b": summand})

    def _checked(self, values: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values, self.dtype)

    def _standardized(self, signal: Signal, scale: Array | None, shift: Array | None) -> Signal | None:
        """In front of all other layers it is (x - mean) / deviation."""
        step = self.steps[signal.step]
        constants = [constant for constant in (scale, shift) if constant is not None]
        per = "channel" if all(self.per_channel(signal, constant) is not None for constant in constants) else "value"
        spread = self.per_channel if per == "channel" else self.per_value
        values = [None if constant is None else spread(signal, constant) for constant in (scale, shift)]
        if any((value is None) != (constant is None) for value, constant in zip(values, (scale, shift), strict=True)):
            return None
        factor, summand = (None if value is None else value.astype(np.float64) for value in values)
        mean: Array = np.zeros(1)
        deviation: Array = np.ones(1)
        if step.params is not None:
            mean, deviation = step.params["mean"].astype(np.float64), step.params["deviation"].astype(np.float64)
        # y = (x - mean) / deviation, so that  y * f  has the deviation  deviation / f,  and  y + s  the mean
        # mean - s * deviation.
        with np.errstate(all="ignore"):
            deviation = deviation if factor is None else deviation / factor
            mean = mean if summand is None else mean - summand * deviation
        if not (np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation > 0).all()):
            return None
        shape = signal.shape if per == "value" or mean.ndim > 1 or deviation.ndim > 1 else signal.shape[-1:]
        both = {"mean": np.broadcast_to(mean, shape), "deviation": np.broadcast_to(deviation, shape)}
        layer = StandardizeLayer("channel" if shape == signal.shape[-1:] else "value")
        if step.params is None:
            return self.append(signal, layer, both)
        if not signal.sole:
            return None
        self.take(2 * both["mean"].size)
        step.layer, step.params = layer, {key: self._checked(values) for key, values in both.items()}
        return signal


def _times(step: Step, key: str, factor: Array) -> Array:
    """Parameters times a factor for each channel of the output."""
    assert step.params is not None  # who calls has seen them
    values = step.params[key].astype(np.float64)
    if key != "W":
        return values * factor
    kind = type(step.layer).__name__
    if kind == "TransposedConvolutionLayer":  # (..., filters, channels)
        return values * factor[:, None]
    if kind == "DepthwiseConvolutionLayer":  # (..., channels, multiplier)
        return values * factor.reshape(values.shape[2:])
    return values * factor


def _spread_sizes(shape: Shape, layout: Layout) -> Shape | None:
    """The sizes of a constant along the signal's axes, 1 where it is spread; None if it does not fit."""
    sizes = (1,) * (len(layout) + 1 - len(shape)) + shape
    if len(sizes) != len(layout) + 1 or sizes[0] != 1:
        return None
    if any(size not in (1, length(axis)) for size, axis in zip(sizes[1:], layout, strict=True)):
        return None
    return sizes[1:]
