"""The ONNX graph that layers add their operators to. Needs onnx, the extra `onnx`.

Operators take images as (batch, channels, height, width), layers as (batch, height, width, channels). A `Value` says
which of the two it is, and is turned round where it has to be, which is as seldom as possible.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from cnnx._typing import Array, Shape
from cnnx._version import __version__
from cnnx.checks.arrays import is_finite

# What deployed runtimes read: newer numbers shut many of them out, and nothing here needs them.
OPSET, IR_VERSION = 17, 8
# A protobuf message has less than 2 GiB; what is left is for nodes and names.
MOST_BYTES = 2**31 - 2**24
INPUT = "input"
LARGEST = float(np.finfo(np.float32).max)
# The order of axes that turns an image round.
TO_CHANNELS_FIRST, TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


class Value(NamedTuple):
    """What one operator gives and others take, a batch of examples."""

    name: str
    shape: Shape  # of one example, as layers see it: of an image, (height, width, channels)
    channels_first: bool = False

    def per_channel(self, values: Array) -> Array:
        """A number for each channel, (channels,), in a shape that operators spread over this value."""
        return values.reshape(-1, 1, 1) if self.channels_first else values


class Graph:
    """An ONNX model in the making, in single precision.

    Attributes
    ----------
    model : onnx.ModelProto
    input : Value
        Where it begins.
    """

    def __init__(self, input_shape: Shape) -> None:
        onnx = _import_onnx()
        self.model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="cnnx", producer_version=__version__)
        self.model.opset_import.add(domain="", version=OPSET)
        self.model.graph.name = "cnnx"
        self.input = Value(INPUT, input_shape)
        self.model.graph.input.append(_described(INPUT, input_shape))
        self._names: dict[str, int] = {}
        self._layer, self._prefix, self._bytes = "", "", 0

    def enter(self, layer: str) -> None:
        """What is added from here on belongs to the layer of this name, such as ``layers[0] (DenseLayer)``."""
        self._layer = layer
        # The format wants names like those of variables.
        self._prefix = re.sub(r"\W+", "_", layer.partition(" ")[0]).strip("_")

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator; the name of its output."""
        helper = _import_onnx().helper
        name = self._new_name(operator)
        node = self.model.graph.node.add(name=name, op_type=operator, input=inputs, output=[name])
        for key, value in attributes.items():
            if isinstance(value, float):
                self._check_single(np.asarray(value), key)
            node.attribute.append(helper.make_attribute(key, value))
        return name

    def constant(self, key: str, values: Any) -> str:
        """Add numbers, as float32 or int64; their name.

        Raises
        ------
        ValueError
            If a number is beyond float32, or the file would be larger than a protobuf message may be.
        """
        TensorProto = _import_onnx().TensorProto
        array = np.asarray(values)
        real = array.dtype.kind == "f"
        if real:
            self._check_single(array, key)
        self._bytes += array.size * (4 if real else 8)
        if self._bytes > MOST_BYTES:
            raise ValueError(
                f"{self._layer}: {key}: the model has more than {MOST_BYTES} bytes of parameters, and an ONNX file can "
                "hold 2 GiB"
            )
        name = self._new_name(key)
        self.model.graph.initializer.add(
            name=name,
            data_type=TensorProto.FLOAT if real else TensorProto.INT64,
            dims=array.shape,
            raw_data=array.astype("<f4" if real else "<i8").tobytes(),
        )
        return name

    def channels_first(self, value: Value) -> Value:
        """The same image as operators take it, (batch, channels, height, width); or a vector as it is."""
        return value if value.channels_first or len(value.shape) != 3 else self._turn(value, TO_CHANNELS_FIRST)

    def channels_last(self, value: Value) -> Value:
        """The same as layers take it, (batch, height, width, channels)."""
        return self._turn(value, TO_CHANNELS_LAST) if value.channels_first else value

    def finish(self, value: Value, name: str) -> None:
        """Make a value the model's output, under this name and with the axes in our order."""
        value = self.channels_last(value)
        if value == self.input:
            value = value._replace(name=self.add("Identity", value.name))
        for node in self.model.graph.node:
            for names in (node.input, node.output):
                names[:] = [name if each == value.name else each for each in names]
        self.model.graph.output.append(_described(name, value.shape))

    def _turn(self, value: Value, order: Shape) -> Value:
        turned = self.add("Transpose", value.name, perm=order)
        return Value(turned, value.shape, not value.channels_first)

    def _new_name(self, key: str) -> str:
        """The key behind that of the layer, and a number where that is taken."""
        name = f"{self._prefix}_{key}"
        count = self._names[name] = self._names.get(name, -1) + 1
        return f"{name}_{count}" if count else name

    def _check_single(self, values: Array, key: str) -> None:
        if is_finite(values) and (np.abs(values) > LARGEST).any():
            raise ValueError(f"{self._layer}: {key}: expected numbers within float32, up to {LARGEST:.4g}, got larger")


def _described(name: str, shape: Shape) -> Any:
    onnx = _import_onnx()
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *shape])


def _import_onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ImportError("an ONNX file needs onnx: python -m pip install 'cnnx[onnx]'") from error
    return onnx
