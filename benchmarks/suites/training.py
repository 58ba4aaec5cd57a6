"""Training steps: forward, loss, backward and plain SGD on one batch, float32."""

from collections.abc import Iterator

from benchmarks.contestants import CNNX, CNNX_BEFORE, CONTESTANTS, PYTORCH
from benchmarks.interleave import interleave
from benchmarks.networks import ALL_NETWORKS, NETWORKS
from benchmarks.processes import Team
from benchmarks.rows import BEST_PEER, MEAN, Row, compare, geometric_mean
from benchmarks.suites import Settings

BATCHES = (64, 256)
OTHER_BATCHES = (64,)  # of the other networks, whose steps take longer
SUMMARY = "all rows of the reference networks"
CONTENDERS = tuple(name for name in CONTESTANTS if name == CNNX or name.startswith(("PyTorch", "Tensor", "JAX")))
PEERS = CONTENDERS[1:]
CHECKED = (CNNX, CNNX_BEFORE, PYTORCH, "TensorFlow", "JAX")
TOLERANCE = 1e-3


def run(settings: Settings) -> Iterator[Row]:
    ratios = []
    for network in settings.chosen(tuple(ALL_NETWORKS)):
        with settings.team(CONTENDERS) as team:
            check(team, network)
            for batch in BATCHES if network in NETWORKS else OTHER_BATCHES:
                # Ours first: without it there is nothing to compare, and no peer needs to compile.
                answers, skipped = team.only(CNNX).ask("training", network=network, batch=batch)
                if answers:
                    answers, skipped = team.ask("training", network=network, batch=batch)
                row = Row("training", f"{network}, batch {batch}", skipped=skipped)
                if CNNX in answers:
                    turns = {name: (team.members[name], "step") for name in answers}
                    row.seconds = interleave(turns, settings.plan)
                    compare(row, PEERS)
                    if network in NETWORKS and BEST_PEER in row.figures:
                        ratios.append(row.figures[BEST_PEER])
                yield row
    if len(ratios) == len(NETWORKS) * len(BATCHES):
        yield Row("training", SUMMARY, figures={MEAN: geometric_mean(ratios)})


def check(team: Team, network: str, batch: int = 64, steps: int = 3) -> None:
    """Given the same weights, all must report the same losses of the first steps: then they do the same work."""
    losses, _ = team.only(*CHECKED).ask("losses", network=network, batch=batch, steps=steps)
    expected = losses.get(CNNX)
    for name, values in losses.items():
        if expected and any(abs(a - b) > TOLERANCE * abs(b) for a, b in zip(values, expected, strict=True)):
            raise SystemExit(f"{network}: {name} and cnnx do not agree on the loss: {values} and {expected}")
