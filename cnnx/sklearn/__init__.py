"""Estimators of scikit-learn: networks that stand wherever a classifier or a regressor does.

They need the extra: ``python -m pip install "cnnx[sklearn]"``.

>>> import cnnx
>>> from cnnx.sklearn import CNNClassifier
>>> (X, y), (X_test, y_test) = cnnx.datasets.load_digits()
>>> classifier = CNNClassifier(epochs=3, random_state=0).fit(X[:300], y[:300])
>>> bool(classifier.score(X_test, y_test) > 0.8)
True
"""

try:
    from sklearn.utils.validation import validate_data  # noqa: F401 - it came with 1.6
except ImportError as error:
    raise ImportError('cnnx.sklearn needs scikit-learn 1.6 or newer: python -m pip install "cnnx[sklearn]"') from error

from cnnx.sklearn.classifier import CNNClassifier
from cnnx.sklearn.regressor import CNNRegressor

__all__ = ["CNNClassifier", "CNNRegressor"]
