"""A request that the process end, as `kill` and batch systems make it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from cnnx.callbacks import Callback


class Termination(Callback):
    """While active, SIGTERM ends the training run that this is a callback of, after its batch; and then nothing else.

    Attributes
    ----------
    requested : bool
        Whether the signal has come.
    """

    def __init__(self) -> None:
        self.requested = False
        self._run: Any = None
        self._previous = signal.getsignal(signal.SIGTERM)
        in_main_thread = threading.current_thread() is threading.main_thread()
        self._active = in_main_thread and self._previous not in (None, signal.SIG_IGN)

    @property
    def status(self) -> int:
        """The exit status that the shell expects."""
        return 128 + signal.SIGTERM if self.requested else 0

    def __enter__(self) -> Termination:
        if self._active:
            signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            signal.signal(signal.SIGTERM, self._previous)

    def on_train_begin(self, run: Any) -> None:
        """It may have come before."""
        self._run = run
        if self.requested:
            self._request(signal.SIGTERM, None)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if self._run is not None:
            self._run.stop("the process was asked to end")
