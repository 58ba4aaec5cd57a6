"""Safetensors files: named arrays of numbers and a text for each key of the metadata, and no code."""

import os

from cnnx._typing import Array


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
