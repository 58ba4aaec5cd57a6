"""Peak memory of training, whole process minus the library's import, each in a fresh process."""

from collections.abc import Iterator

from benchmarks.contestants import CNNX, PYTORCH, PYTORCH_CHANNELS_LAST
from benchmarks.rows import Row
from benchmarks.suites import Settings

NETWORKS = ("mnistnet", "vggbn")
BATCH = 256
CONTENDERS = (CNNX, PYTORCH, PYTORCH_CHANNELS_LAST)
SHARE_OF_PYTORCH = "cnnx / PyTorch"
ALLOCATED = "cnnx, MB allocated by a later step"


def run(settings: Settings) -> Iterator[Row]:
    for network in settings.chosen(NETWORKS):
        with settings.team(CONTENDERS) as team:
            row = Row("memory", f"{network}, batch {BATCH}")
            before, _ = team.ask("peak_memory")
            answers, row.skipped = team.ask("training", network=network, batch=BATCH)
            ready = team.only(*answers)
            ready.ask("time", function="step", warmups=0, repetitions=3)
            after, _ = ready.ask("peak_memory")
            row.values = {f"{name} MB": (peak - before[name]) / 1e6 for name, peak in after.items()}
            peers = [row.values[f"{name} MB"] for name in CONTENDERS[1:] if name in after]
            if CNNX in after:
                if peers:
                    row.figures[SHARE_OF_PYTORCH] = row.values[f"{CNNX} MB"] / min(peers)
                row.figures[ALLOCATED] = ready.members[CNNX].ask("allocated", function="step") / 1e6
            yield row
