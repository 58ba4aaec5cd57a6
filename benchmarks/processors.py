"""Whether a second thread is worth something on this machine at this moment.

The processors of a virtual machine are threads of its host, which moves them: for seconds or minutes at a time two of
them are threads of one core, or lie on parts of the chip that share no cache. Then two threads are little faster than
one, whatever they compute, and a turn tells more about the host than about the contestant. NumPy's product of matrices
that fit the caches tells these times apart: on two processors of the machine of docs/performance.md it is 1.7 times as
fast as on one, or else 1.2 to 1.3 times.
"""

from benchmarks.contestants import CEILING
from benchmarks.processes import Process

WORTH = 0.75  # of a whole processor, for each
REPETITIONS = 15


class Processors:
    """Two processes that know NumPy's products alone: one with one thread, one with as many as a contestant has."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._processes = [Process(CEILING, count) for count in (1, threads)] if threads > 1 else []
        for process in self._processes:
            process.ask("small_product")

    def __enter__(self) -> "Processors":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.close()

    def hampered(self) -> bool:
        """Whether all threads together do less than they should; never, if there is only one."""
        return self._threads > 1 and self.speedup() < WORTH * self._threads

    def speedup(self) -> float:
        one, all_threads = (
            min(process.ask("time", function="product", warmups=3, repetitions=REPETITIONS))
            for process in self._processes
        )
        return one / all_threads
