"""Serving by programs: what passes have kernels do is noted once for each size of batch, and then is one call.

Of a small batch the calls take longer than the arithmetic. So the passes of a model whose parameters are fixed go
forward once on a batch of which only the shape counts, while this thread records: kernels do nothing but note what they
would have done (`_kernels/ground/program.pyx`). The addresses that they note lie in the blocks that `lifetimes.py` has
given to the passes' arrays; each run of the program has memory of its own in their place. No bit of a result differs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.layers import LAYERS
from cnnx.layers.base import Layer, leaves, walk
from cnnx.memory.arrays import KeptArrays, WorkingArray
from cnnx.plan.lifetimes import place, walk_through
from cnnx.plan.output import OutputPass
from cnnx.plan.passes import Chain, Pass

# Bytes of a batch's working arrays. The calls of larger batches do not count, and theirs are better let go one by one.
LARGEST = 2**22
# Sizes of batches that have a program; others go from pass to pass.
MOST_PROGRAMS = 16

Stage = Pass | OutputPass
Forward = Callable[[Array], Array]


def note_stages(chain: Chain, output: OutputPass | None, forwards: Sequence[Forward]) -> list[Forward]:
    """What takes a batch through a plan: programs, and those of `forwards` whose passes cannot be noted.

    Passes and output are the plan's a second time, for nothing but to be noted.
    """
    walk_through(chain, output, training=False)
    arrays = KeptArrays()
    chain.bind(arrays)
    stages: list[Stage] = [*chain.passes]
    if output is not None:
        output.bind(arrays)
        stages.append(output)
    parts: list[Forward] = []
    for notable, group in groupby(zip(stages, forwards, strict=True), key=lambda pair: _is_notable(pair[0])):
        noted, ways = zip(*group, strict=True)
        parts += [Programs(noted, ways).forward] if notable else ways
    return parts


def _layers(stage: Stage) -> tuple[Layer, ...]:
    return stage.layers if isinstance(stage, Pass) else (stage.layer,)


def _is_notable(stage: Stage) -> bool:
    """Whether kernels do all of the work on a batch, as in the library's own layers; others may do anything."""
    return all(LAYERS.get(type(layer).__name__) is type(layer) for layer in walk(_layers(stage)))


def _working_arrays(stage: Stage) -> Iterator[WorkingArray]:
    """The arrays that a stage takes on its way forward."""
    if isinstance(stage, OutputPass):
        yield from (working for name, working in stage.working.items() if name == "output")
    else:
        for pass_ in Chain([stage]).walk():
            yield from (working for working in pass_.working.values() if working.spans)


class Programs:
    """Neighbouring passes as programs, one for each size of batch.

    Parameters
    ----------
    stages : sequence of Pass, perhaps with an OutputPass at the end
        What is noted.
    forwards : sequence of callables
        The same from pass to pass, for batches that have no program.
    """

    def __init__(self, stages: Sequence[Stage], forwards: Sequence[Forward]) -> None:
        self._stages, self._forwards = stages, forwards
        self._blocks = place(working for stage in stages for working in _working_arrays(stage))
        self._most = LARGEST // max(1, sum(block.nbytes for block in self._blocks))
        self._states = [(layer, layer.state) for stage in stages for layer in leaves(_layers(stage)) if layer.state]
        self._programs: dict[int, Any] = {}
        self._recording = threading.Lock()

    def forward(self, x: Array) -> Array:
        """(batch, ...) to (batch, ...), a fresh array."""
        program = self._programs.get(len(x))
        if program is None or not program.up_to_date:
            program = self._new_program(x)
        for layer, state in self._states:
            if layer.state is not state:
                program = None
        if program is None:
            for forward in self._forwards:
                x = forward(x)
            return x
        result: Array = program.run(x)
        return result

    def _new_program(self, x: Array) -> Any:
        """A program for batches like this one, or None where there shall be none, or another thread records."""
        if not 0 < len(x) <= self._most or len(self._programs) >= MOST_PROGRAMS:
            return None
        # Nobody waits: after a fork, the thread that had the lock may not be there.
        if not self._recording.acquire(blocking=False):
            return None
        try:
            program = _kernels.new_program()
            with program:
                y = x
                for stage in self._stages:
                    y = stage.forward(y)
            program.bind(x, tuple(block.memory[: block.size(len(x))] for block in self._blocks), y)
            self._programs[len(x)] = program
        finally:
            self._recording.release()
        return program
