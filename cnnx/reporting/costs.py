"""What a model takes: parameters, memory and time, layer by layer."""

from __future__ import annotations

from typing import Any

from cnnx._typing import Array
from cnnx.inspection.summary import layer_rows, place_of
from cnnx.network import Model
from cnnx.plan.tables import format_bytes

# Between the sides of a shape.
TIMES = " \u00d7 "
# Examples at a time, and how often they are timed: the fastest is what the layers take.
BATCH, REPEATS = 64, 5


def layer_costs(model: Model, x: Array) -> list[dict[str, Any]]:
    """A row for each layer, of a prediction for `x`: None as time where it is computed with a layer before."""
    runs = [_seconds(model, x) for _ in range(REPEATS)]
    seconds = {place: min(run[place] for run in runs) for place in runs[0]}
    slowest = max(seconds.values())
    rows = []
    for layer, cells in zip(model.layers, layer_rows(model.layers, model.plan, BATCH), strict=True):
        took = seconds.get(place_of(layer.name))
        rows.append(
            {
                "name": type(layer).__name__,
                "place": place_of(layer.name),
                "output": TIMES.join(map(str, layer.output_shape)),
                "parameters": cells[3],
                "memory": cells[4],
                "milliseconds": None if took is None else 1000 * took,
                "share": 0.0 if took is None or not slowest else took / slowest,
            }
        )
    return rows


def totals(model: Model, rows: list[dict[str, Any]], examples: int) -> dict[str, str]:
    """The sums, for people."""
    seconds = sum(row["milliseconds"] or 0 for row in rows) / 1000
    weights = model.parameters.nbytes
    training = model.plan.nbytes(BATCH) + (weights if model.fixed else 2 * weights)
    return {
        "parameters": f"{model.parameter_count:,}",
        "weights": format_bytes(weights),
        "training": format_bytes(training),
        "serving": format_bytes(model.serving_plan.nbytes(BATCH) + weights),
        "rate": f"{examples / seconds:,.0f}" if seconds else "?",
    }


def _seconds(model: Model, x: Array) -> dict[str, float]:
    """Of each layer that begins a pass, by its place in the model."""
    seconds: dict[str, float] = {}
    for name, took in model.serving_plan.time(x):
        seconds[place_of(name)] = seconds.get(place_of(name), 0.0) + took
    return seconds
