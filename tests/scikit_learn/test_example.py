"""The example runs."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn.base")

EXAMPLE = Path(__file__).parents[2] / "examples" / "scikit_learn_digits.py"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="the examples are not beside the tests")
def test_the_example_finds_the_digits_that_it_is_least_sure_of():
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, "--epochs", "2"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("best of the search: ")
    assert done.stdout.count("taken for") == 3
