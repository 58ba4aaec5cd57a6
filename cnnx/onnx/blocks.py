"""From steps to layers in a row: where two ways part and are added again, they are a ResidualLayer.

A step's neck is the last step before it that all ways from the input go through: its dominator. What lies between an
addition and its neck is the block; each of its two ways is a row again. (Cooper, Harvey, Kennedy, "A Simple, Fast
Dominance Algorithm", 2001, for a graph without loops.)
"""

from __future__ import annotations

from cnnx._typing import Array
from cnnx.layers import DropoutLayer, ResidualLayer
from cnnx.layers.base import Layer
from cnnx.layers.residual import DEEPEST
from cnnx.onnx.network import Step

Row = list[tuple[Layer, dict[str, Array]]]
# Their necks are looked for one by one.
MOST_ADDITIONS = 1_000


def arrange(steps: list[Step], last: int) -> Row:
    """The layers from the input to the step `last`, in order, with their parameters.

    Raises
    ------
    ValueError
        If they are no row of layers and of blocks of two ways that are added.
    """
    if sum(len(step.sources) == 2 for step in steps) > MOST_ADDITIONS:
        raise ValueError(f"expected at most {MOST_ADDITIONS} additions")
    return _Arrangement(steps).row(0, last, 0)


class _Arrangement:
    """Every step has its place once."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps, self.necks, self.placed = steps, _necks(steps), set[int]()

    def row(self, first: int, last: int, depth: int) -> Row:
        """What comes behind `first`, which all ways to `last` go through, up to `last`."""
        if depth > DEEPEST:
            raise ValueError(f"expected additions nested up to {DEEPEST} deep")
        row: Row = []
        while last != first:
            step = self.steps[last]
            if last in self.placed:
                raise ValueError(f"{step.where}: its output goes several ways that are not added to each other again")
            self.placed.add(last)
            if step.layer is not None and step.params is not None:
                row.append((step.layer, step.params))
            else:
                row.append(self._block(step, self.necks[last], depth))
            last = self.necks[last]
        return row[::-1]

    def _block(self, step: Step, neck: int, depth: int) -> tuple[Layer, dict[str, Array]]:
        through, past = (self.row(neck, source, depth + 1) for source in step.sources)
        if not through:
            through, past = past, through
        # A value that is added to itself goes through a layer that hands it on.
        through = through or [(DropoutLayer(rate=0.0), {})]
        try:
            block = ResidualLayer(*(layer for layer, _ in through), shortcut=[layer for layer, _ in past] or None)
        except ValueError as error:
            raise ValueError(f"{step.where}: {error}") from None
        ways = (("", through), ("shortcut.", past))
        return block, {
            f"{start}{index}.{key}": values
            for start, way in ways
            for index, (_, params) in enumerate(way)
            for key, values in params.items()
        }


def _necks(steps: list[Step]) -> list[int]:
    """The neck of each step; steps come after what they take."""
    necks = [0]
    for step in steps[1:]:
        neck, *others = step.sources
        for other in others:
            while neck != other:
                if neck > other:
                    neck = necks[neck]
                else:
                    other = necks[other]
        necks.append(neck)
    return necks
