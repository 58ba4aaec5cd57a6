"""The estimators, but that rows are pictures: scikit-learn's checks, which know nothing else, meet convolutions."""

import numpy as np

from cnnx.sklearn import CNNClassifier, CNNRegressor


def picture_shape(features):
    """Two lines, or one where the number of features is odd."""
    height = 2 if features % 2 == 0 else 1
    return height, features // height, 1


def as_pictures(X):
    """Rows of numbers as (examples, height, width, 1); what is none, such as text, as it is, to be refused."""
    rows = X if hasattr(X, "tocsr") else np.asarray(X)
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind not in "fiu" or not rows.size:
        return X
    return rows.reshape(len(rows), *picture_shape(rows.shape[1]))


class Pictures:
    """Rows become pictures on their way to `fit`, whatever hands them over; predictions are made of rows."""

    def fit(self, X, y, sample_weight=None):
        if not hasattr(X, "columns"):
            return super().fit(as_pictures(X), y, sample_weight)
        # The columns of a frame have names, which an array would lose.
        self.image_shape = picture_shape(X.shape[1])
        try:
            return super().fit(X, y, sample_weight)
        finally:
            self.image_shape = None

    def partial_fit(self, X, y, **arguments):
        return super().partial_fit(as_pictures(X), y, **arguments)


class PictureClassifier(Pictures, CNNClassifier):
    pass


class PictureRegressor(Pictures, CNNRegressor):
    pass
