"""Working arrays that the steps of a model share. It is decided here, once, when a model is built.

A gradient is read by the next step of the backward pass and by no other: two arrays that take turns hold all of them,
and all outputs that no backward pass reads. The output of a step that can compute it again cheaply is not kept either,
but computed a second time when the step that reads it goes backward: Chen, Xu, Zhang, Guestrin, "Training Deep Nets
with Sublinear Memory Cost", 2016; for batch normalization Rota Bulò, Porzi, Kontschieder, "In-Place Activated BatchNorm
for Memory-Optimized Training of DNNs", CVPR 2018. No bit of a result differs.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.layers.base import Layer


class SharedArray:
    """Memory for the largest of several arrays, of which one is in use at a time; it grows with the batch."""

    def __init__(self) -> None:
        self.bytes_per_example = 0
        self.memory: Array = np.empty(0, np.uint8)

    def reserve(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Make room for an array with `shape` for each example."""
        self.bytes_per_example = max(self.bytes_per_example, math.prod(shape) * dtype.itemsize)

    def array(self, batch: int, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """The memory as one of the arrays, with any content."""
        if self.memory.nbytes < batch * self.bytes_per_example:
            self.memory = np.empty(batch * self.bytes_per_example, np.uint8)
        used = batch * math.prod(shape) * dtype.itemsize
        return self.memory[:used].view(dtype).reshape(batch, *shape)


def share(steps: Sequence[Layer]) -> list[SharedArray]:
    """Have the steps share what they can, and return the arrays that they share."""
    taking_turns = SharedArray(), SharedArray()
    users = [step for step in steps if step.reserves("input_gradient")]
    for turn, step in enumerate(users):
        step.borrow("input_gradient", taking_turns[turn % 2])
    for step, reader in zip(steps, _readers(steps), strict=True):
        # An output that its reader is done with before it writes its gradient can be in the same array.
        if reader in users and (_is_passed_on(step, reader) or _is_recomputed(step, reader)):
            step.borrow("output", taking_turns[users.index(reader) % 2])
            reader.source = step if reader.reads_input else None
    return list(taking_turns)


def _is_passed_on(step: Layer, reader: Layer) -> bool:
    """Whether nobody reads the step's output in the backward pass."""
    return step.reserves("output") and not step.reads_output and not reader.reads_input


def _is_recomputed(step: Layer, reader: Layer) -> bool:
    return step.recomputes and reader.reads_input and reader.frees_input


def _readers(steps: Sequence[Layer]) -> list[Layer | None]:
    """For each step, the one that reads its output, perhaps as a view that others hand on."""
    found: list[Layer | None] = []
    reader: Layer | None = None
    for step in reversed(steps):
        found.append(reader)
        if not step.hands_on:
            reader = step
    return found[::-1]
