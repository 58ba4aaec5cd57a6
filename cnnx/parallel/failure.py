"""An error that one process alone has ends the whole job, instead of leaving the others to wait for ever.

A Python process that ends by an error waits, in MPI's own end, for the others, and these wait for its next message:
MPICH and Open MPI both hang. Only `Abort` ends all. An error that all processes have, or have been told of, needs none.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

STATUS = 1


class Watch:
    """Of one process among others: what it does when it is to end by an error.

    Attributes
    ----------
    broken : bool
        Whether the others wait for a message that will not come.

    Parameters
    ----------
    rank : int
    abort : callable
        Ends all processes, with a status.
    knows : callable
        Whether all processes know of an error.
    """

    def __init__(self, rank: int, abort: Callable[[int], Any], knows: Callable[[BaseException], bool]) -> None:
        self.rank, self.broken = rank, False
        self._abort, self._knows = abort, knows
        self._before = sys.excepthook
        sys.excepthook = self._uncaught
        # Before MPI's own end, which would wait.
        atexit.register(self._at_exit)

    def end(self, status: int = STATUS) -> None:
        """End all processes."""
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                continue  # nobody reads it any more
        self._abort(status)
        # MPICH's comes back, and ends the others a moment later.
        os._exit(status)

    def _uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not self.broken and self._knows(error):
            if self.rank == 0:  # once is enough
                self._before(kind, error, trace)
            return
        self._before(kind, error, trace)
        print(f"cnnx: rank {self.rank} failed, and ends all of the job", file=sys.stderr)
        self.end()

    def _at_exit(self) -> None:
        if self.broken:
            print(f"cnnx: rank {self.rank} left the training alone, and ends all of the job", file=sys.stderr)
            self.end()
