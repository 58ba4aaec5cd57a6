"""Working arrays that the steps of a model share. It is decided here, once, when a model is built.

A gradient is read by the next step of the backward pass and by no other: two arrays hold all of them, and all outputs
that no backward pass reads; but batch normalization writes its gradient over its input, which is of no use after it.
The output of a step that can compute it again cheaply is not kept either, but computed a second time when the step that
reads it goes backward: Chen, Xu, Zhang, Guestrin, "Training Deep Nets with Sublinear Memory Cost", 2016; for batch
normalization Rota Bulò, Porzi, Kontschieder, "In-Place Activated BatchNorm for Memory-Optimized Training of DNNs",
CVPR 2018. No bit of a result differs.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.layers.base import Layer


class SharedArray:
    """Memory for the largest of several arrays, of which one is in use at a time; it grows with the batch."""

    def __init__(self) -> None:
        self.bytes_per_example = 0
        self.memory: Array = np.empty(0, np.uint8)

    def reserve(self, bytes_per_example: int) -> None:
        """Make room for an array of this size."""
        self.bytes_per_example = max(self.bytes_per_example, bytes_per_example)

    def array(self, batch: int, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """The memory as one of the arrays, with any content."""
        if self.memory.nbytes < batch * self.bytes_per_example:
            self.memory = np.empty(batch * self.bytes_per_example, np.uint8)
        used = batch * math.prod(shape) * dtype.itemsize
        return self.memory[:used].view(dtype).reshape(batch, *shape)


def share(steps: Sequence[Layer]) -> list[SharedArray]:
    """Have the steps share what they can, and return the arrays that they share."""
    pair = [SharedArray(), SharedArray()]
    overwritten = []
    for producer, step in pairwise(steps):
        if _can_be_overwritten(producer, step):
            overwritten.append(SharedArray())
            producer.borrow("output", overwritten[-1])
            step.borrow("input_gradient", overwritten[-1])
    arrives_in: SharedArray | None = None
    for step in reversed(steps):
        if not step.reserves("input_gradient"):
            continue
        if "input_gradient" not in step.borrowed:
            free = [array for array in pair if array is not arrives_in]
            step.borrow("input_gradient", _best_fit(free, step.bytes_per_example("input_gradient")))
        arrives_in = step.borrowed["input_gradient"]
    for step, reader in zip(steps, _readers(steps), strict=True):
        # An output that its reader is done with before it writes its gradient can be in the same array.
        if reader is None or not reader.reserves("input_gradient"):
            continue
        if _is_passed_on(step, reader) or _is_recomputed(step, reader):
            step.borrow("output", reader.borrowed["input_gradient"])
            reader.source = step if reader.reads_input else None
    return [*overwritten, *pair]


def _can_be_overwritten(producer: Layer, step: Layer) -> bool:
    """Whether the step's input is the producer's own array, and nobody reads it after the step's backward pass."""
    return (
        step.overwrites_input
        and step.reserves("input_gradient")
        and producer.reserves("output")
        and not producer.reads_output
    )


def _best_fit(arrays: Sequence[SharedArray], needed: int) -> SharedArray:
    """The smallest array that is large enough, or else the largest."""
    return min(arrays, key=lambda array: (array.bytes_per_example < needed, abs(array.bytes_per_example - needed)))


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
