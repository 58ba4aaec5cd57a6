"""Ctrl-C in a training run: it ends after the batch at work."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interruption:
    """While active, the first Ctrl-C only sets `requested`; a second one raises KeyboardInterrupt as usual.

    An interrupt that the process ignores stays ignored, and a handler that Python did not install stays where it is.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None
        self._active = False

    def __enter__(self) -> Interruption:
        self._previous = signal.getsignal(signal.SIGINT)
        # Python delivers signals to the main thread alone, and could not put a handler back that is none of its own.
        in_main_thread = threading.current_thread() is threading.main_thread()
        self._active = in_main_thread and self._previous not in (None, signal.SIG_IGN)
        if self._active:
            signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Somebody, such as a callback, may have put a handler of theirs in the place of this one.
        if self._active and signal.getsignal(signal.SIGINT) == self._request:
            signal.signal(signal.SIGINT, self._previous)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
