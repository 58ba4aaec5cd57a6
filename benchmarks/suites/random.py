"""Random networks: training steps, inference of one batch, and of one example, with a summary of each.

PyTorch takes part in both layouts, in inference ONNX Runtime as well, in training TensorFlow if it is asked for. Each
contestant has one process for all networks. Turns are few and short, for there are many rows: the summary counts.
"""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.contestants import CNNX, ONNX_RUNTIME, PYTORCH, PYTORCH_CHANNELS_LAST, TENSORFLOW
from benchmarks.drawing import Drawn, draw
from benchmarks.interleave import Plan, interleave
from benchmarks.networks import describe
from benchmarks.processes import Team
from benchmarks.processors import Processors
from benchmarks.rows import BEST_PEER, MEAN, Row, compare, geometric_mean
from benchmarks.suites import Settings, inference, training

TRAINING, INFERENCE, ONE = KINDS = "training", "inference", "one example"
SUMMARY = "random summary"
WON, MEDIAN, WORST = "share won", "median", "worst"
ENOUGH = 1.2  # of one example: times as fast as ONNX Runtime
FAST = f"share ≥ {ENOUGH}"
MEASURED = "networks measured"

PLAN = Plan(rounds=4, turn_seconds=0.08, fewest=1, limit=0.5, pause=0.1, patience=1)


def run(settings: Settings) -> Iterator[Row]:
    plan = settings.plan if settings.quick else PLAN
    ratios: dict[str, list[float | None]] = {kind: [] for kind in KINDS}
    contenders = (CNNX, PYTORCH, PYTORCH_CHANNELS_LAST, ONNX_RUNTIME, *([TENSORFLOW] if settings.tensorflow else []))
    with settings.team(contenders) as team, Processors(settings.threads) as processors:
        for number in range(settings.first, settings.first + settings.count):
            drawn = draw(settings.seed, number)
            for kind in KINDS:
                row = Row("random", title(drawn, kind))
                _measure(row, kind, drawn, team, plan, processors)
                ratios[kind].append(row.figures.get(BEST_PEER))
                yield row
    for kind, own in ratios.items():
        yield summarize(kind, own)


def title(drawn: Drawn, kind: str) -> str:
    batch = {TRAINING: f", batch {drawn.training_batch}", INFERENCE: f", batch {drawn.inference_batch}", ONE: ""}[kind]
    return f"{drawn.name.removeprefix('random ')}: {describe(drawn.network)}: {kind}{batch}"


def _measure(row: Row, kind: str, drawn: Drawn, team: Team, plan: Plan, processors: Processors) -> None:
    """Fill a row with the times of those of the team who take part."""
    peers = {
        TRAINING: (PYTORCH, PYTORCH_CHANNELS_LAST, TENSORFLOW),
        INFERENCE: (ONNX_RUNTIME, PYTORCH, PYTORCH_CHANNELS_LAST),
        ONE: (ONNX_RUNTIME,),
    }[kind]
    part = team.only(CNNX, *peers)
    if kind == TRAINING:
        training.check(part, drawn.name, batch=8, steps=2)
        answers, row.skipped = part.ask("training", network=drawn.name, batch=drawn.training_batch)
        function = "step"
    else:
        batch = drawn.inference_batch if kind == INFERENCE else 1
        answers, row.skipped = part.ask("inference", network=drawn.name, batch=batch)
        function = "infer"
        if CNNX in answers:
            inference.check(part.only(*answers), drawn.name)
    if CNNX in answers:
        row.seconds = interleave({name: (part.members[name], function) for name in answers}, plan, processors)
        compare(row, peers)


def summarize(kind: str, ratios: Sequence[float | None]) -> Row:
    """Of all networks' ratios of one kind; None is a network that could not be measured, which is not won."""
    row = Row(SUMMARY, kind)
    measured = [ratio for ratio in ratios if ratio is not None]
    row.values[MEASURED] = len(measured)
    if not measured:
        row.skipped[CNNX] = "no network was measured beside a peer"
        return row
    row.figures = {
        WON: sum(ratio >= 1 for ratio in measured) / len(ratios),
        MEAN: geometric_mean(measured),
        MEDIAN: statistics.median(measured),
        WORST: min(measured),
    }
    if kind == ONE:
        row.figures[FAST] = sum(ratio >= ENOUGH for ratio in measured) / len(ratios)
    return row
