"""`Shards`: into how many blocks each batch is cut, and which process this one is."""

from __future__ import annotations

from contextlib import AbstractContextManager

from cnnx.checks.arguments import check_count
from cnnx.parallel.steps import ShardedSteps
from cnnx.parallel.world import find_world
from cnnx.training.steps import Steps


class Shards:
    """Train on several processes: ``model.train(..., parallel=Shards(8))`` in each of them.

    A batch, whose size stays what `batch_size` says, is cut into `count` blocks by its size alone. Each block goes
    forward and backward by itself, and the gradients of all blocks are added in a fixed binary tree. Ranks, the
    processes that MPI has started, have equal numbers of neighbouring blocks; without MPI one process has them all.
    Weights have the same bits in any case, and a checkpoint of one number of ranks goes on with another.

    Parameters
    ----------
    count : int
        A power of two, and a multiple of the number of ranks. 64 examples a block, or more, keep a processor busy.

    Attributes
    ----------
    count : int
    rank, size : int
        The number of this process, from 0, and the number of all. Files, progress and callbacks are rank 0's.

    Raises
    ------
    TypeError, ValueError
        If `count` is not as above; the message names both numbers.
    ImportError
        If an MPI launcher has started this process and mpi4py is not there.
    RuntimeError
        If the launcher has started several processes, and MPI knows of one alone.

    Notes
    -----
    Dropout and augmentation draw from the seed and the numbers of epoch, batch and block. Batch normalization
    normalizes each block by its own mean and variance, and its running averages take in the mean of the blocks'. So a
    run with shards has other bits than one without, and than one with another number of shards.

    Examples
    --------
    >>> from cnnx.parallel import Shards
    >>> shards = Shards(8)  # in a program that is started as mpiexec -n 4 python program.py, for example
    >>> history = model.train(X, y, batch_size=512, seed=0, parallel=shards)  # doctest: +SKIP
    >>> if shards.rank == 0:  # doctest: +SKIP
    ...     model.save("model.safetensors")
    """

    def __init__(self, count: int) -> None:
        self.count = check_count(count, "Shards: count")
        self._world = find_world()
        self.rank, self.size = self._world.rank, self._world.size
        if self.count & (self.count - 1) or self.count % self.size:
            raise ValueError(
                f"Shards: count: expected a power of two and a multiple of the number of ranks, got {self.count} "
                f"shards and {self.size} ranks"
            )

    def __repr__(self) -> str:
        return f"Shards({self.count})"

    def steps(self) -> Steps:
        """How a training run takes its steps."""
        return ShardedSteps(self.count, self._world)

    def shared(self) -> AbstractContextManager[None]:
        """Inside, what every rank does by itself, such as reading data: an error of one is an error of all.

        Raises
        ------
        RankError
            At the end, if another rank has failed; its message says which, and why.
        """
        return self._world.shared()

    def knows(self, error: BaseException) -> bool:
        """Whether all ranks have this error, or have been told of it."""
        return self._world.knows(error)

    def end(self, status: int) -> None:
        """End all ranks at once, with an exit status; for an error that the others do not know of."""
        if self._world.watch is not None:
            self._world.watch.end(status)
