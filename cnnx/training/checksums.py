"""Checksums of arrays: what tells that two runs have the same data."""

from __future__ import annotations

import zlib

import numpy as np

from cnnx._typing import Array

# Bytes at a time: an array may be a mapped file that is larger than memory.
CHUNK = 2**24


def checksum(array: Array) -> int:
    """Of all values in C order, a few rows at a time."""
    if not array.nbytes:
        return 0
    total, rows = 0, max(1, CHUNK * len(array) // array.nbytes) if array.ndim else 1
    for start in range(0, len(array), rows):
        part = np.ascontiguousarray(array[start : start + rows])
        total = zlib.crc32(part.reshape(-1).view(np.uint8).data, total)
    return total
