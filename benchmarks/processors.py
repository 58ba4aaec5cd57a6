"""Whether the processors of this machine are all there at this moment.

The processors of a virtual machine are threads of its host, which moves them: for seconds or minutes at a time one of
them shares its core with a stranger, two of them are threads of one core, or lie on parts of the chip that share no
cache. A turn at such a time tells more about the host than about the contestant. NumPy's product of matrices that fit
the caches tells these times apart: on the machine of docs/performance.md two threads are 1.7 times as fast as one, or
else 1.0 to 1.3 times, and now and then one thread takes half as long again.
"""

from benchmarks.contestants import CEILING
from benchmarks.processes import Process

WORTH = 0.75  # of a whole processor, for each
SLOW = 1.3  # times the shortest time of this run
REPETITIONS = 15

_shortest: dict[int, float] = {}  # seconds, for each number of threads


class Processors:
    """Processes that know NumPy's products alone: one with one thread, one with as many as a contestant has."""

    def __init__(self, threads: int) -> None:
        self._processes = [Process(CEILING, count) for count in sorted({1, threads})]
        for process in self._processes:
            process.ask("small_product")

    def __enter__(self) -> "Processors":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.close()

    def hampered(self) -> bool:
        """Whether one thread, or all together, do less than they should."""
        seconds = {process.threads: self._seconds(process) for process in self._processes}
        for threads, value in seconds.items():
            _shortest[threads] = min(value, _shortest.get(threads, value))
        slow = any(value > SLOW * _shortest[threads] for threads, value in seconds.items())
        return slow or any(seconds[1] < WORTH * threads * value for threads, value in seconds.items())

    def _seconds(self, process: Process) -> float:
        times: list[float] = process.ask("time", function="product", warmups=3, repetitions=REPETITIONS)
        return sorted(times)[len(times) // 2]
