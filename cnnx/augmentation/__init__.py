"""Data augmentation: random changes of the examples of a batch, each time anew.

>>> import numpy as np
>>> from cnnx.augmentation import CutOut, Flip, RandomCrop, apply
>>> X, y = np.ones((8, 32, 32, 3), np.float32), np.arange(8)
>>> augmentations = [Flip(), RandomCrop(4), CutOut(8)]
>>> X_augmented, y_augmented = apply(augmentations, X, y, np.random.SeedSequence(0))
>>> X_augmented.shape
(8, 32, 32, 3)

An augmentation is called as ``augmentation(X, y, rng)`` and returns a new (X, y): a function of one's own fits in.
"""

from cnnx.augmentation.affine import Rotate, Scale
from cnnx.augmentation.base import Augmentation, ImageAugmentation
from cnnx.augmentation.erasing import CutOut
from cnnx.augmentation.mixing import MixUp
from cnnx.augmentation.placement import Flip, RandomCrop, Shift
from cnnx.augmentation.sequence import apply, check_augmentations
from cnnx.augmentation.values import Brightness, Contrast, Noise

__all__ = [
    "Augmentation",
    "Brightness",
    "Contrast",
    "CutOut",
    "Flip",
    "ImageAugmentation",
    "MixUp",
    "Noise",
    "RandomCrop",
    "Rotate",
    "Scale",
    "Shift",
    "apply",
    "check_augmentations",
]
