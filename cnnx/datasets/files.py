"""Readers of data sets in files: IDX, the format of MNIST and its successors, and NumPy's .npz.

An IDX file is two zero bytes, one byte for the type, one for the number of dimensions, a big-endian 32-bit size for
each dimension, then the values, big-endian, the last dimension fastest (http://yann.lecun.com/exdb/mnist/).

A file is not trusted: nothing is unpickled or parsed as Python, what a header announces is not allocated before it has
come, and a compressed file may hold at most `MOST_TIMES` its size and 16 MiB.
"""

import gzip
import io
import math
import os
import re
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias

import numpy as np

from cnnx._typing import Array
from cnnx.checks.files import open_regular

PathLike: TypeAlias = str | os.PathLike[str]
Split: TypeAlias = tuple[Array, Array]
Splits: TypeAlias = tuple[Split, Split]

IDX_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(np.uint8),
    0x09: np.dtype(np.int8),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\x03\x04"
CHUNK = 1 << 20
PREFIXES, KINDS = ("train", "t10k"), ("images-idx3", "labels-idx1")
NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
NPY_MAGIC = b"\x93NUMPY"
NPY_DTYPES = (
    "|b1",
    "|i1",
    "|u1",
    *(f"{order}{kind}" for order in "<>" for kind in ["i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8"]),
)
# What NumPy writes: three entries in any order.
NPY_ENTRY = re.compile(
    rb"\s*'(descr|fortran_order|shape)'\s*:\s*('[^']*'|True|False|\((?:\s*\d+\s*,)*\s*(?:\d+\s*)?\))\s*,?"
)
MOST_NPY_HEADER = 10_000
# Images shrink to a tenth or so; what holds more than this is a bomb.
MOST_TIMES, MOST_ANYWAY = 20, 1 << 24


def read_idx(path: PathLike) -> Array:
    """Read an array from an IDX file, compressed with gzip or not.

    The content decides whether the file is decompressed, not its name. At most one byte more than the header
    announces is read or decompressed, so a small file cannot fill the memory.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    ndarray
        Of the shape and type that the header says (uint8, int8, int16, int32, float32 or float64), in the
        machine's byte order; the caller's own, writable.

    Raises
    ------
    ValueError
        If the file is not IDX, is damaged, or holds fewer or more bytes than its header announces.
    OSError
        If the file cannot be read.
    """
    with open_regular(path) as file:
        magic = file.read(len(GZIP_MAGIC))
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        try:
            if magic != GZIP_MAGIC:
                return read_idx_stream(file, path, size)
            with gzip.GzipFile(fileobj=file) as stream:
                return read_idx_stream(stream, path, most_bytes(size))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: expected intact gzip data, got: {error}") from error
        except MemoryError as error:
            raise ValueError(f"{path}: expected an array that memory can hold; {error}") from error


def most_bytes(size: int) -> int:
    """Bytes that a compressed file of this size may hold."""
    return MOST_TIMES * size + MOST_ANYWAY


