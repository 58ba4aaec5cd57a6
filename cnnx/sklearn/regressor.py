"""A regressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin

from cnnx._typing import Array
from cnnx.layers.loss import OutputLayer, RegressionLayer
from cnnx.sklearn.base import NetworkEstimator


class CNNRegressor(RegressorMixin, NetworkEstimator):
    """One or several numbers for each picture, or row of a table, by a neural network.

    `X` is as for `CNNClassifier`. Targets are scaled to mean 0 and deviation 1 before the network learns them, and
    predictions are scaled back.

    Parameters
    ----------
    model : str, callable or tuple of Layer, default "auto"
        As for `CNNClassifier`, with a `cnnx.RegressionLayer` at its end, which takes the place of a SoftmaxLayer in
        what a function or a name gives. A function is given the number of values.
    image_shape, epochs, batch_size, learning_rate, augment, early_stopping, warm_start, dtype, random_state, verbose
        As for `CNNClassifier`.
    validation_fraction : float, default 0.1
        The part that early stopping sets aside, above 0 and below 1.

    Attributes
    ----------
    model_ : cnnx.Model
        The network. Its predictions are those of this estimator, less `y_mean_`, divided by `y_deviation_`.
    y_mean_, y_deviation_ : ndarray of shape () or (values,)
        Of the targets; the deviation of a constant is 1.
    history_, n_iter_, n_features_in_, feature_names_in_
        As for `CNNClassifier`; the figures are those of scaled targets.

    Examples
    --------
    >>> import cnnx
    >>> from cnnx.sklearn import CNNRegressor
    >>> (X, y), (X_test, y_test) = cnnx.datasets.load_digits()
    >>> ink = X.mean(axis=(1, 2, 3))
    >>> regressor = CNNRegressor(epochs=3, random_state=0).fit(X[:300], ink[:300])
    >>> regressor.predict(X_test).shape
    (359,)
    """

    output_layers: ClassVar[tuple[type[OutputLayer], ...]] = (RegressionLayer,)
    checks_of_y: ClassVar[dict[str, bool]] = {"multi_output": True, "y_numeric": True}
    kind_of_output: ClassVar[str] = "values"

    def __init__(
        self,
        model: Any = "auto",
        *,
        image_shape: Any = None,
        epochs: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float | str = "auto",
        augment: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        dtype: Any = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.augment = augment
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CNNRegressor:
        """Train on all examples, from the start unless `warm_start` is set.

        Parameters
        ----------
        X : array_like of shape (examples, height, width[, channels]) or (examples, features)
        y : array_like of shape (examples,) or (examples, values)
            Finite numbers.
        sample_weight : array_like of shape (examples,), optional
            How much each example counts, 0 or more. Examples of weight zero are left out first.

        Returns
        -------
        CNNRegressor
            This estimator.

        Raises
        ------
        TypeError, ValueError
            If an argument, here or of the constructor, is not as described.
        DivergenceError
            If the loss becomes NaN or infinite.
        """
        self._fit(X, y, sample_weight)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> CNNRegressor:
        """Train by one pass over these examples, in mini-batches of 32 by default, at a constant rate.

        Mean and deviation of examples and targets are those of the first call, or of `fit`. Weights are not scaled to
        mean 1, so that those of several calls can be compared.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As in `fit`.

        Returns
        -------
        CNNRegressor
            This estimator.
        """
        self._partial_fit(X, y, sample_weight)
        return self

    def predict(self, X: Any) -> Array:
        """Numbers in float64, of the shape that `y` had: (examples,) or (examples, values)."""
        examples = self._examples(X)
        scaled = self.model_.predict(examples).reshape(len(examples), *self.y_mean_.shape)
        values: Array = self.y_mean_ + self.y_deviation_ * scaled.astype(np.float64)
        return values

    def _learn_targets(self, y: Array, weights: Array | None) -> None:
        """Mean and deviation, of differences from the first target: equal ones have exactly the deviation 0."""
        y = np.asarray(y, np.float64)
        largest = np.abs(y - y[0]).max(axis=0)
        largest = np.where(largest == 0, 1.0, largest)
        differences = (y - y[0]) / largest
        mean = np.average(differences, axis=0, weights=weights)
        deviation = np.sqrt(np.average((differences - mean) ** 2, axis=0, weights=weights))
        self.y_mean_ = np.asarray(y[0] + largest * mean)
        self.y_deviation_ = np.asarray(np.where(deviation == 0, 1.0, largest * deviation))

    def _targets(self, y: Array, weights: Array | None) -> tuple[Array, Array | None]:
        """Scaled to mean 0 and deviation 1."""
        y = np.asarray(y, np.float64)
        if y.shape[1:] != self.y_mean_.shape:
            expected = ", ".join(str(n) for n in ("examples", *self.y_mean_.shape))
            raise ValueError(f"{self._name}: y: expected shape ({expected}) as before, got {y.shape}")
        return (y - self.y_mean_) / self.y_deviation_, weights

    def _strata(self, targets: Array) -> Array | None:
        """Nothing."""
        return None

    @property
    def _outputs(self) -> int:
        return int(self.y_mean_.size)
