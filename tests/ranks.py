"""Programs that are started by mpiexec, in several processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "parallel" / "programs"
# Seconds: whoever hangs is ended. A run takes a few; a busy machine with fewer processors than ranks, more.
LIMIT = 120


def find_mpiexec():
    """The launcher that belongs to this Python's MPI; tests are skipped where there is none."""
    pytest.importorskip("mpi4py", reason="needs the extra mpi")
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("mpiexec", path=beside)
    if found is None:
        pytest.skip("needs an mpiexec, such as that of: python -m pip install mpich")
    return found


def hydra():
    """Whether the launcher is MPICH's, which hands signals on."""
    told = subprocess.run([find_mpiexec(), "--version"], capture_output=True, text=True, check=False)
    return "HYDRA" in told.stdout.upper()


def environment():
    """One thread a rank, and more ranks than processors."""
    return {
        **os.environ,
        "CNNX_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }


def start(ranks, *arguments, folder):
    """A program, or an option of Python and more, started in so many ranks."""
    given = [str(PROGRAMS / each) if str(each).endswith(".py") else str(each) for each in arguments]
    command = [find_mpiexec(), "-n", str(ranks), sys.executable, *given]
    return subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    """(status, output, errors) of a program, which must end by itself."""
    try:
        output, errors = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        raise AssertionError(f"it hangs:\n{output}\n{errors}") from None
    return process.returncode, output, errors


def run(ranks, *arguments, folder):
    """What each rank of a program has written into ``rank-R.json``; it must end well."""
    status, output, errors = finish(start(ranks, *arguments, folder=folder))
    assert status == 0, f"{status}:\n{output}\n{errors}"
    return [json.loads((Path(folder) / f"rank-{rank}.json").read_text(encoding="utf-8")) for rank in range(ranks)]
