"""What the launcher of an MPI program has said in the environment, before MPI itself is asked."""

from __future__ import annotations

import os

# The number of processes: Open MPI; MPICH, Intel MPI and others with PMI; MVAPICH; srun; Flux; jsrun.
SIZES = (
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
    "FLUX_JOB_SIZE",
    "JSM_NAMESPACE_SIZE",
)
# A process's number: those, and launchers that do not say how many there are.
RANKS = (
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "PMIX_RANK",
    "MV2_COMM_WORLD_RANK",
    "FLUX_TASK_RANK",
    "JSM_NAMESPACE_RANK",
    "PALS_RANKID",
    "ALPS_APP_PE",
)


def launched() -> bool:
    """Whether a launcher has started this process."""
    return announced()[0] > 1 or any(name in os.environ for name in RANKS)


def announced() -> tuple[int, str]:
    """The largest number of processes that a variable names, and that variable; 1 and none where no one does."""
    told = [(int(value), name) for name in SIZES if (value := os.environ.get(name, "")).isdecimal()]
    return max([(1, ""), *told])
