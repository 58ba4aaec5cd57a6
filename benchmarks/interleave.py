"""Timing contestants in turn (A B A B), so that a machine's drift hits all of them."""

import math
import statistics
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import NamedTuple

from benchmarks.processes import Process
from benchmarks.processors import Processors


class Measurement(NamedTuple):
    """Seconds: median and quartiles of all repetitions."""

    median: float
    low: float
    high: float
    repetitions: int
    hampered: int  # how many of them ran while the processors hampered each other

    @classmethod
    def of(cls, seconds: list[float], hampered: int = 0) -> "Measurement":
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
        return cls(median, low, high, len(seconds), hampered)

    @classmethod
    def of_turns(cls, turns: list["Turn"]) -> "Measurement":
        seconds = [value for turn in turns for value in turn.seconds]
        return cls.of(seconds, sum(len(turn.seconds) for turn in turns if turn.hampered))


class Turn(NamedTuple):
    """Seconds of the repetitions of one turn, and whether the processors hampered each other before or after it."""

    seconds: list[float]
    hampered: bool


class Plan(NamedTuple):
    """How long to measure."""

    rounds: int = 12
    turn_seconds: float = 0.15  # about; at least `fewest` repetitions
    fewest: int = 3
    most: int = 1000
    limit: float = math.inf  # seconds after which a turn ends early, with at least one repetition
    # Before each turn: the threads of the contestant before it spin for a while and then sleep.
    pause: float = 0.3
    # Turns on processors that hamper each other are taken again, until so many seconds have been lost with them.
    patience: float = 60


QUICK = Plan(rounds=3, turn_seconds=0.02, fewest=2, most=50, patience=5)


def interleave(
    turns: Mapping[str, tuple[Process, str]], plan: Plan, watch: Processors | None = None
) -> dict[str, Measurement]:
    """Time each contestant's function, all of them once a round; `watch` for who keeps one from call to call."""
    repetitions = {}
    for name, (process, function) in turns.items():
        time.sleep(plan.pause)
        once = min(process.ask("time", function=function, warmups=2, repetitions=2))
        repetitions[name] = max(plan.fewest, min(plan.most, math.ceil(plan.turn_seconds / once)))
    measured: dict[str, list[Turn]] = {name: [] for name in turns}
    patience = plan.patience
    threads = max(process.threads for process, _ in turns.values())
    with Processors(threads) if watch is None else nullcontext(watch) as processors:
        for _ in range(plan.rounds):
            for name, (process, function) in turns.items():
                turn, patience = _take_turn(process, function, repetitions[name], processors, plan, patience)
                measured[name].append(turn)
    return {name: Measurement.of_turns(own) for name, own in measured.items()}


def _take_turn(
    process: Process, function: str, count: int, processors: Processors, plan: Plan, patience: float
) -> tuple[Turn, float]:
    """The first turn between two moments that are fit for it, and the patience that is left; without, any turn."""
    while True:
        started = time.monotonic()
        time.sleep(plan.pause)
        hampered = processors.hampered()
        if not hampered or patience <= 0:
            time.sleep(plan.pause)
            seconds = process.ask(
                "time", function=function, warmups=1 + count // 20, repetitions=count, limit=plan.limit
            )
            hampered = hampered or processors.hampered()
            if not hampered or patience <= 0:
                return Turn(seconds, hampered), patience
        patience -= time.monotonic() - started
