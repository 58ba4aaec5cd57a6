"""Training on several processes, of one machine or many, to the same bits on any number of them.

The engine is MPI (`mpi4py`, the extra `mpi`): a launcher such as ``mpiexec -n 8`` starts the same program in as many
processes, the ranks, and all of them call `Model.train` with the same arguments. What is computed is decided by the
shards alone, a rank only decides who does it; see `Shards`.
"""

from cnnx.errors import RankError
from cnnx.parallel.shards import Shards

__all__ = ["RankError", "Shards"]
