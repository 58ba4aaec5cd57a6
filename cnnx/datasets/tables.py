"""Pixels in CSV files, as MNIST and its successors are passed around: a line for each image, the label and the pixels.

A first line with names, such as ``label,pixel0,pixel1,…``, may say where the label is; without, it comes first. A file
is not trusted: lines are bounded before they are read, and a compressed file may hold at most `MOST_TIMES` its size and
16 MiB.
"""

import gzip
import io
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from cnnx._typing import Array
from cnnx.checks.files import open_regular
from cnnx.datasets.files import GZIP_MAGIC, PathLike, Split, as_images, most_bytes

ENDINGS = (".csv", ".csv.gz")
LABELS = ("label", "class")
# A line has 32,000 bytes for 28x28 pixels in three colours of ten characters each.
LONGEST_LINE = 1 << 22
# Lines whose numbers are looked at together.
LINES = 512
MOST_LABEL, MOST_PIXEL = 2**31, 255
# Of a line, in an error.
SHOWN = 40


def is_csv(path: Path) -> bool:
    """Whether a file is called a CSV file; any text may be the beginning of one."""
    return path.name.lower().endswith(ENDINGS)


def find_csv_pair(folder: Path) -> tuple[Path, Path] | None:
    """The CSV files of a folder for training and for test, if one of each and no other is there."""
    files = [path for path in folder.iterdir() if is_csv(path) and path.is_file()]
    train, test = ([path for path in files if part in path.name.lower()] for part in ("train", "test"))
    return (train[0], test[0]) if len(train) == len(test) == 1 and len(files) == 2 and train != test else None


def load_csv(path: PathLike) -> Split:
    """Read images and labels from a CSV file of pixels, compressed with gzip or not.

    Parameters
    ----------
    path : str or path-like
        A file in which each line has a label, a whole number from 0, and pixels from 0 to 255, with commas between
        them: n * n of grey images, or 3 * n * n of images in colour, red, green and blue of each pixel together. If
        the first line has names, the label is in the column ``label`` or ``class``; without names, in the first one.

    Returns
    -------
    X, y : ndarray
        Images (examples, n, n, 1 or 3), float32, scaled to [0, 1] as by `load_folder`, and labels (examples,), int64.

    Raises
    ------
    ValueError
        If the file is something else; the message names the line.
    OSError
        If the file cannot be read.
    """
    with open_regular(path) as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        size = os.fstat(file.fileno()).st_size
        file.seek(0)
        try:
            if not compressed:
                return _read(file, path, size)
            with gzip.GzipFile(fileobj=file) as stream:
                return _read(stream, path, most_bytes(size))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: expected intact gzip data, got: {error}") from error
        except MemoryError as error:
            raise ValueError(f"{path}: expected images that memory can hold; {error}") from error


def _read(stream: IO[bytes] | io.BufferedIOBase, path: PathLike, most: int) -> Split:
    lines = _lines(stream, path, most)
    _, first = next(lines, (0, b""))
    names = _names(first)
    label = _label_column(names, f"{path}: line 1") if names else 0
    count = len(names) or first.count(b",") + 1
    shape = _image_shape(count - 1, f"{path}: line 1")
    images, labels = [], []
    for numbered in _groups(lines, [] if names else [(1, first)]):
        values = _numbers(numbered, count, label, path)
        labels.append(values[:, label].astype(np.int64))
        images.append(np.delete(values, label, axis=1).astype(np.uint8))
    if not images:
        raise ValueError(f"{path}: expected a line for each image, got none")
    return as_images(np.concatenate(images).reshape(-1, *shape), str(path)), np.concatenate(labels)


def _lines(stream: IO[bytes] | io.BufferedIOBase, path: PathLike, most: int) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, with their numbers from 1; no more bytes in all than the file may hold."""
    number, read = 0, 0
    while line := stream.readline(LONGEST_LINE + 1):
        number, read = number + 1, read + len(line)
        if len(line) > LONGEST_LINE:
            raise ValueError(f"{path}: line {number}: expected at most {LONGEST_LINE} bytes, got more")
        if read > most:
            raise ValueError(f"{path}: expected at most {most} bytes in a compressed file of this size, got more")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line := line.strip():
            yield number, line


def _groups(lines: Iterator[tuple[int, bytes]], group: list[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    for line in lines:
        group.append(line)
        if len(group) == LINES:
            yield group
            group = []
    if group:
        yield group


def _names(line: bytes) -> list[str]:
    """Names of columns, if the line has such; none of numbers."""
    words = [word.strip().strip('"').lower() for word in line.decode("latin-1").split(",")]
    return words if any(word[:1].isalpha() for word in words) else []


def _label_column(names: list[str], where: str) -> int:
    found = [index for index, name in enumerate(names) if name in LABELS]
    if len(found) != 1:
        raise ValueError(f"{where}: expected one column named {' or '.join(LABELS)}, got {len(found) or 'none'}")
    return found[0]


def _image_shape(pixels: int, where: str) -> tuple[int, int, int]:
    """Of a square image in grey or colour; no number of pixels is both."""
    for channels in (1, 3):
        side = math.isqrt(pixels // channels)
        if pixels and side * side * channels == pixels:
            return side, side, channels
    raise ValueError(f"{where}: expected a label and n * n or 3 * n * n pixels, got {pixels + 1} columns")


def _numbers(numbered: list[tuple[int, bytes]], count: int, label: int, path: PathLike) -> Array:
    """The numbers of some lines, (lines, count); one that is not as expected is found by reading each by itself."""
    values = _parse([line for _, line in numbered], count, label)
    if values is not None:
        return values
    for number, line in numbered:
        if _parse([line], count, label) is None:
            shown = line[:SHOWN].decode("ascii", "backslashreplace") + ("..." if len(line) > SHOWN else "")
            raise ValueError(
                f"{path}: line {number}: expected a label from 0 and {count - 1} whole numbers from 0 to 255, with "
                f"commas between them, got {line.count(b',') + 1} columns: {shown!r}"
            )
    raise AssertionError("lines that can be read one by one can be read together")


def _parse(lines: list[bytes], count: int, label: int) -> Array | None:
    """The numbers of some lines, if all of them are as expected."""
    if any(line.count(b",") != count - 1 for line in lines):
        return None
    texts = [line.decode("ascii", "replace") for line in lines]
    try:
        values: Array = np.loadtxt(texts, np.float64, comments=None, delimiter=",", ndmin=2)
    except (ValueError, OverflowError):
        return None
    most = np.full(count, MOST_PIXEL)
    most[label] = MOST_LABEL
    is_right = (values == np.floor(values)) & (values >= 0) & (values <= most)
    return values if is_right.all() else None
