"""Where batches come from: arrays in memory or in files, generators, folders of images; prepared on a worker thread.

`Model.train` and `Model.evaluate` take all of these but `Prefetched`, which is what they prepare batches with, and for
training loops of one's own.

>>> import numpy as np
>>> from cnnx.augmentation import Flip
>>> from cnnx.data import ArrayBatches, Prefetched
>>> X, y = np.ones((100, 8, 8, 3), np.float32), np.zeros(100, int)
>>> batches = Prefetched(ArrayBatches(X, y, batch_size=32), augment=[Flip()], seed=0)
>>> [len(X) for X, y, weights in batches.epoch(np.random.default_rng(0))]
[32, 32, 32, 4]
"""

from cnnx.data.arrays import ArrayBatches
from cnnx.data.base import Batch, Batches
from cnnx.data.folders import FolderBatches
from cnnx.data.generators import GeneratorBatches
from cnnx.data.prefetching import Prefetched

__all__ = ["ArrayBatches", "Batch", "Batches", "FolderBatches", "GeneratorBatches", "Prefetched"]
