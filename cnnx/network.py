"""Model: a sequence of layers that ends in an output layer."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cnnx import _kernels
from cnnx._configured import call
from cnnx._typing import Array, DTypeLike, Seed, Shape
from cnnx.checks.arguments import check_count
from cnnx.checks.arrays import ALLOW_NAN, check_batch, check_dtype, check_finite, check_numbers, check_shape, is_finite
from cnnx.checks.description import check_class_names, check_pixel_max
from cnnx.errors import divergence
from cnnx.layers import check_known
from cnnx.layers.base import Layer, check_free, choose_initializers
from cnnx.layers.loss import OutputLayer
from cnnx.layers.standardize import StandardizeLayer
from cnnx.memory.context import FRESH
from cnnx.plan.parameters import decaying_ranges, gather
from cnnx.plan.plan import Plan

if TYPE_CHECKING:
    from cnnx.augmentation.base import AnyAugmentation
    from cnnx.callbacks import Callback, History
    from cnnx.data import Batches
    from cnnx.export.model import Signature
    from cnnx.inspection.verification import Report
    from cnnx.optimizers import Optimizer
    from cnnx.parallel import Shards
    from cnnx.regularizers import Regularizer
    from cnnx.schedules import Schedule
    from cnnx.training.given import Given
    from cnnx.training.rate_search import RangeTest
    from cnnx.training.steps import Steps
    from cnnx.training.weighting import ClassWeight

NUMBERS = (int, float, np.number)
# Examples at a time, where `predict` is not told.
PREDICTED = 256


class Model:
    """A network: layers in order, the last one an output layer.

    Parameters
    ----------
    *layers : Layer
        From the input to the output layer, such as `SoftmaxLayer`. A layer object stands in one place of one model.

    Attributes
    ----------
    layers : list of Layer
        In order. Once built, each is named ``layers[i] (Class)`` in errors and tables.
    parameters, gradients : ndarray of shape (parameter_count,)
        All parameters and all gradients; the layers' ``params`` and ``grads`` are views into them. They
        exist once the model is built.

    decaying : ndarray of shape (ranges, 2)
        First element, and the one after the last, of each range of the vectors that weight decay acts on.

    fixed : bool
        Whether the parameters are in memory that cannot be written, as in a model that `folded` gave.

    class_names : tuple of str or None
    pixel_max : float or None
        What the model says of its data; see there.

    plan, serving_plan : Plan
        What a step of training does, and what a prediction does: which layers are computed together, and the memory
        that they share; ``print(model.plan)`` shows it. In a model that `folded` gave, both are the plan for serving.
        They are made when they are first needed.

    Examples
    --------
    >>> import cnnx
    >>> (X, y), (X_test, y_test) = cnnx.datasets.load_digits()
    >>> model = cnnx.Model(
    ...     cnnx.ConvolutionLayer(filters=8, filter_size=3), cnnx.ReluLayer(), cnnx.PoolLayer(filter_size=2),
    ...     cnnx.Flatten(), cnnx.DenseLayer(units=10), cnnx.SoftmaxLayer())
    >>> history = model.train(X, y, 0.1, batch_size=32, epochs=3, seed=0, verbose=False)
    >>> loss, accuracy = model.evaluate(X_test, y_test)
    """

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise ValueError("Model: expected at least one layer, got none")
        check_free(layers, "Model")
        for index, layer in enumerate(layers):
            if isinstance(layer, StandardizeLayer) and index > 0:
                raise ValueError(
                    f"Model: {layer.name} at position {index}: expected it as the first layer, for it takes the data"
                )
            if isinstance(layer, OutputLayer) and not layer.may_be_hidden and index < len(layers) - 1:
                raise ValueError(
                    f"Model: the output layer must be last; {type(layers[index + 1]).__name__} at position "
                    f"{index + 1} comes after {type(layer).__name__}"
                )
        for index, layer in enumerate(layers):
            layer.place(f"layers[{index}]")
        self.layers = list(layers)
        self.built = False
        self._class_names: tuple[str, ...] | None = None
        self._pixel_max: float | None = None

    def __repr__(self) -> str:
        """A call that makes the same, not built, with a layer on each line."""
        return call("Model", map(repr, self.layers))

    def build(
        self,
        input_shape: Shape,
        seed: Seed = None,
        dtype: DTypeLike = np.float32,
        params: Sequence[Mapping[str, Array]] | None = None,
        fixed: bool = False,
    ) -> None:
        """Create the weights for examples of one shape; called again, start afresh.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one example, such as (height, width, channels).
        seed : int, numpy.random.Generator or None
            Where the starting weights come from.
        dtype : {float32, float64}
        params : sequence of mappings, optional
            Values to start from instead, for each layer one mapping like ``{**layer.params, **layer.state}``.
        fixed : bool
            Keep the parameters in memory that cannot be written. The model cannot be trained, and predicts faster:
            what kernels make of the weights is made once. `folded` gives such a model.
        """
        dtype = check_dtype(dtype)
        shape: Shape = tuple(check_count(n, "input_shape") for n in input_shape)
        rng = np.random.default_rng(seed)
        self.built = False
        self.input_shape, self.dtype = shape, dtype
        given = [None] * len(self.layers) if params is None else params
        choose_initializers(self.layers)
        for layer, values in zip(self.layers, given, strict=True):
            shape = layer.build(shape, rng, dtype, values)
        self.output_shape = shape
        self._check_as_many(self._class_names)
        self._connect(fixed)

    def _connect(self, fixed: bool) -> None:
        """What stands on the arrays of all layers: the vectors that these are views into; the plans are made anew."""
        self.fixed = fixed
        self.parameters, self.gradients = gather(self.layers, self.dtype, fixed)
        self.decaying = decaying_ranges(self.layers)
        for name in ("plan", "serving_plan", "_plan_by_hand"):
            self.__dict__.pop(name, None)
        self.built = True

    @cached_property
    def plan(self) -> Plan:
        """What a step of training does; in a model that `folded` gave, what a prediction does."""
        self._require_built("plan")
        return self.serving_plan if self.fixed else Plan(self.layers, training=True)

    @cached_property
    def serving_plan(self) -> Plan:
        """What a prediction does."""
        self._require_built("serving_plan")
        return Plan(self.layers, training=False, fixed=self.fixed)

    @cached_property
    def _plan_by_hand(self) -> Plan:
        """What a user's own loop does: its arrays are all fresh, for the user may keep them."""
        return Plan(self.layers, training=True, arrays=FRESH)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle is made of; a copy of a view would be an array of its own."""
        built = ("input_shape", "output_shape", "dtype", "fixed") if self.built else ()
        kept = "layers", "built", "_class_names", "_pixel_max", *built
        return {name: getattr(self, name) for name in kept}

    def __copy__(self) -> Model:
        """A copy with layers of its own: a layer stands in one model."""
        return copy.deepcopy(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.built:
            self._connect(self.fixed)

    @property
    def parameter_count(self) -> int:
        """Number of parameters, over all layers."""
        self._require_built("parameter_count")
        return int(self.parameters.size)

    # -- What it knows of its data -------------------------------------------------------------------

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Name of each class, in the order of their numbers; None where they are not known.

        `train` takes them from a source that has names, such as `FolderBatches`. They can be set, and are saved with
        the model.
        """
        return self._class_names

    @class_names.setter
    def class_names(self, names: Iterable[str] | None) -> None:
        checked = check_class_names(names, "Model.class_names")
        if self.built:
            self._check_as_many(checked)
        self._class_names = checked

    @property
    def pixel_max(self) -> float | None:
        """Value of a white pixel in the data that the model was trained on, such as 255 for bytes.

        None where it is not known, as of tables. `train` looks at its first examples. It can be set, and is saved with
        the model, so that the command line gives pictures to the model as it knows them.
        """
        return self._pixel_max

    @pixel_max.setter
    def pixel_max(self, value: float | None) -> None:
        self._pixel_max = check_pixel_max(value, "Model.pixel_max")

    def _check_as_many(self, names: tuple[str, ...] | None) -> None:
        if names is not None and len(names) != self._classes():
            raise ValueError(f"Model.class_names: expected {self._classes()} names, got {len(names)}")

    def _classes(self) -> int:
        """Number of classes; one output is for two."""
        return max(self.output_shape[0], 2) if self.output_shape else 0

    def _learn_description(self, data: Given) -> None:
        """Take from the data what they show of themselves; names only where there are as many as classes."""
        if data.pixel_max is not None:
            self._pixel_max = data.pixel_max
        if data.class_names is not None and len(data.class_names) == self._classes():
            self.class_names = data.class_names

    def _description(self) -> dict[str, Any]:
        """What files keep of it, as plain JSON values."""
        return {"class_names": self.class_names, "pixel_max": self.pixel_max}

    # -- Training ------------------------------------------------------------------------------------

    def train(
        self,
        X: Any | Batches,
        y: Any = None,
        learning_rate: float | Schedule | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        validation_data: tuple[Any, Any] | Batches | None = None,
        validation_split: float = 0.0,
        shuffle: bool = True,
        seed: Seed = None,
        verbose: bool = True,
        *,
        optimizer: Optimizer | str | None = None,
        class_weight: ClassWeight | None = None,
        sample_weight: Any = None,
        regularizers: Sequence[Regularizer] = (),
        callbacks: Sequence[Callback] = (),
        augment: Sequence[AnyAugmentation] = (),
        resume: str | os.PathLike[str] | None = None,
        parallel: Shards | None = None,
    ) -> History:
        """Train by mini-batch gradient descent, from the present weights.

        Builds the model for the shape of `X` if it is not built yet, and has a `StandardizeLayer` that has not learned
        yet learn from `X` as it is, without augmentation. Ctrl-C stops after the current batch and
        returns the history so far; the model stays usable.

        Parameters
        ----------
        X : array_like of shape (examples, height, width, channels), or (examples, features); or Batches
            Numbers of any real dtype; each batch is converted to the model's. Or a source of batches, see `cnnx.data`:
            it brings its labels, weights and batch size, its batches are checked one by one, and unless it holds
            arrays in memory they are prepared on a worker thread. It must give the same epoch for the same random
            numbers if runs are to be repeated or resumed.
        y : array_like of shape (examples,) or (examples, classes)
            Labels of the output layer: for `SoftmaxLayer`, integers from 0 to classes - 1 or rows of target
            probabilities; for the others, see there. None with a source of batches.
        learning_rate : float or Schedule, optional
            Step size, above 0. Without an `optimizer` it is that of plain gradient descent.
        batch_size : int, optional
            Examples a step, 64 by default; the last batch of an epoch may be smaller and is used. A single example that
            would be left over is part of the batch before, where a `BatchNormLayer` has a single value of each channel
            in an example (2 or more are needed, so `batch_size` must be). A source of batches has its own.
        epochs : int
            Passes over the data.
        validation_data : (X, y) or Batches, optional
            Evaluated after each epoch, without augmentation.
        validation_split : float
            Share of `X` in [0, 1), taken from its end before shuffling, to validate on instead; of arrays alone. A
            warning says if that is no example, all of a class, or one class alone.
        shuffle : bool
            Draw the examples in a new order each epoch.
        seed : int, numpy.random.Generator or None
            For the starting weights, if they are made here, the order of the examples, and augmentation. The same
            seed gives the same bits, whatever the number of threads.
        verbose : bool
            Show a progress bar.
        optimizer : Optimizer or str, optional
            Such as ``Adam(1e-3)``: it has its own learning rate, and goes on where it stopped if it is given again.
            Or a name, such as "adam", with `learning_rate` or with that optimizer's default.
        class_weight : mapping of int to float, or "balanced", optional
            How much the examples of each class count; the weight of a class without examples is not used. "balanced" is
            examples / (classes * examples of the class), and cannot be had from a source that does not know its labels
            beforehand, such as `GeneratorBatches`.
        sample_weight : array_like of shape (examples,), optional
            How much each example counts, 0 or more. The loss of a step is the sum of weight times loss, divided by the
            batch size; metrics are weighted means, and a `StandardizeLayer` learns weighted figures. Both weights
            given, their product counts. Validation has none. A source of batches has its own.
        regularizers : sequence of Regularizer
            Penalties, which are part of the loss of a step, and constraints.
        callbacks : sequence of Callback
            Told of the run's events, in this order, a `Checkpoint` after all others.
        augment : sequence of augmentations
            Random changes of each batch, see `cnnx.augmentation`, made on a worker thread while training works on the
            batch before. `MixUp` is told the number of classes, and cannot be used with weights.
        resume : str or path-like, optional
            A file that a `Checkpoint` of such a run wrote: go on from it, to the same bits as if the run had never
            stopped. All other arguments must be those of that run, but for `epochs`, `seed` and `verbose`; callbacks
            that keep a state, in the same order. Of the data, shapes and, where they are known beforehand, labels are
            compared.
        parallel : Shards, optional
            Cut each batch into so many blocks, and have all processes that MPI has started train together: all of
            them call `train` with the same arguments, and get the same weights. See `cnnx.parallel`.

        Returns
        -------
        History
            Loss, accuracy, validation figures and seconds of each epoch.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as above, or `X` has another shape than the model was built for.
        OSError
            If the file to resume from cannot be read.
        DivergenceError
            If the loss, a gradient or an update becomes NaN or infinite; the model keeps the weights from before that
            batch.
        RankError
            If another process of a parallel run has failed.
        """
        from cnnx.callbacks import History, ProgressBar
        from cnnx.training import checkpoints, given, loop, options, sources
        from cnnx.training.run import Run

        steps = _steps(parallel)
        with steps.shared():
            output = self._output_layer("train")
            self._require_trainable("train")
            data = given.data(X, y, "train", batch_size, given.BATCH_SIZE, sample_weight)
            data, held_out = given.set_aside(data, validation_data, validation_split, output)
            chosen = options.check_options(optimizer, learning_rate, epochs, regularizers, callbacks, augment)
            saved = None
            if resume is not None:
                saved = steps.once("resume", partial(checkpoints.read_checkpoint, resume))
            rng = np.random.default_rng(steps.seed(seed))
            if not self.built:
                self.build(data.input_shape, rng)
            entrance = self.input_shape, self.dtype, output
            source = data.checked(*entrance, class_weight)
            sources.check_mixup(chosen.augment, source)
            enough = sources.enough_in_each_batch(source, self.layers, "train")
            first = self.layers[0]
            if saved is None and isinstance(first, StandardizeLayer) and not first.learned:
                first.state = steps.once("standardize", partial(sources.standardize, first, source))
            self._learn_description(data)
            history = History()
            told = [history, *([ProgressBar()] if verbose else []), *chosen.callbacks]
            run = Run(
                model=self,
                metric=output.metric,
                source=enough,
                validation=None if held_out is None else held_out.checked(*entrance),
                optimizer=chosen.optimizer,
                epochs=chosen.epochs,
                rng=rng if shuffle else None,
                # What is saved is what all others have made of an epoch.
                callbacks=sorted(told, key=lambda callback: callback.comes_last),
                regularizers=chosen.regularizers,
                augment=chosen.augment,
                # Drawn only where it is needed: the same seed gives the same order as ever without augmentation.
                augmentation_seed=rng.integers(2**63, size=2).tolist() if chosen.augment else None,
                first=steps.first,
                shards=steps.shards,
            )
        history.interrupted = loop.fit(run, steps, saved)
        history.stopped = run.stopped
        return history

    def train_on_batch(
        self,
        X: Any,
        y: Any,
        learning_rate: float | None = None,
        *,
        optimizer: Optimizer | None = None,
        class_weight: ClassWeight | None = None,
        sample_weight: Any = None,
        regularizers: Sequence[Regularizer] = (),
    ) -> float:
        """Take exactly one step and return the batch's mean loss before it.

        Arguments and errors as in `train`; the model is built if it is not yet. Without an `optimizer` the step is one
        of plain gradient descent. A name of an optimizer is refused, as its state would be lost from step to step; so
        is a schedule, which counts epochs: set `Optimizer.learning_rate` to ``schedule(epochs)`` before a step.
        """
        from cnnx.training import given
        from cnnx.training.step import check_step

        output = self._output_layer("train_on_batch")
        self._require_trainable("train_on_batch")
        data = given.arrays(X, y, "train_on_batch", sample_weight=sample_weight)
        chosen, penalties = check_step(optimizer, learning_rate, regularizers)
        if not self.built:
            self.build(data.input_shape)
        X, y, weights = data.fitting(self.input_shape, output, class_weight)
        return self.step(X, y, chosen, weights, penalties)[0]

    def find_learning_rate(
        self,
        X: Any,
        y: Any,
        lowest: float = 1e-6,
        highest: float = 10.0,
        steps: int = 100,
        batch_size: int = 64,
        *,
        optimizer: Optimizer | str = "sgd",
        seed: Seed = None,
    ) -> RangeTest:
        """Train for some steps while the learning rate rises, to see which are worth training with.

        Weights, running averages and the random numbers of layers are what they were before; a model that was not
        built is not built after it.

        Parameters
        ----------
        X, y : array_like
            As in `train`.
        lowest, highest : float
            The rates of the first and the last step, above 0; between them they rise in equal ratios.
        steps : int
            3 or more; fewer are taken if the loss explodes before.
        batch_size : int
            As it is to be in training.
        optimizer : Optimizer or str
            A new one of its kind, with the same arguments but for the rate, takes the steps.
        seed : int, numpy.random.Generator or None
            For the order of the examples, and the starting weights if the model is not built.

        Returns
        -------
        RangeTest
            With `rates`, `losses`, the `suggestion`, and `plot()`.

        Raises
        ------
        DivergenceError
            If the loss explodes in the first steps.
        """
        from cnnx.training import given, rate_search, sources

        output = self._output_layer("find_learning_rate")
        self._require_trainable("find_learning_rate")
        data = given.arrays(X, y, "find_learning_rate", batch_size)
        rates = rate_search.check_rates(lowest, highest, steps)
        fresh = rate_search.fresh_optimizer(optimizer, rates[0])
        rng, built = np.random.default_rng(seed), self.built
        if not built:
            self.build(data.input_shape, rng)
        try:
            checked = data.checked(self.input_shape, self.dtype, output)
            source = sources.enough_in_each_batch(checked, self.layers, "find_learning_rate")
            return rate_search.search_rate(self, source, fresh, rates, rng)
        finally:
            self.built = built

    def step(
        self,
        X: Array,
        y: Array,
        optimizer: Optimizer | float,
        weights: Array | None = None,
        regularizers: Sequence[Regularizer] = (),
    ) -> tuple[float, float]:
        """One step for a training loop: the batch's mean loss and metric before it.

        `X`, `y` and, where examples have them, `weights` are checked arrays of one length; a number is the learning
        rate of plain gradient descent. If the loss, a gradient, the update or a running average is not finite,
        `DivergenceError` says so, and weights, running averages and optimizer are as before.
        """
        self._output_layer("step")
        if isinstance(optimizer, NUMBERS):
            from cnnx.optimizers import SGD

            optimizer = SGD(optimizer)
        x = check_batch(X, self.input_shape, self.dtype, "X")
        states = [layer.state for layer in self.layers]
        try:
            loss, metric, weight = self.plan.gradients(x, y, weights)
            loss, metric = loss / len(x), metric / weight if weight else 0.0
            loss = self.update(loss, states, optimizer, regularizers)
        except BaseException as error:
            self.take_back(states)
            if type(error) is FloatingPointError:
                raise divergence(str(error), is_finite(X), optimizer.rate) from None
            raise
        for regularizer in regularizers:
            regularizer.constrain(self.layers)
        return loss, metric

    def fill_gradients(self, X: Array, y: Array, weights: Array | None, share: float) -> tuple[float, float, float]:
        """The first half of a step, on one of several blocks of its batch: the block's gradients, in `gradients`.

        They are those of `share`, the block's share of the batch's examples, times the block's mean loss. Returns the
        sums of `measure`; if that of the loss is not finite, `gradients` are as before.
        """
        return self.plan.gradients(check_batch(X, self.input_shape, self.dtype, "X"), y, weights, share)

    def update(
        self,
        loss: float,
        before: Sequence[dict[str, Array]],
        optimizer: Optimizer,
        regularizers: Sequence[Regularizer] = (),
    ) -> float:
        """The second half of a step: penalties, checks, and the update, from `gradients` and the batch's mean `loss`.

        `before` has the layers' states before the step. Returns the loss with its penalties; raises FloatingPointError
        if anything is not finite, and then has changed no parameter.
        """
        if math.isfinite(loss):
            for regularizer in regularizers:
                loss += regularizer.penalize(self.parameters, self.gradients, self.decaying)
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss became {loss}")
        for layer, state in zip(self.layers, before, strict=True):
            if layer.state is not state and not all(map(is_finite, layer.state.values())):
                raise FloatingPointError(f"{layer.name}: a running average became NaN or infinite")
        optimizer.step(self.parameters, self.gradients, self.decaying)
        return loss

    def take_back(self, before: Sequence[dict[str, Array]]) -> None:
        """Let go of a step that failed: the layers' states are those `before` it, and their caches are empty."""
        self.plan.forget()
        for layer, state in zip(self.layers, before, strict=True):
            layer.state = state

    def measure(self, X: Array, y: Array, weights: Array | None = None) -> tuple[float, float, float]:
        """Sums over a batch, without training: of weight times loss, of weight times metric, and of weights.

        `X`, `y` and `weights` as in `step`.
        """
        self._output_layer("measure")
        return self.serving_plan.measure(check_batch(X, self.input_shape, self.dtype, "X"), y, weights)

    def forward(self, X: Any, training: bool = False) -> Array:
        """The output for a batch; with `training`, each layer keeps what `backward` needs.

        Parameters
        ----------
        X : array_like of shape (batch, *input_shape)
        training : bool
            False keeps nothing, so that one model can predict from many threads at once.

        Returns
        -------
        ndarray of shape (batch, *output_shape)
        """
        self._require_built("forward")
        x = check_batch(X, self.input_shape, self.dtype, "X")
        return (self._plan_by_hand if training else self.serving_plan).forward(x)

    def backward(self, y: Any) -> None:
        """Fill `gradients` with those of the mean loss of the batch that `forward(X, training=True)` has seen.

        For one's own loop: ``model.forward(X, training=True); model.backward(y);
        model.parameters -= learning_rate * model.gradients``.

        Parameters
        ----------
        y : array_like of shape (batch,) or (batch, classes)
            Labels of that batch, as in `train`.
        """
        output = self._output_layer("backward")
        self._require_built("backward")
        self._plan_by_hand.backward_by_hand(output.targets(y))

    # -- Prediction ----------------------------------------------------------------------------------

    def predict(self, X: Any | Batches, batch_size: int | None = None, *, allow_nan: bool = False) -> Array:
        """What the output layer decides: class labels, or values; arguments and errors as in `predict_proba`.

        With the compiled kernels a prediction is the same bits alone and in any batch, on any number of threads,
        before the model is saved and after it is loaded. Several threads may predict with one model at once. While
        another thread trains it, predictions are finite, and come from weights of which some may already be those of
        the next step; the training is not disturbed. A copy of the model (`copy.deepcopy`) stays as it was.

        Returns
        -------
        ndarray
            Integers (examples,) after `SoftmaxLayer`, `HingeLayer` and `SigmoidLayer` with one output; rows of 0 and 1,
            (examples, classes), after `SigmoidLayer` with several; values (examples, outputs) after `RegressionLayer`,
            (examples,) where there is one output.
        """
        return self._predict("predict", X, batch_size, allow_nan, self._output_layer("predict").decide)

    def predict_proba(self, X: Any | Batches, batch_size: int | None = None, *, allow_nan: bool = False) -> Array:
        """Probabilities of the classes, (examples, classes).

        After `SigmoidLayer` with one output, the columns are the probabilities of 0 and of 1.

        Parameters
        ----------
        X : array_like of shape (examples, *input_shape), or Batches
            Examples, or a source of batches as in `train`, whose order the predictions have; its labels are not looked
            at.
        batch_size : int, optional
            Examples at a time, 256 by default; a large `X` needs no more memory than a batch. A source of batches has
            its own.
        allow_nan : bool
            Predict of NaN and infinite values, too, whatever the layers make of them.

        Raises
        ------
        TypeError
            If the output layer has no probabilities, as `HingeLayer` and `RegressionLayer`.
        ValueError
            If `X` has another shape, or values that are NaN or infinite, of which a prediction would mean nothing.
        """
        convert = self._output_layer("predict_proba").probabilities
        return self._predict("predict_proba", X, batch_size, allow_nan, convert)

    def _predict(
        self, method: str, X: Any, batch_size: int | None, allow_nan: bool, convert: Callable[[Array], Array]
    ) -> Array:
        """Predictions, converted batch by batch: an output layer that cannot do so says it with the first one."""
        self._require_built(method)
        if not isinstance(X, np.ndarray) and _is_source(X):
            from cnnx.training import given

            batches: Iterable[Array] = given.examples(X, method, batch_size, self.input_shape)
        else:
            size = PREDICTED if batch_size is None else check_count(batch_size, "batch_size")
            if type(X) is np.ndarray and X.ndim and len(X) <= size:
                at_once = self.serving_plan.forward_at_once(X, not allow_nan)
                if at_once is not None:
                    return convert(at_once)
            X = self._checked_examples(X)
            if len(X) <= size:
                predictions = convert(self._forward_finite(X, method, 0, allow_nan))
                # Layers may hand on what they were given, and the predictions are the user's to change.
                handed_on = predictions is X or predictions.base is not None
                return predictions.copy() if handed_on and np.may_share_memory(predictions, X) else predictions
            batches = (X[start : start + size] for start in range(0, len(X), size))
        done, converted = 0, []
        for batch in batches:
            converted.append(convert(self._forward_finite(batch, method, done, allow_nan)))
            done += len(batch)
        return np.concatenate(converted)

    def _forward_finite(self, X: Array, method: str, first: int, allow_nan: bool) -> Array:
        """The output for examples from number `first` on, which must be finite."""
        x = check_batch(X, self.input_shape, self.dtype, "X")
        if not allow_nan and X.dtype.kind == "f" and not _kernels.all_finite(x):
            check_finite(x, f"{method}: X", first, ALLOW_NAN)
        return self.serving_plan.forward(x)

    def evaluate(
        self,
        X: Any | Batches,
        y: Any = None,
        batch_size: int | None = None,
        *,
        class_weight: ClassWeight | None = None,
        sample_weight: Any = None,
        allow_nan: bool = False,
    ) -> tuple[float, float]:
        """Mean loss, and the output layer's metric.

        Parameters
        ----------
        X : array_like of shape (examples, *input_shape), or Batches
            Examples, or a source of batches as in `train`, with its own labels, weights and batch size.
        y : array_like of shape (examples,) or (examples, classes)
            Labels as in `train`.
        batch_size : int, optional
            Examples at a time, 256 by default; a large `X` needs no more memory than a batch.
        class_weight, sample_weight
            As in `train`; both figures are then weighted means.
        allow_nan : bool
            As in `predict_proba`; else NaN and infinite values in `X` are a ValueError.

        Returns
        -------
        (float, float)
            The mean of the loss that training minimises (cross-entropy, in nats, after `SoftmaxLayer()` and
            `SigmoidLayer()`); and the mean absolute error after `RegressionLayer`, else the accuracy: the share of
            examples, of 1, for which `predict` is right (in all classes, where labels are rows of 0 and 1).
        """
        from cnnx.training import evaluation, given

        output = self._output_layer("evaluate")
        self._require_built("evaluate")
        data = given.data(X, y, "evaluate", batch_size, given.EVALUATION_BATCH_SIZE, sample_weight)
        source = data.checked(self.input_shape, self.dtype, output, class_weight)
        return evaluation.evaluate(self, source, "evaluate", allow_nan)

    # -- Looking at, checking and keeping a model ------------------------------------------------------

    def summary(self, batch_size: int = 64) -> None:
        """Print the table of layers: shapes, parameters, and memory of a training step on `batch_size` examples."""
        from cnnx.inspection.summary import summarize

        self._require_built("summary")
        print(summarize(self.layers, self.plan, check_count(batch_size, "batch_size")))

    def _repr_html_(self) -> str:
        """The table of layers, for notebooks."""
        from cnnx.inspection.summary import summarize_html

        return summarize_html(self.layers, self.plan if self.built else None)

    def verify(self, X: Any, y: Any, tolerance: float | None = None) -> Report:
        """Compare the compiled kernels with their NumPy twins on your own data, layer by layer.

        Parameters
        ----------
        X, y : array_like
            A batch of examples and its labels, as in `train`.
        tolerance : float, optional
            Largest permitted relative difference; 1e-4 for float32 and 1e-10 for float64 by default.

        Returns
        -------
        Report
            The differences; ``print(report)`` shows them as a table.

        Raises
        ------
        VerificationError
            If a difference is above the tolerance.
        """
        from cnnx.inspection.verification import verify
        from cnnx.training import given

        output = self._output_layer("verify")
        data = given.arrays(X, y, "verify")
        if not self.built:
            self.build(data.input_shape)
        X, y, _ = data.fitting(self.input_shape, output)
        x = check_batch(X, self.input_shape, self.dtype, "X")
        gradients = self.gradients.copy()
        try:
            return verify(self.layers[:-1], output, x, y, tolerance)
        finally:
            self.gradients[...] = gradients

    def folded(self) -> Model:
        """A new model for inference, with batch normalization folded into the weights before it.

        Each `BatchNormLayer` directly behind a `ConvolutionLayer` or `DenseLayer`, inside residual blocks, too, is
        gone, and its running averages are in ``W`` and ``b``; others stay. Predictions are the same but for rounding.
        This model stays as it is. The parameters of the new one are fixed: it cannot be trained, and what kernels make
        of its weights is made once, which matters most where images come one by one.

        Returns
        -------
        Model
            Built, with arrays of its own; it can be saved and loaded.

        Raises
        ------
        RuntimeError
            If this model is not built.
        """
        from cnnx.plan.folding import fold

        self._require_built("folded")
        copies = fold(self.layers)
        folded = Model(*(layer for layer, _ in copies))
        folded.build(self.input_shape, dtype=self.dtype, params=[values for _, values in copies], fixed=True)
        folded._class_names, folded._pixel_max = self._class_names, self._pixel_max
        return folded

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write architecture and weights to a safetensors file, which can hold no code.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If a layer's class is not in the closed list `cnnx.layers.LAYERS`: the file could not be loaded.
        """
        from cnnx.files.models import save

        self._require_built("save")
        check_known(self.layers, "Model.save")
        save(path, self.layers, self.input_shape, self.dtype, self._description())

    def to_onnx(
        self, path: str | os.PathLike[str], output: Literal["probabilities", "logits"] | None = None
    ) -> Signature:
        """Write an ONNX file, which other programs run.

        It has operator set 17 and IR version 8, takes what this model takes, (batch, *input_shape) with any length of
        the batch, and computes in single precision, also where this model does not. `class_names`, a list as JSON,
        and `pixel_max` are in its metadata, where they are known. Needs onnx, the extra ``onnx``.

        Parameters
        ----------
        path : str or path-like
        output : {'probabilities', 'logits'}, optional
            What the file gives: what `predict_proba` does, or the scores that go into the output layer. By default
            probabilities where the output layer has them, else its scores or values; the output of a model
            without an output layer.

        Returns
        -------
        Signature
            Names and shapes of input and output, as ``signature.input`` and so on; ``print(signature)`` shows them.

        Raises
        ------
        OSError
            If the file cannot be written; a file that was there is as it was before.
        TypeError
            If the output layer has no probabilities to give.
        ValueError
            If `output` is none of these, a layer's class is not in the closed list `cnnx.layers.LAYERS`, a number is
            beyond float32, a `StandardizeLayer` has not learned yet, or the parameters do not fit into the 2 GiB of an
            ONNX file.
        ImportError
            If onnx is not installed.
        """
        from cnnx.export.model import write_model

        self._require_built("to_onnx")
        return write_model(path, self.layers, self.input_shape, output, self._description())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Read a model that `save` wrote.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is not such a file, or names a layer that is not in the closed list `cnnx.layers.LAYERS`.
        """
        from cnnx.files.models import load, usable

        parts = load(path)
        with usable(path):
            model = Model(*parts.layers)
            model.build(parts.input_shape, dtype=parts.dtype, params=parts.params)
            model.class_names, model.pixel_max = parts.data["class_names"], parts.data["pixel_max"]
        return model

    # -- Checks --------------------------------------------------------------------------------------

    def _output_layer(self, method: str) -> OutputLayer:
        output = self.layers[-1]
        if not isinstance(output, OutputLayer):
            raise ValueError(f"Model.{method}: expected an output layer as the last layer, got {output.name}")
        return output

    def _require_built(self, method: str) -> None:
        if not self.built:
            raise RuntimeError(f"Model.{method}: the model is not built; call build(input_shape), or train it")

    def _require_trainable(self, method: str) -> None:
        if self.built and self.fixed:
            raise ValueError(
                f"Model.{method}: the parameters are fixed, for inference; train the model that this one was made of, "
                "or save and load it"
            )

    def _checked_examples(self, X: Any) -> Array:
        """An array of examples of the right shape, not converted: that happens batch by batch."""
        examples = check_numbers(X, "X")
        check_shape(examples, self.input_shape, "X")
        return examples


def _steps(parallel: Shards | None) -> Steps:
    """Who takes the steps of a run."""
    if parallel is None:
        from cnnx.training.steps import Steps

        return Steps()
    from cnnx.parallel import Shards

    if not isinstance(parallel, Shards):
        raise TypeError(f"train: parallel: expected Shards(...), got {parallel!r}")
    return parallel.steps()


def _is_source(X: Any) -> bool:
    """Whether examples come from a source of batches; arrays need no import of what these are."""
    if not hasattr(X, "epoch"):
        return False
    from cnnx.data.base import Batches

    return isinstance(X, Batches)
