"""Cut-out: a box of each image is erased, so that a network learns not to rely on any one part of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.augmentation.base import ImageAugmentation
from cnnx.checks.arguments import check_between, check_count, listed


class CutOut(ImageAugmentation):
    """Erase a box around a random pixel of each image; a part of the box may lie outside.

    Parameters
    ----------
    size : int or pair of int
        Height and width of the box, 1 or more and not larger than the image. A pair is the smallest and the largest:
        then height and width are drawn one by one, each number between the two alike probable.
    probability : float
        Of erasing a box at all, from 0 to 1.
    fill : float
        Value of the erased pixels.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or the images are smaller than `size`.

    Notes
    -----
    DeVries, Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", arXiv 1708.04552, 2017,
    section 3.2: the middle of the box is any pixel, so that parts of it may lie outside the image. With a range of
    sizes and a probability it is close to Zhong, Zheng, Kang, Li, Yang, "Random Erasing Data Augmentation", AAAI 2020.
    """

    def __init__(self, size: int | Sequence[int], probability: float = 1.0, fill: float = 0.0) -> None:
        size = listed(size)
        if isinstance(size, Sequence) and not isinstance(size, str):
            if len(size) != 2:
                raise ValueError(f"{self.name}: size: expected an integer or a pair of integers, got {size!r}")
            smallest, largest = (check_count(value, f"{self.name}: size") for value in size)
            if smallest > largest:
                raise ValueError(f"{self.name}: size: expected the smaller number first, got {size!r}")
        else:
            smallest = largest = check_count(size, f"{self.name}: size")
        self.smallest, self.largest = smallest, largest
        self.probability = check_between(probability, f"{self.name}: probability", 0, 1)
        self.fill = check_between(fill, f"{self.name}: fill", -np.inf)

    def augment(self, X: Array, rng: np.random.Generator) -> Array:
        """(batch, height, width, channels) to the same shape."""
        images, height, width, _ = X.shape
        if self.largest > min(height, width):
            raise ValueError(
                f"{self.name}: size: expected no more than the images' {height}x{width}, got {self.largest}"
            )
        middle = rng.integers(0, (height, width), (images, 2), dtype=np.intp)
        size = rng.integers(self.smallest, self.largest, (images, 2), dtype=np.intp, endpoint=True)
        erased = rng.random(images) < self.probability
        boxes = np.zeros((images, 4), np.intp)  # an empty box for the others
        boxes[erased, :2] = (middle - size // 2)[erased]
        boxes[erased, 2:] = (middle - size // 2 + size)[erased]
        out = np.empty_like(X)
        _kernels.erase_images(X, boxes, self.fill, out)
        return out

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        size = self.smallest if self.smallest == self.largest else [self.smallest, self.largest]
        return {"size": size, "probability": self.probability, "fill": self.fill}
