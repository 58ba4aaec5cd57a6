"""Working arrays that the steps of a model share. It is decided here, once, when a model is built.

A gradient is read by the next step of the backward pass and by no other: two arrays that take turns hold all of them.
The output of a step that can compute it again cheaply is not kept for the backward pass, but computed a second time,
into the same array, when the step behind it needs its input: Chen, Xu, Zhang, Guestrin, "Training Deep Nets with
Sublinear Memory Cost", 2016; for batch normalization Rota Bulò, Porzi, Kontschieder, "In-Place Activated BatchNorm for
Memory-Optimized Training of DNNs", CVPR 2018. No bit of a result differs.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.layers.base import Layer


class SharedArray:
    """Memory for the largest of several arrays, of which one is in use at a time."""

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
    gradients = [SharedArray(), SharedArray()]
    outputs = SharedArray()
    recomputed = False
    for step in steps:
        if step.reserves("input_gradient"):
            step.borrow("input_gradient", gradients[0])
            gradients.reverse()
        # Of two neighbours, the second would write over what it reads.
        recomputed = step.recomputes and not recomputed
        if recomputed:
            step.borrow("output", outputs)
    return [*gradients, outputs]


def inputs_to_recompute(steps: Sequence[Layer]) -> list[Layer | None]:
    """For each step, the one whose output must be computed again before its backward pass."""
    found: list[Layer | None] = [None]
    for step in steps[:-1]:
        # A step without an output of its own hands on a view of its input.
        found.append(step if step.borrows("output") else None if step.reserves("output") else found[-1])
    return found
