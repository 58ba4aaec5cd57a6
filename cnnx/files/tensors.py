"""Safetensors files: named arrays of numbers and a text for each key of the metadata, and no code.

Eight bytes, little-endian, with the header's length; the header, JSON; then the arrays' bytes, one after the other
(https://github.com/huggingface/safetensors#format). A file is read as a stranger's: nothing is allocated before its
header and its size agree. One that was written here has a checksum in its metadata: SHA-256 of all its bytes, with the
64 digits of the checksum itself as zeros.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.checks.files import open_regular
from cnnx.files.writing import write_file

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
METADATA, CHECKSUM = "__metadata__", "checksum"
NO_CHECKSUM = "0" * 64
# What a header may hold, so that the objects made of it take no more memory than twice the file and 50 MB.
MOST_BYTES, MOST_VALUES, MOST_CONTAINERS = 2**24, 10**6, 10**5

Content: TypeAlias = tuple[dict[str, str], dict[str, Array]]


class Entry(NamedTuple):
    """A tensor as the header announces it; its bytes lie from `begin` to `end` behind the header."""

    begin: int
    end: int
    name: str
    shape: Shape
    dtype: np.dtype[Any]


def write_tensors(
    path: str | os.PathLike[str], tensors: dict[str, Array], metadata: dict[str, str], keep_previous: bool = False
) -> None:
    """Write a safetensors file with a checksum, as `write_file` does."""
    arrays = {}
    for name, value in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        dtype = value.dtype.newbyteorder("<")
        if dtype not in NAMES:
            raise TypeError(f"{name}: expected an array of numbers, got dtype {value.dtype}")
        arrays[name] = np.asarray(value, dtype, order="C")
    # The checksum comes first, so that the first zeros are its own.
    content: dict[str, Any] = {METADATA: {CHECKSUM: NO_CHECKSUM} | metadata | {CHECKSUM: NO_CHECKSUM}}
    end = 0
    for name, value in arrays.items():
        begin, end = end, end + value.nbytes
        content[name] = {"dtype": NAMES[value.dtype], "shape": list(value.shape), "data_offsets": [begin, end]}
    text = json.dumps(content)
    _check_size(text)
    header = text.encode()
    header += b" " * (-len(header) % 8)
    parts = [_bytes(value) for value in arrays.values()]
    length = len(header).to_bytes(8, "little")
    header = header.replace(NO_CHECKSUM.encode(), _checksum(length, header, parts).encode(), 1)
    write_file(path, [length, header, *parts], keep_previous)


def read_tensors(path: str | os.PathLike[str]) -> Content:
    """Metadata and tensors of a safetensors file; anything else is a ValueError that says what is wrong with it.

    A checksum, if there is one, has been compared and is in the metadata; who needs one looks for it there.
    """
    target = os.fspath(path)
    with open_regular(target) as file:
        try:
            return _read(file, os.fstat(file.fileno()).st_size)
        except (ValueError, TypeError, OverflowError, MemoryError, RecursionError) as error:
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


def _read(file: BinaryIO, size: int) -> Content:
    length = file.read(8)
    count = int.from_bytes(length, "little")
    if len(length) < 8 or count > min(size - 8, MOST_BYTES):
        raise ValueError(f"header: expected a length that {size} bytes can hold, and {MOST_BYTES} at most, got {count}")
    header = file.read(count)
    content = parse_json(header.decode())
    if header[:1] != b"{" or not isinstance(content, dict):
        raise ValueError("header: expected a JSON object")
    metadata = content.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("metadata: expected a text for each key")
    entries = sorted(_entry(name, value) for name, value in content.items())
    end = 0
    for entry in entries:
        if entry.begin != end:
            raise ValueError(f"tensor {entry.name!r}: data_offsets: expected to begin at {end}, got {entry.begin}")
        end = entry.end
    if 8 + count + end != size:
        raise ValueError(f"expected {8 + count + end} bytes, as the header says, got {size}")
    arrays = [_array(file, entry) for entry in entries]
    saved = metadata.get(CHECKSUM)
    if saved is not None:
        zeros = header.replace(saved.encode(), NO_CHECKSUM.encode(), 1)
        computed = _checksum(length, zeros, [_bytes(array) for array in arrays])
        if saved != computed:
            raise ValueError(f"{CHECKSUM}: expected {saved}, as saved, got {computed}: the file is damaged")
    native = (array.astype(array.dtype.newbyteorder("="), copy=False) for array in arrays)
    return metadata, dict(zip((entry.name for entry in entries), native, strict=True))


def _entry(name: str, value: Any) -> Entry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r}: expected dtype, shape and data_offsets, got {value!r}")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"tensor {name!r}: dtype: expected one of {tuple(DTYPES)}, got {dtype!r}")
    for key, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
            raise ValueError(f"tensor {name!r}: {key}: expected a list of counts, got {numbers!r}")
    needed = math.prod(shape) * DTYPES[dtype].itemsize
    if len(offsets) != 2 or offsets[1] - offsets[0] != needed:
        raise ValueError(f"tensor {name!r}: data_offsets: expected {needed} bytes for {dtype} {shape}, got {offsets}")
    return Entry(offsets[0], offsets[1], name, tuple(shape), DTYPES[dtype])


def _array(file: BinaryIO, entry: Entry) -> Array:
    """A tensor's values; the file is read, not mapped, for one that shrinks under a mapping kills the process."""
    try:
        value = np.empty(entry.shape, entry.dtype)
    except (ValueError, MemoryError) as error:
        raise ValueError(f"tensor {entry.name!r}: {entry.end - entry.begin} bytes: {error}") from None
    if value.nbytes and file.readinto(_bytes(value)) != value.nbytes:  # type: ignore[attr-defined]
        raise ValueError(f"tensor {entry.name!r}: the file was cut off while it was read")
    if entry.dtype == np.bool_ and (value.view(np.uint8) > 1).any():
        raise ValueError(f"tensor {entry.name!r}: expected 0 or 1 for each BOOL")
    return value


def _bytes(value: Array) -> memoryview:
    content: Any = value.reshape(-1).view(np.uint8)  # before Python 3.12, types know no buffers
    return memoryview(content)


def _checksum(length: bytes, header: bytes, parts: list[memoryview]) -> str:
    checksum = hashlib.sha256(length)
    checksum.update(header)
    for part in parts:
        checksum.update(part)
    return checksum.hexdigest()
