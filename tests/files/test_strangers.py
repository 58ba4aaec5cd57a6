import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("kind", ["models", "checkpoints", "npz", "idx"])
def test_files_that_are_changed_at_random_are_read_or_refused_with_the_documented_error(kind):
    # In a process of its own, whose audit hook ends with it.
    command = [sys.executable, "-m", "tests.soak", "files", "--count", "200", "--kinds", kind]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert f"{kind}: 200 changed files" in done.stdout, done.stderr
    assert ", 0 otherwise;" in done.stdout, done.stdout
