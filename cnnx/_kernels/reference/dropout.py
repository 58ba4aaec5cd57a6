"""Dropout."""

import numpy as np

from cnnx._typing import Array


def dropout(x: Array, bits: Array, dropped: int, out: Array) -> None:
    """Each value is 0 where its 16 random bits are below `dropped`, else scaled so that the expectation stays."""
    scale = x.dtype.type(65536 / (65536 - dropped))
    out[...] = np.where(bits.reshape(x.shape) < dropped, 0, x * scale)


def spatial_dropout(x: Array, bits: Array, dropped: int, out: Array) -> None:
    """Each channel of each image is 0 where its 16 random bits are below `dropped`, else scaled like that."""
    scale = x.dtype.type(65536 / (65536 - dropped))
    out[...] = np.where(bits[:, np.newaxis, np.newaxis] < dropped, 0, x * scale)
