"""Ctrl-C in a training run: it ends after the batch at work."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interruption:
    """While active, the first Ctrl-C only sets `requested`; a second one raises KeyboardInterrupt as usual.

    An interrupt that the process ignores stays ignored, and a handler that Python did not install stays where it is.

    Attributes
    ----------
    requested : bool
        Whether Ctrl-C has come to this process.
    elsewhere : bool
        Whether it has come to another process of the run. A launcher hands one Ctrl-C on to all, at slightly different
        times: where it comes only after the others have told of it, it is the same, and no second one.
    """

    def __init__(self) -> None:
        self.requested = self.elsewhere = False
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
            late = self.elsewhere and not self.requested
            signal.signal(signal.SIGINT, self._come_late if late else self._previous)

    @property
    def came(self) -> bool:
        """Whether Ctrl-C has come to any process of the run."""
        return self.requested or self.elsewhere

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def _come_late(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, self._previous)
