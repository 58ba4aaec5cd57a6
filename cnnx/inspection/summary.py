"""The deck's table of a network: layer, input shape, output shape, parameters; and the memory of a training step."""

from __future__ import annotations

from collections.abc import Sequence

from cnnx._typing import Shape
from cnnx.layers.base import Layer
from cnnx.memory.context import Context
from cnnx.plan.plan import Plan
from cnnx.plan.tables import format_bytes, format_table

HEAD = ("Layer", "Input shape", "Output shape", "Parameters", "Memory")


def summarize(layers: Sequence[Layer], plan: Plan, batch_size: int) -> str:
    """The table for batches of `batch_size` examples.

    Parameters
    ----------
    layers : sequence of Layer
        A model's, built.
    plan : Plan
        Theirs.
    batch_size : int
    """
    own = _own_bytes(plan, batch_size)
    rows = [HEAD]
    for layer in layers:
        count = sum(value.size for value in layer.params.values())
        memory = format_bytes(own[_place(layer.name)]) if _place(layer.name) in own else "fused"
        shapes = _shape(batch_size, layer.input_shape), _shape(batch_size, layer.output_shape)
        rows.append((layer.name, *shapes, f"{count:,}", memory))
    parameters = [value for layer in layers for value in layer.params.values()]
    number, weights = sum(value.size for value in parameters), sum(value.nbytes for value in parameters)
    arrays, gradients = plan.nbytes(batch_size), weights if plan.training else 0
    shared = arrays - sum(own.values())
    batch = f"A training step on {batch_size} examples" if plan.training else f"Serving {batch_size} examples"
    return "\n".join(
        [
            *format_table(rows, right=[3, 4]),
            f"{number:,} parameters, {format_bytes(weights)} in {layers[0].dtype}.",
            f"{batch} takes {format_bytes(arrays + weights + gradients)}: {format_bytes(arrays)} of working arrays"
            + (f", of which layers share {format_bytes(shared)}" if plan.training else "")
            + f", and {format_bytes(weights + gradients)} of parameters"
            + (" and gradients." if plan.training else "."),
        ]
    )


def _own_bytes(plan: Plan, batch_size: int) -> dict[str, int]:
    """Bytes of the arrays that a pass shares with no other, by the place of its first layer in the model."""
    contexts: list[Context] = [*plan.passes, *([] if plan.output is None else [plan.output])]
    own = {_place(context.name): 0 for context in contexts}
    for block in plan.blocks:
        owners = {_place(member.owner) for member in block.members}
        if len(owners) == 1:
            own[owners.pop()] += block.size(batch_size)
    return own


def _place(name: str) -> str:
    """``layers[3]``, of a layer named ``layers[3] (Class)`` or of one inside it."""
    return name.partition(" ")[0].partition(".")[0]


def _shape(batch_size: int, shape: Shape) -> str:
    return str((batch_size, *shape))
