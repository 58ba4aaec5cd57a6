"""The rows of a run as JSON and as Markdown tables."""

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.interleave import Measurement
from benchmarks.rows import Row
from benchmarks.targets import TARGETS

NAMES = {
    "training": "Training step, ms",
    "inference": "Inference of one batch, ms",
    "convolutions": "Convolutions by themselves, ms",
    "scaling": "Training steps of cnnx: threads and batch sizes",
    "memory": "Peak memory of training, whole process minus import",
    "footprint": "Import and installed size",
    "random": "Random networks, ms",
    "random summary": "Random networks: best peer / cnnx of all",
}


def as_json(about: dict[str, Any], rows: Sequence[Row]) -> str:
    """Everything: times in seconds, with quartiles; why a contestant is not there; targets and whether they are met."""
    entries = []
    for row in rows:
        targets = {
            figure: {"target": str(target), "met": figure in row.figures and target.met(row.figures[figure])}
            for (suite, name, figure), target in TARGETS.items()
            if (suite, name) == (row.suite, row.name)
        }
        seconds = {name: measurement._asdict() for name, measurement in row.seconds.items()}
        entries.append({**vars(row), "seconds": seconds, "targets": targets})
    return json.dumps({**about, "rows": entries}, indent=1, ensure_ascii=False) + "\n"


def as_markdown(about: dict[str, Any], rows: Sequence[Row]) -> str:
    """A head with machine, versions, date and command, then a table for each suite."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    parts = [
        f"{about['processor']}, {about['processors']} processors, {about['instruction set']}, {about['system']}; "
        f"Python {about['python']}, {versions}; {about['threads']} threads, float32; "
        f"load before {about['load']}; {about['date']}.\n",
        f"`{about['command']}`\n",
        "Times are medians ± half the interquartile range; * where more than a tenth of the repetitions ran on "
        "processors that hampered each other.\n",
    ]
    return "\n".join([*parts, tables(rows)])


def tables(rows: Sequence[Row]) -> str:
    """A table for each suite, with its title."""
    parts = []
    for suite in dict.fromkeys(row.suite for row in rows):
        parts += [f"## {NAMES[suite]}\n", table([row for row in rows if row.suite == suite])]
    return "\n".join(parts)


def table(rows: Sequence[Row]) -> str:
    """One suite's rows. Columns that no row fills do not appear; a figure is bold where its target is missed."""
    times = list(dict.fromkeys(name for row in rows for name in row.seconds))
    values = list(dict.fromkeys(name for row in rows for name in row.values))
    figures = list(dict.fromkeys(name for row in rows for name in row.figures))
    lines = [_line(["", *times, *values, *figures]), _line(["---", *["---:"] * len(times + values + figures)])]
    for row in rows:
        cells = [row.name]
        cells += [_time(row.seconds[name]) if name in row.seconds else "–" for name in times]  # noqa: RUF001
        cells += [f"{row.values[name]:.3g}" if name in row.values else "" for name in values]
        cells += [_figure(row, name) for name in figures]
        lines.append(_line(cells))
    skipped: dict[str, list[str]] = {}
    for row in rows:
        for who, why in row.skipped.items():
            skipped.setdefault(f"{who}: {why}", []).append(row.name)
    if skipped:
        lines.append("")
    for reason, names in skipped.items():
        where = "" if len(names) == len(rows) else f" ({'; '.join(names)})"
        lines.append(f"- Skipped: {reason}{where}")
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _time(measurement: Measurement) -> str:
    half = (measurement.high - measurement.low) / 2
    mark = " *" if measurement.hampered * 10 > measurement.repetitions else ""
    return f"{measurement.median * 1e3:.3g} ± {half * 1e3:.2g}{mark}"


def _figure(row: Row, name: str) -> str:
    if name not in row.figures:
        return ""
    figure, target = row.figures[name], TARGETS.get((row.suite, row.name, name))
    if target is None:
        return f"{figure:.2f}"
    text = f"{figure:.2f} ({target})"
    return text if target.met(figure) else f"**{text}**"
