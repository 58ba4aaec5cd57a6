"""The speed-up to expect of more and more ranks, from what compute and messages take here.

    python -m benchmarks.scaling_out [--plot FILE]

Measured: the two halves of a step on one thread, for blocks of 1 to 256 examples of each reference network, in
processor time, which others at work on the machine do not lengthen; and a step's message between two ranks of this
machine, which `mpiexec` starts: the fastest of many, for the same reason. Simulated from it: steps of 1 to 1,024 ranks,
each of which draws its compute times from the measured ones, and all wait for the slowest. Assumed: messages take
latency + bytes / bandwidth; ranks exchange pieces by the faster of MPI's usual algorithms (`message_seconds`); each
rank has one thread and one block. The network of a cluster cannot be measured here: beside this machine's own messages,
two networks are assumed (`NETWORKS`).
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

import cnnx
from benchmarks import machine
from benchmarks.contestants.cnnx_ import build
from benchmarks.networks import NETWORKS as REFERENCE, make_batch, make_weights
from cnnx.optimizers import SGD
from cnnx.parallel.exchange import Exchange
from cnnx.parallel.world import find_world

RANKS = tuple(2**power for power in range(11))
BLOCKS = tuple(2**power for power in range(9))
# The batch of all ranks where it stays the same, and the examples of a rank where it grows with them.
FIXED, GROWING = 4096, 64
LENGTHS = (100, 1_000, 10_000, 100_000, 1_000_000, 4_000_000)
REPETITIONS = 100
STARTS = 8
STEPS = 200
# Below this share of the ideal speed-up more ranks are not worth it.
WORTH = 0.5


class Network(NamedTuple):
    """What messages take: seconds each, and seconds a byte."""

    latency: float
    byte: float


HERE = "this machine's memory, measured"
NETWORKS = {
    "100 Gb/s InfiniBand, assumed": Network(3e-6, 1 / 10e9),
    "10 Gb/s Ethernet, assumed": Network(30e-6, 1 / 1.1e9),
}


# The network that a message of so many bytes finds.
AnyNetwork = Callable[[int], Network]


class Compute(NamedTuple):
    """What a network's step takes: processor seconds of both halves, by the size of the block."""

    parameters: int
    gradients: dict[int, list[float]]
    update: list[float]


def processor_seconds(run: Callable[[], object], repetitions: int) -> list[float]:
    """Of nine repetitions in ten, after one to warm up: the longest tell of others at work."""
    run()
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return sorted(times)[: math.ceil(0.9 * repetitions)]


