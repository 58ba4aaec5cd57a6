"""The deck's table of a network: layer, input shape, output shape, parameters; and the memory of a training step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnx._typing import Shape

if TYPE_CHECKING:
    from cnnx.network import Model


def summarize(model: "Model", batch_size: int) -> str:
    """The table for batches of `batch_size` examples."""
    rows = [("Layer", "Input shape", "Output shape", "Parameters", "Memory")]
    steps = {id(member): step for step in model.steps for member in getattr(step, "layers", [step])}
    shown: set[int] = set()
    for layer in model.layers:
        parameters = sum(value.size for value in layer.params.values())
        step = steps[id(layer)]
        memory = "fused" if id(step) in shown else _size(step.array_bytes(batch_size))
        shown.add(id(step))
        rows.append(
            (
                layer.name,
                _shape(batch_size, layer.input_shape),
                _shape(batch_size, layer.output_shape),
                f"{parameters:,}",
                memory,
            )
        )
    shared = batch_size * sum(array.bytes_per_example for array in model.shared_arrays)
    arrays = sum(step.array_bytes(batch_size) for step in model.steps) + shared
    parameters_and_gradients = model.parameters.nbytes + model.gradients.nbytes
    lines = format_table(rows)
    lines.append(f"{model.parameter_count:,} parameters, {_size(model.parameters.nbytes)} in {model.dtype}.")
    lines.append(
        f"A training step on {batch_size} examples takes {_size(arrays + parameters_and_gradients)}: "
        f"{_size(arrays)} of working arrays, of which all layers share {_size(shared)}, and "
        f"{_size(parameters_and_gradients)} of parameters and gradients."
    )
    return "\n".join(lines)


def format_table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table with a rule under its head; columns after the first three are aligned right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * max(len(line) for line in lines), *lines[1:]]


def _shape(batch_size: int, shape: Shape) -> str:
    return str((batch_size, *shape))


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"
