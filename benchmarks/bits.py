"""Whether two versions of cnnx compute the same bits.

    python -m benchmarks.bits --package ../before > before.txt
    python -m benchmarks.bits > now.txt
    python -m benchmarks.bits --compare before.txt now.txt

The first two train every ready network and some drawn ones (`tests/drawing.py`) for a few steps on each instruction set
and number of threads, and print a line for each: a checksum of all weights and states. A network is trained "fused", as
`train_on_batch` does it; "one by one", where each layer is called by itself; and "served": the checksum is that of
predictions of the trained model, and of what `folded` makes of it.

Where max pooling of whole windows follows a convolution, the kernels that compute both together add a gradient in
another order than those of the convolution alone. Two versions may so differ in the lines "one by one" of networks with
such a "pooled pair": their largest difference is shown, and does not count.
"""

import argparse
import itertools
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SEED = 20
# Examples of a step, in turn: working memory that is kept from step to step must do for all of them.
EXAMPLES = (4, 4, 3, 5)
RATE = 0.003
POOLED_PAIR = "pooled pair"

# Small images where networks are deep; large enough for every kernel that the sizes of real images choose.
INPUT_SHAPES = {
    "small": (8, 8, 1),
    "lenet": (28, 28, 1),
    "deck": (32, 32, 3),
    "mnistnet": (20, 20, 1),
    "vggbn": (16, 16, 3),
    "mnistbn": (16, 16, 1),
    "fashionnet": (20, 20, 1),
}
OTHERWISE = (12, 12, 3)
CLASSES = 10


class Case(NamedTuple):
    """A network to train."""

    name: str
    number: int
    make: Callable[[Any], Any]  # a dtype to a built Model
    batch: Callable[[int, int], tuple[np.ndarray, np.ndarray]]  # number of examples and of a step to a batch


class Line(NamedTuple):
    """What is printed of a case: the first five say what was computed, the others what came out."""

    network: str
    instruction_set: str
    threads: str
    way: str
    dtype: str
    checksum: str
    steps: str  # fewer where the loss was not finite
    # Length of the vector of all values, and its product with a vector of random numbers, divided by its length.
    length: str
    projection: str
    mark: str

    @property
    def key(self) -> tuple[str, ...]:
        return self[:5]

    def relative_difference(self, other: "Line") -> float:
        lengths = float(self.length), float(other.length)
        projections = float(self.projection), float(other.projection)
        scale = max(*lengths, np.finfo(float).tiny)
        return max(abs(lengths[0] - lengths[1]) / scale, abs(projections[0] - projections[1]))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.compare:
        return compare(*(read(path) for path in options.compare))
    if options.package:
        sys.path.insert(0, str(options.package.resolve()))
    import cnnx
    from cnnx import _kernels

    print(f"# {Path(cnnx.__file__).parent}, {cnnx.backend_in_use()}, {options.steps} steps", flush=True)
    networks = list(cases(options.networks, options.only))
    for instruction_set in options.instruction_sets or _kernels.available_instruction_sets():
        _kernels.use_instruction_set(instruction_set)
        for threads in options.threads:
            cnnx.set_num_threads(threads)
            for case, dtype in itertools.product(networks, ("float32", "float64")):
                for line in train(case, options.steps, instruction_set, threads, dtype):
                    print("\t".join(line), flush=True)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.bits", description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", type=int, default=100, help="how many are drawn")
    parser.add_argument("--only", metavar="NAME", nargs="+", help="these networks alone, such as lenet or 'drawn 7'")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--instruction-sets", metavar="NAME", nargs="+", help="all of this machine by default")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--package", metavar="FOLDER", type=Path, help="a built source tree to import cnnx from")
    parser.add_argument("--compare", metavar=("BEFORE", "NOW"), nargs=2, type=Path)
    return parser.parse_args(arguments)


# -- Networks ----------------------------------------------------------------------------------------------------


