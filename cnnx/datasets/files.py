"""Readers of data sets in files: IDX, the format of MNIST and its successors, and NumPy's .npz.

An IDX file is two zero bytes, one byte for the type, one for the number of dimensions, a big-endian 32-bit size for
each dimension, then the values, big-endian, the last dimension fastest (http://yann.lecun.com/exdb/mnist/).

A file is not trusted: nothing is unpickled, and what an IDX header announces is not allocated before it has come.
"""

import gzip
import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from cnnx._typing import Array

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
NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


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
    with open(path, "rb") as file:
        magic = file.read(len(GZIP_MAGIC))
        file.seek(0)
        if magic != GZIP_MAGIC:
            return _read_idx(file, path)
        try:
            with gzip.GzipFile(fileobj=file) as stream:
                return _read_idx(stream, path)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: expected intact gzip data, got: {error}") from error


def _read_idx(stream: IO[bytes] | io.BufferedIOBase, path: PathLike) -> Array:
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
    content = _read(stream, announced + 1)
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
    for prefix in ("train", "t10k"):
        images, labels = (_find(folder, prefix, kind) for kind in ("images-idx3", "labels-idx1"))
        parts.append((_images(read_idx(images), str(images)), _labels(read_idx(labels), str(labels))))
    return _splits(parts[0], parts[1], str(path))


def _find(folder: Path, prefix: str, kind: str) -> Path:
    names = [f"{prefix}-{kind}-ubyte", f"{prefix}-{kind.replace('-', '.')}-ubyte"]
    names += [f"{name}.gz" for name in names]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    found = _listing(entry.name for entry in folder.iterdir())
    raise FileNotFoundError(f"{folder}: expected a file {' or '.join(names)}; the folder has {found}")


def is_npz(path: PathLike) -> bool:
    """Whether a file is a zip archive, going by how it begins."""
    with open(path, "rb") as file:
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
    try:
        # Opened here, because np.load leaves a damaged file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            names = archive.files
            arrays = {name.lower(): archive[name] for name in names if name.lower() in NPZ_ARRAYS}
    except (ValueError, OSError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path}: expected an intact .npz file, got: {reason}") from error
    missing = [name for name in NPZ_ARRAYS if name not in arrays]
    if missing:
        raise ValueError(
            f"{path}: expected the arrays X_train (or x_train), y_train, X_test (or x_test) and y_test; "
            f"{_listing(missing)} missing; the file has {_listing(names)}"
        )
    train, test = (
        (_images(arrays[f"x_{part}"], f"{path}: X_{part}"), _labels(arrays[f"y_{part}"], f"{path}: y_{part}"))
        for part in ("train", "test")
    )
    return _splits(train, test, str(path))


def _images(images: Array, source: str) -> Array:
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


def _labels(labels: Array, source: str) -> Array:
    if labels.ndim == 2 and labels.shape[1] == 1:  # Keras gives CIFAR's labels as a column
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{source}: expected labels as integers of shape (n,), got {labels.dtype} {labels.shape}")
    return labels.astype(np.int64)


def _splits(train: Split, test: Split, source: str) -> Splits:
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
