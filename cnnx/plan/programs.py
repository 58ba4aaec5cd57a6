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
from cnnx._typing import Array, Shape
from cnnx.layers import LAYERS
from cnnx.layers.base import Layer, leaves, walk
from cnnx.memory.arrays import KeptArrays, WorkingArray
from cnnx.plan.lifetimes import place, walk_through
from cnnx.plan.output import OutputPass
from cnnx.plan.passes import Chain, Pass

# Bytes of a batch, and of its working arrays. Of larger ones calls do not count, and arrays are let go one by one.
LARGEST = 2**22
# Sizes of batches that have a program; others go from pass to pass.
MOST_PROGRAMS = 16

Stage = Pass | OutputPass
Forward = Callable[[Array], Array]


def note_stages(chain: Chain, output: OutputPass | None, forwards: Sequence[Forward]) -> list[Programs | Forward]:
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
    parts: list[Programs | Forward] = []
    for notable, group in groupby(zip(stages, forwards, strict=True), key=lambda pair: _is_notable(pair[0])):
        noted, ways = zip(*group, strict=True)
        parts += [Programs(noted, ways)] if notable else ways
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
        layers = [layer for stage in stages for layer in leaves(_layers(stage))]
        self._states = [(layer, layer.state) for layer in layers if layer.state]
        # The programs have the addresses of arrays in it.
        self._kept = [layer.params for layer in layers]
        self._programs: dict[Shape, Any] = {}
        self._recording = threading.Lock()

    def forward(self, x: Array) -> Array:
        """(batch, ...) to (batch, ...), a fresh array."""
        y = self.run(x)
        if y is None and self._record(x):
            y = self.run(x)
        if y is not None:
            return y
        for forward in self._forwards:
            x = forward(x)
        return x

    def run(self, x: Array, finite: bool = False) -> Array | None:
        """The same by a program; None where there is none for such a batch, or if `finite` and its numbers are not."""
        for layer, state in self._states:
            if layer.state is not state:
                return None
        program = self._programs.get(x.shape)
        return None if program is None else program.run(x, finite)

    def _record(self, x: Array) -> bool:
        """Make a program for batches like this one, unless it is large or another thread records."""
        working = sum(block.size(len(x)) for block in self._blocks)
        if not 0 < x.nbytes <= LARGEST or working > LARGEST or len(self._programs) >= MOST_PROGRAMS:
            return False
        # Nobody waits: after a fork, the thread that had the lock may not be there.
        if not self._recording.acquire(blocking=False):
            return False
        try:
            program = _kernels.new_program()
            with program:
                y = x
                for stage in self._stages:
                    y = stage.forward(y)
            program.bind(x, tuple(block.memory[: block.size(len(x))] for block in self._blocks), y)
            self._programs[x.shape] = program
        finally:
            self._recording.release()
        return True
