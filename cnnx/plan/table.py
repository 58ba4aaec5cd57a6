"""A plan as a table: its passes, the layers in each, and their arrays, with the memory that they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cnnx.layers.base import Layer
from cnnx.memory.arrays import Block, WorkingArray
from cnnx.memory.context import Context
from cnnx.plan.passes import Pass
from cnnx.plan.tables import format_bytes, format_table

HEAD = ("Pass", "Layers", "Array", "Size", "Block", "In use")


def format_passes(
    passes: Sequence[Pass], output: Context | None, blocks: Sequence[Block], batch_size: int
) -> list[str]:
    """The lines of the table; blocks that several arrays share have letters."""
    shared = (block for block in blocks if len(block.members) > 1)
    names = {id(block): _letters(index) for index, block in enumerate(shared)}
    rows: list[tuple[str, ...]] = [HEAD]
    for pass_ in passes:
        notes = [("weights prepared once", "", "", "")] if pass_.prepared is not None else []
        rows += _rows(pass_.kind, _span(pass_.layers), [*notes, *_arrays(pass_, names, batch_size)])
    if output is not None:
        kind = output.name.partition(" (")[2].rstrip(")") or output.name
        rows += _rows(f"{kind} and loss", output.name.partition(" ")[0], list(_arrays(output, names, batch_size)))
    return format_table(rows, right=[3])


def _rows(kind: str, layers: str, cells: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """A line for each array, the first one with the pass and its layers."""
    first, *rest = cells or [("", "", "", "")]
    yield (kind, layers, *first)
    for each in rest:
        yield ("", "", *each)


def _arrays(context: Context, names: dict[int, str], batch_size: int) -> Iterator[tuple[str, str, str, str]]:
    for working in context.working.values():
        if working.spans:
            size = format_bytes(working.reservation.size(batch_size))
            yield working.name, size, names.get(id(working.block), ""), ", ".join(_moments(working))


def _moments(working: WorkingArray) -> Iterable[str]:
    """When its content is needed; a second time where it is computed again."""
    for first, last in working.spans:
        yield f"{first}" if first == last else f"{first}-{last}"


def _span(layers: Sequence[Layer]) -> str:
    """``layers[3]``, or ``layers[3] to [5]``."""
    first, last = (layer.name.partition(" ")[0] for layer in (layers[0], layers[-1]))
    return first if first == last else f"{first} to {last[last.rindex('[') :]}"


def _letters(index: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    return (_letters(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)
