"""Convolutions by themselves: forward, input gradient and weight gradient, with the ceiling in the same rounds."""

from collections.abc import Iterator

from benchmarks.contestants import CEILING, CNNX, PYTORCH, PYTORCH_CHANNELS_LAST
from benchmarks.contestants.numpy_ import FLOP
from benchmarks.interleave import interleave
from benchmarks.networks import NETWORKS, ConvolutionCase, convolution_cases
from benchmarks.processes import Team
from benchmarks.rows import Row, compare
from benchmarks.suites import Settings

CONTENDERS = (CNNX, PYTORCH, PYTORCH_CHANNELS_LAST)
PRODUCTS = ("forward", "input gradient", "weight gradient")
TO_PYTORCH = "PyTorch / cnnx"
SHARE = "share of ceiling"
TOLERANCE = 1e-3


def title(name: str, case: ConvolutionCase, product: str) -> str:
    size, image = f"{case.size}×{case.size}", f"{case.height}×{case.width}"  # noqa: RUF001
    return f"{name}: {size}, {case.channels}→{case.filters} on {image}, batch {case.batch}, {product}"


def run(settings: Settings) -> Iterator[Row]:
    cases = convolution_cases(settings.chosen(tuple(NETWORKS)))
    # The ceiling takes long: one repetition a round is enough of it.
    plan = settings.plan._replace(fewest=1)
    with settings.team((CEILING, *CONTENDERS)) as team:
        ceiling = {CEILING: (team.members[CEILING], "product")}
        team.members[CEILING].ask("product")
        peers = team.only(*CONTENDERS)
        for name, case in cases.items():
            _, skipped = peers.ask("convolution", case=list(case))
            for product in PRODUCTS:
                row = Row("convolutions", title(name, case, product), skipped=skipped)
                check(peers, product, row.name)
                turns = {peer: (peers.members[peer], product) for peer in peers.members if peer not in skipped}
                row.seconds = interleave({**turns, **ceiling}, plan)
                limit = FLOP / row.seconds.pop(CEILING).median / 1e9
                row.values["ceiling GFLOP/s"] = limit
                for peer in turns:
                    row.values[f"{peer} GFLOP/s"] = case.flop / row.seconds[peer].median / 1e9
                if CNNX in turns:
                    row.figures[SHARE] = row.values[f"{CNNX} GFLOP/s"] / limit
                compare(row, CONTENDERS[1:], TO_PYTORCH)
                yield row


def check(team: Team, product: str, name: str) -> None:
    """All must compute the same; the sums of absolute values tell, for the layouts differ."""
    sums, _ = team.ask("magnitude", function=product)
    if any(abs(value - sums[CNNX]) > TOLERANCE * sums[CNNX] for value in sums.values() if CNNX in sums):
        raise SystemExit(f"{name}: the contestants do not agree: {sums}")
