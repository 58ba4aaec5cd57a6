"""Mirroring and moving by whole pixels: every pixel keeps its value and finds another place.

x'[h, w] = x[h - down, w - right]        where that lies inside the image, else `fill`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.augmentation.base import ImageAugmentation
from cnnx.checks.arguments import check_between, check_count
from cnnx.checks.geometry import pair


class Flip(ImageAugmentation):
    """Mirror each image with probability 1/2.

    Parameters
    ----------
    horizontal : bool
        Left becomes right.
    vertical : bool
        Top becomes bottom, with probability 1/2 of its own.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a bool, or neither direction is asked for.

    Notes
    -----
    Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NeurIPS 2012,
    section 4.1. Not for images whose mirror image means something else, such as digits.
    """

    def __init__(self, horizontal: bool = True, vertical: bool = False) -> None:
        for name, value in (("horizontal", horizontal), ("vertical", vertical)):
            if not isinstance(value, bool | np.bool_):
                raise TypeError(f"{self.name}: {name}: expected True or False, got {value!r}")
        if not (horizontal or vertical):
            raise ValueError(f"{self.name}: expected horizontal or vertical to be True, got False for both")
        self.horizontal, self.vertical = bool(horizontal), bool(vertical)

    def augment(self, X: Array, rng: np.random.Generator) -> Array:
        """(batch, height, width, channels) to the same shape."""
        flips = rng.integers(0, 2, (len(X), 2), dtype=np.uint8)
        flips *= np.array([self.vertical, self.horizontal], np.uint8)
        out = np.empty_like(X)
        _kernels.shift_images(X, np.zeros((len(X), 2), np.intp), flips, 0.0, out)
        return out


class Shift(ImageAugmentation):
    """Move each image by whole pixels, down or up and right or left, all distances alike probable.

    Parameters
    ----------
    pixels : int or pair of int
        The farthest an image is moved; a pair is (vertical, horizontal). Less than the image's size.
    fill : float
        Value of the pixels that nothing moved to.

    Raises
    ------
    TypeError, ValueError
        If `pixels` is negative, `fill` not a finite number, or the images are too small.

    Notes
    -----
    LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", Proceedings of the IEEE
    86(11), 1998, section III.
    """

    def __init__(self, pixels: int | Sequence[int], fill: float = 0.0) -> None:
        self.pixels = pair(pixels, "pixels", self.name, least=0)
        self.fill = check_between(fill, f"{self.name}: fill", -np.inf)

    def augment(self, X: Array, rng: np.random.Generator) -> Array:
        """(batch, height, width, channels) to the same shape."""
        return move(X, self.pixels, self.fill, rng, self.name)

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"pixels": list(self.pixels), "fill": self.fill}


class RandomCrop(ImageAugmentation):
    """Pad each image on all sides, and cut an image of the old size out of it, all places alike probable.

    This moves an image by up to `padding` pixels, as ``Shift(padding)`` does: it is the name that the networks for
    CIFAR give to it.

    Parameters
    ----------
    padding : int
        Rows and columns added on each side, 1 or more and less than the image's size.
    fill : float
        Their value.

    Raises
    ------
    TypeError, ValueError
        If `padding` is not such a number, `fill` not a finite one, or the images are too small.

    Notes
    -----
    He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2: 4 pixels for images
    of 32x32.
    """

    def __init__(self, padding: int, fill: float = 0.0) -> None:
        self.padding = check_count(padding, f"{self.name}: padding")
        self.fill = check_between(fill, f"{self.name}: fill", -np.inf)

    def augment(self, X: Array, rng: np.random.Generator) -> Array:
        """(batch, height, width, channels) to the same shape."""
        return move(X, (self.padding, self.padding), self.fill, rng, self.name)


def move(X: Array, farthest: tuple[int, int], fill: float, rng: np.random.Generator, name: str) -> Array:
    """Images moved by up to `farthest` (rows, columns), all distances alike probable."""
    height, width = X.shape[1:3]
    if farthest[0] >= height or farthest[1] >= width:
        raise ValueError(f"{name}: expected less than the size of the images, {height}x{width}, got {farthest}")
    offsets = rng.integers(np.negative(farthest), farthest, (len(X), 2), dtype=np.intp, endpoint=True)
    out = np.empty_like(X)
    _kernels.shift_images(X, offsets, np.zeros((len(X), 2), np.uint8), fill, out)
    return out
