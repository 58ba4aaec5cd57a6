"""When each working array of a step is in use, and which of them lie in the same memory.

There is one rule:

    two arrays share a block of memory where no moment of a step needs both; or where the later one may be written over
    the earlier, by a layer that reads its input for the last time as it writes the gradient (`Uses`)

A step is walked through once, forward and backward as it will run, and each array's first and last use are noted. Then
the largest array that has no block yet, of equals the first, goes into the smallest block that it does not disturb, or
into a new one: Pisarchyk, Lee, "Efficient Memory Management for Deep Neural Net Inference", MLSys workshop 2020,
"greedy by size".

The output of a pass that can compute it again cheaply is not kept until its reader goes backward, but computed a second
time just before: Chen, Xu, Zhang, Guestrin, "Training Deep Nets with Sublinear Memory Cost", 2016; for batch
normalization Rota Bulò, Porzi, Kontschieder, "In-Place Activated BatchNorm for Memory-Optimized Training of DNNs",
CVPR 2018. No bit of a result differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cnnx.memory.arrays import Block, WorkingArray
from cnnx.plan.output import OutputPass
from cnnx.plan.passes import Chain, Pass

# Blocks that an array is tried in.
MOST_CHOICES = 64

# What holds the array that is handed on: none where it is the user's.
Value = WorkingArray | None


def choose_recomputed(chain: Chain) -> None:
    """Have passes write their outputs again for the pass that reads them, rather than keep them until then.

    That pass must be able to write its gradient over them; and what is to be computed again needs its own input, which
    therefore is not computed again.
    """
    reader: Pass | None = None
    again = False
    for pass_ in reversed(chain.passes):
        for way in pass_.ways:
            choose_recomputed(way)
        if pass_.uses.view:
            continue
        again = not again and pass_.uses.recomputed and reader is not None and _takes_again(reader)
        if again and reader is not None:
            reader.below = pass_
        reader = pass_


def _takes_again(reader: Pass) -> bool:
    """Whether a pass can do with an input that is written just before it goes backward."""
    return reader.wants_gradient and reader.uses.input and reader.uses.gradient_over_input


def walk_through(chain: Chain, output: OutputPass | None, training: bool) -> int:
    """Note when each array of a step is in use; returns the last moment."""
    walk = Walk()
    if output is None:
        walk.forward(chain, None)
        return walk.moment
    loss = output.working
    output.starts = walk.tick()
    _begin(loss, ["targets"], output.starts)
    scores = walk.forward(chain, None)
    output.measures = walk.tick()
    _begin(loss, ["output", "losses", "rates", "sums"], output.measures)
    _use([scores, loss.get("targets")], output.measures)
    if training:
        output.returns = walk.tick()
        _use([scores, *(loss.get(name) for name in ("targets", "output", "sums"))], output.returns)
        _begin(loss, ["input_gradient"], output.returns)
        walk.backward(chain, loss.get("input_gradient"))
    return walk.moment


def _begin(working: Mapping[str, WorkingArray], names: Iterable[str], moment: int) -> None:
    for name in names:
        if name in working:
            working[name].begin(moment)


class Walk:
    """A step as it will run, with the arrays that it takes instead of their content."""

    def __init__(self) -> None:
        self.moment = 0
        self.inputs: dict[int, Value] = {}

    def tick(self) -> int:
        """The next moment."""
        self.moment += 1
        return self.moment

    def forward(self, chain: Chain, value: Value) -> Value:
        """What comes out of the last pass."""
        for pass_ in chain.passes:
            value = self._forward(pass_, value)
        return value

    def backward(self, chain: Chain, gradient: Value) -> Value:
        """What comes out of the last pass on the way back."""
        for pass_ in chain.ascent:
            gradient = self._backward(pass_, gradient)
        return gradient

    def _forward(self, pass_: Pass, value: Value) -> Value:
        pass_.starts = now = self.tick()
        self.inputs[id(pass_)] = value
        _use([value], now)
        results = [self.forward(way, value) for way in pass_.ways]
        now = self.tick() if pass_.ways else now
        _use(results, now)
        for name, working in pass_.working.items():
            if name != "input_gradient" and not working.reservation.backward_only:
                working.begin(now)
        return pass_.working.get("output", value)

    def _backward(self, pass_: Pass, gradient: Value) -> Value:
        pass_.returns = now = self.tick()
        value = self.inputs[id(pass_)]
        if pass_.below is not None:
            pass_.below.working["output"].begin(now)
        read = [gradient]
        if pass_.uses.input:
            read.append(value)
        for name, working in pass_.working.items():
            if working.reservation.backward_only:
                working.begin(now)
                working.over = gradient if working.reservation.over_gradient else None
                read.append(working)
            elif name not in ("input_gradient", "output") or (name == "output" and pass_.uses.output):
                read.append(working)
        _use(read, now)
        results = [self.backward(way, pass_.working.get("gated", gradient)) for way in pass_.ways]
        if pass_.ways:
            now = self.tick()
            _use([*results, pass_.working.get("gated")], now)
        result = pass_.working.get("input_gradient")
        if result is None or not pass_.wants_gradient:
            return gradient
        result.begin(now)
        result.over = value if pass_.uses.gradient_over_input else None
        return result


def _use(values: Iterable[Value], moment: int) -> None:
    for value in values:
        if value is not None:
            value.use(moment)


def place(arrays: Iterable[WorkingArray]) -> list[Block]:
    """Give each array that is in use at some moment its block; returns the blocks."""
    blocks: list[Block] = []
    alone: list[Block] = []
    for working in sorted(arrays, key=lambda working: (-working.reservation.nbytes, working.spans[0])):
        if working.reservation.per_example:
            # In a network of thousands of layers, to look at all would take longer than a step.
            fitting = [block for block in blocks[-MOST_CHOICES:] if block.admits(working)]
            over = None if working.over is None else working.over.block
            # Rather over what is read as it is written: that takes less time, too.
            working.block = min(fitting, key=lambda block: (block is not over, block.nbytes)) if fitting else Block()
            if not fitting:
                blocks.append(working.block)
        else:
            alone.append(working.block)
        working.block.add(working)
    return blocks + alone
