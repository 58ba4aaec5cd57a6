"""What classifier and regressor have in common: from what scikit-learn hands over to a training run and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from cnnx._typing import Array, Shape
from cnnx.callbacks import EarlyStopping, History
from cnnx.checks.arguments import check_count, check_positive, check_share
from cnnx.checks.arrays import check_dtype
from cnnx.data.arrays import ArrayBatches
from cnnx.layers.dense import DenseLayer
from cnnx.layers.loss import OutputLayer, SigmoidLayer
from cnnx.optimizers import AdamW, Optimizer
from cnnx.schedules import OneCycle
from cnnx.sklearn import defaults
from cnnx.sklearn.inputs import as_rows, check_image_shape, example_shape, shaped
from cnnx.sklearn.networks import make_network, standardizing
from cnnx.sklearn.weights import check_sample_weight, with_mean_one

# Validation examples at a time.
VALIDATED = 256


@dataclass
class Data:
    """Examples of a training run, as the model takes them."""

    X: Array
    targets: Array
    weights: Array | None

    def __len__(self) -> int:
        return len(self.X)

    def rows(self, kept: Array) -> Data:
        """Some of them, by their numbers or by True and False for each."""
        return Data(self.X[kept], self.targets[kept], None if self.weights is None else self.weights[kept])


class NetworkEstimator(BaseEstimator):
    """What classifier and regressor have in common.

    A subclass implements what stands at the end: how labels become targets, and which weights they bring.
    """

    _rng: np.random.Generator
    _optimizer: Optimizer | None  # of `partial_fit`

    # -- What scikit-learn calls -----------------------------------------------------------------------

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Train from the start, or with `warm_start` from the present weights."""
        first = not (self.warm_start and hasattr(self, "model_"))
        self._check_settings()
        data, shape = self._data(X, y, sample_weight, first)
        self._rng, self._optimizer = self._new_generator(), None
        data, held_out = self._set_aside(data)
        # Who asks for mini-batches gets what goes with them.
        whole = _is_auto(self.batch_size) or self.batch_size >= len(data)
        few = whole and defaults.are_few(shape, len(data))
        if first:
            self._build(shape, few)
        if data.weights is not None:
            data.weights = with_mean_one(data.weights, self._name)
        recipe = self._recipe(defaults.recipe(shape, len(data), few))
        optimizer = AdamW(OneCycle(recipe.learning_rate, recipe.epochs), weight_decay=recipe.weight_decay)
        self.history_ = self._train(data, recipe, optimizer, held_out)
        self.n_iter_ = len(self.history_["loss"])

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, labels: Any = None) -> None:
        """One more pass, over examples that come piece by piece; `labels` are all there will be, where that matters."""
        if self.early_stopping:
            raise ValueError(
                f"{self._name}: partial_fit: expected early_stopping=False, for it takes one pass over what it is given"
            )
        first = not hasattr(self, "model_")
        self._check_settings()
        data, shape = self._data(X, y, sample_weight, first, labels)
        if first:
            self._rng, self._optimizer = self._new_generator(), None
            self._build(shape, few=False)
            self.history_, self.n_iter_ = History(), 0
        recipe = self._recipe(defaults.PIECES)._replace(epochs=1)
        if self._optimizer is None:
            self._optimizer = AdamW(weight_decay=recipe.weight_decay)
        self._optimizer.learning_rate = recipe.learning_rate
        for name, values in self._train(data, recipe, self._optimizer).items():
            self.history_.setdefault(name, []).extend(values)
        self.n_iter_ += 1

    def _examples(self, X: Any) -> Array:
        """Examples to predict of."""
        check_is_fitted(self)
        rows, own = as_rows(X)
        rows = validate_data(self, rows, reset=False)
        return shaped(rows, own, self.model_.input_shape, self._name)

    # -- A training run --------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _check_settings(self) -> None:
        """All arguments of the constructor but the model are as they must be."""
        for name, check in (("epochs", check_count), ("batch_size", check_count), ("learning_rate", check_positive)):
            value = getattr(self, name)
            if not _is_auto(value):
                check(value, f"{self._name}: {name}")
        if not _is_auto(self.dtype):
            check_dtype(self.dtype)
        fraction = check_share(self.validation_fraction, f"{self._name}: validation_fraction")
        check_positive(fraction, f"{self._name}: validation_fraction")
        check_image_shape(self.image_shape, self._name)

    def _data(self, X: Any, y: Any, sample_weight: Any, first: bool, labels: Any = None) -> tuple[Data, Shape]:
        """What was given, checked, without examples of weight zero; and the shape of an example."""
        rows, own = as_rows(X)
        rows, y = validate_data(self, rows, y, reset=first, **self.checks_of_y)
        weights = check_sample_weight(sample_weight, len(rows), self._name)
        if first:
            shape = example_shape(rows.shape[1], own, check_image_shape(self.image_shape, self._name), self._name)
        else:
            shape = self.model_.input_shape
        X = shaped(rows, own, shape, self._name)
        if weights is not None and not weights.all():
            counts = weights > 0
            X, y, weights = X[counts], y[counts], weights[counts]
        if defaults.is_table(shape):
            X = X.astype(self._dtype_for(shape), copy=False)
        if first:
            self._learn_targets(y if labels is None else labels, weights)
        targets, weights = self._targets(y, weights)
        return Data(X, targets, weights), shape

    def _dtype_for(self, shape: Shape) -> np.dtype[Any]:
        """What the model computes with."""
        if _is_auto(self.dtype):
            return np.dtype(np.float64 if defaults.is_table(shape) else np.float32)
        return check_dtype(self.dtype)

    def _new_generator(self) -> np.random.Generator:
        """Where all random numbers come from: scikit-learn's `random_state` gives the seed."""
        return np.random.default_rng(check_random_state(self.random_state).randint(2**31, size=4))

    def _set_aside(self, data: Data) -> tuple[Data, Data | None]:
        """What is trained on, and with `early_stopping` what is validated on."""
        if not self.early_stopping:
            return data, None
        kept, aside = train_test_split(
            np.arange(len(data)),
            test_size=self.validation_fraction,
            random_state=int(self._rng.integers(2**31)),
            stratify=self._strata(data.targets),
        )
        return data.rows(np.sort(kept)), data.rows(np.sort(aside))

    def _build(self, shape: Shape, few: bool) -> None:
        """A new model for examples of this shape, few or many."""
        outputs, ending = self._outputs, self.output_layers[0]
        if _is_auto(self.model):
            hidden = defaults.hidden_layers(shape, few)
            model = standardizing([*hidden, DenseLayer(units=outputs), ending()])
        else:
            model = make_network(self.model, outputs, ending, self._name)
        if not isinstance(model.layers[-1], self.output_layers):
            expected = " or ".join(kind.__name__ for kind in self.output_layers)
            raise ValueError(f"{self._name}: model: expected {expected} at its end, got {model.layers[-1].name}")
        try:
            model.build(shape, self._rng, self._dtype_for(shape))
        except ValueError as error:
            hint = "; image_shape says that rows are pictures" if defaults.is_table(shape) else ""
            raise ValueError(
                f"{self._name}: model: it does not take examples of shape {shape}: {error}{hint}"
            ) from error
        # The sigmoid of one score is the probability of the second of two classes.
        expected_outputs = 1 if outputs == 2 and isinstance(model.layers[-1], SigmoidLayer) else outputs
        if model.output_shape != (expected_outputs,):
            raise ValueError(
                f"{self._name}: model: expected {expected_outputs} outputs for {outputs} {self.kind_of_output}, got "
                f"{model.output_shape[0]}"
            )
        self.model_ = model

    def _recipe(self, recipe: defaults.Recipe) -> defaults.Recipe:
        """The recipe with what is given in place of what it says."""
        given = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate")}
        return recipe._replace(**{name: value for name, value in given.items() if not _is_auto(value)})

    def _train(
        self, data: Data, recipe: defaults.Recipe, optimizer: Optimizer, held_out: Data | None = None
    ) -> History:
        """Have the model train; Ctrl-C leaves it usable, but must end a search, too."""
        callbacks, validation = [], None
        if held_out is not None:
            callbacks = [EarlyStopping(patience=max(5, recipe.epochs // 10))]
            validation = ArrayBatches(held_out.X, held_out.targets, VALIDATED, held_out.weights)
        augment = () if self.augment is None else self.augment
        history: History = self.model_.train(
            data.X,
            data.targets,
            batch_size=recipe.batch_size,
            epochs=recipe.epochs,
            validation_data=validation,
            shuffle=recipe.batch_size < len(data),
            seed=self._rng,
            verbose=bool(self.verbose),
            optimizer=optimizer,
            sample_weight=data.weights,
            callbacks=callbacks,
            augment=augment if isinstance(augment, tuple | list) else [augment],
        )
        if history.interrupted is not None:
            raise KeyboardInterrupt
        return history

    # -- What a subclass says --------------------------------------------------------------------------

    # The output layers that a network may have, the usual one first; how scikit-learn is to check
    # labels; and what outputs are called.
    output_layers: ClassVar[tuple[type[OutputLayer], ...]]
    checks_of_y: ClassVar[dict[str, bool]]
    kind_of_output: ClassVar[str]

    def _learn_targets(self, y: Array, weights: Array | None) -> None:
        """Take from checked labels what `_targets` needs."""
        raise NotImplementedError

    def _targets(self, y: Array, weights: Array | None) -> tuple[Array, Array | None]:
        """What the network learns for labels, and the weights of the examples."""
        raise NotImplementedError

    def _strata(self, targets: Array) -> Array | None:
        """What is to be spread evenly when examples are set aside."""
        raise NotImplementedError

    @property
    def _outputs(self) -> int:
        """Number of classes, or of values."""
        raise NotImplementedError


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"
