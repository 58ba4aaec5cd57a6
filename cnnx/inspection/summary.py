"""The deck's table of a network: layer, input shape, output shape, parameters; and the memory of a training step."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

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
    rows = [HEAD, *layer_rows(layers, plan, batch_size)]
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


def layer_rows(layers: Sequence[Layer], plan: Plan, batch_size: int) -> list[tuple[str, ...]]:
    """The cells of each layer's row, under `HEAD`."""
    own = _own_bytes(plan, batch_size)
    rows: list[tuple[str, ...]] = []
    for layer in layers:
        count = sum(value.size for value in layer.params.values())
        memory = format_bytes(own[place_of(layer.name)]) if place_of(layer.name) in own else "fused"
        shapes = _shape(batch_size, layer.input_shape), _shape(batch_size, layer.output_shape)
        rows.append((layer.name, *shapes, f"{count:,}", memory))
    return rows


def summarize_html(layers: Sequence[Layer], plan: Plan | None, batch_size: int = 64) -> str:
    """The same table for notebooks; of layers that are not built, without a plan, their arguments instead."""
    rows: list[tuple[str, ...]]
    if plan is None:
        head: tuple[str, ...] = ("Layer", "Arguments")
        rows = [(layer.name, repr(layer)) for layer in layers]
        note = "Not built yet: shapes are known once it is trained, or build(input_shape) is called."
    else:
        head, rows = HEAD, layer_rows(layers, plan, batch_size)
        note = summarize(layers, plan, batch_size).rpartition("\n")[2]
        count = sum(value.size for layer in layers for value in layer.params.values())
        note = f"{count:,} parameters. {note}"
    lines = [
        "<tr>" + "".join(f'<{tag} style="text-align:left">{escape(cell)}</{tag}>' for cell in row) + "</tr>"
        for tag, row in [("th", head), *(("td", row) for row in rows)]
    ]
    return f"<table><thead>{lines[0]}</thead><tbody>{''.join(lines[1:])}</tbody></table><p>{escape(note)}</p>"


def _own_bytes(plan: Plan, batch_size: int) -> dict[str, int]:
    """Bytes of the arrays that a pass shares with no other, by the place of its first layer in the model."""
    contexts: list[Context] = [*plan.passes, *([] if plan.output is None else [plan.output])]
    own = {place_of(context.name): 0 for context in contexts}
    for block in plan.blocks:
        owners = {place_of(member.owner) for member in block.members}
        if len(owners) == 1:
            own[owners.pop()] += block.size(batch_size)
    return own


def place_of(name: str) -> str:
    """``layers[3]``, of a layer named ``layers[3] (Class)`` or of one inside it."""
    return name.partition(" ")[0].partition(".")[0]


def _shape(batch_size: int, shape: Shape) -> str:
    return str((batch_size, *shape))
