"""This version of cnnx against another one, in a folder of its own: two contestants, in turn, and nobody else.

A row's figure is what the other version takes divided by what this one takes: more than 1 is in favour of this one.
Both must do the same work, which the suites' own checks tell.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from typing import Any

from benchmarks.contestants import CEILING, CNNX, CNNX_BEFORE
from benchmarks.drawing import draw
from benchmarks.interleave import Measurement, Plan, interleave
from benchmarks.networks import NETWORKS, convolution_cases
from benchmarks.processes import Team
from benchmarks.rows import Row, geometric_mean
from benchmarks.suites import Settings, convolutions, footprint, inference, random, scaling, training

FIGURE = "before / now"
PEERS = (CNNX_BEFORE, CNNX)
COMPARED = (*NETWORKS, "resnet8", "mobilenet")
# Of a row, and of the geometric mean of all.
FLOOR, MEAN = 0.95, 1.0
# Neither version spins for long between turns, and short turns in many rounds let drift hit both.
PLAN = Plan(rounds=8, turn_seconds=0.08, fewest=2, pause=0.03, patience=3)
QUICK = Plan(rounds=2, turn_seconds=0.02, fewest=1, most=50, pause=0.01, patience=0)

MEMORY_BATCH = 256
# What is imported when it is first needed counts in one row or the other.
FIRST_STEP = """
import numpy, cnnx
cnnx.Model(cnnx.DenseLayer(2), cnnx.SoftmaxLayer()).train_on_batch(numpy.zeros((2, 3)), numpy.zeros(2, int), 0.1)
"""

Measure = Callable[[], Row]


def run(suite: str, settings: Settings) -> Iterator[Row]:
    for measure in SUITES[suite](settings):
        row = measure()
        if figure(row) < FLOOR and row.figures and not settings.quick:
            # Where processes and their arrays happen to lie in memory also counts: in fresh ones, twice more.
            row = sorted((row, measure(), measure()), key=figure)[1]
        yield row


def figure(row: Row) -> float:
    return row.figures.get(FIGURE, 0.0)


def summary(rows: Iterable[Row]) -> str:
    """One line each for times and for memory."""
    lines = []
    for kind, own in _kinds(rows).items():
        worst = min(own, key=figure)
        lines.append(
            f"{kind}, {FIGURE}: geometric mean {_mean(own):.3f}, worst row {figure(worst):.3f} "
            f"({worst.suite}, {worst.name}), {len(own)} rows"
        )
    return "\n".join(lines)


def misses(rows: Iterable[Row]) -> list[str]:
    """A line for each mean and row that is too low, or could not be measured: a gap is no success."""
    rows = list(rows)
    lines = [f"{row.suite}, {row.name}: not measured ({row.skipped})" for row in rows if not row.figures]
    for kind, own in _kinds(rows).items():
        if _mean(own) < MEAN:
            lines.append(f"{kind}: geometric mean ≥ {MEAN}, is {_mean(own):.4f}")
        lines += [
            f"{row.suite}, {row.name}: {FIGURE} ≥ {FLOOR}, is {figure(row):.3f}" for row in own if figure(row) < FLOOR
        ]
    return lines


def _kinds(rows: Iterable[Row]) -> dict[str, list[Row]]:
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        if row.figures:
            kinds.setdefault("Memory" if row.suite == "memory" else "Times", []).append(row)
    return kinds


def _mean(rows: list[Row]) -> float:
    return geometric_mean(map(figure, rows))


# -- The suites: each yields functions that measure one row ------------------------------------------------------


def steps(settings: Settings) -> Iterator[Measure]:
    batches = (8, 64) if settings.quick else (8, 64, 256)
    for network, batch in product(settings.chosen(COMPARED), batches):
        yield partial(_step, "training", f"{network}, batch {batch}", settings, network, batch)


def one_thread(settings: Settings) -> Iterator[Measure]:
    batches = () if settings.threads == 1 else (64,) if settings.quick else scaling.THREAD_BATCHES
    for network, batch in product(settings.chosen(scaling.NETWORKS), batches):
        one = settings._replace(threads=1)
        yield partial(_step, "scaling", f"{network}, batch {batch}, 1 thread", one, network, batch)


def _step(suite: str, name: str, settings: Settings, network: str, batch: int) -> Row:
    with _team(settings) as team:
        training.check(team, network, min(batch, 64))
        return _timed(Row(suite, name), team, "step", settings.plan, "training", network=network, batch=batch)


def predictions(settings: Settings) -> Iterator[Measure]:
    batches = (1, 64) if settings.quick else (1, 8, 64, 256)
    for network, batch in product(settings.chosen(COMPARED), batches):
        yield partial(_prediction, "inference", f"{network}, batch {batch}", settings, network, batch)


def random_networks(settings: Settings) -> Iterator[Measure]:
    for number in range(settings.first, settings.first + settings.count):
        drawn = draw(settings.seed, number)
        name = partial(random.title, drawn)
        yield partial(_step, "random", name(random.TRAINING), settings, drawn.name, drawn.training_batch)
        yield partial(_prediction, "random", name(random.INFERENCE), settings, drawn.name, drawn.inference_batch)
        yield partial(_prediction, "random", name(random.ONE), settings, drawn.name, 1)


def _prediction(suite: str, name: str, settings: Settings, network: str, batch: int) -> Row:
    row = Row(suite, name)
    with _team(settings) as team:
        _timed(row, team, "infer", settings.plan, "inference", network=network, batch=batch)
        if row.seconds:
            inference.check(team, network)
    return row


def products(settings: Settings) -> Iterator[Measure]:
    cases = convolution_cases(settings.chosen(tuple(NETWORKS)))
    for (name, case), kind in product(cases.items(), convolutions.PRODUCTS):
        yield partial(_product, convolutions.title(name, case, kind), settings, list(case), kind)


def _product(name: str, settings: Settings, case: list[int], kind: str) -> Row:
    with _team(settings) as team:
        row = _timed(Row("convolutions", name), team, kind, settings.plan, "convolution", case=case)
        if row.seconds:
            convolutions.check(team, kind, name)
    return row


def memory(settings: Settings) -> Iterator[Measure]:
    for network in settings.chosen(COMPARED):
        yield partial(_working_arrays, settings, network)
        yield partial(_peak, settings, network)


def _working_arrays(settings: Settings, network: str) -> Row:
    row = Row("memory", f"{network}, batch {MEMORY_BATCH}, working arrays")
    with _team(settings) as team:
        sizes, row.skipped = team.ask("working_bytes", network=network, batch=MEMORY_BATCH)
    return _with_sizes(row, sizes)


def _peak(settings: Settings, network: str) -> Row:
    row = Row("memory", f"{network}, batch {MEMORY_BATCH}, peak of the process")
    with _team(settings, CEILING) as team:
        # Less a process with NumPy alone, not one's own after the import: what a version imports later counts as well.
        numpy_alone = team.members[CEILING].ask("peak_memory")
        answers, row.skipped = team.only(*PEERS).ask("training", network=network, batch=MEMORY_BATCH)
        ready = team.only(*answers)
        ready.ask("time", function="step", warmups=0, repetitions=3)
        after, _ = ready.ask("peak_memory")
    return _with_sizes(row, {name: peak - numpy_alone for name, peak in after.items()})


def imports(settings: Settings) -> Iterator[Measure]:
    yield partial(_import, "import", "import cnnx", settings)
    yield partial(_import, "import and a first step of training", FIRST_STEP, settings)


def _import(name: str, code: str, settings: Settings) -> Row:
    row = Row("footprint", name)
    rounds = 5 if settings.quick else 21
    folders = {CNNX_BEFORE: settings.against, CNNX: None}
    seconds: dict[str, list[float]] = {peer: [] for peer in PEERS}
    for number in range(-1, rounds):  # the first fills the disk's cache and is not counted
        for peer in PEERS:
            once = footprint.seconds_of(code, settings.threads, folders[peer])
            if number >= 0:
                seconds[peer].append(once)
    row.seconds = {peer: Measurement.of(values) for peer, values in seconds.items()}
    return _with_figure(row, {peer: own.median for peer, own in row.seconds.items()})


SUITES: dict[str, Callable[[Settings], Iterator[Measure]]] = {
    "training": steps,
    "inference": predictions,
    "convolutions": products,
    "scaling": one_thread,
    "memory": memory,
    "footprint": imports,
    "random": random_networks,
}


def _team(settings: Settings, *others: str) -> Team:
    assert settings.against is not None  # or nobody would have called
    return Team((*others, *PEERS), settings.threads, packages={CNNX_BEFORE: settings.against})


def _timed(row: Row, team: Team, function: str, plan: Plan, request: str, **arguments: Any) -> Row:
    """The row with the times of one of the functions that a request prepares."""
    answers, row.skipped = team.ask(request, **arguments)
    if not row.skipped:
        row.seconds = interleave({name: (team.members[name], function) for name in answers}, plan)
    return _with_figure(row, {name: own.median for name, own in row.seconds.items()})


def _with_sizes(row: Row, sizes: dict[str, int]) -> Row:
    row.values = {f"{name} MB": size / 1e6 for name, size in sizes.items()}
    return _with_figure(row, sizes)


def _with_figure(row: Row, taken: dict[str, Any]) -> Row:
    if len(taken) == len(PEERS):
        row.figures[FIGURE] = taken[CNNX_BEFORE] / taken[CNNX]
    return row
