"""The one message of a step: vectors are added over all ranks, in the order of the tree, and small figures told.

Each rank has the sum of its own blocks, a subtree. It sends piece r of it to rank r, adds the pieces that it gets in
the order of the tree, and sends that sum to all, with its figures. MPI's own `Allreduce` may add in any order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from cnnx._typing import Array
from cnnx.parallel.tree import TreeSum
from cnnx.parallel.world import World


class Exchange:
    """Adds vectors of one length over the ranks of a world.

    Parameters
    ----------
    world : World
    length : int
        Of a vector.
    dtype : numpy.dtype
    figures : int
        How many numbers each rank tells beside.

    Attributes
    ----------
    seconds : float
        What messages have taken, waiting for other ranks included.
    count : int
        How many messages.
    inside : bool
        Whether one is under way.
    """

    def __init__(self, world: World, length: int, dtype: np.dtype, figures: int) -> None:
        self.world, self.length = world, length
        self.seconds, self.count, self.inside = 0.0, 0, False
        piece = -(-length // world.size)
        record = np.dtype([("figures", np.float64, (figures,)), ("piece", dtype, (piece,))], align=True)
        self._sent = np.zeros((world.size, piece), dtype)
        self._received = np.empty_like(self._sent)
        self._own, self._all = np.zeros(1, record), np.empty(world.size, record)
        self._tree = TreeSum(piece, dtype, world.size)

    def add(self, vector: Array, figures: Sequence[float]) -> tuple[Array, Array]:
        """The sum of all ranks' vectors, (length,), and each rank's figures, (ranks, figures).

        Both are in memory that the next message takes.
        """
        start = time.perf_counter()
        self._own["figures"][0] = figures
        if self.world.size == 1:
            return vector, self._own["figures"]
        self.inside = True
        self._sent.reshape(-1)[: self.length] = vector
        self.world.alltoall(self._sent, self._received)
        for piece in self._received:
            self._tree.add(piece)
        self._own["piece"][0] = self._tree.total()
        self.world.allgather(self._own, self._all)
        total = np.ascontiguousarray(self._all["piece"]).reshape(-1)[: self.length]
        self.inside = False
        self.seconds, self.count = self.seconds + time.perf_counter() - start, self.count + 1
        return total, self._all["figures"]

    def mean_seconds(self) -> float:
        """What a message has taken since this was asked last."""
        mean = self.seconds / self.count if self.count else 0.0
        self.seconds, self.count = 0.0, 0
        return mean