def cases(drawn: int, only: Sequence[str] | None) -> Iterator[Case]:
    """Every ready network, and as many drawn ones."""
    from cnnx.models import MODELS, mobilenet, resnet

    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    from drawing import draw_networks

    ready = {
        **MODELS,
        "resnet8 half": partial(resnet, depth=8, width=0.5),
        "resnet8 double": partial(resnet, depth=8, width=2.0),
        "mobilenet half": partial(mobilenet, width=0.5),
    }
    for number, (name, make) in enumerate(ready.items()):
        shape = INPUT_SHAPES.get(name, OTHERWISE)
        if not only or name in only:
            yield Case(name, number, partial(_built, make, shape), partial(_batch, shape))
    for number, network in enumerate(draw_networks(drawn, plain=True)):
        name = f"drawn {network.seed}"
        if not only or name in only:
            yield Case(name, number, network.model, network.batch)


def _built(make: Callable[[int], Any], shape: tuple[int, ...], dtype: Any) -> Any:
    model = make(CLASSES)
    model.build(shape, seed=SEED, dtype=dtype)
    return model


def _batch(shape: tuple[int, ...], examples: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng((SEED, step))
    return rng.standard_normal((examples, *shape)).astype(np.float32), rng.integers(0, CLASSES, examples)


def has_pooled_pair(layers: Sequence[Any]) -> bool:
    """Whether, here or in a block, max pooling of whole windows follows a convolution that could pool by itself."""
    from cnnx.layers import ConvolutionLayer, ReluLayer, ResidualLayer

    for index, layer in enumerate(layers):
        if isinstance(layer, ResidualLayer) and (has_pooled_pair(layer.layers) or has_pooled_pair(layer.shortcut)):
            return True
        following = layers[index + 1 : index + 3]
        if following and isinstance(following[0], ReluLayer):
            following = following[1:]
        if (
            isinstance(layer, ConvolutionLayer)
            and layer.groups == 1
            and layer.dilation == (1, 1)
            and _pools_whole_windows(following[:1])
        ):
            return True
    return False


def _pools_whole_windows(layers: Sequence[Any]) -> bool:
    from cnnx._kernels.reference.convolution import CLOSED
    from cnnx.layers import PoolLayer

    return any(
        isinstance(layer, PoolLayer)
        and layer.mode == "max"
        and layer.stride == layer.filter_size
        and layer.padding in ((0, 0), "valid", "same")
        and all(
            positions * size <= pixels
            for positions, size, pixels in zip(layer.output_shape, layer.filter_size, layer.input_shape, strict=False)
        )
        and 1 < layer.filter_size[0] * layer.filter_size[1] < CLOSED
        for layer in layers
    )


# -- Steps -------------------------------------------------------------------------------------------------------


def train(case: Case, steps: int, instruction_set: str, threads: int, dtype: str) -> Iterator[Line]:
    """Lines of one network: trained both ways, and served."""
    start = (case.name, instruction_set, str(threads))
    model = case.make(dtype)
    mark = POOLED_PAIR if has_pooled_pair(model.layers) else ""
    taken = _steps(partial(fused_step, model, _optimizer(case.number)), case, steps)
    yield Line(*start, "fused", dtype, *_outcome(weights_and_states(model), taken), mark)
    served = [forwarded(case.batch(size, steps)[0]) for forwarded in _predictors(model) for size in (5, 1)]
    yield Line(*start, "served", dtype, *_outcome(served, taken), mark)
    model = case.make(dtype)
    velocity = np.zeros_like(model.parameters)
    taken = _steps(partial(step_one_by_one, model, velocity, 0.9 * (case.number % 2)), case, steps)
    yield Line(*start, "one by one", dtype, *_outcome(weights_and_states(model), taken), mark)


def _steps(take: Callable[[np.ndarray, np.ndarray], float], case: Case, steps: int) -> int:
    """How many steps were taken until the loss was no longer finite; then no weight changes."""
    for step in range(steps):
        if not np.isfinite(take(*case.batch(EXAMPLES[step % len(EXAMPLES)], step))):
            return step
    return steps


def _optimizer(number: int) -> Any:
    from cnnx.optimizers import SGD, Adam

    return (SGD(RATE), SGD(RATE, momentum=0.9), Adam(RATE))[number % 3]


def fused_step(model: Any, optimizer: Any, X: np.ndarray, y: np.ndarray) -> float:
    from cnnx import DivergenceError

    try:
        return model.train_on_batch(X, y, optimizer=optimizer)
    except DivergenceError:
        return np.nan


def step_one_by_one(model: Any, velocity: np.ndarray, momentum: float, X: np.ndarray, y: np.ndarray) -> float:
    """Each layer's own forward and backward pass, and the step by NumPy."""
    *hidden, output = model.layers
    x = X
    for layer in hidden:
        x = layer.forward(x, training=True)
    targets = output.targets(y)
    _, losses = output.loss(x, targets, training=True)
    if not np.isfinite(losses).all():
        return np.nan
    grad = output.loss_backward(targets)
    for layer in reversed(hidden):
        grad = layer.backward(grad)
        if grad is None:  # nothing below has parameters
            break
    velocity *= momentum
    velocity -= RATE * model.gradients
    model.parameters += velocity
    return float(losses.mean())


def weights_and_states(model: Any) -> list[np.ndarray]:
    return [model.parameters, *(value for layer in model.layers for _, value in sorted(layer.state.items()))]


def _predictors(model: Any) -> tuple[Callable[[np.ndarray], np.ndarray], ...]:
    return model.predict_proba, model.folded().predict_proba


def _outcome(arrays: Iterable[np.ndarray], steps: int) -> tuple[str, str, str, str]:
    """Checksum, steps, length and projection."""
    values = np.concatenate([array.ravel() for array in arrays])
    wide = values.astype(np.float64)
    length = float(np.sqrt(wide @ wide))
    projection = float(wide @ np.random.default_rng(SEED).standard_normal(wide.size)) / max(length, 1e-300)
    return f"{zlib.crc32(values.tobytes()):08x}", str(steps), repr(length), repr(projection)


# -- Two versions ------------------------------------------------------------------------------------------------


def read(path: Path) -> dict[tuple[str, ...], Line]:
    text = path.read_text(encoding="utf-8")
    lines = [Line(*row.split("\t")) for row in text.splitlines() if not row.startswith("#")]
    return {line.key: line for line in lines}


def compare(before: dict[tuple[str, ...], Line], now: dict[tuple[str, ...], Line]) -> int:
    """Print what differs; 1 if anything does that may not."""
    failures, excused, largest = 0, 0, 0.0
    for key in sorted(before.keys() ^ now.keys()):
        failures += 1
        print(f"{', '.join(key)}: only {'before' if key in before else 'now'}")
    for key in sorted(before.keys() & now.keys()):
        old, new = before[key], now[key]
        if (old.checksum, old.steps) == (new.checksum, new.steps):
            continue
        difference = old.relative_difference(new)
        may_differ = new.way == "one by one" and POOLED_PAIR == old.mark == new.mark
        excused += may_differ
        failures += not may_differ
        largest = max(largest, difference) if may_differ else largest
        told = (
            f"steps {old.steps} and {new.steps}" if old.steps != new.steps else f"relative difference {difference:.1e}"
        )
        print(f"{', '.join(key)}: {old.checksum} and {new.checksum}, {told}{f' ({new.mark})' if may_differ else ''}")
    failures += _threads_matter(now)
    print(f"{len(before.keys() & now.keys())} lines compared: {failures} differences that may not be")
    if excused:
        print(f"{excused} lines of pooled pairs one by one differ, at most by {largest:.1e}")
    return 1 if failures else 0


def _threads_matter(lines: dict[tuple[str, ...], Line]) -> int:
    """How many checksums depend on the number of threads."""
    checksums: dict[tuple[str, ...], set[str]] = {}
    for line in lines.values():
        checksums.setdefault((line.network, line.instruction_set, line.way, line.dtype), set()).add(line.checksum)
    depending = [key for key, values in checksums.items() if len(values) > 1]
    for key in depending:
        print(f"{', '.join(key)}: depends on the number of threads")
    return len(depending)


if __name__ == "__main__":
    sys.exit(main())
