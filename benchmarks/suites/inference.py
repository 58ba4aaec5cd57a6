"""Inference of one batch, to probabilities, float32."""

from collections.abc import Iterator

from benchmarks.contestants import CNNX, ONNX_RUNTIME, PYTORCH, PYTORCH_CHANNELS_LAST
from benchmarks.interleave import interleave
from benchmarks.networks import ALL_NETWORKS, NETWORKS
from benchmarks.processes import Team
from benchmarks.rows import Row, compare
from benchmarks.suites import Settings

BATCHES = (1, 64, 256)
OTHER_BATCHES = (1, 64)
CONTENDERS = (CNNX, ONNX_RUNTIME, PYTORCH, PYTORCH_CHANNELS_LAST, "TensorFlow")
TO_ONNX_RUNTIME = "ONNX Runtime / cnnx"
TOLERANCE = 1e-3


def run(settings: Settings) -> Iterator[Row]:
    for network in settings.chosen(tuple(ALL_NETWORKS)):
        with settings.team(CONTENDERS) as team:
            for batch in BATCHES if network in NETWORKS else OTHER_BATCHES:
                answers, skipped = team.ask("inference", network=network, batch=batch)
                row = Row("inference", f"{network}, batch {batch}", skipped=skipped)
                if CNNX in answers:
                    check(team, network)
                    turns = {name: (team.members[name], "infer") for name in answers}
                    row.seconds = interleave(turns, settings.plan)
                    compare(row, CONTENDERS[1:])
                    compare(row, [ONNX_RUNTIME], TO_ONNX_RUNTIME)
                yield row


def check(team: Team, network: str) -> None:
    """Given the same weights and images, all must give the same probabilities."""
    outputs, _ = team.ask("output", function="infer")
    for name, values in outputs.items():
        if any(abs(a - b) > TOLERANCE for a, b in zip(values, outputs[CNNX], strict=True)):
            raise SystemExit(f"{network}: {name} and cnnx do not agree: {values} and {outputs[CNNX]}")
