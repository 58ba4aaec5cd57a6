"""One contestant in a process of its own: requests and answers are lines of JSON on its pipes.

Libraries with OpenMP runtimes of their own cannot share a process; between turns the worker sleeps in `read`.
"""

import json
import math
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import contestants
from benchmarks.drawing import find
from benchmarks.networks import ConvolutionCase, make_batch, make_weights, without_dropout

# Small for timing, so that the numbers stay tame over thousands of steps; larger where losses are compared.
TIMING_RATE, CHECKING_RATE = 1e-4, 0.005


class Worker:
    """Answers requests; each public method is one."""

    def __init__(self, name: str, threads: int, package: str | None = None) -> None:
        if package is not None:
            sys.path.insert(0, package)  # `benchmarks` has been imported; what is not yet comes from there
        self.contestant = contestants.make(name, threads)
        self.functions: dict[str, Callable[[], Any]] = {}

    def training(self, network: str, batch: int) -> list[str]:
        """Prepare training steps."""
        self.functions = {}
        built = find(network)
        X, y = make_batch(built, batch)
        return self._take(step=self._method("training")(built, make_weights(built), X, y, TIMING_RATE))

    def inference(self, network: str, batch: int) -> list[str]:
        """Prepare the inference of one batch."""
        self.functions = {}
        built = find(network)
        X, _ = make_batch(built, batch)
        return self._take(infer=self._method("inference")(built, make_weights(built), X))

    def convolution(self, case: list[int]) -> list[str]:
        """Prepare the three products of one convolution."""
        self.functions = {}
        return self._take(**self._method("convolution")(ConvolutionCase(*case)))

    def product(self) -> list[str]:
        """Prepare the matrix product that is the ceiling."""
        return self._take(product=self._method("product")())

    def small_product(self) -> list[str]:
        """Prepare a matrix product that fits the caches."""
        return self._take(product=self._method("small_product")())

    def time(self, function: str, warmups: int, repetitions: int, limit: float = math.inf) -> list[float]:
        """Seconds of each repetition, after some that are not counted; fewer where all take longer than the limit."""
        run, clock = self.functions[function], time.perf_counter
        begun = clock()
        for _ in range(warmups):
            run()
            if clock() - begun > limit:
                break
        seconds: list[float] = []
        while not seconds or (len(seconds) < repetitions and clock() - begun < limit):
            start = clock()
            run()
            seconds.append(clock() - start)
        return seconds

    def losses(self, network: str, batch: int, steps: int) -> list[float]:
        """The losses of the first steps, without dropout: they tell whether all do the same work."""
        built = without_dropout(find(network))
        step = self._method("training")(built, make_weights(built), *make_batch(built, batch), CHECKING_RATE)
        return [step() for _ in range(steps)]

    def output(self, function: str) -> list[float]:
        """Some of what a function computes, flat: its first image."""
        return [float(value) for value in self.functions[function]()[0].ravel()]

    def magnitude(self, function: str) -> float:
        """The sum of the absolute values of what a function computes, whatever the order of its axes."""
        return float(np.abs(np.asarray(self.functions[function](), np.float64)).sum())

    def peak_memory(self) -> int:
        """Peak of this process's resident memory so far, bytes."""
        status = Path("/proc/self/status")
        if status.exists():  # ru_maxrss would begin with that of the parent process
            line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
            return int(line.split()[1]) * 1024
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def allocated(self, function: str) -> int:
        """Peak of what Python and NumPy allocate during one more repetition, bytes."""
        tracemalloc.start()
        self.functions[function]()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    def working_bytes(self, network: str, batch: int) -> int:
        """What the arrays of a training step take."""
        built = find(network)
        size: int = self._method("working_bytes")(built, make_weights(built), batch)
        return size

    def _method(self, name: str) -> Callable[..., Any]:
        if not hasattr(self.contestant, name):
            raise NotImplementedError(f"does not take part in {name}")
        return getattr(self.contestant, name)

    def _take(self, **functions: Callable[[], Any]) -> list[str]:
        self.functions = {name.replace("_", " "): function for name, function in functions.items()}
        for function in functions.values():
            function()  # compiles what is compiled; who fails does so here, before the timing
        return list(self.functions)


def main() -> None:
    # What libraries print must not come between the answers: it goes to standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker: Worker | None = None
    for line in sys.stdin:
        request = json.loads(line)
        name = request.pop("do")
        try:
            if name == "start":
                worker = Worker(**request)
                answer: Any = None
            else:
                answer = getattr(worker, name)(**request)
            reply = {"answer": answer}
        except NotImplementedError as error:
            reply = {"cannot": str(error)}
        except Exception as error:  # the driver names it and goes on with the others
            message = " ".join(str(error).split())[:200]
            reply = {"cannot": f"{type(error).__name__}: {message}"}
        answers.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
