"""Batches from a folder of images with a subfolder for each class. Needs Pillow, the extra `image`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnx._typing import Array
from cnnx.checks.arguments import check_count
from cnnx.checks.geometry import pair
from cnnx.data.base import Batch, IndexedBatches
from cnnx.files.folders import class_name, files_below, subfolders
from cnnx.files.images import ENDINGS, NAMES, read_image


class FolderBatches(IndexedBatches):
    """Batches from a folder of pictures with a subfolder for each class; files are read as they are needed.

    Files are PNG, JPEG, WebP, TIFF, GIF, BMP, PPM, JPEG 2000 or AVIF; of several pictures in one the first is taken.
    Examples are float32 from 0 (black) to 1; labels are integers, the place of the subfolder's name in `class_names`.

    Parameters
    ----------
    path : str or path-like
        The folder. Files beside the subfolders, names that begin with a dot, and what systems leave in folders of
        pictures, such as ``Thumbs.db``, are left out. Folders in a subfolder belong to its class.
    batch_size : int
    size : int or pair of int
        (height, width) that images of other sizes are resized to.
    channels : {3, 1}
        Red, green and blue; or grey.

    Attributes
    ----------
    class_names : tuple of str
        Names of the subfolders, sorted.
    paths : list of pathlib.Path
        The files: by class, then by name.
    labels : ndarray of shape (examples,)

    Raises
    ------
    ImportError
        When the first batch is taken, without Pillow.
    TypeError, ValueError
        If there is no subfolder, one without images, or something else than a picture in one; if a number is
        below 1; and when a batch is taken, if a file is not an intact image. The message names the file.
    OSError
        If the folder or a file cannot be read.
    """

    def __init__(
        self, path: str | os.PathLike[str], batch_size: int, size: int | Sequence[int], channels: int = 3
    ) -> None:
        folder = Path(path).absolute()  # whatever becomes of the working directory
        self.batch_size = check_count(batch_size, "FolderBatches: batch_size")
        if channels not in (1, 3):
            raise ValueError(f"FolderBatches: channels: expected 1 or 3, got {channels!r}")
        self.input_shape = (*pair(size, "size", "FolderBatches"), int(channels))
        folders = subfolders(folder)
        if not folders:
            raise ValueError(f"{folder}: expected a subfolder for each class, found none")
        self.class_names: tuple[str, ...] = tuple(map(class_name, folders))
        files = [_image_files(of_class) for of_class in folders]
        self.paths = [file for of_class in files for file in of_class]
        self.labels: Array = np.repeat(np.arange(len(files)), [len(of_class) for of_class in files])
        self.examples = len(self.paths)

    @property
    def pixel_max(self) -> float:
        """Value of a white pixel, 1."""
        return 1.0

    def read(self, indices: Array | slice) -> Batch:
        """Decode these files."""
        chosen = np.arange(self.examples)[indices]
        X: Array = np.empty((len(chosen), *self.input_shape), np.float32)
        for place, index in enumerate(chosen):
            X[place], _ = read_image(self.paths[index], self.input_shape)
        return X, self.labels[chosen], None


def _image_files(folder: Path) -> list[Path]:
    """The pictures of one class."""
    files = list(files_below(folder))
    if not files:
        raise ValueError(f"{folder}: expected pictures ({NAMES}), found none")
    for file in files:
        if file.suffix.lower() not in ENDINGS or not file.is_file():
            raise ValueError(f"{file}: expected nothing but pictures ({NAMES}) in the folder of a class")
    return files
