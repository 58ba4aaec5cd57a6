"""Whether the processors of this moment are cores, or share one.

A virtual machine's processors are threads of its host, which now and then puts two of them on one core for some
seconds. Each then has half a core, and what takes two threads is no faster than on one: a turn in that time says
nothing about the contestant.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

# On cores of their own all take as long as one, within a tenth; on a shared one, 1.4 to 1.6 times.
SHARING = 1.25
ELEMENTS = 1 << 19  # a millisecond of vector arithmetic, without the interpreter's lock
REPETITIONS = 4


class Processors:
    """Some processors, with a thread on each; where threads cannot be bound to one, nothing is known of them."""

    def __init__(self, count: int) -> None:
        usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
        self._chosen = usable[:count]
        self._pool = ThreadPoolExecutor(max(1, len(self._chosen)))
        self._barrier = Barrier(max(1, len(self._chosen)))

    def __enter__(self) -> "Processors":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def share_a_core(self) -> bool:
        """Whether the same work takes longer on all at once than on one."""
        return len(self._chosen) > 1 and self.slowdown() > SHARING

    def slowdown(self) -> float:
        alone = self._pool.submit(_work, self._chosen[0], None).result()
        together = [self._pool.submit(_work, processor, self._barrier) for processor in self._chosen]
        return max(future.result() for future in together) / alone


def _work(processor: int, start_together: Barrier | None) -> float:
    """Seconds of the fastest of some repetitions, on this processor."""
    os.sched_setaffinity(0, {processor})  # of this thread
    angles = np.ones(ELEMENTS, np.float32)
    fastest = float("inf")
    for _ in range(REPETITIONS):
        if start_together is not None:
            start_together.wait()
        start = time.perf_counter()
        np.cos(angles, out=angles)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest
