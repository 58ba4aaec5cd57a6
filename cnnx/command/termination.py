"""A request that the process end, as `kill`, batch systems and a terminal that is closed make it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, ClassVar

from cnnx.callbacks import Callback

REASON = "the process was asked to end"
INTERRUPTED = 128 + signal.SIGINT  # the exit status after Ctrl-C, as shells have it
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Termination(Callback):
    """While active, these signals end the training run that this is a callback of, after its batch, and nothing else.

    Those that the process ignores, as under nohup, stay ignored.

    Attributes
    ----------
    requested : int or None
        The signal that has come.
    """

    everywhere: ClassVar[bool] = True  # a batch system may ask any process of a run

    def __init__(self) -> None:
        self.requested: int | None = None
        self._run: Any = None
        self._previous: dict[int, Any] = {}

    @property
    def status(self) -> int:
        """The exit status that the shell expects."""
        return 0 if self.requested is None else 128 + self.requested

    def __enter__(self) -> Termination:
        if threading.current_thread() is threading.main_thread():
            previous = {number: signal.getsignal(number) for number in SIGNALS}
            self._previous = {
                number: handler for number, handler in previous.items() if handler not in (None, signal.SIG_IGN)
            }
        for number in self._previous:
            signal.signal(number, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A batch system asks all processes of a run, at slightly different times: one that was told of it by the others
        # may be asked only now, when it has nothing to do but end in order.
        told = self.requested is None and self._run is not None and self._run.stopped == REASON
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_IGN if told else handler)

    def on_train_begin(self, run: Any) -> None:
        """It may have come before."""
        self._run = run
        if self.requested is not None:
            self._request(self.requested, None)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = number
        if self._run is not None:
            self._run.stop(REASON)
