"""Rotation and scaling about the middle of the image.

    x'[p] = x[c + A (p - c)]        for the place p = (row, column) of each pixel, c the middle of the image

with A the inverse of what is done to the image, and x between pixels interpolated linearly in both directions. Two
such changes that follow each other are one, with the product of the matrices: x'' = x'[c + A'' (p - c)] has A = A' A''.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.augmentation.base import AnyAugmentation, ImageAugmentation
from cnnx.checks.arguments import check_between, check_positive


class AffineAugmentation(ImageAugmentation):
    """An augmentation that samples each image at the places a matrix gives; a subclass implements `draw`."""

    def __init__(self, fill: float) -> None:
        self.fill = check_between(fill, f"{self.name}: fill", -np.inf)

    def draw(self, images: int, rng: np.random.Generator) -> Array:
        """A matrix A for each image, (images, 2, 2) in float64."""
        raise NotImplementedError

    def augment(self, X: Array, rng: np.random.Generator) -> Array:
        """(batch, height, width, channels) to the same shape."""
        return sample(X, self.draw(len(X), rng), self.fill)


class Rotate(AffineAugmentation):
    """Turn each image by a random angle.

    Parameters
    ----------
    degrees : float
        The largest angle, 0 to 180; angles from ``-degrees`` to ``degrees`` are alike probable.
    fill : float
        Value of what lies outside the image.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    Notes
    -----
    Simard, Steinkraus, Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis",
    ICDAR 2003, section 2: affine distortions with bilinear interpolation.
    """

    def __init__(self, degrees: float, fill: float = 0.0) -> None:
        super().__init__(fill)
        self.degrees = check_between(degrees, f"{self.name}: degrees", 0, 180)

    def draw(self, images: int, rng: np.random.Generator) -> Array:
        """[[cos, sin], [-sin, cos]]: the image turns against the clock for an angle above 0."""
        angle = rng.uniform(-math.radians(self.degrees), math.radians(self.degrees), images)
        cosine, sine = np.cos(angle), np.sin(angle)
        return np.stack([cosine, sine, -sine, cosine], axis=1).reshape(images, 2, 2)


class Scale(AffineAugmentation):
    """Enlarge or shrink each image about its middle by a random factor; its shape stays.

    Parameters
    ----------
    low, high : float
        The smallest and the largest factor, above 0; those between them are alike probable. 2 shows the middle
        half of the image at twice its size.
    fill : float
        Value of what lies outside the image.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or `low` is above `high`.

    Notes
    -----
    Simard, Steinkraus, Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis",
    ICDAR 2003, section 2.
    """

    def __init__(self, low: float, high: float, fill: float = 0.0) -> None:
        super().__init__(fill)
        self.low = check_positive(low, f"{self.name}: low")
        self.high = check_positive(high, f"{self.name}: high")
        if self.low > self.high:
            raise ValueError(f"{self.name}: expected low not above high, got {low!r} and {high!r}")

    def draw(self, images: int, rng: np.random.Generator) -> Array:
        """The unit matrix divided by the factor."""
        return np.eye(2) / rng.uniform(self.low, self.high, (images, 1, 1))


class JoinedSampling(AffineAugmentation):
    """Several affine augmentations with the same `fill`, one after the other, in one sampling."""

    def __init__(self, augmentations: tuple[AffineAugmentation, ...]) -> None:
        super().__init__(augmentations[0].fill)
        self.augmentations = augmentations

    def draw(self, images: int, rng: np.random.Generator) -> Array:
        """The product of the augmentations' matrices, the first on the left."""
        matrices = self.augmentations[0].draw(images, rng)
        for augmentation in self.augmentations[1:]:
            matrices = matrices @ augmentation.draw(images, rng)
        return matrices

    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self.augmentations))}]"


def join_samplings(augmentations: Iterable[AnyAugmentation]) -> list[AnyAugmentation]:
    """The same augmentations, with neighbours that sample joined where they fill alike."""
    joined: list[AnyAugmentation] = []
    for new in augmentations:
        last = joined[-1] if joined else None
        if isinstance(new, AffineAugmentation) and isinstance(last, AffineAugmentation) and new.fill == last.fill:
            joined[-1] = JoinedSampling((*(last.augmentations if isinstance(last, JoinedSampling) else (last,)), new))
        else:
            joined.append(new)
    return joined


def sample(X: Array, linear: Array, fill: float) -> Array:
    """Images sampled at c + A (p - c), A = `linear` (batch, 2, 2)."""
    middle = (np.array(X.shape[1:3]) - 1) / 2
    matrices = np.empty((len(X), 2, 3))
    matrices[:, :, :2] = linear
    matrices[:, :, 2] = middle - linear @ middle
    out = np.empty_like(X)
    _kernels.affine_images(X, matrices, fill, out)
    return out
