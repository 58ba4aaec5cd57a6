"""Model files: safetensors, with the architecture as JSON in its metadata.

A file holds numbers and text. Layers are looked up in the closed list `LAYERS`, with plain JSON values as
arguments; nothing in a file is ever executed. A file of format 2 has a checksum; one of format 1, from before there
were checksums, is read without.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.files.tensors import CHECKSUM, parse_json, read_tensors, reason, write_tensors
from cnnx.layers import make_layer
from cnnx.layers.base import Layer

FORMAT, WITHOUT_CHECKSUM = 2, 1
DTYPES = ("float32", "float64")
ENTRIES = {"format", "input_shape", "dtype", "layers", "data"}
UNKNOWN_DATA = {"class_names": None, "pixel_max": None}
# More than anybody trains, and read within a second.
MOST_LAYERS = 10_000


class Parts(NamedTuple):
    """What a file holds: layers that are not built yet, for each of them the values to build it with, and more.

    `data` is what the model says of its data, a JSON value for each of its two entries.
    """

    layers: list[Layer]
    input_shape: Shape
    dtype: str
    params: list[dict[str, Array]]
    data: dict[str, Any]


def architecture(layers: Sequence[Layer], input_shape: Shape, dtype: np.dtype[Any]) -> dict[str, Any]:
    """What a model is but for its numbers, as plain JSON values."""
    return {
        "input_shape": list(input_shape),
        "dtype": dtype.name,
        "layers": [layer.description() for layer in layers],
    }


def save(
    path: str | os.PathLike[str],
    layers: Sequence[Layer],
    input_shape: Shape,
    dtype: np.dtype[Any],
    data: Mapping[str, Any],
) -> None:
    """Write a model's file, of its built layers and of what it says of its data."""
    tensors = {
        f"{index}.{key}": value
        for index, layer in enumerate(layers)
        for key, value in {**layer.params, **layer.state}.items()
    }
    metadata = {"cnnx": json.dumps({"format": FORMAT, "data": data, **architecture(layers, input_shape, dtype)})}
    write_tensors(path, tensors, metadata)


def load(path: str | os.PathLike[str]) -> Parts:
    """Read a file that `save` wrote; anything else is a ValueError that says what is wrong with it."""
    metadata, tensors = read_tensors(path)
    with usable(path):
        return _parts(metadata, tensors)


@contextmanager
def usable(path: str | os.PathLike[str]) -> Iterator[None]:
    """Inside, what cannot be made of a file's content is a ValueError that names the file."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{os.fspath(path)}: not a usable cnnx model: {reason(error)}") from None


def _parts(metadata: dict[str, str], tensors: dict[str, Array]) -> Parts:
    if "cnnx" not in metadata:
        raise ValueError("its metadata has no entry 'cnnx'")
    content = parse_json(metadata["cnnx"])
    if not isinstance(content, dict) or not isinstance(content.get("layers"), list):
        raise ValueError("expected an architecture with a list of layers")
    made = content.get("format")
    if type(made) is not int or made not in (WITHOUT_CHECKSUM, FORMAT):
        raise ValueError(f"format: expected {FORMAT}, got {made!r}; a newer cnnx may read it")
    if made != WITHOUT_CHECKSUM and CHECKSUM not in metadata:
        raise ValueError(f"its metadata has no entry {CHECKSUM!r}, as files of format {made} have")
    if made == WITHOUT_CHECKSUM:
        content.setdefault("data", UNKNOWN_DATA)
    for name in sorted(ENTRIES - content.keys()):
        raise KeyError(name)
    if unknown := content.keys() - ENTRIES:
        raise ValueError(f"expected the entries {sorted(ENTRIES)}, got {sorted(unknown)}, too")
    if content["dtype"] not in DTYPES:
        raise ValueError(f"dtype: expected {' or '.join(DTYPES)}, got {content['dtype']!r}")
    input_shape = content["input_shape"]
    if not isinstance(input_shape, list) or not all(type(n) is int and n > 0 for n in input_shape):
        raise ValueError(f"input_shape: expected an integer of 1 or more for each axis, got {input_shape!r}")
    data = content["data"]
    if not isinstance(data, dict) or data.keys() != UNKNOWN_DATA.keys():
        raise ValueError(f"data: expected the entries {sorted(UNKNOWN_DATA)}, got {data!r}")
    layers = _layers(content["layers"])
    return Parts(layers, tuple(input_shape), content["dtype"], _params(len(layers), tensors), data)


def _layers(entries: list[Any]) -> list[Layer]:
    if not 0 < len(entries) <= MOST_LAYERS:
        raise ValueError(f"layers: expected at least one layer and at most {MOST_LAYERS}, got {len(entries) or 'none'}")
    layers = []
    for index, entry in enumerate(entries):
        try:
            layers.append(make_layer(entry))
        except Exception as error:
            raise ValueError(f"layers[{index}]: {reason(error)}") from None
    return layers


def _params(count: int, tensors: dict[str, Array]) -> list[dict[str, Array]]:
    """The tensors of each layer; their names are exactly those that `save` gives."""
    params: dict[str, dict[str, Array]] = {str(index): {} for index in range(count)}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        if index not in params:
            raise ValueError(f"tensor {name!r}: belongs to none of the {count} layers")
        params[index][key] = value
    return list(params.values())
