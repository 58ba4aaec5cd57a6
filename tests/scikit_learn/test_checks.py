"""scikit-learn's own checks, on tables and, with rows made into pictures, on convolutions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn.base")
# Without these, scikit-learn leaves checks out.
pytest.importorskip("pandas")
pytest.importorskip("array_api_compat")
pytest.importorskip("array_api_strict")

NAMES = ["classifier", "balanced", "regressor", "picture_classifier", "picture_balanced", "picture_regressor"]


@pytest.mark.parametrize("name", NAMES)
def test_all_checks_pass_and_none_is_left_out(name):
    done = subprocess.run(
        [sys.executable, "-W", "error", Path(__file__).with_name("run_checks.py"), name],
        env={
            **os.environ,
            "SCIPY_ARRAY_API": "1",
            "OMP_NUM_THREADS": "1",  # networks this small gain nothing from more, and lose much beside other processes
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("{'passed': "), done.stdout
    assert last.count(":") == 1, done.stdout
    assert int(last.removeprefix("{'passed': ").removesuffix("}")) >= 55
