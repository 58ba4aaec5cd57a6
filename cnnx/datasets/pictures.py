"""Folders of pictures with a folder for each class, read into memory as bytes. Needs Pillow, the extra `image`."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.files.folders import class_name, files_below, subfolders
from cnnx.files.images import NAMES, PictureHead, check_picture_shape, pillow_is_quiet, read_head, read_pixels

# Names of folders that hold a part of the data each, in lower case.
PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
# Bytes of pictures that are kept in memory; more are kept in a temporary file.
MOST_IN_MEMORY = 1 << 30
# Files whose heads are enough to see how large the pictures are.
LOOKED_AT = 1000
# The longer side that pictures are resized to, where theirs is longer and nobody says another.
LONGEST_SIDE = 64
# Pictures that are decoded side by side before the next ones.
GROUP = 256


class PictureFiles(NamedTuple):
    """Files of pictures and the number of the class of each, (files,)."""

    paths: list[Path]
    labels: Array

    def chosen(self, indices: Array) -> PictureFiles:
        """Some of them, by number or by a mask."""
        kept = np.arange(len(self.paths))[indices]
        return PictureFiles([self.paths[index] for index in kept], self.labels[kept])


class Damaged(NamedTuple):
    """A file that is no intact picture."""

    path: Path
    reason: str


class Pictures(NamedTuple):
    """Pictures that were read, (pictures, height, width, channels) of uint8, labels and files; and what is damaged."""

    X: Array
    y: Array
    damaged: list[Damaged]
    paths: list[Path]


def find_parts(folder: Path) -> dict[str, Path]:
    """The folders for training, validation and test in a folder; itself for training, if there are none.

    They are there if one for training is, and no folder of another name.
    """
    found: dict[str, Path] = {}
    for path in subfolders(folder):
        part = next((part for part, names in PARTS.items() if path.name.lower() in names), None)
        if part is None or part in found:
            return {"train": folder}
        found[part] = path
    return found if "train" in found and subfolders(found["train"]) else {"train": folder}


def class_names(folder: Path) -> tuple[str, ...]:
    """Names of the classes of a folder with a folder for each, sorted.

    Raises
    ------
    ValueError
        If there are not two classes or more, or two have one name.
    OSError
        If it cannot be read.
    """
    names = tuple(map(class_name, subfolders(folder)))
    if len(names) < 2:
        found = f"only {names[0]}" if names else "no folder"
        raise ValueError(f"{folder}: expected a folder of pictures for each class, two or more, found {found}")
    if len(set(names)) < len(names):
        raise ValueError(f"{folder}: expected folders with different names, got {', '.join(names)}")
    return names


def find_files(folder: Path, numbers: Mapping[str, int]) -> PictureFiles:
    """All files of a folder's classes.

    Parameters
    ----------
    folder : Path
    numbers : mapping of str to int
        The number of each class, by its name.

    Raises
    ------
    ValueError
        If a folder has another name, or none has a file.
    OSError
        If one cannot be read.
    """
    paths: list[Path] = []
    labels: list[int] = []
    for of_class in subfolders(folder):
        name = class_name(of_class)
        if name not in numbers:
            raise ValueError(f"{folder}: expected folders of the classes {', '.join(numbers)}, found {name}")
        files = list(files_below(of_class))
        paths += files
        labels += [numbers[name]] * len(files)
    if not paths:
        raise ValueError(f"{folder}: expected pictures ({NAMES}) in a folder for each class, found none")
    return PictureFiles(paths, np.array(labels, np.int64))


def choose_shape(paths: Sequence[Path], size: tuple[int, int] | None = None) -> Shape:
    """The shape that pictures are brought to: their usual one, but for what `LONGEST_SIDE` says.

    Parameters
    ----------
    paths : sequence of Path
        Those that are damaged are not looked at.
    size : pair of int, optional
        Height and width, if they are known.

    Returns
    -------
    (height, width, channels)
        In grey, if all pictures that were looked at are.

    Raises
    ------
    ValueError
        If none of them is a picture.
    """
    step = -(-len(paths) // LOOKED_AT)
    heads = list(_heads(paths[::step]))
    if not heads:
        raise ValueError(f"{paths[0]}: expected pictures ({NAMES}), found none that is intact")
    if size is None:
        height, width = (statistics.median(sides) for sides in list(zip(*heads, strict=True))[:2])
        scale = min(1, LONGEST_SIDE / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
    return (*size, 1 if all(head.grey for head in heads) else 3)


def _heads(paths: Iterable[Path]) -> Iterator[PictureHead]:
    with pillow_is_quiet():
        for path in paths:
            try:
                yield read_head(path)
            except (ValueError, OSError):  # it is named when it is read
                continue


def read_pictures(files: PictureFiles, shape: Shape) -> Pictures:
    """Read files as pictures of one shape; those that are damaged are left out.

    Parameters
    ----------
    files : PictureFiles
    shape : tuple of int
        (height, width, channels).

    Returns
    -------
    Pictures
        More than `MOST_IN_MEMORY` bytes are in a temporary file.

    Raises
    ------
    ImportError
        Without Pillow.
    ValueError
        If `shape` is not that of a picture.
    OSError
        If the temporary file cannot be written.
    """
    check_picture_shape(shape)
    damaged: list[Damaged] = []
    labels: list[int] = []
    paths: list[Path] = []

    def intact() -> Iterator[Array]:
        results = zip(files.paths, files.labels, _read_all(files.paths, shape), strict=True)
        for path, label, pixels in results:
            if isinstance(pixels, str):
                damaged.append(Damaged(path, pixels))
            else:
                labels.append(label)
                paths.append(path)
                yield pixels

    X = _stacked(intact(), len(files.paths), shape)
    return Pictures(X, np.array(labels, np.int64), damaged, paths)


def _stacked(pictures: Iterator[Array], most: int, shape: Shape) -> Array:
    """Up to so many pictures as one array, in memory or in a file."""
    if most * int(np.prod(shape)) <= MOST_IN_MEMORY:
        X: Array = np.empty((most, *shape), np.uint8)
        count = 0
        for picture in pictures:
            X[count] = picture
            count += 1
        return X[:count]
    count = 0
    with tempfile.TemporaryFile(prefix="cnnx-") as file:
        # Written, not mapped: of a disk that is full, a mapped file would say nothing until it kills the process.
        for picture in pictures:
            file.write(picture.tobytes())
            count += 1
        if not count:
            return np.empty((0, *shape), np.uint8)
        file.flush()
        return np.memmap(file, np.uint8, "r", shape=(count, *shape))


def _read_all(paths: Sequence[Path], shape: Shape) -> Iterator[Array | str]:
    """The pixels of each file, or why there are none."""
    read = partial(_read, shape=shape)
    with pillow_is_quiet(), ThreadPoolExecutor(_kernels.get_num_threads()) as executor:
        for start in range(0, len(paths), GROUP):
            yield from executor.map(read, paths[start : start + GROUP])


def _read(path: Path, shape: Shape) -> Array | str:
    try:
        return read_pixels(path, shape)[0]
    except (ValueError, OSError) as error:
        return str(error).removeprefix(f"{path}: ")