def measure_compute(name: str, repetitions: int) -> Compute:
    network = REFERENCE[name]
    model = build(network, make_weights(network))
    optimizer, states = SGD(1e-6, momentum=0.9), [layer.state for layer in model.layers]
    gradients = {}
    for block in BLOCKS:
        X, y = make_batch(network, block)
        count = max(repetitions * 16 // max(block, 16), 5)
        gradients[block] = processor_seconds(lambda X=X, y=y: model.fill_gradients(X, y, None, 0.5), count)
    update = processor_seconds(lambda: model.update(1.0, states, optimizer), repetitions)
    return Compute(model.parameters.size, gradients, update)


def measure_messages(repetitions: int) -> dict[int, float]:
    """Seconds of a step's message by its bytes, between two ranks: the fastest of several starts."""
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{Path('/usr/bin')}") or "mpiexec"
    command = [mpiexec, "-n", "2", sys.executable, "-m", "benchmarks.scaling_out", "--messages", str(repetitions)]
    found: dict[int, float] = {}
    for _ in range(STARTS):
        told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        found = {int(size): min(seconds, found.get(int(size), math.inf)) for size, seconds in told.items()}
    return found


def exchange_messages(repetitions: int) -> None:
    """In one of the two ranks."""
    world, found = find_world(), {}
    for length in LENGTHS:
        count = max(repetitions * 100_000 // max(length, 10_000), 20)
        exchange, vector = Exchange(world, length, np.dtype(np.float32), 6), np.ones(length, np.float32)
        times = []
        for _ in range(count):
            start = time.perf_counter()
            exchange.add(vector, [0.0] * 6)
            times.append(time.perf_counter() - start)
        found[4 * length] = min(times)
    if world.rank == 0:
        print(json.dumps(found))


def here(messages: dict[int, float], size: int) -> Network:
    """This machine's, for messages of so many bytes: the larger ones leave the caches."""
    latency = min(messages.values()) / 2  # of each of a message's two parts
    seconds = float(np.interp(size, list(messages), list(messages.values())))
    return Network(latency, max(seconds - 2 * latency, 0) / size)


def same(network: Network, size: int) -> Network:
    """One that is the same for all messages."""
    return network


def message_seconds(ranks: int, size: int, network: Network) -> float:
    """A step's message of so many bytes: pieces to all, then their sums to all.

    Thakur, Rabenseifner, Gropp, "Optimization of Collective Communication Operations in MPICH", IJHPCA 2005: pairwise
    exchange and Bruck's algorithm for the pieces; a ring and recursive doubling for the sums.
    """
    if ranks == 1:
        return 0.0
    rounds, sent = math.ceil(math.log2(ranks)), size * (ranks - 1) / ranks * network.byte
    pairwise = (ranks - 1) * network.latency + sent
    bruck = rounds * (network.latency + size / 2 * network.byte)
    return min(pairwise, bruck) + min(rounds, ranks - 1) * network.latency + sent


def step_seconds(compute: Compute, ranks: int, block: int, network: Network, rng: np.random.Generator) -> float:
    """The mean of simulated steps: all wait for the rank whose compute takes longest."""
    drawn = rng.choice(compute.gradients[block], (STEPS, ranks)) + rng.choice(compute.update, (STEPS, ranks))
    return float(drawn.max(axis=1).mean()) + message_seconds(ranks, 4 * compute.parameters, network)


def alone(compute: Compute, examples: int) -> float:
    """The same batch on one rank, in blocks of the size that takes least time."""
    best = min(np.mean(times) / block for block, times in compute.gradients.items() if block <= examples)
    return float(best * examples + np.mean(compute.update))


def speed_ups(compute: Compute, network: AnyNetwork, fixed: bool) -> list[float]:
    """For each number of ranks."""
    rng, found = np.random.default_rng(0), []
    for ranks in RANKS:
        batch = FIXED if fixed else GROWING * ranks
        block, blocks = batch // ranks, 1
        while block > BLOCKS[-1]:  # a rank has several
            block, blocks = block // 2, blocks * 2
        times = compute.gradients[block]
        several = compute._replace(gradients={block: [blocks * seconds for seconds in times]})
        found.append(alone(compute, batch) / step_seconds(several, ranks, block, network(4 * compute.parameters), rng))
    return found


def worth_it(speed: Sequence[float]) -> int:
    """The most ranks that have at least the wanted share of the ideal speed-up."""
    return max(ranks for ranks, value in zip(RANKS, speed, strict=True) if value >= WORTH * ranks or ranks == 1)


def table(computed: dict[str, Compute], networks: dict[str, AnyNetwork], fixed: bool) -> str:
    shown = (2, 8, 32, 128, 1024)
    lines = [
        "| network | messages | "
        + " | ".join(f"{ranks} ranks" for ranks in shown)
        + f" | {WORTH:.0%} of ideal up to |",
        "| --- | --- |" + " ---: |" * (len(shown) + 1),
    ]
    for name, compute in computed.items():
        for kind, network in networks.items():
            speed = speed_ups(compute, network, fixed)
            values = " | ".join(f"{speed[RANKS.index(ranks)]:.1f}" for ranks in shown)
            most = worth_it(speed)
            lines.append(f"| {name} | {kind} | {values} | {f'{most} ranks' if most > 1 else 'none'} |")
    return "\n".join(lines)


def draw(computed: dict[str, Compute], networks: dict[str, AnyNetwork], path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    titles = {True: f"the same batch: {FIXED:,} examples", False: f"a growing batch: {GROWING} examples a rank"}
    for axes, (fixed, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        axes.plot(RANKS, RANKS, color="0.8", label="ideal")
        for place, (name, compute) in enumerate(computed.items()):
            for style, network in zip(("-", "--", ":"), networks.values(), strict=True):
                label = name if style == "-" else None
                axes.plot(RANKS, speed_ups(compute, network, fixed), style, color=f"C{place}", label=label)
        axes.set(xscale="log", yscale="log", xlabel="ranks, one thread each", title=title, ylim=(0.5, 1500))
        axes.set_xticks(RANKS[::2], [str(ranks) for ranks in RANKS[::2]])
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("expected speed-up over one rank")
    figure.axes[0].legend(frameon=False, fontsize=8)
    for style, kind in zip(("-", "--", ":"), networks, strict=True):
        figure.axes[1].plot([], [], style, color="0.3", label=kind)
    figure.axes[1].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.scaling_out", description=__doc__.splitlines()[0])
    parser.add_argument("--plot", metavar="FILE", help="draw the speed-ups, too")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--messages", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.messages:
        exchange_messages(options.messages)
        return 0
    cnnx.set_num_threads(1)
    print(json.dumps(machine.describe()), "\n")
    messages = measure_messages(options.repetitions)
    networks = {HERE: partial(here, messages), **{kind: partial(same, each) for kind, each in NETWORKS.items()}}
    print("a message between two ranks:", ", ".join(f"{size:,} bytes {1e6 * s:.0f} us" for size, s in messages.items()))
    for kind, network in NETWORKS.items():
        print(f"{kind}: latency {1e6 * network.latency:.1f} us, {1e-9 / network.byte:.1f} GB/s")
    computed = {name: measure_compute(name, options.repetitions) for name in REFERENCE}
    for name, compute in computed.items():
        median = {block: 1e3 * float(np.median(times)) for block, times in compute.gradients.items()}
        shown = ", ".join(f"{block}: {value:.3g}" for block, value in median.items())
        print(f"{name}: {compute.parameters:,} parameters, ms for blocks of {shown}; update "
              f"{1e3 * float(np.median(compute.update)):.3g}")  # fmt: skip
    for fixed in (True, False):
        print(f"\n{'The same batch' if fixed else 'A growing batch'}\n\n{table(computed, networks, fixed)}")
    if options.plot:
        draw(computed, networks, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
