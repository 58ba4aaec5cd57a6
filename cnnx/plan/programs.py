"""Serving by programs: what passes have kernels do is noted once for each size of batch, and then is one call.

Of a small batch the calls take longer than the arithmetic. So the passes of a model whose parameters are fixed go
forward once on a batch of which only the shape counts, while this thread records: kernels do nothing but note what they
would have done (`_kernels/ground/program.pyx`). The addresses that they note lie in the blocks that `lifetimes.py` has
given to the passes' arrays; each run of the program has memory of its own in their place. No bit of a result differs.

A large batch goes through a program in parts, whose arrays stay in cache and which threads share: none waits for the
others between two layers. Where weights are many and values few, as in a large dense layer, the batch stays whole.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.layers import LAYERS
from cnnx.layers.base import Layer, leaves, walk
from cnnx.memory.arrays import Block, KeptArrays, WorkingArray
from cnnx.plan.lifetimes import place, walk_through
from cnnx.plan.output import OutputPass
from cnnx.plan.passes import Chain, Pass

# Bytes of an example and its working arrays. Of larger ones calls do not count, and arrays are let go one by one.
LARGEST = 2**22
# Bytes of the working arrays of a part of a batch, which are to stay in the second-level cache.
CACHED = 2**20
# Operations that are worth cutting a batch for threads; otherwise each kernel may do it.
WORTH_SHARING = 2_000_000
# Times as long as with even parts threads may take.
UNEVEN = 1.2
# Weights that are not read again for each part of a batch: more than so many bytes, and so many times those of values.
HEAVY, MANY_TIMES = 2**17, 64
# Of batches of so many sizes; others go from pass to pass.
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


class Stretch:
    """Neighbouring stages that are noted together, and their programs.

    Parameters
    ----------
    stages : sequence of Pass, perhaps with an OutputPass at the end
        What is noted.
    forwards : sequence of callables
        The same from pass to pass.
    blocks : sequence of Block
        Where all arrays of the stages lie, and perhaps others.
    recording : Lock
        Of all who note these stages.
    """

    def __init__(
        self, stages: Sequence[Stage], forwards: Sequence[Forward], blocks: Sequence[Block], recording: threading.Lock
    ) -> None:
        self._stages, self._forwards, self._blocks, self._recording = stages, forwards, blocks, recording
        own = {id(working.block): working.block.nbytes for stage in stages for working in _working_arrays(stage)}
        self.nbytes = max(1, sum(own.values()))
        self.operations = sum(map(_operations, stages))
        self._programs: dict[Shape, Any] = {}

    def find(self, x: Array) -> Any:
        """The program for batches like this one, or None."""
        return self._programs.get(x.shape)

    def record(self, x: Array) -> Any:
        """`find`, or a new program, unless there are many, or another thread records."""
        program = self._programs.get(x.shape)
        if program is not None and program.up_to_date:
            return program
        # Nobody waits: after a fork, the thread that had the lock may not be there.
        if len(self._programs) >= MOST_PROGRAMS or not self._recording.acquire(blocking=False):
            return None
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
        return program

    def forward(self, x: Array) -> Array:
        """(batch, ...) to (batch, ...), from pass to pass."""
        for forward in self._forwards:
            x = forward(x)
        return x

    def forward_in_parts(self, x: Array) -> Array:
        """`forward` by a program for parts of the batch, which stay in cache and which threads share, if it can."""
        size = part_size(len(x), CACHED // self.nbytes, _kernels.get_num_threads())
        if size == len(x):
            return self.forward(x)
        last = len(x) % size
        program, rest = self.record(x[:size]), self.record(x[:last]) if last else None
        if program is None or (last and rest is None):
            return self.forward(x)
        y: Array = program.run_parts(x, rest, self.operations * len(x))
        return y


def part_size(batch: int, most: int, threads: int) -> int:
    """Examples of the parts of a batch, at most so many, and as many for each thread; or all of them."""
    if most < 1:
        return batch
    turns = math.ceil(batch / (most * threads))
    size = math.ceil(batch / (turns * threads))
    return size if turns * threads * size <= UNEVEN * batch else batch


def _operations(stage: Stage) -> float:
    """Of the products for one example, about."""
    layers = [layer for layer in leaves(_layers(stage)) if "W" in layer.params]
    return sum(2.0 * layer.params["W"].size * math.prod(layer.output_shape[:-1]) for layer in layers)


def _is_heavy(stage: Stage) -> bool:
    """Whether weights would have to be read again for each part of a batch, and take longer than the products."""
    layers = leaves(_layers(stage))
    weights = sum(value.nbytes for layer in layers for value in layer.params.values())
    values = sum(working.reservation.nbytes for working in _working_arrays(stage))
    return weights > max(HEAVY, MANY_TIMES * values)


class Programs:
    """Neighbouring passes as programs: of a small batch one for all of it, else of its parts.

    Parameters
    ----------
    stages : sequence of Pass, perhaps with an OutputPass at the end
        What is noted.
    forwards : sequence of callables
        The same from pass to pass, for batches that have no program.
    """

    def __init__(self, stages: Sequence[Stage], forwards: Sequence[Forward]) -> None:
        blocks = place(working for stage in stages for working in _working_arrays(stage))
        recording = threading.Lock()
        self._whole = Stretch(stages, forwards, blocks, recording)
        self._parts: list[Forward] = []
        for heavy, group in groupby(zip(stages, forwards, strict=True), key=lambda pair: _is_heavy(pair[0])):
            noted, ways = zip(*group, strict=True)
            stretch = Stretch(noted, ways, blocks, recording)
            self._parts.append(stretch.forward if heavy else stretch.forward_in_parts)
        layers = [layer for stage in stages for layer in leaves(_layers(stage))]
        self._states = [(layer, layer.state) for layer in layers if layer.state]
        # The programs have the addresses of arrays in it.
        self._kept = [layer.params for layer in layers]

    def forward(self, x: Array) -> Array:
        """(batch, ...) to (batch, ...), a fresh array."""
        y = self.run(x)
        if y is not None:
            return y
        whole = self._whole
        if len(x) == 0 or self._have_changed():
            return whole.forward(x)
        if len(x) > 1 and (
            whole.nbytes * len(x) > CACHED
            or (_kernels.get_num_threads() > 1 and whole.operations * len(x) > WORTH_SHARING)
        ):
            for part in self._parts:
                x = part(x)
            return x
        program = whole.record(x) if x.nbytes + whole.nbytes <= LARGEST else None
        return whole.forward(x) if program is None else program.run(x)

    def run(self, x: Array, finite: bool = False) -> Array | None:
        """The same by one program; None where there is none for such a batch, or if `finite` and a number is not."""
        program = self._whole.find(x)
        return None if program is None or self._have_changed() else program.run(x, finite)

    def _have_changed(self) -> bool:
        """Whether layers have other states than those that are noted."""
        return any(layer.state is not state for layer, state in self._states) if self._states else False
