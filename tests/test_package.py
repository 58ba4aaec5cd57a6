"""The package as a whole: names, version, imports."""

import doctest
import importlib
import subprocess
import sys
from importlib import metadata

import pytest

import cnnx


def test_every_public_name_is_there_and_documented():
    for name in cnnx.__all__:
        value = getattr(cnnx, name)
        if name != "__version__":
            assert value.__doc__, name


def test_the_version_is_the_one_of_the_installed_package():
    assert metadata.version("cnnx") == cnnx.__version__


@pytest.mark.parametrize("heavy", ["safetensors", "tqdm", "PIL", "matplotlib", "jinja2", "argparse"])
def test_import_leaves_for_later_what_only_some_use(heavy):
    code = f"import numpy, sys; known = set(sys.modules); import cnnx; print({heavy!r} in set(sys.modules) - known)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


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
