"""What a suite yields: rows of measurements, and the figures made of them that targets speak about."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from benchmarks.contestants import CNNX
from benchmarks.interleave import Measurement

BEST_PEER = "best peer / cnnx"
MEAN = "geometric mean"


@dataclass
class Row:
    """One line of a table.

    `seconds` holds times by contestant, `values` other measured numbers by name, `figures` the numbers to judge,
    `skipped` the reasons of contestants who are not there.
    """

    suite: str
    name: str
    seconds: dict[str, Measurement] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    best_peer: str | None = None


def compare(row: Row, peers: Iterable[str], figure: str = BEST_PEER) -> None:
    """Add the ratio of the fastest of these peers' medians to ours; more than 1 is in our favour."""
    medians: Mapping[str, float] = {name: row.seconds[name].median for name in peers if name in row.seconds}
    if medians and CNNX in row.seconds:
        best = min(medians, key=medians.__getitem__)
        row.best_peer = row.best_peer or best
        row.figures[figure] = medians[best] / row.seconds[CNNX].median


def geometric_mean(ratios: Iterable[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, ratios)))
