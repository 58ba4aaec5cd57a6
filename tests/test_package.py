"""The package as a whole: names, version, imports."""

import doctest
import importlib
import subprocess
import sys
from importlib import metadata

import pytest

import cnnx

# What extras bring, and what that brings.
EXTRAS = {
    *("PIL", "dask", "google", "jinja2", "joblib", "matplotlib", "mpi4py", "onnx", "onnxruntime", "pandas", "pooch"),
    *("requests", "scipy", "sklearn", "tensorboardX", "tifffile"),
}


def test_every_public_name_is_there_and_documented():
    for name in cnnx.__all__:
        value = getattr(cnnx, name)
        if name != "__version__":
            assert value.__doc__, name


def test_the_version_is_the_one_of_the_installed_package():
    assert metadata.version("cnnx") == cnnx.__version__


@pytest.mark.parametrize("heavy", ["safetensors", "tqdm", "PIL", "matplotlib", "argparse"])
def test_import_leaves_for_later_what_only_some_use(heavy):
    code = f"import numpy, sys; known = set(sys.modules); import cnnx; print({heavy!r} in set(sys.modules) - known)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_no_extra_is_imported_by_who_trains_saves_and_predicts(tmp_path):
    """In a process of its own; what NumPy or tqdm import for themselves is no extra."""
    code = f"""
import sys
import cnnx
from cnnx.callbacks import Checkpoint
(X, y), (X_test, y_test) = cnnx.datasets.load_digits()
model = cnnx.models.small()
model.train(X[:64], y[:64], 0.1, callbacks=[Checkpoint({str(tmp_path / "run.ckpt")!r})])
model.save({str(tmp_path / "model")!r})
model = cnnx.Model.load({str(tmp_path / "model")!r})
model.predict(X_test), model.predict_proba(X_test), model.evaluate(X_test, y_test), model.folded().predict(X_test)
model.summary()
print(*sorted({EXTRAS!r} & {{name.partition(".")[0] for name in sys.modules}}), sep=", ")
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize(
    "module",
    [
        "cnnx",
        "cnnx._kernels",
        "cnnx.augmentation",
        "cnnx.data",
        "cnnx.network",
        "cnnx.datasets",
        "cnnx.datasets.digits",
        "cnnx.metrics",
    ],
)
def test_the_examples_in_docstrings_run(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
