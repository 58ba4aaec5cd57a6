"""The plan of a pass over a batch, made once from a model's layers: what is computed together, and in which memory."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.layers.base import Layer
from cnnx.layers.loss import OutputLayer
from cnnx.memory.arrays import Arrays, Block, KeptArrays, WorkingArray, keep_freed_memory
from cnnx.memory.context import FRESH, Context
from cnnx.plan.fusion import fuse
from cnnx.plan.lifetimes import choose_recomputed, place, walk_through
from cnnx.plan.output import OutputPass
from cnnx.plan.passes import Chain, Pass
from cnnx.plan.programs import Forward, Programs, note_stages
from cnnx.plan.table import format_passes
from cnnx.plan.tables import format_bytes

# Of weight times loss, of weight times metric, and of weights.
Sums = tuple[float, float, float]


class Plan:
    """What a batch goes through, forward and, in training, backward.

    ``print(plan)`` shows it as a table for batches of 64 examples, `table` for others.

    Parameters
    ----------
    layers : sequence of Layer
        Built, in order; where the last one is an output layer, the plan has its loss.
    training : bool
        For steps of training, or for serving: then nothing is kept for a way back, and batches may go through in
        several threads at once.
    arrays : Arrays, optional
        Who gives working memory. By default a plan for training keeps and shares it from step to step, so that none
        of its arrays may reach a user; for serving, each array is fresh.
    fixed : bool
        Whether the weights never change: kernels then keep what they make of them.

    Attributes
    ----------
    passes : list of Pass
        In order, those inside a residual block before the one that adds its ways.
    blocks : list of Block
        The memory of a step, each block with the arrays that share it.
    training, fixed : bool
    """

    def __init__(
        self, layers: Sequence[Layer], training: bool, arrays: Arrays | None = None, fixed: bool = False
    ) -> None:
        last = layers[-1]
        self.training, self.fixed = training, fixed
        self.output = OutputPass(last, training) if isinstance(last, OutputLayer) else None
        self._chain = Chain(fuse(layers if self.output is None else layers[:-1], training))
        self.passes: list[Pass] = list(self._chain.walk())
        if training:
            self._chain.want(below=False)
            choose_recomputed(self._chain)
        for pass_ in self.passes:
            pass_.prepared = {} if fixed and pass_.layers[0].uses.prepares else None
        self.moments = walk_through(self._chain, self.output, training)
        self.blocks: list[Block] = place(self.working_arrays()) if training else []
        if arrays is None:
            arrays = KeptArrays() if training else FRESH
        if arrays is FRESH:
            keep_freed_memory()
        self._chain.bind(arrays)
        if self.output is not None:
            self.output.bind(arrays)
        self._noted = self._note(layers) if fixed and arrays is FRESH else []
        self._forwards = [part.forward if isinstance(part, Programs) else part for part in self._noted]

    def _note(self, layers: Sequence[Layer]) -> list[Programs | Forward]:
        """The way forward by programs of kernels."""
        output = None if self.output is None else OutputPass(self.output.layer, training=False)
        chain = Chain(fuse(layers if output is None else layers[:-1], training=False))
        for own, noted in zip(self.passes, chain.walk(), strict=True):
            noted.prepared = own.prepared
        forwards = [forward for _, forward in self._chain.forwards()]
        return note_stages(chain, output, forwards if self.output is None else [*forwards, self.output.forward])

    def working_arrays(self) -> Iterator[WorkingArray]:
        """Every array that a step takes."""
        for context in self._contexts():
            yield from (working for working in context.working.values() if working.spans)

    def _contexts(self) -> Iterator[Context]:
        yield from self.passes
        if self.output is not None:
            yield self.output

    # -- A batch goes through ------------------------------------------------------------------------

    def forward(self, x: Array) -> Array:
        """Predictions, from a batch in the model's dtype: (batch, *input_shape) to (batch, *output_shape)."""
        if self._forwards and _kernels.backend_in_use() == "compiled":
            for forward in self._forwards:
                x = forward(x)
            return x
        scores = self._chain.forward(x)
        return scores if self.output is None else self.output.forward(scores)

    def forward_at_once(self, x: Array, finite: bool) -> Array | None:
        """`forward` in a single call, of any array; None where that must be checked, converted, or go another way.

        If `finite`, no number may be NaN or infinite.
        """
        if len(self._noted) != 1 or _kernels.backend_in_use() != "compiled":
            return None
        whole = self._noted[0]
        return whole.run(x, finite) if isinstance(whole, Programs) else None

    def time(self, x: Array) -> list[tuple[str, float]]:
        """A batch goes forward: the name of each pass's first layer, and the seconds that it took."""
        done = []
        for name, forward in self._chain.forwards():
            start = time.perf_counter()
            x = forward(x)
            done.append((name, time.perf_counter() - start))
        if self.output is not None:
            start = time.perf_counter()
            self.output.forward(x)
            done.append((self.output.name, time.perf_counter() - start))
        return done

    def measure(self, x: Array, labels: Array, weights: Array | None = None) -> Sums:
        """Sums over the batch: of weight times loss, of weight times metric, and of weights.

        Parameters
        ----------
        x : ndarray of shape (batch, *input_shape)
        labels : ndarray
            Checked labels.
        weights : ndarray of shape (batch,), optional
            Each is 1 by default.
        """
        return self._measure(x, self._loss().encode(labels), weights)

    def gradients(self, x: Array, labels: Array, weights: Array | None = None, share: float = 1.0) -> Sums:
        """Fill the gradients of the batch's mean loss, unless that is not finite; returns the sums of `measure`.

        A batch that is a `share` of a larger one has the gradients of its part of that one's mean loss.
        """
        targets = self._loss().encode(labels)
        sums = self._measure(x, targets, weights)
        if math.isfinite(sums[0]):
            rates = weights
            if share != 1:
                rates = np.full(len(x), share) if weights is None else weights * share
            self.backward(targets, None if rates is None else rates.astype(x.dtype))
        return sums

    def _measure(self, x: Array, targets: Array, weights: Array | None) -> Sums:
        if weights is not None:
            weights = np.require(weights, np.float64, ["C", "A"])
        loss, metric, weight = self._loss().measure(self._chain.forward(x), targets, weights).tolist()
        return loss, metric, weight

    def backward_by_hand(self, targets: Array) -> None:
        """`backward` for a user's own loop: the targets are a user's, too, and must fit the batch."""
        self._loss().check_targets(targets)
        self.backward(targets)

    def backward(self, targets: Array, weights: Array | None = None) -> None:
        """Fill the gradients, from the targets of the batch that went forward before, and its weights."""
        self._chain.backward(self._loss().backward(targets, weights))

    def _loss(self) -> OutputPass:
        assert self.output is not None  # a model asks for a loss only where there is one
        return self.output

    def forget(self) -> None:
        """Let go of what a step that did not come to its end has kept."""
        for context in self._contexts():
            context.forget()

    # -- A plan is shown -----------------------------------------------------------------------------

    def table(self, batch_size: int = 64) -> str:
        """The passes, their layers, and their arrays: sizes, moments of use in a step, and who shares memory."""
        lines = format_passes(self.passes, self.output, self.blocks, batch_size)
        apart = sum(working.reservation.size(batch_size) for working in self.working_arrays())
        taken = f"{format_bytes(self.nbytes(batch_size))} of working arrays"
        batch = f"A step of training on {batch_size} examples" if self.training else f"Serving {batch_size} examples"
        lines.append(f"{batch} takes {taken}; without sharing, they would take {format_bytes(apart)}.")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def nbytes(self, batch_size: int) -> int:
        """Bytes of the working arrays of a batch; for serving, of those that are in use at the fullest moment."""
        if self.training:
            return sum(block.size(batch_size) for block in self.blocks)
        in_use = [0] * (self.moments + 1)
        for working in self.working_arrays():
            for first, last in working.spans:
                for moment in range(first, last + 1):
                    in_use[moment] += working.reservation.size(batch_size)
        return max(in_use)
