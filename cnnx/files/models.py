"""Model files: safetensors, with the architecture as JSON in its metadata.

A file holds numbers and text. Layers are looked up in the closed list `LAYERS`, with plain JSON values as
arguments; nothing in a file is ever executed.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.files.tensors import read_tensors, write_tensors
from cnnx.layers import make_layer
from cnnx.layers.base import Layer

FORMAT = 1


class Parts(NamedTuple):
    """What a file holds: layers that are not built yet, and for each of them the values to build it with."""

    layers: list[Layer]
    input_shape: Shape
    dtype: str
    params: list[dict[str, Array]]


def architecture(layers: Sequence[Layer], input_shape: Shape, dtype: np.dtype[Any]) -> dict[str, Any]:
    """What a model is but for its numbers, as plain JSON values."""
    return {
        "input_shape": list(input_shape),
        "dtype": dtype.name,
        "layers": [layer.description() for layer in layers],
    }


def save(path: str | os.PathLike[str], layers: Sequence[Layer], input_shape: Shape, dtype: np.dtype[Any]) -> None:
    """Write a model's file, of its built layers."""
    tensors = {
        f"{index}.{key}": value
        for index, layer in enumerate(layers)
        for key, value in {**layer.params, **layer.state}.items()
    }
    metadata = {"cnnx": json.dumps({"format": FORMAT, **architecture(layers, input_shape, dtype)})}
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
    except (KeyError, TypeError, ValueError, MemoryError, OverflowError, RecursionError) as error:
        reason = f"missing {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{os.fspath(path)}: not a usable cnnx model: {reason}") from None


def _parts(metadata: dict[str, str], tensors: dict[str, Array]) -> Parts:
    if "cnnx" not in metadata:
        raise ValueError("its metadata has no entry 'cnnx'")
    content = json.loads(metadata["cnnx"])
    if not isinstance(content, dict) or not isinstance(content.get("layers"), list):
        raise ValueError("expected an architecture with a list of layers")
    if content.get("format") != FORMAT:
        raise ValueError(f"format: expected {FORMAT}, got {content.get('format')!r}; a newer cnnx may read it")
    layers = [make_layer(entry) for entry in content["layers"]]
    if not layers:
        raise ValueError("expected at least one layer, got none")
    params: list[dict[str, Array]] = [{} for _ in layers]
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        if not index.isdecimal() or int(index) >= len(params):
            raise ValueError(f"tensor {name}: belongs to none of the {len(params)} layers")
        params[int(index)][key] = value
    return Parts(layers, tuple(content["input_shape"]), content["dtype"], params)
