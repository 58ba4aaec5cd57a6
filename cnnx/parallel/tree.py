"""The sum of vectors in a fixed order: that of a perfect binary tree.

                 ((v0 + v1) + (v2 + v3)) + ((v4 + v5) + (v6 + v7))

Who adds up a whole subtree, such as v4 to v7, may do so alone: the sum has the same bits, whoever adds what.
"""

from __future__ import annotations

import numpy as np

from cnnx._typing import Array, DTypeLike


class TreeSum:
    """Takes vectors one after the other, and keeps no more of them than the tree has levels.

    Parameters
    ----------
    length : int
        Of each vector.
    dtype : dtype
    leaves : int
        How many vectors there will be, a power of two.
    """

    def __init__(self, length: int, dtype: DTypeLike, leaves: int) -> None:
        # At each level, the sum of a subtree that waits for its neighbour.
        self._waiting = [np.empty(length, dtype) for _ in range(leaves.bit_length())]
        self.leaves, self._count = leaves, 0

    def add(self, vector: Array) -> None:
        """The next vector, which is left as it is."""
        waiting, level = self._waiting, 0
        waiting[0][...] = vector if not self._count & 1 else waiting[0] + vector
        while self._count >> level & 1:
            level += 1
            if self._count >> level & 1:
                waiting[level] += waiting[level - 1]
            else:
                waiting[level], waiting[level - 1] = waiting[level - 1], waiting[level]
        self._count += 1

    def total(self) -> Array:
        """The sum of all leaves, in memory that the next sum takes; it begins with the next vector."""
        assert self._count == self.leaves, f"expected {self.leaves} vectors, got {self._count}"
        self._count = 0
        return self._waiting[-1]
