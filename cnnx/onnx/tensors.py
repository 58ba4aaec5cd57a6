"""Tensors of ONNX as arrays: sizes are compared, in whole numbers, before there is an array."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from cnnx._typing import Array


class Kind(NamedTuple):
    """A type of elements: NumPy's, in ONNX's order of bytes, and the field with elements that are no raw bytes."""

    dtype: np.dtype[Any]
    field: str


# By the numbers of TensorProto.DataType.
KINDS = {
    1: Kind(np.dtype("<f4"), "float_data"),
    6: Kind(np.dtype("<i4"), "int32_data"),
    7: Kind(np.dtype("<i8"), "int64_data"),
    9: Kind(np.dtype("?"), "int32_data"),
    11: Kind(np.dtype("<f8"), "double_data"),
}
NAMES = {2: "uint8", 3: "int8", 8: "text", 10: "float16", 16: "bfloat16"}
MOST_AXES = 8


def decode(tensor: Any, name: str) -> Array:
    """The array of a TensorProto, which cannot be written.

    Raises
    ------
    ValueError
        If its type is not one of `KINDS`, or its elements are more or fewer than its shape says.
    """
    kind = KINDS.get(tensor.data_type)
    if kind is None:
        came = NAMES.get(tensor.data_type, f"type {tensor.data_type}")
        raise ValueError(f"tensor {name!r}: expected float32, float64, int32, int64 or bool, got {came}")
    shape = tuple(tensor.dims)
    if len(shape) > MOST_AXES or any(size < 0 for size in shape):
        raise ValueError(f"tensor {name!r}: expected up to {MOST_AXES} sizes of 0 or more, got {shape!s:.60}")
    elements = getattr(tensor, kind.field)
    content: bytes = tensor.raw_data
    count = math.prod(shape)
    found = len(content) if content else len(elements)
    if found != (count * kind.dtype.itemsize if content else count) or (content and len(elements)):
        raise ValueError(f"tensor {name!r}: its data are not those of {kind.dtype.name} of shape {shape}")
    values = np.frombuffer(content, kind.dtype) if content else np.array(elements, kind.dtype)
    values = values.astype(kind.dtype.newbyteorder("="), copy=False).reshape(shape)
    values.setflags(write=False)
    return values
