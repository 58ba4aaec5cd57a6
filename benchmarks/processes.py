"""Contestants as processes that answer requests, one at a time."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks import contestants


class CannotError(Exception):
    """A contestant cannot do what is asked; the message says why."""


class EndedError(CannotError):
    """Its process has ended."""


class Process:
    """A worker process with one contestant in it; its library comes from the folder `package`, where one is given."""

    def __init__(self, name: str, threads: int, package: Path | None = None) -> None:
        self.name, self.threads, self.package = name, threads, package
        self._start()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(self.threads),
        )
        package = None if self.package is None else str(self.package)
        self._answer("start", name=self.name, threads=self.threads, package=package)

    def ask(self, request: str, **arguments: Any) -> Any:
        """The answer to one request of `Worker`; CannotError if there is none.

        A process that has ended with a request is started again: a library that crashes at one network takes part in
        the next.
        """
        try:
            return self._answer(request, **arguments)
        except EndedError:
            self.close()
            self._start()
            raise

    def _answer(self, request: str, **arguments: Any) -> Any:
        try:
            self._process.stdin.write(json.dumps({"do": request, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise EndedError(self._last_words()) from None
        line = self._process.stdout.readline()
        if not line:
            raise EndedError(self._last_words())
        reply = json.loads(line)
        if "cannot" in reply:
            raise CannotError(reply["cannot"])
        return reply["answer"]

    def close(self) -> None:
        with suppress(BrokenPipeError):  # of a process that has died with a request unread
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

    def __init__(
        self,
        names: Iterable[str],
        threads: int,
        without: Sequence[str] = (),
        packages: Mapping[str, Path] = MappingProxyType({}),
    ) -> None:
        self.skipped: dict[str, str] = {}
        self.members: dict[str, Process] = {}
        self._closing = ExitStack()
        for name in names:
            reason = "left out with --without" if name in without else contestants.missing(name)
            if reason is None:
                try:
                    process = Process(name, threads, packages.get(name))
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
