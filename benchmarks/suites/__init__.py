"""The suites, in the order in which they run. Each module has `run(settings)`, which yields rows."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from benchmarks.interleave import Plan
from benchmarks.processes import Team
from benchmarks.rows import Row

USUAL = ("training", "inference", "convolutions", "scaling", "memory", "footprint")
SUITES = (*USUAL, "random")


class Settings(NamedTuple):
    threads: int
    plan: Plan
    quick: bool
    networks: tuple[str, ...] | None = None  # None: each suite's own choice
    without: tuple[str, ...] = ()
    against: Path | None = None  # a folder with another version of cnnx
    # Of the random networks: those of a seed from the first one on, and whether TensorFlow trains them, too.
    seed: int = 0
    first: int = 0
    count: int = 60
    tensorflow: bool = False

    def chosen(self, default: tuple[str, ...]) -> tuple[str, ...]:
        return default if self.networks is None else self.networks

    def team(self, names: Sequence[str]) -> Team:
        """Worker processes for these contestants, less those who are to be left out."""
        return Team(names, self.threads, self.without)


def run(suite: str, settings: Settings) -> Iterator[Row]:
    return import_module(f"benchmarks.suites.{suite}").run(settings)
