"""A classifier."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from cnnx._typing import Array
from cnnx.layers.loss import HingeLayer, OutputLayer, SigmoidLayer, SoftmaxLayer
from cnnx.sklearn.base import NetworkEstimator
from cnnx.sklearn.weights import ClassWeight, weights_of_classes


class CNNClassifier(ClassifierMixin, NetworkEstimator):
    """A classifier of pictures, and of tables, by a neural network.

    `X` is pictures (examples, height, width, channels) or (examples, height, width); or rows, which are pictures with
    `image_shape` and else a table. Numbers of any real dtype are taken as they are: a StandardizeLayer is in front.
    A fitted classifier takes pictures and rows alike.

    Parameters
    ----------
    model : str, callable or tuple of Layer, default "auto"
        The network: chosen by the shape of an example; a name in `cnnx.models.MODELS`; a function of the number of
        classes that gives an unbuilt `cnnx.Model`; or unbuilt layers, which are copied. Never a Model itself, whose
        weights clones would share.
    image_shape : (height, width) or (height, width, channels), optional
        What rows of `X` are.
    epochs : int, default "auto"
        Passes over the examples.
    batch_size : int, default "auto"
        Examples a step.
    learning_rate : float, default "auto"
        The largest rate of a one-cycle schedule with AdamW; the constant rate of `partial_fit`.
    augment : augmentation or sequence of these, optional
        Random changes of each batch, see `cnnx.augmentation`.
    class_weight : mapping of label to float, or "balanced", optional
        How much the examples of each class count, 1 for those that a mapping does not name. "balanced" is the sum of
        all weights, divided by the number of classes and by the sum of the class; in `partial_fit`, of one call.
    early_stopping : bool, default False
        Set a part of the examples aside, and end once the loss on it has not improved for a tenth of the epochs, five
        at least, with the weights of the best epoch.
    validation_fraction : float, default 0.1
        That part, above 0 and below 1, with equal shares of all classes.
    warm_start : bool, default False
        Have `fit` go on from the present weights.
    dtype : {"auto", "float32", "float64"}
        float64 for tables and float32 for pictures by default.
    random_state : int, RandomState instance or None
        Where starting weights, order of examples, what is set aside and augmentation come from. The same int gives the
        same bits, on any number of threads.
    verbose : bool, default False
        Show a progress bar.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
        The labels, sorted.
    model_ : cnnx.Model
        The network. Its classes are the places in `classes_`.
    history_ : cnnx.History
        Figures of each epoch.
    n_iter_ : int
        Epochs that were trained.
    n_features_in_ : int
        Values in an example: height * width * channels.
    feature_names_in_ : ndarray of shape (features,)
        Names of the columns, where `X` was a table that has them.

    Notes
    -----
    Up to 2,000 rows of a table, with a million values in all, or up to 100 small pictures are one batch, and with the
    network that is chosen for them a weight of 2 counts exactly as a repetition. More examples come in mini-batches in
    a random order, where it does so on average; so do fewer, if `batch_size` says so.

    Examples
    --------
    >>> import cnnx
    >>> from cnnx.sklearn import CNNClassifier
    >>> (X, y), (X_test, y_test) = cnnx.datasets.load_digits()
    >>> classifier = CNNClassifier(epochs=3, random_state=0).fit(X[:300], y[:300])
    >>> classifier.predict_proba(X_test).shape
    (359, 10)
    """

    output_layers: ClassVar[tuple[type[OutputLayer], ...]] = (SoftmaxLayer, SigmoidLayer, HingeLayer)
    checks_of_y: ClassVar[dict[str, bool]] = {}
    kind_of_output: ClassVar[str] = "classes"

    def __init__(
        self,
        model: Any = "auto",
        *,
        image_shape: Any = None,
        epochs: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float | str = "auto",
        augment: Any = None,
        class_weight: ClassWeight = None,
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
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CNNClassifier:
        """Train on all examples, from the start unless `warm_start` is set.

        Parameters
        ----------
        X : array_like of shape (examples, height, width[, channels]) or (examples, features)
        y : array_like of shape (examples,)
            Labels of any kind that can be sorted.
        sample_weight : array_like of shape (examples,), optional
            How much each example counts, 0 or more. Examples of weight zero are left out first.

        Returns
        -------
        CNNClassifier
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

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> CNNClassifier:
        """Train by one pass over these examples, in mini-batches of 32 by default, at a constant rate.

        Mean and deviation of the StandardizeLayer are those of the first call, or of `fit`. Weights are not scaled to
        mean 1, so that those of several calls can be compared.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As in `fit`.
        classes : array_like of shape (classes,)
            All labels there will be; needed in the first call, and the same or None in others.

        Returns
        -------
        CNNClassifier
            This estimator.
        """
        if classes is None and not hasattr(self, "model_"):
            raise ValueError(f"{self._name}: classes: expected all labels in the first call of partial_fit, got None")
        labels = None if classes is None else np.unique(column_or_1d(classes))
        if labels is not None and hasattr(self, "model_") and not np.array_equal(labels, self.classes_):
            raise ValueError(f"{self._name}: classes: expected {self.classes_} as before, got {labels}")
        self._partial_fit(X, y, sample_weight, labels)
        return self

    def predict(self, X: Any) -> Array:
        """The label of each example, (examples,)."""
        examples = self._examples(X)
        labels: Array = self.classes_[self.model_.predict(examples)]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Probabilities, (examples, classes), in the order of `classes_` and the dtype of the model."""
        examples = self._examples(X)
        return self.model_.predict_proba(examples)

    def _learn_targets(self, y: Array, weights: Array | None) -> None:
        """All labels."""
        check_classification_targets(y)
        self.classes_ = np.unique(y)

    def _targets(self, y: Array, weights: Array | None) -> tuple[Array, Array | None]:
        """The places of labels among all; weights of examples times those of their classes."""
        check_classification_targets(y)
        classes = self.classes_
        unknown = np.setdiff1d(y, classes)
        if len(unknown):
            raise ValueError(f"{self._name}: y: expected labels of the classes {classes}, got {unknown} as well")
        places = np.searchsorted(classes, y)
        if self.class_weight is not None:
            of_classes = weights_of_classes(self.class_weight, places, classes, weights, self._name)
            weights = of_classes[places] if weights is None else weights * of_classes[places]
        return places, weights

    def _strata(self, targets: Array) -> Array | None:
        """Each class has its share of what is set aside."""
        return targets

    @property
    def _outputs(self) -> int:
        return len(self.classes_)
