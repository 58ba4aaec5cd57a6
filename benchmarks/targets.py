"""The targets, in one table, and the comparison with them."""

from collections.abc import Iterable
from typing import NamedTuple

from benchmarks import networks
from benchmarks.rows import BEST_PEER, MEAN, Row
from benchmarks.suites import convolutions, footprint, inference, memory, random, scaling, training
from cnnx._kernels import instruction_set_in_use


class Target(NamedTuple):
    """A figure must be at least, or at most, this."""

    bound: float
    at_most: bool = False

    def met(self, figure: float) -> bool:
        return figure <= self.bound if self.at_most else figure >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


Place = tuple[str, str, str]  # suite, row, figure

TRAINING = {"deck": (5, 5), "lenet": (3, 3), "mnistnet": (1.7, 1.9), "vggbn": (1.15, 1.3)}  # batches 64, 256
INFERENCE = {  # batches 1, 64, 256
    "deck": (1.2, 1.3, 1.3),
    "lenet": (1.2, 1.3, 1.3),
    "mnistnet": (1.2, 1.0, 1.0),
    "vggbn": (1.2, 1.0, 1.0),
}
# Of all eight rows of the reference networks: the peers gain more with AVX-512.
REFERENCE_MEAN = 3.7 if instruction_set_in_use() == "avx512" else 4.3
OTHER_TRAINING, OTHER_INFERENCE = 1.5, 1.2  # of the other networks
RANDOM = {
    random.TRAINING: {random.WON: 0.99, MEAN: 2.5, random.WORST: 0.95},
    random.INFERENCE: {random.WON: 0.92, MEAN: 1.6, random.WORST: 0.8},
    random.ONE: {random.FAST: 0.8},
}


def _convolutions() -> dict[Place, Target]:
    targets = {}
    for name, case in networks.convolution_cases(tuple(networks.NETWORKS)).items():
        for product in convolutions.PRODUCTS:
            row = convolutions.title(name, case, product)
            if name == networks.REFERENCE_CONVOLUTION:
                targets["convolutions", row, convolutions.SHARE] = Target(0.9)
            elif case.channels in (1, 3):
                targets["convolutions", row, convolutions.TO_PYTORCH] = Target(2.0)
    return targets


TARGETS: dict[Place, Target] = {
    ("training", training.SUMMARY, MEAN): Target(REFERENCE_MEAN),
    **{
        ("training", f"{network}, batch {batch}", BEST_PEER): Target(bound)
        for network, bounds in TRAINING.items()
        for batch, bound in zip((64, 256), bounds, strict=True)
    },
    **{
        ("inference", f"{network}, batch {batch}", inference.TO_ONNX_RUNTIME): Target(bound)
        for network, bounds in INFERENCE.items()
        for batch, bound in zip((1, 64, 256), bounds, strict=True)
    },
    **{
        ("training", f"{network}, batch {batch}", BEST_PEER): Target(OTHER_TRAINING)
        for network in networks.OTHER_NETWORKS
        for batch in training.OTHER_BATCHES
    },
    **{
        ("inference", f"{network}, batch {batch}", BEST_PEER): Target(OTHER_INFERENCE)
        for network in networks.OTHER_NETWORKS
        for batch in inference.OTHER_BATCHES
    },
    **{
        (random.SUMMARY, kind, figure): Target(bound)
        for kind, bounds in RANDOM.items()
        for figure, bound in bounds.items()
    },
    **_convolutions(),
    **{
        ("scaling", f"{network}, batch {batch}, 1 and 2 threads", scaling.SPEEDUP): Target(1.8)
        for network in scaling.NETWORKS
        for batch in scaling.THREAD_BATCHES
    },
    **{
        ("scaling", f"{network}, batches 32 to 1024", scaling.DEVIATION): Target(0.1, at_most=True)
        for network in scaling.NETWORKS
    },
    **{
        ("memory", f"{network}, batch 256", figure): Target(bound, at_most=True)
        for network in memory.NETWORKS
        for figure, bound in ((memory.SHARE_OF_PYTORCH, 0.5), (memory.ALLOCATED, 1.0))
    },
    ("footprint", "import", footprint.TO_NUMPY): Target(1.25, at_most=True),
    ("footprint", "installed size, the package's own folder", footprint.SIZE): Target(8.0, at_most=True),
}


def misses(rows: Iterable[Row]) -> list[str]:
    """A line for each target of these rows that is missed, or could not be measured: a gap is no success."""
    lines = []
    for row in rows:
        for (suite, name, figure), target in TARGETS.items():
            if (suite, name) == (row.suite, row.name):
                value = row.figures.get(figure)
                if value is None:
                    reasons = "; ".join(f"{who}: {why}" for who, why in row.skipped.items())
                    lines.append(f"{suite}, {name}: {figure} {target}, not measured ({reasons})")
                elif not target.met(value):
                    lines.append(f"{suite}, {name}: {figure} {target}, is {value:.3g}")
    return lines