def read_idx_stream(stream: IO[bytes] | io.BufferedIOBase, path: PathLike, most: int) -> Array:
    """The array of an IDX file that holds at most `most` bytes; errors name `path`."""
    header = _read(stream, 4)
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] not in IDX_TYPES or header[3] == 0:
        types = ", ".join(f"{code:02x}" for code in IDX_TYPES)
        raise ValueError(
            f"{path}: expected an IDX file, which begins with 00 00, a type (one of {types}) and a number of "
            f"dimensions from 01 on; got {header.hex(' ') or 'an empty file'}"
        )
    dtype, dimensions = IDX_TYPES[header[2]], header[3]
    sizes = _read(stream, 4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError(f"{path}: expected {4 * dimensions} bytes of sizes in the header, got {len(sizes)}")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    announced = math.prod(shape) * dtype.itemsize
    content = _read(stream, min(announced, most) + 1)
    if most < len(content) <= announced:
        raise ValueError(f"{path}: expected at most {most} bytes in a compressed file of this size, got {announced}")
    if len(content) != announced:
        got = "more" if len(content) > announced else str(len(content))
        raise ValueError(f"{path}: expected {announced} bytes after the header, for {shape} {dtype.name}, got {got}")
    try:
        values = np.frombuffer(content, dtype).reshape(shape)
    except ValueError as error:  # more dimensions than NumPy has, or a size 0 beside sizes beyond its limits
        raise ValueError(f"{path}: expected a shape that NumPy can hold, got {shape}") from error
    return values.astype(dtype.newbyteorder("="), copy=False)


def _read(stream: IO[bytes] | io.BufferedIOBase, count: int) -> bytearray:
    """Up to `count` bytes, in chunks: what a header announces is not allocated before it has come."""
    content = bytearray()
    while len(content) < count:
        chunk = stream.read(min(CHUNK, count - len(content)))
        if not chunk:
            break
        content += chunk
    return content


def has_idx(folder: Path) -> bool:
    """Whether one of the four files of MNIST is in a folder, under one of their names."""
    return any((folder / name).is_file() for prefix in PREFIXES for kind in KINDS for name in _names(prefix, kind))


def load_folder(path: PathLike) -> Splits:
    """Read a data set from a folder with the four IDX files of MNIST.

    Their names are ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
    ``t10k-labels-idx1-ubyte``, also with ``.idx`` for ``-idx``, with ``.gz`` at the end, or both. MNIST and
    Fashion-MNIST come like this.

    Parameters
    ----------
    path : str or path-like
        The folder.

    Returns
    -------
    (X_train, y_train), (X_test, y_test) : tuple of tuples of ndarray
        Images (n, height, width, channels), float32, and labels (n,), int64. Images of unsigned 8- or 16-bit
        integers are scaled to [0, 1] by the largest value of their type; images of floats keep their values.
        Images without channels get one.

    Raises
    ------
    ValueError
        If a file is damaged, or the arrays do not fit together.
    OSError
        If a file is missing or cannot be read.
    """
    folder = Path(path)
    parts = []
    for prefix in PREFIXES:
        images, labels = (_find(folder, prefix, kind) for kind in KINDS)
        parts.append((as_images(read_idx(images), str(images)), as_labels(read_idx(labels), str(labels))))
    return as_splits(parts[0], parts[1], str(path))


def _find(folder: Path, prefix: str, kind: str) -> Path:
    names = _names(prefix, kind)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    found = _listing(entry.name for entry in folder.iterdir())
    raise FileNotFoundError(f"{folder}: expected a file {' or '.join(names)}; the folder has {found}")


def _names(prefix: str, kind: str) -> list[str]:
    names = [f"{prefix}-{kind}-ubyte", f"{prefix}-{kind.replace('-', '.')}-ubyte"]
    return names + [f"{name}.gz" for name in names]


def is_npz(path: PathLike) -> bool:
    """Whether a file is a zip archive, going by how it begins."""
    with open_regular(path) as file:
        return file.read(len(ZIP_MAGIC)) == ZIP_MAGIC


def load_npz(path: PathLike) -> Splits:
    """Read a data set from an .npz file, NumPy's own or one in the layout of ``keras.datasets``.

    Parameters
    ----------
    path : str or path-like
        A file with the arrays ``X_train`` (or ``x_train``), ``y_train``, ``X_test`` (or ``x_test``) and ``y_test``:
        images (n, height, width) or (n, height, width, channels), labels integers (n,) or (n, 1).

    Returns
    -------
    (X_train, y_train), (X_test, y_test) : tuple of tuples of ndarray
        As `load_folder` returns them, with the same scaling of integer images.

    Raises
    ------
    ValueError
        If the file is not an .npz or is damaged, an array is missing, or the arrays do not fit together. Arrays of
        Python objects are refused: reading them could run code.
    OSError
        If the file cannot be read.
    """
    if not is_npz(path):
        raise ValueError(f"{path}: expected an .npz file, which is a zip archive of arrays, got another kind of file")
    with open_regular(path) as file:
        try:
            arrays = _npz_arrays(file)
        except ValueError as error:
            raise ValueError(f"{path}: {str(error)[:1000]}") from error
        except Exception as error:  # `zipfile` raises many kinds
            raise ValueError(f"{path}: expected an intact .npz file, got: {error!r}") from error
    try:
        train, test = (
            (as_images(arrays[f"x_{part}"], f"{path}: X_{part}"), as_labels(arrays[f"y_{part}"], f"{path}: y_{part}"))
            for part in ("train", "test")
        )
    except MemoryError as error:
        raise ValueError(f"{path}: expected arrays that memory can hold; {error}") from error
    return as_splits(train, test, str(path))


def _npz_arrays(file: BinaryIO) -> dict[str, Array]:
    """The four arrays; what all of them announce is bounded before any is read."""
    with zipfile.ZipFile(file) as archive:
        names = [entry.filename.removesuffix(".npy") for entry in archive.infolist()]
        entries: dict[str, zipfile.ZipInfo] = {}
        for name, entry in zip(names, archive.infolist(), strict=True):
            if name.lower() in NPZ_ARRAYS:
                if name.lower() in entries:
                    raise ValueError(f"expected one array {name}, got two")
                entries[name.lower()] = entry
        missing = [name for name in NPZ_ARRAYS if name not in entries]
        if missing:
            raise ValueError(
                f"expected the arrays X_train (or x_train), y_train, X_test (or x_test) and y_test; "
                f"{_listing(missing)} missing; the file has {_listing(names)}"
            )
        announced, most = (
            sum(entry.file_size for entry in entries.values()),
            most_bytes(os.fstat(file.fileno()).st_size),
        )
        if announced > most:
            raise ValueError(
                f"expected at most {most} bytes in a file of this size, got {announced}; numpy.savez, without "
                "compression, saves arrays that shrink more"
            )
        return {name: _npy_array(archive, entry) for name, entry in entries.items()}


def _npy_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Array:
    name = entry.filename
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name}: expected to be stored or deflated, as NumPy does, got type {entry.compress_type}")
    with archive.open(entry) as stream:
        start = stream.read(8)
        if len(start) < 8 or start[:6] != NPY_MAGIC or start[6] not in (1, 2, 3):
            raise ValueError(f"{name}: expected an array as NumPy writes it, got {start!r}")
        width = 2 if start[6] == 1 else 4
        length = int.from_bytes(stream.read(width), "little")
        if length > MOST_NPY_HEADER:
            raise ValueError(f"{name}: header: expected at most {MOST_NPY_HEADER} bytes, got {length}")
        dtype, fortran_order, shape = _npy_header(name, stream.read(length))
        needed = math.prod(shape) * dtype.itemsize
        if 8 + width + length + needed != entry.file_size:
            held = entry.file_size - 8 - width - length
            raise ValueError(f"{name}: expected {needed} bytes for {dtype} {shape}, got {held}")
        content = _read(stream, needed + 1)  # the end, too, where the zip archive's checksum is compared
    if len(content) != needed:
        raise ValueError(f"{name}: expected {needed} bytes for {dtype} {shape}, got {len(content)}")
    values = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")
    return values.astype(dtype.newbyteorder("="), copy=False)


