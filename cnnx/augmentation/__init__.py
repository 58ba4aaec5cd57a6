"""Data augmentation: steps that change the examples of a batch at random, each time anew.

>>> import numpy as np
>>> from cnnx.augmentation import CutOut, Flip, RandomCrop, apply
>>> X, y = np.ones((8, 32, 32, 3), np.float32), np.arange(8)
>>> steps = [Flip(), RandomCrop(4), CutOut(8)]
>>> X_augmented, y_augmented = apply(steps, X, y, np.random.SeedSequence(0))
>>> X_augmented.shape
(8, 32, 32, 3)

A step is anything that can be called as ``step(X, y, rng)`` and returns a new (X, y): a function of one's own fits in.
"""

from cnnx.augmentation.affine import Rotate, Scale
from cnnx.augmentation.base import ImageStep, Step
from cnnx.augmentation.erasing import CutOut
from cnnx.augmentation.mixing import MixUp
from cnnx.augmentation.placement import Flip, RandomCrop, Shift
from cnnx.augmentation.sequence import apply, check_steps
from cnnx.augmentation.values import Brightness, Contrast, Noise

__all__ = [
    "Brightness",
    "Contrast",
    "CutOut",
    "Flip",
    "ImageStep",
    "MixUp",
    "Noise",
    "RandomCrop",
    "Rotate",
    "Scale",
    "Shift",
    "Step",
    "apply",
    "check_steps",
]
