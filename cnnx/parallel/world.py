"""The processes that train together: those that MPI has started, or this one alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from cnnx._typing import Array
from cnnx.errors import RankError
from cnnx.parallel import launchers
from cnnx.parallel.failure import Watch

INSTALL = 'python -m pip install "cnnx[mpi]"'
# The version of the MPI library, without starting MPI.
ASK = "import mpi4py; mpi4py.rc(initialize=False); from mpi4py import MPI; print(MPI.Get_library_version())"
# What is told instead of a value.
ERROR = "error"


class World:
    """One process alone.

    Attributes
    ----------
    rank, size : int
        Its number, from 0, and the number of all.
    node : str
        The machine that it runs on.
    watch : Watch or None
        What ends all where one fails.
    """

    rank, size, node = 0, 1, ""
    watch: Watch | None = None
    _known: BaseException | None = None

    def gather(self, what: str, value: Any = None) -> list[Any]:
        """What each rank tells at this place, in their order.

        Parameters
        ----------
        what : str
            The place; all ranks must be at the same one. `ERROR` stands at any, and tells of an error.
        value : object
            Anything that can be pickled.

        Raises
        ------
        RankError
            If another rank tells of an error, or is at another place.
        """
        return self._opened(what, self._told((what, value)))

    def alltoall(self, send: Array, receive: Array) -> None:
        """Row r of `send` goes to rank r; row r of `receive` has come from rank r."""
        receive[...] = send

    def allgather(self, send: Array, receive: Array) -> None:
        """Row r of `receive` is what rank r has sent."""
        receive[0] = send

    def _told(self, told: tuple[str, Any]) -> list[tuple[str, Any]]:
        return [told]

    def _opened(self, what: str, told: Sequence[tuple[str, Any]]) -> list[Any]:
        """What was told, once it is known that nobody has failed."""
        if what == ERROR:
            return []  # its own error is what it raises
        for rank, (place, value) in enumerate(told):
            if place == ERROR:
                raise self.known(RankError(f"rank {rank}: {value}"))
        places = [place for place, _ in told]
        if len(set(places)) > 1:
            raise self.known(
                RankError(
                    f"expected all ranks to do the same, got {places}, by rank; all must call train, with the same "
                    "arguments"
                )
            )
        return [value for _, value in told]

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Inside, what each rank does by itself; an error of one is an error of all."""
        try:
            yield
        except BaseException as error:
            self.tell(error)
            raise
        self.gather("the end of what each does by itself")

    def tell(self, error: BaseException) -> None:
        """Tell the others of an error, wherever they gather next, unless they know it."""
        if not self.knows(error):
            self.gather(ERROR, f"{type(error).__name__}: {error}")
            self.known(error)

    def known(self, error: BaseException) -> BaseException:
        """The error, which all ranks have or have been told of."""
        self._known = error
        return error

    def knows(self, error: BaseException | None) -> bool:
        """Whether all ranks have this error, or one that it comes from."""
        while error is not None:
            if error is self._known:
                return True
            error = error.__cause__ or error.__context__
        return False


class MPIWorld(World):
    """The processes of an MPI communicator."""

    def __init__(self, communicator: Any, node: str) -> None:
        # A communicator of its own: messages of the user's program cannot be taken for these.
        self._communicator = communicator.Dup()
        self.rank, self.size, self.node = communicator.rank, communicator.size, node
        if self.size > 1:
            self.watch = Watch(self.rank, self._communicator.Abort, self.knows)

    def alltoall(self, send: Array, receive: Array) -> None:
        """Row r of `send` goes to rank r; row r of `receive` has come from rank r."""
        self._communicator.Alltoall(_bytes(send), _bytes(receive))

    def allgather(self, send: Array, receive: Array) -> None:
        """Row r of `receive` is what rank r has sent."""
        self._communicator.Allgather(_bytes(send), _bytes(receive))

    def _told(self, told: tuple[str, Any]) -> list[tuple[str, Any]]:
        gathered: list[tuple[str, Any]] = self._communicator.allgather(told)
        return gathered


def _bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)


_world: World | None = None


def find_world() -> World:
    """The processes that a launcher has started; this one alone, without MPI, where none has.

    Raises
    ------
    ImportError
        If a launcher has started this process and mpi4py cannot be loaded.
    RuntimeError
        If the launcher says that there are several processes, and MPI that there is one.
    """
    global _world
    if _world is None:
        _world = _find()
    return _world


def _find() -> World:
    if not launchers.launched() and "mpi4py.MPI" not in sys.modules:
        return World()
    MPI = load_mpi()
    told, variable = launchers.announced()
    if MPI.COMM_WORLD.size == 1 and told > 1:
        raise RuntimeError(
            f"Shards: the launcher has started {told} processes ({variable}), but MPI ({library(MPI)}) knows of this "
            "one alone: mpi4py has found another MPI than that of mpiexec or srun, and each process would train by "
            "itself. Use the mpiexec of mpi4py's MPI, or have mpi4py load the launcher's: "
            "MPI4PY_LIBMPI=/path/to/libmpi.so, or with srun, --mpi=pmix or --mpi=pmi2"
        )
    return MPIWorld(MPI.COMM_WORLD, MPI.Get_processor_name())


def load_mpi() -> Any:
    """The module `mpi4py.MPI`, with MPI started."""
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(
            f"Shards: this process was started by an MPI launcher, which needs mpi4py: {INSTALL}"
        ) from error
    except RuntimeError as error:
        raise ImportError(f"Shards: mpi4py cannot load an MPI library: {error}") from error
    if not MPI.Is_initialized():  # mpi4py starts it, unless a user has told it not to
        MPI.Init()
    return MPI


def library(mpi: Any) -> str:
    """Name and version of the MPI library, in one line."""
    return _first_line(mpi.Get_library_version())


def _first_line(text: str) -> str:
    first = text.strip("\0 \n").splitlines()[0]
    return " ".join(first.partition(",")[0].split()).replace("Version: ", "")


def describe() -> str:
    """For `cnnx config`: the MPI library, rank and size, or why there is none."""
    if find_spec("mpi4py") is None:
        return f"none (mpi4py is not installed: {INSTALL})"
    if launchers.launched() or "mpi4py.MPI" in sys.modules:
        try:
            world = find_world()
        except (ImportError, RuntimeError) as error:
            return str(error)
        return f"{library(load_mpi())}, rank {world.rank} of {world.size}"
    # In a process of its own: to start MPI without a launcher may end the process.
    asked = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=False)
    if asked.returncode:
        return f"none that mpi4py can load: {(asked.stderr.strip() or 'it ended the process').splitlines()[-1]}"
    return f"{_first_line(asked.stdout)}, rank 0 of 1 (no launcher has started this process)"


def processors() -> frozenset[int]:
    """The processors that this process may run on; empty where the system does not say."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