def _npy_header(name: str, header: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """Dtype, whether columns come first, and shape. What is not as NumPy writes it is not parsed."""
    text = header.strip()
    entries = dict(NPY_ENTRY.findall(text[1:-1]))
    if text[:1] + text[-1:] != b"{}" or len(entries) != 3 or NPY_ENTRY.sub(b"", text[1:-1]).strip():
        raise ValueError(f"{name}: header: expected descr, fortran_order and shape as NumPy writes them, got {text!r}")
    descr, order, shape = (entries[key].decode() for key in (b"descr", b"fortran_order", b"shape"))
    if descr in ("'|O'", "'O'"):
        raise ValueError(
            "expected an intact .npz file, got: Object arrays cannot be loaded: reading them could run code"
        )
    if descr.strip("'") not in NPY_DTYPES or order not in ("True", "False") or shape[:1] != "(":
        raise ValueError(f"{name}: header: expected numbers and a shape, got {text!r}")
    sizes = tuple(int(size) for size in shape.strip("()").split(",") if size.strip())
    return np.dtype(descr.strip("'")), order == "True", sizes


def as_images(images: Array, source: str) -> Array:
    """Float32 with a channel axis; integers of a known range come to lie in [0, 1]."""
    if images.ndim not in (3, 4):
        raise ValueError(
            f"{source}: expected images of shape (n, height, width) or (n, height, width, channels), got {images.shape}"
        )
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.dtype.kind == "u" and images.dtype.itemsize <= 2:
        return np.divide(images, np.float32(np.iinfo(images.dtype).max), dtype=np.float32)
    if images.dtype.kind not in "fb":
        # Pixels 0..255 in a wider or signed type are common; that type's largest value would blacken them.
        raise ValueError(
            f"{source}: expected images of uint8, uint16 or floats, whose range is known, got {images.dtype}; "
            f"for pixels from 0 to 255, .astype(numpy.uint8)"
        )
    return images.astype(np.float32, copy=False)


def as_labels(labels: Array, source: str) -> Array:
    """Integers (n,)."""
    if labels.ndim == 2 and labels.shape[1] == 1:  # Keras gives CIFAR's labels as a column
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{source}: expected labels as integers of shape (n,), got {labels.dtype} {labels.shape}")
    return labels.astype(np.int64)


def as_splits(train: Split, test: Split, source: str) -> Splits:
    """Both parts, which have to fit together."""
    for name, (images, labels) in (("training", train), ("test", test)):
        if len(images) == 0:
            raise ValueError(f"{source}: expected at least one {name} image, got none")
        if len(images) != len(labels):
            raise ValueError(f"{source}: expected as many {name} images as labels, got {len(images)} and {len(labels)}")
    if train[0].shape[1:] != test[0].shape[1:]:
        raise ValueError(
            f"{source}: expected training and test images of one shape, "
            f"got {train[0].shape[1:]} and {test[0].shape[1:]}"
        )
    return train, test


def _listing(names: Iterable[str], most: int = 8) -> str:
    """Names in one line, however many there are."""
    ordered = sorted(names)
    if not ordered:
        return "nothing"
    rest = len(ordered) - most
    return ", ".join(ordered[:most]) + (f" and {rest} more" if rest > 0 else "")
