"""scikit-learn is an extra: nothing imports it but `cnnx.sklearn`."""

import doctest
import importlib
import subprocess
import sys

import pytest

USE = """
import sys
import numpy, cnnx
(X, y), _ = cnnx.datasets.load_digits()
model = cnnx.models.small()
model.train(X[:64], y[:64], 0.1, verbose=False, class_weight="balanced")
model.predict(X[:8])
model.evaluate(X[:8], y[:8])
print([name for name in sys.modules if name.partition(".")[0] in ("sklearn", "scipy", "joblib", "pandas")])
print("cnnx.sklearn" in sys.modules)
"""
# Stands where scikit-learn is missing, or older than 1.6.
WITHOUT = """
import sys
sys.modules["sklearn"] = None
import cnnx
try:
    import cnnx.sklearn
except ImportError as error:
    print(error)
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_import_training_and_prediction_do_without_it():
    assert run(USE) == ["[]", "False"]


def test_without_it_the_error_names_the_extra():
    (message,) = run(WITHOUT)
    assert 'python -m pip install "cnnx[sklearn]"' in message


def test_with_it_both_estimators_are_there_and_documented():
    pytest.importorskip("sklearn.base")
    import cnnx.sklearn

    for name in cnnx.sklearn.__all__:
        assert "Parameters\n" in getattr(cnnx.sklearn, name).__doc__


@pytest.mark.parametrize("module", ["cnnx.sklearn", "cnnx.sklearn.classifier", "cnnx.sklearn.regressor"])
def test_the_examples_in_docstrings_run(module):
    pytest.importorskip("sklearn.base")
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
