"""Safetensors files: named arrays of numbers and a text for each key of the metadata, and no code.

The safetensors library writes and reads the arrays; header and checksum are ours. The header is JSON behind eight
bytes with its length (https://github.com/huggingface/safetensors#format). A file is read as a stranger's: its header
is bounded before it is parsed. One that was written here has a checksum in its metadata: SHA-256 of all its bytes,
with the 64 digits of the checksum itself as zeros.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from cnnx._typing import Array
from cnnx.checks.files import open_regular
from cnnx.files.writing import Chunk, write_file

DTYPES = frozenset(
    ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool")
)
METADATA, CHECKSUM = "__metadata__", "checksum"
NO_CHECKSUM = "0" * 64
# What a header may hold, so that the objects made of it take no more memory than twice the file and 50 MB.
MOST_BYTES, MOST_VALUES, MOST_CONTAINERS = 2**24, 10**6, 10**5

Content: TypeAlias = tuple[dict[str, str], dict[str, Array]]


def write_tensors(
    path: str | os.PathLike[str], tensors: dict[str, Array], metadata: dict[str, str], keep_previous: bool = False
) -> None:
    """Write a safetensors file with a checksum, as `write_file` does."""
    from safetensors.numpy import save

    for name, value in tensors.items():
        if value.dtype.name not in DTYPES:
            raise TypeError(f"{name}: expected an array of numbers, got dtype {value.dtype}")
    saved = save({name: np.asarray(value, value.dtype.newbyteorder("="), "C") for name, value in tensors.items()})
    start = _start_of_data(saved)
    # The library orders metadata at random; here the checksum comes first, so that the first zeros are its own.
    content = {METADATA: {CHECKSUM: NO_CHECKSUM} | metadata | {CHECKSUM: NO_CHECKSUM}} | json.loads(saved[8:start])
    text = json.dumps(content)
    _check_size(text)
    header = text.encode()
    header += b" " * (-len(header) % 8)
    length, data = len(header).to_bytes(8, "little"), memoryview(saved)[start:]
    signed = header.replace(NO_CHECKSUM.encode(), _checksum([length, header, data]).encode(), 1)
    write_file(path, [length, signed, data], keep_previous)


def read_tensors(path: str | os.PathLike[str]) -> Content:
    """Metadata and tensors of a safetensors file; anything else is a ValueError that says what is wrong with it.

    The file is read, not mapped, for one that shrinks under a mapping kills the process. A checksum, if there is one,
    has been compared and is in the metadata; who needs one looks for it there.
    """
    from safetensors import SafetensorError

    target = os.fspath(path)
    with open_regular(target) as file:
        try:
            return _read(file.read())
        except MemoryError:
            raise ValueError(f"{target}: {os.fstat(file.fileno()).st_size} bytes do not fit into memory") from None
        except (ValueError, TypeError, OverflowError, RecursionError, SafetensorError) as error:
            raise ValueError(f"{target}: not a safetensors file: {reason(error)}") from None


def reason(error: Exception) -> str:
    """What an error says, for one that names the file: a part of it, where a file's text makes it endless."""
    text = f"missing {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return text if len(text) <= 1200 else f"{text[:900]} ... {text[-200:]}"


def parse_json(text: str, convert: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """What JSON says, each object converted; a ValueError if it is none, has a key twice, or is too large or deep."""
    _check_size(text)

    def unique(pairs: list[tuple[str, Any]]) -> Any:
        entries = dict(pairs)
        if len(entries) != len(pairs):
            raise ValueError(f"expected each key once, got {[key for key, _ in pairs]}")
        return entries if convert is None else convert(entries)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except RecursionError:
        raise ValueError("expected JSON that is not nested without end") from None


def _check_size(text: str) -> None:
    for count, most, what in (
        (len(text), MOST_BYTES, "bytes"),
        (text.count(","), MOST_VALUES, "values"),
        (text.count("[") + text.count("{"), MOST_CONTAINERS, "lists and objects"),
    ):
        if count > most:
            raise ValueError(f"header: expected at most {most} {what}, got {count}")


def _read(raw: bytes) -> Content:
    from safetensors.numpy import load

    start = _start_of_data(raw)
    header = parse_json(raw[8:start].decode())
    if not isinstance(header, dict):
        raise ValueError("header: expected a JSON object")
    metadata = header.get(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("metadata: expected a text for each key")
    saved = metadata.get(CHECKSUM)
    if saved is not None:
        zeros = raw[8:start].replace(saved.encode(), NO_CHECKSUM.encode(), 1)
        computed = _checksum([raw[:8], zeros, memoryview(raw)[start:]])
        if saved != computed:
            raise ValueError(f"{CHECKSUM}: expected {saved}, as saved, got {computed}: the file is damaged")
    try:
        tensors = load(raw)
    except KeyError as error:
        raise ValueError(f"dtype: expected one of {tuple(sorted(DTYPES))}, got {error}") from None
    for name, value in tensors.items():
        if value.dtype.name not in DTYPES:
            raise ValueError(f"tensor {name!r}: expected an array of numbers, got dtype {value.dtype}")
        if value.dtype == np.bool_ and (value.view(np.uint8) > 1).any():
            raise ValueError(f"tensor {name!r}: expected 0 or 1 for each BOOL")
    return metadata, tensors


def _start_of_data(raw: bytes) -> int:
    count = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or count > min(len(raw) - 8, MOST_BYTES):
        size = len(raw)
        raise ValueError(f"header: expected a length that {size} bytes can hold, and {MOST_BYTES} at most, got {count}")
    return 8 + count


def _checksum(parts: Iterable[Chunk]) -> str:
    checksum = hashlib.sha256()
    for part in parts:
        checksum.update(part)
    return checksum.hexdigest()
