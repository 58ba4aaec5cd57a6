"""Steps of which each rank computes some blocks, and takes all of them.

gradients of the blocks, divided by the whole batch  ->  their sum, in the order of the tree  ->  update, everywhere
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Seed
from cnnx.checks.arrays import is_finite
from cnnx.data.base import Batch
from cnnx.data.prefetching import seed_of
from cnnx.errors import RankError, divergence
from cnnx.layers.base import walk_generators
from cnnx.parallel.agreement import agree, facts, versions
from cnnx.parallel.blocks import BlockSource, Part, cut
from cnnx.parallel.exchange import Exchange
from cnnx.parallel.tree import TreeSum
from cnnx.parallel.world import World, processors
from cnnx.training.checksums import checksum
from cnnx.training.evaluation import batch_sums, means
from cnnx.training.run import Run
from cnnx.training.sources import Checked, least_examples
from cnnx.training.steps import Epochs, Made, Steps
from cnnx.training.trainable import States, Trainable, model_arrays, set_model_arrays

# Steps from one comparison of the parameters to the next.
COMPARED_EVERY = 100
# What each rank tells with a step's message: sums over its blocks, then what it wants, and a checksum.
FIGURES = ("loss", "metric", "weight", "stop", "failed", "checksum")


class ShardedSteps(Steps):
    """Steps that the ranks of a world take together; with one rank, the same steps to the same bits.

    Parameters
    ----------
    shards : int
        A power of two, and a multiple of the number of ranks.
    world : World
    """

    def __init__(self, shards: int, world: World) -> None:
        self.shards = self._count = shards
        self._world, self.first = world, world.rank == 0
        own = shards // world.size
        self._mine = range(world.rank * own, (world.rank + 1) * own)
        self._least = 1
        self._stop = False
        # Where the others wait if this rank fails: in a step's message, or where ranks gather.
        self._in_step = False
        self._seeds: list[np.random.SeedSequence] | None = None
        places = world.gather("the beginning of train", (world.node, processors()))
        agree(world, "versions", {"shards": shards, **versions()})
        neighbours = sum(node == world.node and bool(theirs & processors()) for node, theirs in places)
        _kernels.share_processors(neighbours)

    # -- What all ranks do by themselves, or one for all ------------------------------------------------

    def shared(self) -> AbstractContextManager[None]:
        """Inside, what each of the processes does by itself; an error of one is an error of all."""
        return self._world.shared()

    def once(self, what: str, make: Callable[[], Made]) -> Made:
        """What rank 0 makes for all."""
        made: Made = self._world.gather(what, make() if self.first else None)[0]
        return made

    def seed(self, seed: Seed) -> Seed:
        """Where none is given, rank 0's."""
        return self.once("seed", lambda: int(np.random.default_rng().integers(2**63))) if seed is None else seed

    # -- The run ----------------------------------------------------------------------------------------

    @contextmanager
    def together(self, run: Run) -> Iterator[None]:
        """The run: it begins when all agree, and ends with the model that rank 0 has."""
        with self.shared():
            self._check(run)
            own = facts(run)
        agree(self._world, "arguments, data and weights", own)
        self._prepare(run.model)
        try:
            yield
        except BaseException as error:
            if not self._world.knows(error):
                self._tell(error)
            if self._world.knows(error):
                self._share_model(run)
            raise
        self._share_model(run)

    def _check(self, run: Run) -> None:
        """An example or more for each block of all batches but the last; states that can be added to gradients."""
        self._least = least_examples(run.model.layers)
        needed = self._count * self._least
        if run.source.batch_size < needed:
            raise ValueError(
                f"train: batch_size: expected {needed} or more, for {self.shards} shards, got {run.source.batch_size}"
            )
        for layer in run.model.layers:
            for key, value in layer.state.items():
                if value.dtype != run.model.dtype:
                    raise TypeError(f"{layer.name}: state {key}: expected {run.model.dtype}, got {value.dtype}")

    def _prepare(self, model: Trainable) -> None:
        """Memory for the sums, and the message."""
        length = model.parameters.size
        # Where in the vector the changes of a layer's state are.
        self._places: list[tuple[int, str, slice]] = []
        for index, layer in enumerate(model.layers):
            for key, value in layer.state.items():
                self._places.append((index, key, slice(length, length + value.size)))
                length += value.size
        self._block = np.zeros(length, model.dtype)
        self._tree = TreeSum(length, model.dtype, len(self._mine))
        self._sums = TreeSum(3, np.float64, len(self._mine))
        self._ranks = TreeSum(3, np.float64, self._world.size)
        self._exchange = Exchange(self._world, length, model.dtype, len(FIGURES))

    def _tell(self, error: BaseException) -> None:
        """Tell the others of an error of this rank alone, in the message that they wait for."""
        try:
            if self._exchange.inside:
                raise RuntimeError
            if self._in_step:
                self._exchange.add(self._block, [0, 0, 0, 0, 1, 0])
            self._world.tell(error)
        except Exception:
            # The others are in the middle of a message: they cannot be told, and must be ended.
            if self._world.watch is not None:
                self._world.watch.broken = True

    def _share_model(self, run: Run) -> None:
        """Callbacks, which are rank 0's, may have changed it: to its best weights, for example."""
        self._in_step = False
        arrays = self.once("the end of the run", lambda: model_arrays(run.model))
        if not self.first:
            set_model_arrays(run.model, arrays)
        for generator in walk_generators(run.model.layers):
            generator.integers(2**63)  # another run draws other numbers

    def batches(self, run: Run) -> Epochs:
        """Of each batch, the blocks of this rank."""
        return BlockSource(run, self._count, self._mine, self._least)

    def ends(self, run: Run) -> bool:
        """Whether a rank has asked for it, before the last step was taken."""
        return self._stop

    def settle(self, run: Run) -> bool:
        """Whether a rank has asked for the end until now; and all know why."""
        self._in_step = False
        asked = self._world.gather("the end of an epoch", (run.interruption.requested, run.stopped))
        interrupted, reasons = any(each for each, _ in asked), [reason for _, reason in asked if reason is not None]
        # What a signal asks for meanwhile is not lost: it is told next time.
        run.interruption.elsewhere |= interrupted
        if reasons:
            run.stopped = reasons[0]
        self._stop = interrupted or bool(reasons)
        # The next message is a step's, unless the run is over.
        position = run.position
        self._in_step = not self._stop and position.epoch <= run.epochs and position.batch < run.batches
        return self._stop

    def evaluate(self, run: Run, source: Checked) -> tuple[float, float]:
        """Each rank has some of the batches; sums are added batch by batch, in their order."""
        count, rank, size = len(source), self._world.rank, self._world.size
        own = batch_sums(run.model, source, range(count * rank // size, count * (rank + 1) // size), "validation_data")
        return means([sums for each in self._world.gather("validation", own) for sums in each], "validation_data")

    def times(self, run: Run) -> dict[str, float]:
        """Rank 0's seconds, and the seconds that a step's message took, on average."""
        own = {"seconds": run.seconds, "communication": self._exchange.mean_seconds()}
        return self.once("times", lambda: own)

    # -- A step -----------------------------------------------------------------------------------------

    def take(self, run: Run, batch: Part) -> tuple[float, float, float, int]:
        """One step of all ranks: mean loss and metric before it, the sum of weights, and the number of examples."""
        model, states = run.model, [layer.state for layer in run.model.layers]
        try:
            self._compute_blocks(run, batch, states)
            total, (loss, metric, weight) = self._add_up(run)
            model.gradients[...] = total[: model.gradients.size]
            self._change_states(model, states, total, batch.examples)
            loss, metric = loss / batch.examples, metric / weight if weight else 0.0
            loss = self._update(run, batch, loss, states)
        except BaseException:
            model.take_back(states)
            raise
        for regularizer in run.regularizers:
            regularizer.constrain(model.layers)
        return loss, metric, weight, batch.examples

    def _compute_blocks(self, run: Run, batch: Part, states: States) -> None:
        """Add up, over this rank's blocks, gradients, changes of states, and sums of `Trainable.measure`."""
        model = run.model
        generators = [(generator, generator.bit_generator.state) for generator in walk_generators(model.layers)]
        if self._seeds is None:
            drawn = [copy.deepcopy(generator).integers(2**63, size=2).tolist() for generator, _ in generators]
            self._seeds = [np.random.SeedSequence(entropy) for entropy in drawn]
        try:
            for index, block in zip(self._mine, batch.blocks, strict=True):
                sums = 0.0, 0.0, 0.0
                if block is None:
                    self._block.fill(0)
                else:
                    key = run.position.epoch, run.position.batch, index
                    for (generator, _), seed in zip(generators, self._seeds, strict=True):
                        generator.bit_generator.state = type(generator.bit_generator)(seed_of(seed, *key)).state
                    sums = self._compute_block(model, block, states, len(block[0]) / batch.examples)
                self._tree.add(self._block)
                self._sums.add(np.array(sums))
        finally:
            for generator, state in generators:
                generator.bit_generator.state = state

    def _compute_block(
        self, model: Trainable, block: Batch, states: States, share: float
    ) -> tuple[float, float, float]:
        """Gradients and changes of states of one block, which begins with the states that the batch does."""
        for layer, state in zip(model.layers, states, strict=True):
            layer.state = state
        sums = model.fill_gradients(*block, share)
        self._block[: model.gradients.size] = model.gradients
        now = [layer.state for layer in model.layers]
        for index, key, place in self._places:
            self._block[place] = (now[index][key] - states[index][key]).reshape(-1)
        return sums

    def _add_up(self, run: Run) -> tuple[Array, tuple[float, ...]]:
        """The step's message: the sums over all blocks, and what the ranks want."""
        stop = run.interruption.requested or run.stopped is not None
        compared = run.optimizer.steps % COMPARED_EVERY == 0
        own = checksum(run.model.parameters) if compared else 0
        total, told = self._exchange.add(self._tree.total(), [*self._sums.total(), stop, 0, own])
        self._stop = bool(told[:, FIGURES.index("stop")].any())
        self._in_step = not self._stop and run.position.batch + 1 < run.batches
        if told[:, FIGURES.index("failed")].any():
            self._world.gather("a step")  # which tells why
        different = np.flatnonzero(told[:, FIGURES.index("checksum")] != told[0, FIGURES.index("checksum")]).tolist()
        if different:
            raise self._world.known(
                RankError(
                    f"after step {run.optimizer.steps} the parameters of rank {different[0]} are not those of rank 0; "
                    "a callback that changes model or optimizer says everywhere = True"
                )
            )
        for figures in told:
            self._ranks.add(figures[:3])
        return total, tuple(self._ranks.total().tolist())

    def _change_states(self, model: Trainable, states: States, total: Array, examples: int) -> None:
        """Each state moves by the mean of what the blocks have moved it by."""
        filled = sum(start < stop for start, stop in cut(examples, self._count, self._least))
        changed: dict[int, dict[str, Array]] = {}
        for index, key, place in self._places:
            if total[place].any():
                old = states[index][key]
                changed.setdefault(index, dict(states[index]))[key] = old + (total[place] / filled).reshape(old.shape)
        for index, layer in enumerate(model.layers):
            layer.state = changed.get(index, states[index])

    def _update(self, run: Run, batch: Part, loss: float, states: States) -> float:
        """The second half of the step, which is the same on all ranks, and so is its error."""
        try:
            return run.model.update(loss, states, run.optimizer, run.regularizers)
        except FloatingPointError as error:
            self._in_step = False
            # It may be the fault of data that one rank has.
            finite = all(self._world.gather("divergence", all(is_finite(b[0]) for b in batch.blocks if b is not None)))
            raise self._world.known(divergence(str(error), finite, run.optimizer.rate)) from None
