"""Training steps of cnnx alone: one thread against all, and time per example over batch sizes."""

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.contestants import CNNX
from benchmarks.interleave import interleave
from benchmarks.processes import CannotError, Process
from benchmarks.rows import Row
from benchmarks.suites import Settings

NETWORKS = ("mnistnet", "vggbn")
THREAD_BATCHES = (64, 256)
BATCHES = (32, 64, 128, 256, 512, 1024)
SPEEDUP = "one thread / all threads"
DEVIATION = "deviation of time per example"


def run(settings: Settings) -> Iterator[Row]:
    for network in settings.chosen(NETWORKS):
        for batch in THREAD_BATCHES if settings.threads > 1 else ():
            yield threads(network, batch, settings)
        yield batches(network, settings)


def threads(network: str, batch: int, settings: Settings) -> Row:
    row = Row("scaling", f"{network}, batch {batch}, 1 and {settings.threads} threads")
    steps = {f"{count} threads": (count, batch) for count in (1, settings.threads)}
    _measure(row, network, steps, settings)
    if row.seconds:
        one, all_threads = (row.seconds[name].median for name in steps)
        row.figures[SPEEDUP] = one / all_threads
    return row


def batches(network: str, settings: Settings) -> Row:
    row = Row("scaling", f"{network}, batches {BATCHES[0]} to {BATCHES[-1]}")
    _measure(row, network, {f"batch {batch}": (settings.threads, batch) for batch in BATCHES}, settings)
    if row.seconds:
        each = [row.seconds[f"batch {batch}"].median / batch for batch in BATCHES]
        row.values |= {f"μs/example, batch {batch}": t * 1e6 for batch, t in zip(BATCHES, each, strict=True)}
        # All lie within c (1 - d) and c (1 + d) for some c.
        row.figures[DEVIATION] = (max(each) - min(each)) / (max(each) + min(each))
    return row


def _measure(row: Row, network: str, steps: dict[str, tuple[int, int]], settings: Settings) -> None:
    with ExitStack() as stack:
        turns = {}
        try:
            for name, (count, batch) in steps.items():
                process = Process(CNNX, count)
                stack.callback(process.close)
                process.ask("training", network=network, batch=batch)
                turns[name] = process, "step"
        except CannotError as error:
            row.skipped[CNNX] = str(error)
        else:
            row.seconds = interleave(turns, settings.plan)
