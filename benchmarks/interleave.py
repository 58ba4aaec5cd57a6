"""Contestants as processes, and timing them in turn (A B A B), so that a machine's drift hits all of them."""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from benchmarks import contestants
from benchmarks.processors import Processors


class Measurement(NamedTuple):
    """Seconds: median and quartiles of all repetitions."""

    median: float
    low: float
    high: float
    repetitions: int
    on_shared_cores: int  # of these repetitions

    @classmethod
    def of(cls, turns: list["Turn"]) -> "Measurement":
        seconds = [value for turn in turns for value in turn.seconds]
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
        shared = sum(len(turn.seconds) for turn in turns if turn.on_shared_cores)
        return cls(median, low, high, len(seconds), shared)


class Turn(NamedTuple):
    """Seconds of the repetitions of one turn, and whether the processors shared a core before or after it."""

    seconds: list[float]
    on_shared_cores: bool


class Plan(NamedTuple):
    """How long to measure."""

    rounds: int = 12
    turn_seconds: float = 0.15  # about; at least `fewest` repetitions
    fewest: int = 3
    most: int = 1000
    # Before each turn: the threads of the contestant before it spin for a while and then sleep.
    pause: float = 0.3
    # A turn on processors that share a core is measured again, until this time has passed.
    patience: float = 15


QUICK = Plan(rounds=3, turn_seconds=0.02, fewest=2, most=50, patience=3)


class CannotError(Exception):
    """A contestant cannot do what is asked; the message says why."""


class Process:
    """A worker process with one contestant in it."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(threads),
        )
        self.ask("start", name=name, threads=threads)

    def ask(self, request: str, **arguments: Any) -> Any:
        """The answer to one request of `Worker`; CannotError if there is none."""
        try:
            self._process.stdin.write(json.dumps({"do": request, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise CannotError(self._last_words()) from None
        line = self._process.stdout.readline()
        if not line:
            raise CannotError(self._last_words())
        reply = json.loads(line)
        if "cannot" in reply:
            raise CannotError(reply["cannot"])
        return reply["answer"]

    def close(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"its process ended with {code}: {lines[-1][:200] if lines else 'without a word'}"


def environment(threads: int) -> dict[str, str]:
    """For a worker: the same number of threads for whatever library reads it from there, no GPU, no log noise."""
    count = str(threads)
    return {
        **os.environ,
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


class Team:
    """Worker processes for some contestants; who cannot take part is left out, by name and with the reason."""

    def __init__(self, names: Iterable[str], threads: int, without: Sequence[str] = ()) -> None:
        self.skipped: dict[str, str] = {}
        self.members: dict[str, Process] = {}
        self._closing = ExitStack()
        for name in names:
            reason = "left out with --without" if name in without else contestants.missing(name)
            if reason is None:
                try:
                    process = Process(name, threads)
                except CannotError as error:
                    reason = str(error)
                else:
                    self.members[name] = process
                    self._closing.callback(process.close)
            if reason is not None:
                self.skipped[name] = reason

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def only(self, *names: str) -> "Team":
        """Some of the members, for a request that is not for all; the processes stay this team's."""
        part = Team((), 0)
        part.skipped = {name: reason for name, reason in self.skipped.items() if name in names}
        part.members = {name: process for name, process in self.members.items() if name in names}
        return part

    def ask(self, request: str, **arguments: Any) -> tuple[dict[str, Any], dict[str, str]]:
        """Every member's answer, one after the other, and the reasons of those who have none."""
        answers, skipped = {}, dict(self.skipped)
        for name, process in self.members.items():
            try:
                answers[name] = process.ask(request, **arguments)
            except CannotError as error:
                skipped[name] = str(error)
        return answers, skipped


def interleave(turns: Mapping[str, tuple[Process, str]], plan: Plan) -> dict[str, Measurement]:
    """Time each contestant's function, all of them once a round."""
    repetitions = {}
    for name, (process, function) in turns.items():
        time.sleep(plan.pause)
        once = min(process.ask("time", function=function, warmups=2, repetitions=2))
        repetitions[name] = max(plan.fewest, min(plan.most, math.ceil(plan.turn_seconds / once)))
    measured: dict[str, list[Turn]] = {name: [] for name in turns}
    with Processors(max(process.threads for process, _ in turns.values())) as processors:
        for _ in range(plan.rounds):
            for name, (process, function) in turns.items():
                measured[name].append(_take_turn(process, function, repetitions[name], processors, plan))
    return {name: Measurement.of(values) for name, values in measured.items()}


def _take_turn(process: Process, function: str, count: int, processors: Processors, plan: Plan) -> Turn:
    """The first turn on cores of their own, or the last one within the plan's patience."""
    give_up = time.monotonic() + plan.patience
    while True:
        time.sleep(plan.pause)
        before = processors.share_a_core()
        if before and time.monotonic() < give_up:
            continue
        seconds = process.ask("time", function=function, warmups=1 + count // 20, repetitions=count)
        shared = before or processors.share_a_core()
        if not shared or time.monotonic() >= give_up:
            return Turn(seconds, shared)
