"""Model files: safetensors, with the architecture as JSON in its metadata.

A file holds numbers and text. Layers are looked up in the closed list `LAYERS`, with plain JSON values as
arguments; nothing in a file is ever executed.
"""

import json
import os
from typing import Any

from cnnx._typing import Array
from cnnx.layers import make_layer
from cnnx.network import Model

FORMAT = 1


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model's file."""
    write_tensors(path, _tensors(model), {"cnnx": json.dumps({"format": FORMAT, **architecture(model)})})


def load(path: str | os.PathLike[str]) -> Model:
    """Read a file that `save` wrote; anything else is a ValueError that says what is wrong with it."""
    target = os.fspath(path)
    metadata, tensors = read_tensors(target)
    try:
        return _restore(metadata, tensors)
    except (KeyError, TypeError, ValueError, MemoryError, OverflowError, RecursionError) as error:
        reason = f"missing {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{target}: not a usable cnnx model: {reason}") from None


def architecture(model: Model) -> dict[str, Any]:
    """What a model is but for its numbers, as plain JSON values."""
    return {
        "input_shape": list(model.input_shape),
        "dtype": model.dtype.name,
        "layers": [layer.description() for layer in model.layers],
    }


def write_tensors(path: str | os.PathLike[str], tensors: dict[str, Array], metadata: dict[str, str]) -> None:
    """Write a safetensors file beside its place first, so that a crash leaves the old one whole."""
    from safetensors.numpy import save as to_bytes

    content = to_bytes(tensors, metadata=metadata)
    target = os.fspath(path)
    unfinished = f"{target}.{os.getpid()}.part"
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    except BaseException:
        if os.path.exists(unfinished):
            os.remove(unfinished)
        raise


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Array]]:
    """Metadata and tensors of a safetensors file; anything else is a ValueError."""
    from safetensors import SafetensorError, safe_open

    target = os.fspath(path)
    with open(target, "rb"):
        pass  # a missing or unreadable file is an OSError that names it
    try:
        with safe_open(target, framework="numpy") as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise ValueError(f"{target}: not a safetensors file: {error}") from None


def _tensors(model: Model) -> dict[str, Array]:
    return {
        f"{index}.{key}": value
        for index, layer in enumerate(model.layers)
        for key, value in {**layer.params, **layer.state}.items()
    }


def _restore(metadata: dict[str, str], tensors: dict[str, Array]) -> Model:
    if "cnnx" not in metadata:
        raise ValueError("its metadata has no entry 'cnnx'")
    architecture = json.loads(metadata["cnnx"])
    if not isinstance(architecture, dict) or not isinstance(architecture.get("layers"), list):
        raise ValueError("expected an architecture with a list of layers")
    if architecture.get("format") != FORMAT:
        raise ValueError(f"format: expected {FORMAT}, got {architecture.get('format')!r}; a newer cnnx may read it")
    model = Model(*(make_layer(entry) for entry in architecture["layers"]))
    params: list[dict[str, Array]] = [{} for _ in model.layers]
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        if not index.isdecimal() or int(index) >= len(params):
            raise ValueError(f"tensor {name}: belongs to none of the {len(params)} layers")
        params[int(index)][key] = value
    model.build(tuple(architecture["input_shape"]), dtype=architecture["dtype"], params=params)
    return model
